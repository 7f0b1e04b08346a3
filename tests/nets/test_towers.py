"""Two towers: a view finds its own by its type, and a locked one stays as it is."""

import pytest
import torch
from torch import nn

from cl.methods.clip import CLIP
from cl.nets.resnet6 import ResNet6
from cl.nets.texts import Bag
from cl.nets.towers import Towers

IMAGES, TOKENS = torch.randn(4, 3, 16, 16), torch.tensor([[1, 2], [3, -1], [4, 5], [6, -1]])


@pytest.mark.parametrize("lock", [None, "image", "text"])
def test_each_side_has_its_encoder_and_map(lock: str | None) -> None:
    towers = Towers(ResNet6(8), Bag(6, rows=32), 5, lock=lock).eval()
    torch.testing.assert_close(towers(IMAGES), towers.image_map(towers.image(IMAGES)))
    torch.testing.assert_close(towers(TOKENS), towers.text_map(towers.text(TOKENS)))
    assert towers.num_features == 5


@pytest.mark.parametrize("lock", ["image", "text"])
def test_a_locked_encoder_stays_as_it_is(lock: str) -> None:
    """Neither its parameters nor its running statistics change; its map and the other side do."""
    torch.manual_seed(0)
    method = CLIP(ResNet6(8), text_encoder=Bag(6, rows=32), encoding_size=5, lock=lock)
    before = {k: v.clone() for k, v in method.encoder.state_dict().items()}
    method.eval()
    method.train()
    own = method.encoder.get_submodule(lock)
    assert not any(module.training for module in own.modules())
    assert method.encoder.training
    trained = [p for p in method.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, 1.0)
    h = method.embed([IMAGES[None], TOKENS[None]])
    method.objective(h, torch.arange(4)).backward()
    optimizer.step()
    changed = {k for k, v in method.encoder.state_dict().items() if not torch.equal(v, before[k])}
    assert not any(key.startswith(f"{lock}.") for key in changed)
    assert {"image_map.weight", "text_map.weight"} < changed


def test_the_image_tower_serves_alone() -> None:
    method = CLIP(ResNet6(8), text_encoder=Bag(6, rows=32), encoding_size=5, ema_encoder=0.9)
    assert isinstance(method.evaluated, ResNet6)
    assert method.evaluated is method.average.module[0].image
    assert set(method.saved) == {"encoder.safetensors", "towers.safetensors"}
    assert isinstance(method.projector, nn.Identity)
