"""Hard negatives: documents that an encoder finds for a query and that do not answer it."""

import gzip
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cl import distributed, runs, trainer
from cl.data.sets import TextPairs
from cl.data.sets._jsonl import GZIP
from cl.eval._task import Task
from cl.eval._text_task import TextTask
from cl.runs.files import MINED, RESULT
from cl.search import search


def check_minable(task: Task) -> None:
    """Check that there is something to mine for, before there is a run's folder.

    Raises:
        ValueError: there are no training pairs.
    """
    if not len(task.source.train):
        raise ValueError(f"--mine: DATASET {task.source.name} has no training pairs")


def write_mined(task: TextTask, device: torch.device) -> None:
    """Mine hard negatives of the training pairs, and write them as data of `pairs:FILE`.

    Pairs that have fewer than asked for are left out and counted. The queries that validate are
    written behind, a line for each document that answers them; the rest of the corpus is not.

    Args:
        task: what is mined.
        device: this process's, which searches.

    Raises:
        ValueError: no pair has as many.
    """
    config, pairs = task.config, task.source.train
    query, document = task.longest
    queries, _ = task.embed_texts(pairs.queries, query, "queries", trainer.console)
    documents, _ = task.embed_texts(pairs.documents, document, "documents", trainer.console, side=1)
    mined = mine(
        pairs,
        queries,
        documents,
        ranks=config.mine_ranks,
        margin=config.mine_margin,
        number=config.negatives,
        seed=config.seed,
        device=device,
    )
    kept = [i for i, each in enumerate(mined) if len(each) == config.negatives]
    first, last = config.mine_ranks
    rule = f"at ranks {first} to {last} and below {config.mine_margin:g} of the positive's cosine"
    fewer = f"{len(pairs) - len(kept):,} of {len(pairs):,} training pairs have fewer than"
    if not kept:
        raise ValueError(f"--mine: all training pairs have fewer than {config.negatives} {rule}")
    if not runs.other_rank():
        lines = [line_of(pairs, i, mined[i]) for i in kept]
        val: TextPairs = task.source.val
        measured = lines_to_measure(val)
        lines += measured
        write_lines(Path(str(config.mine)), lines)
        trainer.say(f"{fewer} {config.negatives} {rule}, and are left out")
        how = f"{config.negatives} of these of each pair, drawn with seed {config.seed}"
        trainer.say(f"{'mined':12}{config.mine}: {len(kept):,} pairs, {how}")
        found = {MINED: {"kept": len(kept), "training_pairs": len(pairs)}}
        (task.folder / RESULT).write_text(json.dumps(found, indent=2) + "\n")
        few, all_of_them = len({line["positive"] for line in measured}), len(val.documents)
        if few < all_of_them:
            trainer.say(
                f"{'validation':12}of it searches {few:,} of {all_of_them:,} documents, an easier "
                f"task: measure what is trained on it by main_linear.py {task.source.name}"
            )


def mine(
    pairs: TextPairs,
    queries: Float[Tensor, "n d"],
    documents: Float[Tensor, "m d"],
    *,
    ranks: tuple[int, int],
    margin: float,
    number: int,
    seed: int,
    device: torch.device | None = None,
) -> list[list[int]]:
    r"""Documents that are found for a query and are not judged to answer it, of each pair.

    A document is kept if its cosine is at most that of the positive, p, less
    $(1 - \text{margin}) |p|$: for p above 0 that is margin times p.

    Args:
        pairs: the training pairs; of equal queries the documents of all are relevant.
        queries: their features.
        documents: those of the corpus.
        ranks: the first and the last place in the ranking that are taken, from 1 on.
        margin: share of the positive's cosine that a negative stays below.
        number: at most so many of each pair, drawn from those that are kept.
        seed: of the draws, which of a pair do not depend on the others.
        device: searches; by default that of the features.

    Returns:
        Places in the corpus, in the order of their ranks.
    """
    rank, world = distributed.rank(), distributed.world_size()
    start, end = (len(documents) * at // world for at in (rank, rank + 1))
    device = device or queries.device
    numbers = torch.arange(start, end, device=device)
    own_part = documents[start:end].to(device)
    scores, found = search(queries.to(device), own_part, ranks[1], numbers=numbers)
    relevant = no_negatives(pairs)
    own = torch.nn.functional.cosine_similarity(
        queries.double(), documents[torch.from_numpy(pairs.positive)].double()
    ).numpy()
    bound = own - (1 - margin) * np.abs(own)
    places = slice(ranks[0] - 1, ranks[1])
    rows = zip(scores[:, places].tolist(), found[:, places].tolist(), strict=True)
    mined = []
    for i, (cosines, ranked) in enumerate(rows):
        answers = relevant[pairs.queries[i]]
        kept = [
            place
            for cosine, place in zip(cosines, ranked, strict=True)
            if cosine < bound[i] and pairs.documents[place] not in answers
        ]
        draw = np.random.default_rng((seed, i)).permutation(len(kept))[:number]
        mined.append([kept[at] for at in sorted(draw.tolist())])
    return mined


def answers_of(pairs: TextPairs) -> dict[str, set[str]]:
    """The documents that answer each query, as texts: of all pairs, and those judged relevant."""
    relevant: dict[str, set[str]] = defaultdict(set)
    for query, place in zip(pairs.queries, pairs.positive, strict=True):
        relevant[query].add(pairs.documents[int(place)])
    for query, place, grade in pairs.judgments:
        if grade > 0:
            relevant[pairs.queries[int(query)]].add(pairs.documents[int(place)])
    return relevant


def no_negatives(pairs: TextPairs) -> dict[str, set[str]]:
    """The documents that are no negatives of each query, as texts: its answers, and itself."""
    relevant = answers_of(pairs)
    if pairs.itself is not None:
        for query, place in zip(pairs.queries, pairs.itself, strict=True):
            relevant[query] |= {pairs.documents[int(place)]} if place >= 0 else set()
    return relevant


def line_of(pairs: TextPairs, at: int, negatives: Sequence[int]) -> dict[str, Any]:
    """A training pair as `pairs:FILE` reads it."""
    line = {"query": pairs.queries[at], "positive": pairs.documents[pairs.positive[at]]}
    return line | {"negatives": [pairs.documents[n] for n in negatives], "split": "train"}


def lines_to_measure(pairs: TextPairs) -> list[dict[str, Any]]:
    """The queries that validate as `pairs:FILE` reads them, a line for each of their documents."""
    return [
        {"query": query, "positive": document, "split": "val"}
        for query, documents in answers_of(pairs).items()
        for document in sorted(documents)
    ]


def write_lines(file: Path, lines: Sequence[dict[str, Any]]) -> None:
    """Write JSON lines, gzipped if the name ends so; a file that is there stays as it is.

    Raises:
        ValueError: it is there already, or cannot be written.
    """
    text = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines).encode()
    try:
        with file.open("xb") as out:
            out.write(gzip.compress(text) if file.suffix == GZIP else text)
    except OSError as error:
        raise ValueError(f"--mine {file} cannot be written: {error.strerror}") from None
