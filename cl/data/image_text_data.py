"""The data module of images with captions."""

from functools import cached_property
from typing import Any

from cl.data.loaders.captioned import BothSides, CaptionedLoader
from cl.data.loaders.texts import TextLoader
from cl.data.module import ContrastiveData
from cl.data.sets import Captioned, Source
from cl.data.source_data import SourceData
from cl.data.tokens import Tokenizer, Tokens, tokenize


class ImageTextData(SourceData[Captioned]):
    """A view of each image with one of its captions for training; all of both for validation.

    Args:
        source: the data set.
        recipes: how the view of an image is drawn, see `ContrastiveData`.
        tokenizer: the text encoder's.
        longest: tokens of a caption that are used.
        batch_size: images of one process in a batch.
        seed: see `ContrastiveData`; of the captions that the epochs begin with, too.
        fill_last: see `ContrastiveData`.
        images: what else `ContrastiveData` takes.
    """

    nouns, told_by = "images with captions", "names, sizes or captions"

    def __init__(
        self,
        source: Source[Captioned],
        recipes: list[Any],
        tokenizer: Tokenizer,
        *,
        longest: int,
        batch_size: int,
        seed: int = 0,
        fill_last: bool = False,
        **images: Any,
    ) -> None:
        super().__init__(source, batch_size, seed, fill_last)
        self.tokenizer, self.longest = tokenizer, longest
        self.images = ContrastiveData(
            Source(source.name, [], source.train.images, source.val.images),
            recipes,
            batch_size=batch_size,
            seed=seed,
            fill_last=fill_last,
            **images,
        )
        self.recipes = self.images.recipes
        # Before the run begins, which a length without room for a token would end.
        self.train_tokens = self.tokens(source.train)

    @property
    def val_samples(self) -> int:
        """How many captions and images validate."""
        return len(self.source.val.texts) + len(self.source.val)

    def tokens(self, samples: Captioned) -> Tokens:
        """The tokens of all captions."""
        return tokenize(samples.texts, self.tokenizer, self.longest, "captions of images")

    @cached_property
    def val_tokens(self) -> Tokens:
        """Those of the validation images."""
        return self.tokens(self.source.val)

    def prepare_data(self) -> None:
        self.images.prepare_data()

    def teardown(self, stage: str) -> None:
        self.images.teardown(stage)

    def train_dataloader(self) -> CaptionedLoader:
        self.images.trainer = self.trainer
        return CaptionedLoader(self.source.train, self.images.train_dataloader(), self.train_tokens)

    def val_dataloader(self) -> BothSides:
        where = self.rank_and_world()
        captions = TextLoader([self.val_tokens], max(self.batch_size, 256), *where)
        images = self.images.plain(self.source.val.images, *where)
        return BothSides(captions, images, len(self.val_tokens))

    @property
    def shared_memory(self) -> int:
        """See `ContrastiveData`."""
        return self.images.shared_memory

    def describe(self) -> str:
        """What loads the images, what makes tokens, and how many are used."""
        return f"{self.images.describe()}; {self.tokenizer}, at most {self.longest} of a caption"
