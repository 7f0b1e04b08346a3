"""Encoders of texts by name: a bag of hashed n-grams, and transformers."""

import re

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from cl.nets.transformer import Pooling, read_transformer

BAG = re.compile(r"bag_w(\d+)")
ROWS = 2**15  # of a bag's table: 22,000 synsets of WordNet have 100,000 n-grams


class Bag(nn.Module):
    """The mean of the vectors of a text's hashed n-grams: what resnet6 is for images.

    As in fastText (Bojanowski et al. 2017, https://arxiv.org/abs/1607.04606), the n-grams of a word
    say what it means where the word itself was never seen.

    Args:
        width: dimensions of the features.
        rows: of the table of vectors; a token is a row's number modulo this.
    """

    def __init__(self, width: int, rows: int = ROWS) -> None:
        super().__init__()
        self.num_features, self.ngrams = width, True  # what its tokens are
        self.table = nn.Embedding(rows, width)
        nn.init.normal_(self.table.weight, std=width**-0.5)

    def forward(self, x: Int[Tensor, "n l"]) -> Float[Tensor, "n d"]:
        inside = x >= 0
        lengths = inside.sum(dim=1)
        if torch.compiler.is_compiling():  # whose shapes must not depend on how long texts are
            share = inside / lengths.clamp(min=1)[:, None]
            share = share.to(self.table.weight.dtype)
            rows = x.clamp(min=0) % len(self.table.weight)
            return F.embedding_bag(rows, self.table.weight, per_sample_weights=share, mode="sum")
        return F.embedding_bag(
            x[inside] % len(self.table.weight), self.table.weight, lengths.cumsum(0) - lengths
        )


def encoder_of(
    name: str,
    *,
    pooling: Pooling | None = None,
    pretrained: bool | None = None,
    flag: str = "ENCODER",
) -> nn.Module:
    """The encoder of that name: tokens `(n l)`, below 0 after the end, to features `(n d)`.

    Args:
        name: `bag_wN` has features of width N; for others see `read_transformer`.
        pooling: of a transformer's hidden states, see there.
        pretrained: whether a transformer's weights are loaded, see there.
        flag: that named it, for messages.

    Raises:
        ValueError: there is none of that name.
    """
    if bag := BAG.fullmatch(name):
        return Bag(int(bag[1]))
    if name == "minilm" or name.startswith(("hf:", "package:")):
        return read_transformer(name, pooling=pooling, pretrained=pretrained, flag=flag)
    raise ValueError(
        f"{flag} {name}: no such encoder of texts; there are bag_wN, "
        "minilm, hf:FOLDER and package:NAME"
    )
