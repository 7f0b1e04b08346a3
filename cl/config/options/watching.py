"""Options of what is watched: checkpoints, ends, and looks before training."""

from dataclasses import dataclass
from typing import Literal

from cl.config import datasets
from cl.config.options._needs import OF_IMAGES
from cl.config.schema import flag


@dataclass(frozen=True, kw_only=True)
class WatchingOptions:
    """What is watched, and what can be looked at before training."""

    auto_resume: bool = flag(
        "go on with the run of that --run_id where there is one that has not ended, as a job that "
        "is queued again does",
        False,
        once=True,
        shown="yes where torchrun or SLURM start the program again",
    )
    max_time: float | None = flag(
        "minutes after which the step is saved and the program ends, with exit code 75",
        None,
        above=0,
        metavar="MINUTES",
        shown="no limit",
    )
    checkpoint_every: float = flag(
        "epochs, steps or minutes between two checkpoints", 1.0, above=0, metavar="NUMBER"
    )
    checkpoint_unit: Literal["epochs", "steps", "minutes"] = flag(
        "unit of --checkpoint_every", "epochs"
    )
    keep_best: int = flag(
        "checkpoints of the best epochs that are kept too, by kNN on the validation part, or the "
        "probe or the retrieval (of captions: Recall@1 of images; of scored pairs: Spearman's "
        "correlation) where there is no kNN",
        0,
        low=0,
        shown="0, none",
    )
    keep_epochs: tuple[int, ...] = flag(
        "epochs whose checkpoints are kept too", (), low=1, shown="none"
    )
    seeds: tuple[int, ...] = flag(
        "train once with each of these seeds, evaluate every run, and print the mean with its 95 % "
        "interval; they are kept in the folder --run_id, and the same command goes on with them",
        (),
        low=0,
        high=2**32 - 1,
        once=True,
        common=True,
        shown="one run with --seed",
    )
    probe_data: str | None = flag(
        "data set with labels by which a run on images without labels is watched: kNN after each "
        "epoch, kNN and logistic regression before and after training; nothing is trained on it",
        None,
        choices=datasets.closed,
        open=datasets.open_forms,
        noun="data set",
        metavar="DATASET",
        shown="none",
        needs=OF_IMAGES,
    )
    on_collapse: Literal["warn", "stop"] = flag("what to do when the embeddings collapse", "warn")
    baseline: bool = flag("evaluate the untrained encoder before training", True)
    dry_run: str | None = flag(
        "print the run's table, plot all schedules into this file (.png), and end",
        None,
        once=True,
        metavar="PATH",
        common=True,
    )
    show_views: str | None = flag(
        "draw the first samples and their views into this file (.png), and end",
        None,
        once=True,
        metavar="PATH",
        needs=OF_IMAGES,
    )
