"""What a checkpoint holds is copied, each tensor once, by several threads."""

import pytest
import torch
from torch import nn

from cl.checkpoints import copies as module
from cl.checkpoints.copies import Copies


def test_a_copy_stays_as_it_was() -> None:
    net = nn.Linear(2, 2)
    state = {"net": net.state_dict(), "steps": [3, {"lr": 0.1}]}
    made = Copies().of(state)
    before = net.weight.detach().clone()
    with torch.no_grad():
        net.weight.zero_()
    state["steps"][1]["lr"] = 0.2
    assert torch.equal(made["net"]["weight"], before)
    assert made["steps"] == [3, {"lr": 0.1}]


def test_a_state_dict_keeps_the_versions_of_its_modules() -> None:
    state = nn.BatchNorm1d(2).state_dict()
    made = Copies().of({"net": state})["net"]
    assert type(made) is type(state)
    assert list(made) == list(state)
    assert made._metadata == state._metadata == {"": {"version": 2}}


def test_a_tensor_in_two_containers_is_copied_once() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].weight = net[0].weight  # tied
    copies = Copies()
    whole, part = copies.of(net.state_dict()), copies.of({"w": net[0].weight, "b": net[0].bias})
    assert whole["0.weight"] is whole["1.weight"] is part["w"]
    assert whole["0.bias"] is part["b"]
    assert whole["1.bias"] is not part["b"]


def test_the_next_copies_take_the_memory_of_those_before() -> None:
    """Of the same type and strides each, and nothing else of it is kept."""
    state = {"a": torch.randn(3, 4), "b": torch.randn(4, 3).t(), "c": torch.arange(5)}
    first = Copies()
    first.of(state)
    places = {each.data_ptr() for made in first.all.values() for each in made}
    second = Copies(first.all)
    state["c"] += 1
    made = second.of({"new": torch.ones(12), **state})
    assert {made[name].data_ptr() for name in state} == places
    assert made["new"].data_ptr() not in places
    for name, tensor in state.items():
        assert torch.equal(made[name], tensor)
        assert made[name].stride() == tensor.stride()
    assert sum(map(len, second.all.values())) == 4


def test_the_place_of_a_tensor_that_is_gone_is_no_other_ones() -> None:
    """A temporary's memory is given to the next one of its size, which has other numbers."""
    copies = Copies()
    for number in range(20):
        made = copies.of({"x": torch.full((1000,), float(number))})
        assert made["x"].unique().tolist() == [number]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool])
def test_every_kind_of_tensor_is_copied_whole(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By several threads, also of more than a piece, and where its memory has gaps."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    monkeypatch.setattr(module, "LARGE", 64)
    monkeypatch.setattr(module, "PIECE", 128)
    large = torch.randn(1000).to(dtype)
    images = torch.randn(2, 3, 5, 7).to(dtype)
    given = {
        "large": large,
        "scalar": large[3],
        "none": large[:0],
        "gaps": large[::2],
        "part": large[7:90],
        "columns": large[:60].view(6, 10).t(),
        "images": images.to(memory_format=torch.channels_last),
        "parameter": nn.Parameter(images, requires_grad=False),
        "one": images[:1, :1].to(memory_format=torch.channels_last),
    }
    first = Copies()
    for copies in (first, Copies(first.all)):
        made = copies.of(given)
        for name, tensor in given.items():
            assert torch.equal(made[name], tensor), name
            assert made[name].dtype == dtype
            assert made[name].data_ptr() != tensor.data_ptr() or not tensor.numel()
        assert not copies.pieces
        assert copies.small == ([], [])
