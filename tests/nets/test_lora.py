"""An adapted encoder starts as itself, moves in few directions, and is merged without a trace."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from cl.checkpoints import load_weights, save_encoder
from cl.nets.encoders import create
from cl.nets.lora import LoRA, without_updates
from cl.nets.texts import Bag
from cl.nets.towers import Towers

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


def test_alpha_scales_the_updates_by_itself_over_the_rank() -> None:
    """One number at a time; where the rank is above a layer's the factor is still alpha over it."""
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Conv2d(2, 3, 2), nn.Flatten(), nn.Linear(12, 2)).double()
    before = copy.deepcopy(encoder)
    adapted = LoRA(encoder, 4, alpha=6.0)
    assert adapted.names == ["0.weight", "2.weight"]
    assert [len(a) for a in adapted.a] == [3, 2]
    for b in adapted.b:
        nn.init.normal_(b)
    updates = [(a.tolist(), b.tolist()) for a, b in zip(adapted.a, adapted.b, strict=True)]
    for name, (a, b) in zip(adapted.names, updates, strict=True):
        weight = before.get_parameter(name).data.view(len(b), -1)
        for i in range(weight.shape[0]):
            for j in range(weight.shape[1]):
                weight[i, j] += sum(6 / 4 * b[i][k] * a[k][j] for k in range(len(a)))
    images = torch.randn(5, 2, 3, 3).double()
    for each in (adapted, adapted.merged()):
        torch.testing.assert_close(each(images), before(images), rtol=1e-12, atol=1e-12)
    plain = LoRA(copy.deepcopy(encoder), 4)
    assert adapted.state_dict().keys() - plain.state_dict().keys() == {"scale"}


@pytest.mark.parametrize("name", ["resnet6_w8", "mobilenetv3_small_050"])
def test_running_statistics_stand_still_while_it_is_trained(name: str) -> None:
    """Alone and as a tower's part; dropout goes on."""
    encoder = create(name, 16)
    encoder.register_module("drop", nn.Dropout())
    towers = Towers(LoRA(encoder, 2), Bag(4, rows=8), 4, example=torch.zeros(2, 3, 16, 16)).train()
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    towers(torch.randn(8, 3, 16, 16) + 3)
    assert all(torch.equal(v, before[k]) for k, v in encoder.state_dict().items())
    assert encoder.get_submodule("drop").training


def trained(encoder: nn.Module, alpha: float | None = None) -> LoRA:
    """An encoder whose updates are not zero."""
    adapted = LoRA(encoder, 2, alpha)
    with torch.no_grad():
        for b in adapted.b:
            nn.init.normal_(b, std=0.1)
    return adapted.eval()


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("kind", ["safetensors", "encoder", "average", "teacher", "alone"])
@pytest.mark.parametrize("alpha", [None, 16.0])
def test_updates_that_stand_apart_in_a_file_are_merged(
    name: str, kind: str, alpha: float | None, tmp_path: Path
) -> None:
    """Neither `--init_from` nor an evaluation takes the weights without what they have learned."""
    adapted = trained(create(name, ENCODERS[name]), alpha)
    file = tmp_path / "encoder.safetensors"
    if kind == "safetensors":
        save_encoder(adapted, file, {"encoder": name, "lora_rank": 2})
    else:
        file = tmp_path / "last.ckpt"
        prefix = {"alone": "", "encoder": "encoder."}.get(kind, f"{kind}.module.0.")
        state = {f"{prefix}{key}": value for key, value in adapted.state_dict().items()}
        heads = {"projector.weight": torch.ones(2, 2)} if prefix else {}
        torch.save({"state_dict": state | heads, "cl": 1}, file)
    plain = create(name, ENCODERS[name]).eval()
    report = load_weights(plain, file)
    assert "LoRA's updates of rank 2 merged" in str(report)
    assert not {"a", "b", "scale"} & report.left_out.keys()
    images = torch.randn(3, 3, ENCODERS[name], ENCODERS[name])
    with torch.no_grad():
        torch.testing.assert_close(plain(images), adapted(images), rtol=1e-4, atol=1e-5)


def test_an_encoder_whose_part_is_called_encoder(tmp_path: Path) -> None:
    """Names with and without that part are told apart."""

    class Nested(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.layer = nn.ModuleDict({"layer": nn.Linear(6, 6)}), nn.Linear(6, 6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(self.encoder["layer"](x))

    adapted = trained(Nested())
    for prefix in ("", "encoder."):
        state = {f"{prefix}{key}": value for key, value in adapted.state_dict().items()}
        torch.save(state, tmp_path / "one.pth")
        plain, x = Nested(), torch.randn(2, 6)
        load_weights(plain, tmp_path / "one.pth")
        torch.testing.assert_close(plain(x), adapted(x))


def test_updates_of_another_encoder_are_refused(tmp_path: Path) -> None:
    adapted = trained(create("resnet6_w8", 16))
    state, last = adapted.state_dict(), len(adapted.names) - 1
    for name in "ab":
        del state[f"{name}.{last}"]
    torch.save(state, tmp_path / "one.pth")
    with pytest.raises(ValueError, match=r"one\.pth: LoRA's updates of \d+ weights .* of another"):
        load_weights(create("resnet6_w8", 16), tmp_path / "one.pth")


def test_a_tower_of_two_is_merged_and_read(tmp_path: Path) -> None:
    """Merged in `towers.safetensors`, apart in a checkpoint; the images' encoder in both alone."""
    towers = Towers(trained(create("resnet6_w8", 16), 5.0), Bag(8, rows=32), 5).eval()
    plain = without_updates(towers)
    assert isinstance(towers.image, LoRA)
    file, images = tmp_path / "towers.safetensors", torch.randn(3, 3, 16, 16)
    save_encoder(towers, file, {"encoder": "resnet6_w8", "max_length": [8, 8]})
    state = {f"encoder.{key}": value for key, value in towers.state_dict().items()}
    torch.save({"state_dict": state, "cl": 1}, tmp_path / "last.ckpt")
    for each in (file, tmp_path / "last.ckpt"):
        found = Towers(create("resnet6_w8", 16), Bag(8, rows=32), 5).eval()
        load_weights(found, each)
        alone = create("resnet6_w8", 16).eval()
        load_weights(alone, each)
        with torch.no_grad():
            for one in (plain, found):
                torch.testing.assert_close(one(images), towers(images))
            torch.testing.assert_close(alone(images), towers.image(images))
