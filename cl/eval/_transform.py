"""How a sample is prepared for an encoder: an image's central square, or the tokens of texts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cl.data.augment.recipe import Recipe
from cl.data.module import prepare
from cl.data.sets import TURNED, Decoding
from cl.data.sets._item import pixels_of
from cl.data.tokens import Tokenizer


@dataclass(frozen=True)
class Transform:
    """Prepares an image exactly as evaluation and validation do.

    Args:
        recipe: its size, mean, std, central part and interpolation.
        decoding: the range of values, the channels and the orientation of what is prepared; PIL
            images are turned as their cameras say.
    """

    recipe: Recipe
    decoding: Decoding = TURNED

    @property
    def reads(self) -> Decoding:
        """The decoding of image files with as many channels as the encoder takes."""
        channels = self.recipe.channels
        same = channels == (self.decoding.channels or 3)
        return self.decoding if same else replace(self.decoding, channels=channels)

    def __call__(self, image: object) -> Float[Tensor, "c h w"]:
        """Prepare one image.

        Args:
            image: PIL; or an array or tensor `(h w)`, `(h w c)` or `(c h w)` with the encoder's
                channels, or one for three, of uint8 or of floats in 0 to 1; of any values where
                the weights have a range of values.

        Returns:
            `(c size size)` in float32, normalized.

        Raises:
            ValueError: it is no image of these kinds.
        """
        size, channels = self.recipe.size, self.recipe.channels
        out = np.empty((channels, size, size), np.float32)
        prepare(pixels_of(image, how=self.reads), self.recipe, out)
        return torch.from_numpy(out)


@dataclass(frozen=True)
class TextTransform:
    """Makes the tokens of texts exactly as evaluation and validation do.

    Args:
        tokenizer: the encoder's.
        longest: tokens of a text that are used.
        max_length: those of a query and of a document, where the encoder's run tells them apart.
    """

    tokenizer: Tokenizer
    longest: int
    max_length: tuple[int, int] | None = None

    def __call__(self, texts: str | Sequence[str]) -> Int[Tensor, "n l"]:
        """The tokens of some texts, or of one, -1 after the end.

        >>> from cl.data.tokens import NGrams
        >>> TextTransform(NGrams(), 100)(["a tree", "a"]).shape
        torch.Size([2, 12])
        """
        each = [texts] if isinstance(texts, str) else texts
        tokens = self.tokenizer(each, self.longest)
        return torch.from_numpy(tokens.padded(np.arange(len(each))))
