"""An adapted encoder starts as itself, moves in few directions, and is merged without a trace."""

import copy

import pytest
import torch

from cl.nets.encoders import create
from cl.nets.lora import LoRA

ENCODERS = {"resnet6_w8": 16, "vit_tiny_patch16_224": 32, "mobilenetv3_small_050": 32}


@pytest.mark.parametrize("name", ENCODERS)
def test_starts_as_it_was_and_merges_to_what_it_became(name: str) -> None:
    torch.manual_seed(0)
    encoder, size = create(name, ENCODERS[name]).double().eval(), ENCODERS[name]
    before, images = copy.deepcopy(encoder), torch.randn(3, 3, size, size).double()
    adapted = LoRA(encoder, 2)
    torch.testing.assert_close(adapted(images), before(images), rtol=0, atol=0)
    opt = torch.optim.Adam([p for p in adapted.parameters() if p.requires_grad], 0.1)
    for _ in range(2):
        opt.zero_grad()
        adapted(images).square().mean().backward()
        opt.step()
    plain = adapted.merged()
    torch.testing.assert_close(plain(images), adapted(images), rtol=1e-10, atol=1e-10)
    old, new = before.state_dict(), plain.state_dict()
    assert old.keys() == new.keys()
    for key, value in old.items():
        change = new[key] - value
        if key in adapted.names:
            rank = int(torch.linalg.matrix_rank(change.flatten(1), rtol=1e-9))
            assert 0 < rank <= 2, key
        else:  # biases, norms, running statistics, a stem's position embedding
            assert not change.abs().sum(), key
    assert len(adapted.names) > 3
