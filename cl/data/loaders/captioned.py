"""Loaders of images with captions: pairs of views for training, both sides for validation."""

from collections.abc import Iterator

import numpy as np
import torch

from cl.data.batch import Batch
from cl.data.loaders.base import Loader
from cl.data.loaders.sampler import Index
from cl.data.loaders.texts import SIDES, TextLoader
from cl.data.module import PlainLoader
from cl.data.sets import Captioned
from cl.data.tokens import Tokens


class CaptionedLoader(Loader[Captioned]):
    """Batches of an image's view `(1 n 3 h w)` and of one of its captions `(1 n l)`.

    In each epoch an image has the next one of its captions, from a random one on. The labels are
    the captions' numbers, so that images of equal captions have equal labels.

    Args:
        samples: of all processes.
        images: loads the views of the same images; its sampler chooses the samples of each step.
        tokens: of all captions.
    """

    def __init__(self, samples: Captioned, images: Loader, tokens: Tokens) -> None:
        super().__init__(samples, images.sampler)
        self.images, self.tokens, self.inspection = images, tokens, images.inspection
        self.counts = np.array([len(each) for each in samples.captions])
        self.first = self.counts.cumsum() - self.counts
        self.start = np.random.default_rng((self.sampler.seed, 2)).integers(self.counts)
        number = {text: at for at, text in enumerate(dict.fromkeys(samples.texts))}
        self.numbers = np.array([number[text] for text in samples.texts])

    def batches(self) -> Iterator[Batch]:
        for batch in self.images.batches():
            texts = self.captions_of(batch.index.cpu().numpy())
            views = [*batch.views, torch.from_numpy(self.tokens.padded(texts))[None]]
            labels = torch.from_numpy(self.numbers[texts])
            yield batch._replace(views=views, labels=labels, global_views=SIDES)

    def captions_of(self, index: Index) -> Index:
        """The place of each image's caption of this epoch among all captions."""
        turn = self.start[index] + self.sampler.epoch
        return self.first[index] + turn % self.counts[index]


class BothSides:
    """Every caption once and then every image once, as one view; none has a label.

    The captions are numbered from 0 on, the images from there.

    Args:
        captions: their loader.
        images: their loader.
        first: the number of the first image, which is that of all captions.
    """

    def __init__(self, captions: TextLoader, images: PlainLoader, first: int) -> None:
        self.captions, self.images, self.first = captions, images, first

    def __len__(self) -> int:
        return len(self.captions) + len(self.images)

    def __iter__(self) -> Iterator[Batch]:
        yield from self.captions
        for batch in self.images:
            labels = torch.full_like(batch.labels, -1)
            yield batch._replace(labels=labels, index=batch.index + self.first)
