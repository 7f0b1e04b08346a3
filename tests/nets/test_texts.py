"""Encoders of texts: the bag against a plain loop, and whatever padding stands beside a text."""

import pytest
import torch
from torch.nn.functional import pad

from cl.nets import encoders, texts

TOKENS = torch.tensor([[5, 2**15 + 5, 7, -1], [2**31 - 1, -1, -1, -1], [-1, -1, -1, -1]])


def test_a_bag_is_the_mean_of_the_rows_of_its_tokens() -> None:
    bag = texts.encoder_of("bag_w16").double()
    table = bag.get_parameter("table.weight")
    expected = [(table[5] + table[5] + table[7]) / 3, table[(2**31 - 1) % 2**15], 0 * table[0]]
    torch.testing.assert_close(bag(TOKENS), torch.stack(expected))
    assert encoders.width(bag) == 16


def test_padding_changes_nothing() -> None:
    bag = texts.encoder_of("bag_w16")
    torch.testing.assert_close(bag(pad(TOKENS, (0, 9), value=-1)), bag(TOKENS), rtol=0, atol=0)
    assert bag(torch.empty(0, 0, dtype=torch.int64)).shape == (0, 16)


def test_an_unknown_name() -> None:
    with pytest.raises(ValueError, match="ENCODER resnet18: no such encoder of texts"):
        texts.encoder_of("resnet18")
