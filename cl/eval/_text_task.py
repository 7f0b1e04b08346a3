"""What is evaluated on texts: an encoder, queries and their corpus, and how they become tokens."""

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from rich.console import Console

from cl.config.evaluations import about
from cl.data import tokens
from cl.data.loaders.texts import TextLoader
from cl.data.sets import TextPairs
from cl.data.sets._sums import data_checksum
from cl.data.sets._texts import serialized
from cl.data.tokens import Tokenizer, tokenize
from cl.eval._cache import computed_by
from cl.eval._result import BothParts, Features
from cl.eval._task import PASS, Task
from cl.runs.tokens import KeptTokens


class TextTask(Task):
    """What is evaluated on what, of texts: `Task` says what it is made of."""

    together = True

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """That of the encoder of texts."""
        return self.kept(tokens.tokenizer_of(self.about["encoder"], self.encoder))

    def kept(self, tokenizer: Tokenizer) -> Tokenizer:
        """The same with a file for its tokens, but where all is computed again."""
        verified = self.config.verify
        return tokenizer if verified else KeptTokens(tokenizer, self.config.runs_folder)

    @property
    def longest(self) -> tuple[int, int]:
        """Tokens of a query and of a document that are used."""
        query, document = self.about["max_length"]
        pairs = self.source.val
        one_kind = isinstance(pairs, TextPairs) and pairs.symmetric
        return pairs.used_lengths((query, document)) if one_kind else (query, document)

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

    def function_of(self, name: str) -> str:
        return "" if about(name).scored else "of_texts"

    def inputs(self, name: str, features: BothParts) -> tuple[Any, ...]:
        """Features of queries and documents, and what is known of them."""
        pairs: TextPairs = self.source.val
        queries, documents = (h for h, _ in features)
        if not about(name).scored:
            known = (pairs.judgments, pairs.itself)
            tensors = (None if x is None else torch.from_numpy(x).to(queries.device) for x in known)
            return queries, documents, *tensors
        at = torch.from_numpy(pairs.positive).to(queries.device)
        return queries, documents[at], torch.tensor(pairs.scores, device=queries.device)

    def check_parts(self, name: str) -> None:
        """Check that there is what the evaluation compares.

        Raises:
            ValueError: there are no scores, or no judgments.
        """
        pairs: TextPairs = self.source.val
        if about(name).scored and pairs.scores is None:
            raise ValueError(f"DATASET {self.source.name} has no scores; scored:FILE has")
        if not about(name).scored and not (pairs.judgments[:, 2] > 0).any():
            raise ValueError(f"no query of DATASET {self.source.name} has a judged document")

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
        words += computed_by(self.encoder)
        key = hashlib.sha256(words.encode() + serialized(texts)).hexdigest()[:16]

        def loader(rank: int, world: int) -> TextLoader:
            numbers = tokenize(texts, self.tokenizer, longest, what)
            return TextLoader([numbers], PASS, rank, world, by_length=True)

        return self.extract_by(loader, key, f"{len(texts):,} {what}", len(texts), console)
