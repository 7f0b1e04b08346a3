"""Losses and low-rank updates of transformers, step by step against sentence-transformers, peft."""

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cl.data.tokens import Subwords
from cl.losses.mnrl import mnrl
from cl.nets.gradient_cache import embed_in_chunks
from cl.nets.lora import LoRA
from cl.nets.transformer import Transformer, read_transformer
from tests.nets.made_texts import NEEDS, tiny

TOPICS = "cat dog tree river bridge star book song".split()
QUERIES = [f"what is {a} {b}" for a in TOPICS for b in TOPICS[:4]]
DOCUMENTS = [f"the {a} of the {b}" for a in TOPICS for b in TOPICS[:4]]
STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
BATCH, LR = 8, 1e-3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model without dropout, as sentence-transformers reads it."""
    torch.manual_seed(0)
    encoder = read_transformer(f"hf:{tiny(tmp_path / 'tiny', **STILL)}")
    encoder.save(tmp_path / "text", 40)
    return tmp_path / "text"


def trained(parameters: list[nn.Parameter], loss: Callable[[int], Tensor]) -> list[float]:
    opt, losses = torch.optim.AdamW(parameters, LR, weight_decay=0.0), []
    for start in range(0, len(QUERIES), BATCH):
        opt.zero_grad()
        value = loss(start)
        value.backward()
        opt.step()
        losses.append(float(value.detach()))
    return losses


def ours(encoder: Transformer, chunk: int | None, start: int) -> Tensor:
    subwords = Subwords(encoder.subwords)
    z = []
    for texts in (QUERIES, DOCUMENTS):
        tokens = subwords(texts[start : start + BATCH], 40)
        x = torch.from_numpy(tokens.padded(np.arange(BATCH)))[None]
        encode = lambda views: encoder(views[0])[None]  # noqa: E731
        z.append(encode(x) if chunk is None else embed_in_chunks(encode, x, chunk, encoder))
    return mnrl(torch.cat(z), temperature=0.05)


def theirs(peer: Any, loss: Any, start: int) -> Tensor:
    both = [peer.tokenize(texts[start : start + BATCH]) for texts in (QUERIES, DOCUMENTS)]
    return loss(both, torch.empty(0))


@pytest.mark.filterwarnings("ignore")  # of the peer's own
@pytest.mark.parametrize("chunk", [None, 3])
def test_mnrl_is_that_of_sentence_transformers_at_every_step(
    folder: Path, chunk: int | None
) -> None:
    library = pytest.importorskip("sentence_transformers", reason=NEEDS)
    encoder = read_transformer(f"hf:{folder}")
    peer = library.SentenceTransformer(str(folder), device="cpu").train()
    losses = library.sentence_transformer.losses
    loss = (
        losses.MultipleNegativesRankingLoss(peer)
        if chunk is None
        else losses.CachedMultipleNegativesRankingLoss(peer, mini_batch_size=chunk)
    )
    a = trained([*encoder.parameters()], partial(ours, encoder, chunk))
    b = trained([*peer.parameters()], partial(theirs, peer, loss))
    assert a == pytest.approx(b, abs=1e-4)
    assert a[-1] < a[0]


@pytest.mark.filterwarnings("ignore")  # of the peer's own
def test_low_rank_updates_are_those_of_peft(folder: Path) -> None:
    library = pytest.importorskip("peft", reason="needs the package peft")
    encoder = read_transformer(f"hf:{folder}").double().eval()
    names = [name for name, m in encoder.model.named_modules() if isinstance(m, nn.Linear)]
    config = library.LoraConfig(r=2, lora_alpha=2, target_modules=names, lora_dropout=0.0)
    peer = library.get_peft_model(copy.deepcopy(encoder.model), config).double().eval()
    adapted = LoRA(encoder, 2)
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
