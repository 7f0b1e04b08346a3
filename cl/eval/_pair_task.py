"""What is evaluated of an encoder of images and one of texts: by class names, or by captions."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from rich.console import Console
from torch import Tensor

from cl import checkpoints, trainer
from cl.data import tokens
from cl.data.batch import Batch
from cl.data.module import PlainLoader
from cl.data.sets import Captioned, Images, Source
from cl.data.sets._sums import data_checksum
from cl.data.sets._texts import serialized
from cl.data.sets.wordnet import of_synsets
from cl.data.tokens import Tokenizer
from cl.eval._result import BothParts, Features
from cl.eval._task import PASS, describe_preparation
from cl.eval._text_task import TextTask
from cl.nets.saved_clip import SavedCLIP

SYNSET = re.compile(r"n\d{8}")  # what ImageNet calls its classes
BLANK = np.zeros((8, 8, 3), np.uint8)


class ProcessedLoader(PlainLoader):
    """Images as the preprocessor of a saved CLIP prepares them."""

    clip: SavedCLIP

    def __iter__(self) -> Iterator[Batch]:
        for index in self.index:
            pixels = [self.images.pixel(at) for at in index.tolist()]
            x = self.clip.prepared(pixels or [BLANK])[: len(pixels)]
            labels = torch.from_numpy(self.images.labels[index])
            yield Batch([x[None]], labels, torch.from_numpy(index))


class PairTask(TextTask):
    """What is evaluated on what: the encoder is `Towers` or `SavedCLIP`, of images and texts."""

    @cached_property
    def tokenizers(self) -> tuple[Tokenizer, Tokenizer]:
        """That of the encoder of texts, which tells no queries from documents."""
        return self.tokenizer, self.tokenizer

    @cached_property
    def tokenizer(self) -> Tokenizer:
        texts = self.encoder if isinstance(self.encoder, SavedCLIP) else self.encoder.text
        return self.kept(tokens.tokenizer_of(self.about["text_encoder"], texts))

    @property
    def image_preparation(self) -> str:
        """How a plain image is prepared, in words."""
        if isinstance(self.encoder, SavedCLIP):
            said = json.dumps(self.encoder.processor.to_dict(), sort_keys=True, default=str)
            return f"by the folder's preprocessor ({hashlib.sha256(said.encode()).hexdigest()[:8]})"
        return describe_preparation(self.recipe)

    @property
    def transform(self) -> str:
        return (
            f"plain {self.image_preparation}; {self.tokenizer}, at most {self.longest[0]} of a "
            f"text, {self.options['precision']}"
        )

    @property
    def built(self) -> dict[str, Any]:
        """What no tensor tells, and sums of both encoders; the card has one of them together."""
        about = {k: self.about.get(k) for k in ("norm", "stem", "image_size", "padding", "epsilon")}
        names = {"name": self.about["encoder"], "text_encoder": self.about["text_encoder"]}
        sides = {side: self.encoder.get_submodule(side) for side in ("image", "text")}
        sums = {f"{side}_sha256": checkpoints.fingerprint(of) for side, of in sides.items()}
        pooling = getattr(sides["text"], "pooling", None)
        about |= {} if pooling is None else {"pooling": pooling}
        return {**names, "max_length": self.longest[0], **about, **sums}

    @property
    def shown_preparation(self) -> dict[str, str]:
        said = f"{self.tokenizer}, at most {self.longest[0]} of a text"
        return {"image": f"{self.image_preparation} ({self.restored.preparation})", "tokens": said}

    def image_loader(self, images: Images, rank: int, world: int) -> PlainLoader:
        if not isinstance(self.encoder, SavedCLIP):
            return super().image_loader(images, rank, world)
        loader = ProcessedLoader(
            images, self.recipe, PASS, self.config.resolved_num_workers, rank, world
        )
        loader.clip = self.encoder
        return loader


class NamedTask(PairTask):
    """Images whose classes have names."""

    @cached_property
    def names(self) -> list[str]:
        """The names of the classes, as prompts have them."""
        return spoken(self.source.classes)

    @property
    def parts(self) -> dict[str, dict[str, Any]]:
        images: Images = self.source.val
        names = hashlib.sha256(serialized(self.names)).hexdigest()
        return {
            "test": {"images": len(images), "sha256": data_checksum(images)},
            "class_names": {"classes": len(self.names), "sha256": names},
        }

    def function_of(self, name: str) -> str:
        return ""

    def check_parts(self, name: str) -> None:
        """Check that classes have names, and say which ones cannot be told apart.

        Raises:
            ValueError: numbers stand for the names.
        """
        super(TextTask, self).check_parts(name)
        check_names(self.source)
        same = [name for name, times in Counter(self.names).items() if times > 1]
        if same:
            said = f"{len(same):,} names are of several classes, which have equal scores then"
            trainer.say(f"{said}: {', '.join(same[:3])}{', ...' * (len(same) > 3)}")

    def features(self, console: Console) -> list[Features]:
        """Features `(m d)` and labels of the test part."""
        return [self.extract(self.source.val, console)]

    def inputs(self, name: str, features: BothParts) -> tuple[Any, ...]:
        """Features and labels, names of the classes, and what embeds texts."""
        device = features[0][0].device

        def embed(texts: Sequence[str]) -> Float[Tensor, "p d"]:
            h, _ = self.embed_texts(texts, self.longest[0], "prompts", trainer.console)
            return h.to(device)

        return features[0], self.names, embed


class CaptionedTask(PairTask):
    """Images with captions."""

    @property
    def parts(self) -> dict[str, dict[str, Any]]:
        both: Captioned = self.source.val
        numbers = {"images": len(both), "sentences": len(both.texts)}
        return {"test": numbers | {"sha256": data_checksum(both)}}

    def function_of(self, name: str) -> str:
        return "of_captions"

    def check_parts(self, name: str) -> None:
        """Check that there are images.

        Raises:
            ValueError: there are none.
        """
        if not len(self.source.val):
            raise ValueError(f"no image of {self.source.name} validates")

    def features(self, console: Console) -> list[Features]:
        """Features `(q d)` of the captions and `(m d)` of the images; their labels say nothing."""
        both: Captioned = self.source.val
        captions = self.embed_texts(both.texts, self.longest[0], "captions of images", console)
        return [captions, self.extract(both.images, console)]

    def inputs(self, name: str, features: BothParts) -> tuple[Any, ...]:
        """Features of captions and of images, and the image of each caption."""
        (captions, _), (images, _) = features
        return captions, images, torch.from_numpy(self.source.val.image_of).to(images.device)


def spoken(classes: Sequence[str]) -> list[str]:
    """The names of classes as one says them: of ImageNet's synsets the first word, spaces for _.

    >>> spoken(["golden_retriever", "n02123045"])
    ['golden retriever', 'tabby']
    """
    lemmas = of_synsets("lemma") if any(map(SYNSET.fullmatch, classes)) else {}
    words = (lemmas.get(name, name).partition(",")[0] for name in classes)
    return [" ".join(word.replace("_", " ").split()) for word in words]


def check_names(source: Source[Any]) -> None:
    """Check that the classes of a data set have names.

    Raises:
        ValueError: numbers stand for them.
    """
    if not source.named:
        raise ValueError(
            f"--eval zeroshot needs class names: DATASET {source.name} numbers its "
            f"{len(source.classes):,} classes"
        )
