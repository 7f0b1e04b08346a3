"""What is evaluated on texts: an encoder, queries and their corpus, and how they become tokens."""

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from rich.console import Console
from torch import Tensor

from cl import distributed, runs, trainer
from cl.checkpoints.files import sum_of
from cl.config.evaluations import about
from cl.data import tokens
from cl.data.distinct import Distinct, distinct
from cl.data.loaders.texts import TextLoader
from cl.data.sets import TextPairs
from cl.data.sets._sums import data_checksum
from cl.data.sets._texts import serialized
from cl.data.tokens import Tokenizer, tokenize
from cl.eval._cache import (
    computed_by,
    labels_file,
    map_new_file,
    save_features,
    shortage,
    unfinished_file,
    written_alone,
)
from cl.eval._result import BothParts, Features
from cl.eval._task import PASS, Task
from cl.locking import is_writable
from cl.nets.prompts import check_no_prompts, choose_prompts
from cl.nets.transformer import Transformer
from cl.runs.files import FEATURES
from cl.runs.tokens import KeptTokens

ROWS = 2**12  # of features that are copied at a time


class TextTask(Task):
    """What is evaluated on what, of texts: `Task` says what it is made of."""

    together = True

    @cached_property
    def prompts(self) -> tuple[str | None, str | None]:
        """What stands before queries and documents; None: the encoder has no prompts.

        Raises:
            ValueError: flags name some, and it has none, or its pooling leaves them out.
        """
        given = self.config.query_prompt, self.config.document_prompt
        if not isinstance(self.encoder, Transformer):
            check_no_prompts(given)
            return None, None
        symmetric = self.source.val.symmetric
        return choose_prompts(self.encoder.settings, given, symmetric=symmetric)

    @cached_property
    def tokenizers(self) -> tuple[Tokenizer, Tokenizer]:
        """Those of queries and of documents."""
        name = self.about["encoder"]
        each = (tokens.tokenizer_of(name, self.encoder, prompt=prompt) for prompt in self.prompts)
        queries, documents = map(self.kept, each)
        return queries, documents

    def kept(self, tokenizer: Tokenizer) -> Tokenizer:
        """The same with a file for its tokens, but where all is computed again."""
        verified = self.config.verify
        return tokenizer if verified else KeptTokens(tokenizer, self.config.runs_folder)

    def __post_init__(self) -> None:
        super().__post_init__()
        assert len(self.tokenizers) == 2  # before anything is written

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
        tokenizers = tokens.of_sides(*self.tokenizers)
        return (
            f"{tokenizers}, at most {query} tokens of a query and {document} of a document, "
            f"{self.options['precision']}"
        )

    @property
    def built(self) -> dict[str, Any]:
        pooling = getattr(self.encoder, "pooling", None)
        own: dict[str, Any] = {} if pooling is None else {"pooling": pooling}
        own |= {"prompts": list(self.prompts)} if any(self.prompts) else {}
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
        query, document = self.longest
        if pairs.symmetric:  # equal texts on both sides are equal too
            texts, first = [*pairs.queries, *pairs.documents], len(pairs)
            h, labels = self.embed_texts(texts, query, "sentences", console)
            return [(h[:first], labels[:first]), (h[first:], labels[first:])]
        return [
            self.embed_texts(pairs.queries, query, "queries", console),
            self.embed_texts(pairs.documents, document, "documents", console, side=1),
        ]

    def embed_texts(
        self, texts: Sequence[str], longest: int, what: str, console: Console, side: int = 0
    ) -> Features:
        """Features of texts in their order: from the cache, or each process embeds its part.

        Equal texts are encoded once.

        Args:
            texts: of one side.
            longest: tokens of a text that are used.
            what: the texts are, in words.
            console: where it is said.
            side: 0 of queries, 1 of documents.
        """
        tokenizer = self.tokenizers[side]
        how = f"{tokenizer}, at most {longest}, {self.options['precision']}"
        built = {k: v for k, v in self.built.items() if k not in ("max_length", "prompts")}
        words = json.dumps([self.fingerprint, how, built, what], sort_keys=True)
        words += computed_by(self.encoder)
        each = distinct(texts)

        def loader(rank: int, world: int) -> TextLoader:
            numbers = tokenize(each.texts, tokenizer, longest, each.describe(what))
            return TextLoader([numbers], PASS, rank, world, by_length=True)

        n, key = len(each.texts), key_of(words, each.texts)

        def once() -> Features:
            return self.extract_by(loader, key, f"{n:,} {each.describe(what)}", n, console)

        if not each.repeated:
            return once()
        file, first = (self.cache / f"{name}.npy" for name in (key_of(words, texts), key))
        with written_alone(file, lambda: trainer.say(f"another evaluation writes {file}; waiting")):
            found = None if self.config.verify else self.load(file, len(texts))
            if all(distributed.gather_objects(found is not None)) and found is not None:
                return found
            kept = first.exists()
            found = self.repeat(once()[0], file, each)
        if not kept and not runs.other_rank():  # nobody else's, and no longer needed
            for path in (first, labels_file(first)):
                for written in (path, sum_of(path)):
                    written.unlink(missing_ok=True)
        return found

    def repeat(self, once: Float[Tensor, "m d"], file: Path, each: Distinct) -> Features:
        """Features of all places where texts stand, mapped from a file as those of `extract_by`.

        Args:
            once: those of each text once.
            file: of the others, in the cache.
            each: the texts.
        """
        n, width = len(each.numbers), once.shape[1]
        rank, world = distributed.rank(), distributed.world_size()
        if not distributed.broadcast_object(is_writable(self.cache)):
            file = self.folder / FEATURES / file.name
        if why := distributed.broadcast_object(shortage(file.parent, n, width)):
            trainer.say(why)
            return once[each.numbers], torch.full((n,), -1)
        own = each.numbers[n * rank // world : n * (rank + 1) // world]
        new, alone = unfinished_file(file, self.folder.name), world == 1
        rows = map_new_file(new, n, width) if alone else torch.empty(len(own), width)
        for start in range(0, len(own), ROWS):
            rows[start : start + ROWS] = once[own[start : start + ROWS]]
        labels = torch.full((len(own),), -1)
        save_features(file, (rows, labels), n, self.folder.name, mapped=alone)
        found = self.load(file, n)
        if found is None:
            raise ValueError(f"{file} was written and is not there: is the disk full?")
        return found


def key_of(words: str, texts: Sequence[str]) -> str:
    """The name of the features of some texts: a sum of these and of how they are made."""
    return hashlib.sha256(words.encode() + serialized(texts)).hexdigest()[:16]
