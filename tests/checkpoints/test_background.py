"""What is written beside the training is copied first, and each tensor once."""

import torch
from torch import nn

from cl.checkpoints.background import Copies


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


def test_a_tensor_in_two_containers_is_copied_once() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].weight = net[0].weight  # tied
    copies = Copies()
    whole, part = copies.of(net.state_dict()), copies.of({"w": net[0].weight, "b": net[0].bias})
    assert whole["0.weight"] is whole["1.weight"] is part["w"]
    assert whole["0.bias"] is part["b"]
    assert whole["1.bias"] is not part["b"]


def test_the_place_of_a_tensor_that_is_gone_is_no_other_ones() -> None:
    """A temporary's memory is given to the next one of its size, which has other numbers."""
    copies = Copies()
    for number in range(20):
        made = copies.of({"x": torch.full((1000,), float(number))})
        assert made["x"].unique().tolist() == [number]
