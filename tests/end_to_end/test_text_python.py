"""Texts from Python: own modules and tokenizers, pairs in memory, features of a list of texts."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import cl
from cl import checkpoints
from cl.data.augment.recipe import Recipe
from cl.data.tokens import NGrams, OwnTokenizer
from cl.evaluation import Transform
from cl.nets import texts
from tests.nets.made_texts import TOPICS, tiny

PAIRS = [(f"what is {a} {b}", f"the {a} of the {b}") for a in TOPICS for b in TOPICS]
TEXTS = ["what is a cat", "the river", "a"]


class Mean(nn.Module):
    """The mean of the vectors of words; does not say how wide its features are."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(50, 12)

    def forward(self, x: Tensor) -> Tensor:
        inside = (x >= 0)[..., None]
        return (self.table(x.clamp(min=0)) * inside).sum(1) / inside.sum(1)


def words(texts: list[str], longest: int) -> list[list[int]]:
    return [[sum(map(ord, word)) % 50 for word in text.split()] for text in texts]


def own() -> Mean:
    net = Mean()
    net.tokenizer = words
    return net


@pytest.fixture
def short(tmp_path: Path) -> dict[str, Any]:
    return {"precision": "32", "wandb": "off", "output": str(tmp_path)}


TRAIN = {"loss": "mnrl", "temperature": 0.1, "batch_size": 8, "epochs": 2, "lr": 0.1}


def by_hand(net: nn.Module, rows: list[list[int]]) -> Tensor:
    with torch.no_grad():
        return torch.cat([net.eval()(torch.tensor([row])) for row in rows])


def test_a_module_and_a_tokenizer_of_ones_own(short: dict[str, Any]) -> None:
    net = own()
    run = cl.pretrain(net, PAIRS, **TRAIN, **short)
    losses = [row["train/loss"] for row in run.history if "train/loss" in row]
    assert all(np.isfinite(losses))
    assert run.encoder is net
    assert 0 < run.history[-1]["val/mrr10"] <= 1
    found = cl.evaluate(run.encoder, PAIRS, "retrieval", **short)["retrieval"]
    assert found.numbers["mrr10"] == pytest.approx(run.history[-1]["val/mrr10"], abs=1e-6)
    every = cl.evaluate(run.encoder, ([], PAIRS), "retrieval", **short)["retrieval"]
    assert every.how["queries"] == 64
    expected = by_hand(net, words(TEXTS, 9))
    features, labels = cl.embed(run.encoder, TEXTS)
    torch.testing.assert_close(features, expected)
    assert labels.tolist() == [-1, -1, -1]
    for file in (run.folder, run.folder / "last.ckpt"):
        loaded, transform = cl.load_encoder(file, own())
        torch.testing.assert_close(loaded(transform(TEXTS)), expected)


def test_a_transform_of_texts_is_taken_and_others_are_refused(
    short: dict[str, Any], tmp_path: Path
) -> None:
    file = tmp_path / "encoder.safetensors"
    about = {"encoder": "bag_w4", "max_length": [200, 300]}
    checkpoints.save_encoder(texts.encoder_of("bag_w4"), file, about)
    encoder, transform = cl.load_encoder(file)
    pairs: Any = ([], PAIRS)
    given = {"transform": transform, "run_id": "given", **short}
    found = cl.evaluate(encoder, pairs, "retrieval", **given)["retrieval"]
    assert found.numbers == cl.evaluate(file, pairs, "retrieval", **short)["retrieval"].numbers
    (card,) = json.loads((tmp_path / "given" / "cards.json").read_text())["derived"]["cards"]
    assert card["encoder"]["max_length"] == [200, 300]
    of_images = Transform(Recipe(size=8))
    other = replace(transform, tokenizer=OwnTokenizer(words))
    for what, data, wrong, said in (
        (encoder, pairs, of_images, "transform is one of images, and the data are texts"),
        (encoder, "digits", transform, "transform is one of texts, and the data are images"),
        ("hf:folder", pairs, transform, "with a file or a name, which says it itself"),
        (encoder, pairs, other, "transform makes tokens by .*:words, and the encoder's are words"),
    ):
        with pytest.raises(ValueError, match=said):
            cl.evaluate(what, data, "retrieval", transform=wrong, **short)


def test_pairs_train_as_those_of_a_file(short: dict[str, Any]) -> None:
    folder = Path(short["output"])
    lines = [{"query": query, "positive": positive} for query, positive in PAIRS]
    (folder / "p.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    losses = []
    for data, where in ((PAIRS, {}), ("pairs:p.jsonl", {"data_folder": short["output"]})):
        run = cl.pretrain("bag_w8", data, **TRAIN, **where, **short, log_every_n_steps=1)
        losses.append([row["train/loss"] for row in run.history if "train/loss" in row])
    assert losses[0] == losses[1]


@pytest.mark.filterwarnings("ignore:.* longer than the .* tokens")
def test_embed_is_what_the_encoder_gives(short: dict[str, Any]) -> None:
    run = cl.pretrain("bag_w8", PAIRS, **TRAIN, **short, max_length=(20, 12))
    tokens = NGrams()
    expected = by_hand(run.encoder, [tokens([text], 1024).flat.tolist() for text in TEXTS])
    torch.testing.assert_close(cl.embed(run.encoder, TEXTS)[0], expected)
    features, labels = cl.embed(run.encoder, [(text, 3) for text in TEXTS], batch_size=2)
    torch.testing.assert_close(features, expected)
    assert labels.tolist() == [3, 3, 3]
    encoder, transform = cl.load_encoder(run.folder)
    assert transform.longest == 20
    expected = by_hand(run.encoder, [tokens([text], 20).flat.tolist() for text in TEXTS])
    features, _ = cl.embed(encoder, TEXTS, transform=transform)
    torch.testing.assert_close(features, expected)
    for data, said in (
        (PAIRS, "embed one side of pairs"),
        ([], "there are no images to embed, and no texts"),
        (["a", 3], "item 1 is no text"),
    ):
        with pytest.raises(ValueError, match=said):
            cl.embed(run.encoder, data)


def test_a_folder_of_a_transformer_by_its_name(short: dict[str, Any], tmp_path: Path) -> None:
    torch.manual_seed(0)
    name = f"hf:{tiny(tmp_path / 'tiny')}"
    encoder, transform = cl.load_encoder(name)
    features, _ = cl.embed(encoder, TEXTS, transform=transform)
    assert features.shape == (3, 32)
    assert transform.longest == 40
    torch.testing.assert_close(cl.embed(encoder, TEXTS)[0], features)
    scored = [(query, text, float(i % 5)) for i, (query, text) in enumerate(PAIRS)]
    by_name = cl.evaluate(name, scored, "sts", **short)["sts"].numbers
    assert cl.evaluate(encoder, scored, "sts", **short)["sts"].numbers == by_name


def test_a_bag_in_memory_on_a_named_data_set(short: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text(
        "".join(f'{{"query": "{q}", "positive": "{p}"}}\n' for q, p in PAIRS)
    )
    torch.manual_seed(0)
    found = cl.evaluate(
        texts.encoder_of("bag_w8"), "pairs:p.jsonl", "retrieval", data_folder=str(tmp_path), **short
    )
    assert found["retrieval"].how["queries"] == 6


@pytest.mark.parametrize(
    ("encoder", "data", "flags", "said"),
    [
        (Mean(), PAIRS, {}, "it has no tokenizer; give it one as its attribute `tokenizer`"),
        ("resnet6_w8", PAIRS, {}, "ENCODER resnet6_w8 takes images, but DATASET"),
        ("bag_w8", PAIRS, {"image_size": 32}, "needs a DATASET of images"),
        ("bag_w8", PAIRS, {"data_fraction": 0.5}, "data_fraction cannot be used with data that"),
        ("bag_w8", [*PAIRS, ("a",)], {}, "list, item 64: it is a tuple"),
        ("bag_w8", ([], PAIRS), {}, "there are no training pairs"),
    ],
)
def test_what_is_wrong_is_said(
    encoder: Any, data: Any, flags: dict[str, Any], said: str, short: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=said):
        cl.pretrain(encoder, data, **TRAIN, **flags, **short)
