"""Options of a run: its folder, what it starts from, and where it is logged."""

from dataclasses import dataclass
from typing import Literal

from cl.config.schema import flag


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Where a run is written, and what it starts from."""

    name: str | None = flag("name of the run in wandb", None, shown="wandb makes one", common=True)
    project: str = flag("project of the run in wandb", "contrastive_learning", metavar="NAME")
    seed: int = flag("seed of weights, order and views", 0, low=0, high=2**32 - 1, common=True)
    output: str | None = flag(
        "folder of runs",
        None,
        shown="trained_models beside the programs",
        metavar="PATH",
        common=True,
    )
    run_id: str | None = flag("name of the run's folder", None, once=True, shown="eight letters")
    resume_training_from: str | None = flag(
        "continue a run: its folder or a checkpoint in it",
        None,
        once=True,
        metavar="PATH",
        common=True,
    )
    config: str | None = flag(
        "take the settings of a run's config.json; flags on the line win",
        None,
        once=True,
        metavar="PATH",
        common=True,
    )
    wandb: Literal["auto", "online", "offline", "off"] = flag(
        "Weights & Biases: auto is online if you are logged in, else offline, and off where it is "
        "not installed; it never asks",
        "auto",
        common=True,
    )
    wandb_entity: str | None = flag(
        "team or user of the run in wandb", None, metavar="NAME", shown="that of your login"
    )
    wandb_group: str | None = flag(
        "group of the run in wandb",
        None,
        metavar="NAME",
        shown="none; of an evaluation the id of the run that it evaluates",
    )
    wandb_tags: str | None = flag(
        "tags of the run in wandb, with commas between them", None, metavar="TAG,TAG", shown="none"
    )
    wandb_notes: str | None = flag("a note on the run in wandb", None, metavar="TEXT", shown="none")
    wandb_artifact: bool = flag(
        "log encoder.safetensors to wandb as an artifact when the run ends", False
    )
    logger: Literal["tensorboard"] | None = flag(
        "log the same numbers as TensorBoard's files too, into the run's folder",
        None,
        shown="none",
    )
    log_every_n_steps: int = flag("steps between two rows of metrics.csv", 50, low=1)
    report: bool = flag("write report.html, a page to look at, when the run ends", True)
    take_over: bool = flag(
        "write a run's folder although a process of another machine, which must have ended, has it",
        False,
        once=True,
    )
    override: bool = flag(
        "with --resume_training_from: go on with other learning rates, layer_decay, weight decay, "
        "momentum, betas, clipping or options of the loss, which config.json then has",
        False,
        once=True,
    )
    debug: bool = flag("show the traceback of an error", False, once=True)
