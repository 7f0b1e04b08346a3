"""Prompts of a transformer: chosen, recorded, saved, used again, as by sentence-transformers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import cl
from cl import checkpoints
from cl.embedding import embed_command
from cl.eval._card import read_cards
from cl.metrics import read_metrics
from tests.end_to_end.made import Run, measured, words_on_pairs
from tests.nets.made_texts import NEEDS, TOPICS, tiny

QUERY, PASSAGE = "how is the ", "a book of "
TRAIN = "--loss mnrl --batch_size 8 --max_steps 2 --optimizer adamw --lr 3e-4"


@pytest.fixture
def library() -> Any:
    return pytest.importorskip("sentence_transformers", reason=NEEDS)


def prompted(folder: Path, **pooling: Any) -> Path:
    """The folder, with two prompts as E5 names them."""
    kinds = {"Transformer": "", "Pooling": "1_Pooling"}
    kind = "sentence_transformers.models"
    parts = [{"type": f"{kind}.{name}", "path": path} for name, path in kinds.items()]
    (folder / "modules.json").write_text(json.dumps(parts))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text(json.dumps(pooling))
    said = {"prompts": {"query": QUERY, "passage": PASSAGE}, "default_prompt_name": None}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(said))
    return folder


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """A tiny model with prompts, and 32 pairs of different documents."""
    torch.manual_seed(0)
    return words_on_pairs(tmp_path, prompted(tiny(tmp_path / "tiny")))


def recorded(run: Path) -> tuple[Any, Any]:
    """What a run says of its prompts: the configuration, and the file of weights."""
    config = json.loads((run / "config.json").read_text())
    about = checkpoints.about_encoder(run / "encoder.safetensors")
    return [config.get("query_prompt"), config.get("document_prompt")], about.get("prompts")


def any_order(some: torch.Tensor, h: torch.Tensor) -> bool:
    """Whether each row of the first is one of the second."""
    distances = (some[:, None] - h[None]).norm(dim=2)
    return bool((distances.min(dim=1).values < 1e-4).all())


def test_a_run_uses_the_prompts_of_its_folder_and_so_does_what_follows(
    library: Any,
    words: list[str],
    pretrain: Run,
    linear: Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    run = pretrain(*words, *TRAIN.split())
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert f"behind the prompt {QUERY!r} of queries" in said
    assert f"behind the prompt {PASSAGE!r} of documents" in said
    assert "without its prompts" not in said
    assert recorded(run) == ([QUERY, PASSAGE], [QUERY, PASSAGE])
    peer = library.SentenceTransformer(str(run / "text"), device="cpu")
    texts = ["what is a cat", "the river"]
    for side, encode in (("query", peer.encode_query), ("document", peer.encode_document)):
        theirs = encode(texts, convert_to_tensor=True)
        for encoder in (run, f"hf:{run / 'text'}"):
            ours, _ = cl.embed(encoder, texts, side=side)
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
        (tmp_path / "t.txt").write_text("\n".join(texts))
        out = tmp_path / f"{side}.npy"
        given = [str(run), str(tmp_path / "t.txt"), "--side", side, "--out", str(out)]
        assert embed_command(given) == 0
        ours, _ = cl.embed(run, texts, side=side)
        assert np.array_equal(np.load(out), ours.numpy())
    with pytest.raises(ValueError, match=r"has the prompt 'how is the ' of queries and 'a book of"):
        cl.embed(run, texts)
    found = []
    for i, encoder in enumerate((["--pretrained_feature_extractor", run], [])):
        name = words[1] if not i else f"hf:{run / 'text'}"
        of = [words[0], name, *words[2:], *encoder, "--eval", "retrieval"]
        done = linear(*of, run_id=f"of{i}")
        (card,) = read_cards(done / "cards.json")
        assert card["encoder"]["prompts"] == [QUERY, PASSAGE]
        found.append(measured(done))
        plain = linear(*of, "--query_prompt", "", run_id=f"plain{i}")
        assert read_cards(plain / "cards.json")[0]["encoder"]["prompts"] == ["", PASSAGE]
    assert found[0] == found[1]
    kept = [np.load(each) for each in (run / "features").glob("*[0-9a-f].npy")]
    lines = [json.loads(line) for line in (tmp_path / "made.jsonl").read_text().splitlines()]
    queries, documents = ([line[key] for line in lines] for key in ("query", "positive"))
    sides = (queries, "query", None), (documents, "document", None), (queries, "query", "")
    for each, side, prompt in sides:
        h, _ = cl.embed(run, each, side=side, prompt=prompt)
        near = [any_order(torch.from_numpy(features), h) for features in kept]
        assert sum(near) == 1  # and the documents' were taken again with the other queries


def test_it_trains_as_on_texts_that_begin_with_the_prompts(
    words: list[str], pretrain: Run, tmp_path: Path
) -> None:
    lines = [json.loads(line) for line in (tmp_path / "made.jsonl").read_text().splitlines()]
    begun = [{"query": QUERY + x["query"], "positive": PASSAGE + x["positive"]} for x in lines]
    (tmp_path / "begun.jsonl").write_text("".join(f"{json.dumps(x)}\n" for x in begun))
    short = [*TRAIN.split(), "--log_every_n_steps", "1"]
    run = pretrain(*words, *short)
    none = ["--query_prompt", "", "--document_prompt", ""]
    other = pretrain("pairs:begun.jsonl", *words[1:], *short, *none, run_id="begun")
    plain = pretrain(*words, *short, *none, run_id="plain")
    losses = [
        [row["train/loss"] for row in read_metrics(each / "metrics.csv") if row["train/loss"]]
        for each in (run, other, plain)
    ]
    assert len(losses[0]) >= 2
    assert losses[0] == losses[1] != losses[2]


def test_a_run_that_goes_on_keeps_its_own(
    library: Any, words: list[str], pretrain: Run, linear: Run, capsys: pytest.CaptureFixture
) -> None:
    """Also one of before prompts were used, and what is evaluated of it."""
    run = pretrain(*words, *TRAIN.split(), "--query_prompt", "passage", "--document_prompt", "")
    assert recorded(run) == ([PASSAGE, ""], [PASSAGE, ""])
    longer = [*words, *TRAIN.replace("steps 2", "steps 4").split()]
    pretrain(*longer, "--resume_training_from", run, run_id="run")
    assert recorded(run) == ([PASSAGE, ""], [PASSAGE, ""])
    more = ["--resume_training_from", run, "--query_prompt", "x"]
    pretrain(*longer, *more, run_id="run", expect=2)
    assert "--query_prompt x, was a book of" in capsys.readouterr().err
    without = ["--query_prompt", "", "--document_prompt", ""]
    old = pretrain(*words, *TRAIN.split(), *without, run_id="old")
    assert recorded(old) == (["", ""], ["", ""])
    peer = library.SentenceTransformer(str(old / "text"), device="cpu")
    assert peer.encode_query("a").tolist() == peer.encode("a").tolist()
    config = json.loads((old / "config.json").read_text())
    before = {k: v for k, v in config.items() if k not in ("query_prompt", "document_prompt")}
    (old / "config.json").write_text(json.dumps(before))
    capsys.readouterr()
    pretrain(*longer, "--resume_training_from", old, run_id="old")
    assert "behind the prompt" not in capsys.readouterr().out
    assert recorded(old) == ([None, None], None)
    given = ["--pretrained_feature_extractor", old, "--eval", "retrieval"]
    assert "prompts" not in read_cards(linear(*words, *given) / "cards.json")[0]["encoder"]


@pytest.mark.parametrize(
    ("data", "more", "said"),
    [
        ("pairs:made.jsonl bag_w8", ["--query_prompt", "a"], "--query_prompt needs ENCODER minilm"),
        ("digits resnet6_w8", ["--query_prompt", "a"], "--query_prompt needs a DATASET of text"),
        ("texts:t.txt MODEL", ["--document_prompt", "a"], "both texts of a pair are of one kind"),
        ("pairs:made.jsonl SHORT", [], "its pooling leaves the prompt 'how is the ' out"),
    ],
)
def test_prompts_that_cannot_be_used(
    data: str,
    more: list[str],
    said: str,
    words: list[str],
    pretrain: Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    (tmp_path / "t.txt").write_text("\n".join(f"{a} {b}" for a in TOPICS for b in TOPICS))
    short = prompted(tiny(tmp_path / "short"), include_prompt=False)
    names = data.replace("MODEL", words[1]).replace("SHORT", f"hf:{short}").split()
    pretrain(*names, "--data_folder", tmp_path, "--max_steps", 1, *more, expect=2)
    assert said in capsys.readouterr().err


def test_texts_of_one_kind_have_none_unless_given(
    library: Any, words: list[str], pretrain: Run, tmp_path: Path
) -> None:
    (tmp_path / "t.txt").write_text("\n".join(f"{a} {b}" for a in TOPICS for b in TOPICS))
    of = ["texts:t.txt", *words[1:], "--batch_size", 8, "--max_steps", 1]
    assert recorded(pretrain(*of)) == ([None, None], None)
    given = pretrain(*of, "--query_prompt", "query", run_id="given")
    assert recorded(given) == ([QUERY, None], [QUERY, QUERY])
    peer = library.SentenceTransformer(str(given / "text"), device="cpu")
    theirs = peer.encode(["a cat"], convert_to_tensor=True)
    torch.testing.assert_close(cl.embed(given, ["a cat"])[0], theirs, rtol=0, atol=1e-5)
    bare = cl.embed(given, ["how is the a cat"], prompt="")[0]
    torch.testing.assert_close(bare, theirs, rtol=0, atol=1e-5)


def one_kind(words: list[str], folder: Path) -> list[Any]:
    """A line on texts alone."""
    (folder / "t.txt").write_text("\n".join(f"{a} {b}" for a in TOPICS for b in TOPICS))
    return ["texts:t.txt", *words[1:], "--batch_size", 8, "--max_steps", 1]


@pytest.mark.parametrize("written", [None, "q: "])
def test_the_prompt_of_a_run_on_texts_of_one_kind_is_changed_by_one_flag(
    written: str | None,
    words: list[str],
    pretrain: Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    """Also where its file has the prompt twice, as those of before have."""
    of = one_kind(words, tmp_path)
    run = pretrain(*of, "--query_prompt", "q: ", run_id="one")
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"document_prompt": written}))
    again = pretrain("--config", run, run_id="again")
    assert recorded(again)[1] == ["q: ", "q: "]
    other = pretrain("--config", run, "--query_prompt", "x: ", run_id="other")
    assert recorded(other) == (["x: ", None], ["x: ", "x: "])
    resumed = ["--resume_training_from", run, "--max_steps", 2]
    for line in (of[:-2], ["--config", run], []):
        more = [*line, *resumed, "--query_prompt", "x: ", "--override"]
        pretrain(*more, run_id="one", expect=2)
        said = capsys.readouterr().err
        assert "--query_prompt x: , was q: " in said
        assert "--override changes not --" in said
        assert "of one kind" not in said
    pretrain(*resumed, run_id="one")
    assert recorded(run) == (["q: ", written], ["q: ", "q: "])
