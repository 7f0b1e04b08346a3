"""What is evaluated on texts: an encoder, queries and their corpus, and how they become tokens."""

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from rich.console import Console

from cl.data import tokens
from cl.data.loaders.texts import TextLoader
from cl.data.sets import TextPairs
from cl.data.sets._sums import data_checksum
from cl.data.sets._texts import serialized
from cl.data.tokens import Tokenizer, tokenize
from cl.eval._result import Features
from cl.eval._task import PASS, Task


class TextTask(Task):
    """What is evaluated on what, of texts: `Task` says what it is made of."""

    of_texts = True

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The encoder's."""
        return tokens.tokenizer_of(self.about["encoder"], self.encoder)

    @property
    def longest(self) -> tuple[int, int]:
        """Tokens of a query and of a document that are used."""
        query, document = self.about["max_length"]
        return query, document

    @property
    def transform(self) -> str:
        query, document = self.longest
        return (
            f"{self.tokenizer}, at most {query} tokens of a query and {document} of a document, "
            f"{self.options['precision']}"
        )

    @property
    def built(self) -> dict[str, Any]:
        pooling = getattr(self.encoder, "pooling", None)
        own = {} if pooling is None else {"pooling": pooling}
        return {"name": self.about["encoder"], "max_length": list(self.longest), **own}

    @property
    def preparation(self) -> dict[str, Any]:
        return {"batch": PASS, "precision": self.options["precision"]}

    @property
    def parts(self) -> dict[str, dict[str, Any]]:
        pairs: TextPairs = self.source.val
        numbers = {"queries": len(pairs), "documents": len(pairs.documents)}
        return {"test": numbers | {"sha256": data_checksum(pairs)}}

    @property
    def shown_preparation(self) -> dict[str, str]:
        return {"tokens": self.transform}

    def features(self, console: Console) -> list[Features]:
        """Features `(q d)` of the queries and `(m d)` of the corpus; their labels say nothing."""
        pairs: TextPairs = self.source.val
        both = zip(
            (pairs.queries, pairs.documents), self.longest, ("queries", "documents"), strict=True
        )
        return [self.embed_texts(*each, console) for each in both]

    def embed_texts(
        self, texts: Sequence[str], longest: int, what: str, console: Console
    ) -> Features:
        """Features of texts in their order: from the cache, or each process embeds its part."""
        words = json.dumps([self.fingerprint, self.transform, self.built, what], sort_keys=True)
        key = hashlib.sha256(words.encode() + serialized(texts)).hexdigest()[:16]

        def loader(rank: int, world: int) -> TextLoader:
            numbers = tokenize(texts, self.tokenizer, longest, what)
            return TextLoader([numbers], PASS, rank, world)

        return self.extract_by(loader, key, f"{len(texts):,} {what}", len(texts), console)
