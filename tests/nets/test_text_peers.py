"""Losses and low-rank updates of transformers, step by step against sentence-transformers, peft."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.text_training import Plan, compare, cut, moved_apart, without_dropout
from cl.data.sets import Source
from cl.data.sets._texts import pairs_of
from cl.data.tokens import Subwords
from cl.nets.lora import LoRA
from cl.nets.transformer import read_transformer
from tests.nets.made_texts import DOCUMENTS, NEEDS, QUERIES, tiny


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model without dropout, as both read it."""
    torch.manual_seed(0)
    without_dropout(f"hf:{tiny(tmp_path / 'tiny')}", tmp_path / "text", 40)
    return tmp_path / "text"


@pytest.mark.filterwarnings("ignore")  # of the peer's own
@pytest.mark.parametrize("chunk", [None, 3])
def test_mnrl_is_that_of_sentence_transformers_at_every_step(
    folder: Path, tmp_path: Path, chunk: int | None
) -> None:
    """By both libraries' own trainers; texts of different lengths, so that batches are padded."""
    pytest.importorskip("sentence_transformers", reason=NEEDS)
    pairs = pairs_of([*zip(QUERIES, DOCUMENTS, strict=True)])
    source = Source("made", [], pairs, cut(pairs.subset(np.arange(9)), 20))
    plan = Plan(source, folder, 40, 8, chunk, 1e-3, tmp_path / "theirs")
    ours, theirs = (each for (each,) in compare(plan, rounds=1))
    assert ours.losses == pytest.approx(theirs.losses, abs=1e-4)
    assert ours.mrr10 == pytest.approx(theirs.mrr10, abs=0.002)
    assert moved_apart(plan, ours, theirs) <= 0.02  # AdamW makes steps of rounding where g = 0
    assert ours.losses[-1] < ours.losses[0]


@pytest.mark.filterwarnings("ignore")  # of the peer's own
@pytest.mark.parametrize("alpha", [None, 7])
def test_low_rank_updates_are_those_of_peft(folder: Path, alpha: int | None) -> None:
    library = pytest.importorskip("peft", reason="needs the package peft")
    encoder = read_transformer(f"hf:{folder}").double().eval()
    names = [name for name, m in encoder.model.named_modules() if isinstance(m, nn.Linear)]
    config = library.LoraConfig(r=2, lora_alpha=alpha or 2, target_modules=names, lora_dropout=0.0)
    peer = library.get_peft_model(copy.deepcopy(encoder.model), config).double().eval()
    adapted = LoRA(encoder, 2, alpha)
    for name, a, b in zip(adapted.names, adapted.a, adapted.b, strict=True):
        nn.init.normal_(b)
        theirs = peer.get_submodule(f"base_model.{name.removesuffix('.weight')}")
        theirs.lora_A["default"].weight.data.copy_(a.data)
        theirs.lora_B["default"].weight.data.copy_(b.data)
    x = torch.from_numpy(Subwords(encoder.subwords)(QUERIES, 40).padded(np.arange(8)))
    h = peer(input_ids=x.clamp(min=0), attention_mask=(x >= 0).long()).last_hidden_state
    inside = (x >= 0)[..., None]
    expected = (h * inside).sum(1) / inside.sum(1)
    torch.testing.assert_close(adapted(x), expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(adapted.merged()(x), expected, rtol=1e-9, atol=1e-9)
