"""What the data modules of a data set share: the processes' parts, and the sums of the data."""

from functools import cached_property
from typing import Any, Generic, TypeVar

import pytorch_lightning as pl

from cl.data.loaders.sampler import Sampler
from cl.data.sets import Samples, Source
from cl.data.sets._sums import data_checksum

S = TypeVar("S", bound=Samples)


class SourceData(pl.LightningDataModule, Generic[S]):
    """Samples of a data set that was read by its name, or given as one.

    Args:
        source: the data set.
        batch_size: samples of one process in a batch.
        seed: of the order of samples, and of all else that is drawn.
        fill_last: complete the last batch of an epoch with samples from its start, instead of
            leaving it out.
    """

    unit = "img"  # of the rate that is shown
    nouns = "images"  # what the samples are, for messages, and how others are told
    told_by = "names, sizes or labels"

    def __init__(self, source: Source[S], batch_size: int, seed: int, fill_last: bool) -> None:
        super().__init__()
        self.source, self.batch_size = source, batch_size
        self.seed, self.fill_last = seed, fill_last

    def rank_and_world(self) -> tuple[int, int]:
        """The rank of this process and the number of processes; 0 and 1 without a Trainer."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def sampler(self, batch_size: int, rank: int = 0, world: int = 1) -> Sampler:
        """What chooses the training samples of each step.

        Args:
            batch_size: samples of one process in a batch.
            rank: number of this process.
            world: number of processes.
        """
        samples = len(self.source.train)
        return Sampler(samples, batch_size, self.seed, rank, world, self.fill_last)

    @cached_property
    def sums(self) -> dict[str, Any]:
        """What a run's steps depend on: number and sum of the samples of both parts."""
        parts = {"training": self.source.train, "validation": self.source.val}
        return {what: [len(samples), data_checksum(samples)] for what, samples in parts.items()}

    def state_dict(self) -> dict[str, Any]:
        return {**self.sums, "batch": self.batch_size * self.rank_and_world()[1]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Compare the data with those of the checkpoint.

        Raises:
            ValueError: they are others.
        """
        now = self.state_dict()
        wrong = [
            f"{now[what][0]:,} {what} {self.nouns} instead of {then[0]:,}"
            if now[what][0] != then[0]
            else f"{then[0]:,} {what} {self.nouns} of other {self.told_by}"
            for what, then in state_dict.items()
            if what != "batch" and now[what] != then
        ]
        if now["batch"] != state_dict["batch"]:
            wrong.append(f"{now['batch']} samples in a step instead of {state_dict['batch']}")
        if wrong:
            raise ValueError(
                f"--resume_training_from: the data are not those of the run, but "
                f"{' and '.join(wrong)}; put back what it was trained on, or start a new run"
            )
