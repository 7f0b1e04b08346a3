"""The configurations of the two programs, frozen, and what follows from them."""

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from cl import rates, schedules
from cl.config import signature
from cl.config.datasets import kind_of, row_of
from cl.config.encoders import default_length
from cl.config.evaluations import about, meant
from cl.config.launcher import cores, started
from cl.config.options import (
    DataOptions,
    EvaluationOptions,
    HardwareOptions,
    LargeOptions,
    MethodOptions,
    OptimizationOptions,
    RunOptions,
    ViewsOptions,
    WatchingOptions,
)
from cl.config.schema import Option, again, filled

LR = 0.1  # of an evaluation that learns
WORKERS = 4  # of a device that has as many cores
# Options of a method as they are by default where texts are compared: without a projector, and
# samples of one document are positives.
OF_TEXTS = {"hidden_mlp": 0, "supervised": True}
PROGRAMS = Path(__file__).parents[2]  # the folder in which the two programs stand
INSTALLED = {
    "main_contrastive.py": "cl-pretrain",
    "main_linear.py": "cl-evaluate",
    "-m cl.embedding": "cl-embed",
}


def from_clone() -> bool:
    """Whether the package stands beside the two programs; where pip installed it, it does not."""
    return (PROGRAMS / "main_contrastive.py").is_file()


def start_of(program: str) -> list[str]:
    """How a command line begins: with this Python and a clone's program, or as pip installed it.

    It runs as it stands in the shell that started this, whether or not an environment is active
    there.

    Args:
        program: the name of its file in a clone, or `-m` and that of its module.
    """
    if not from_clone():
        return [typed(Path(sys.executable).parent / INSTALLED[program])]
    beside = called_beside()
    python = typed(Path(sys.executable), PROGRAMS if beside else None)
    file = PROGRAMS / program
    return [python, *([str(file)] if file.is_file() and not beside else program.split())]


def called_beside() -> bool:
    """Whether the shell that started this stands in the clone's folder."""
    try:  # a script of `bash_files` has moved there
        return from_clone() and Path(os.environ.get("CL_CALLED_FROM") or Path.cwd()) == PROGRAMS
    except FileNotFoundError:  # of a folder that was deleted meanwhile
        return False


def from_anywhere(path: Path) -> Path:
    """A path as it stands in a command line: whole, unless the line is for the clone's folder."""
    if called_beside():
        return path
    try:
        return path.absolute()
    except FileNotFoundError:  # as above
        return path


def typed(program: Path, folder: Path | None = None) -> str:
    """How a shell runs a program: by its name alone where that finds it.

    Args:
        program: its file.
        folder: the shell's folder, from which the path of a program in it starts.
    """
    if shutil.which(program.name) == str(program) or not program.is_file():
        return program.name
    if folder is not None and program.is_relative_to(folder):
        return str(program.relative_to(folder))
    return str(program)


def folder_of_runs(output: str | Path | None) -> Path:
    """The folder of `--output`, by default beside the programs of a clone, else in the current."""
    return Path(output or (PROGRAMS if from_clone() else Path.cwd()) / "trained_models")


def allows(options: Mapping[str, Option], name: str, value: Any) -> bool:
    """Whether there is an option of that name that may have the value."""
    return name in options and (isinstance(value, bool) or options[name].in_range(value))


@dataclass(frozen=True, kw_only=True)
class Common(DataOptions, OptimizationOptions, HardwareOptions, RunOptions):
    """What both programs share. A `resolved_` property is a setting with its default filled in."""

    @property
    def devices_per_node(self) -> int:
        launcher = started()
        return len(self.gpus) or self.devices or (launcher.per_node if launcher else 1)

    @property
    def nodes(self) -> int:
        launcher = started()
        return self.num_nodes or (launcher.nodes if launcher else 1)

    @property
    def processes(self) -> int:
        """How many there will be, one for each device."""
        return self.devices_per_node * self.nodes

    @property
    def resolved_num_workers(self) -> int:
        if self.num_workers is not None:
            return self.num_workers
        return min(WORKERS, max(1, cores() // self.devices_per_node))

    def global_batch(self, processes: int | None = None) -> int:
        """Samples of all devices in a step."""
        return self.global_batch_size or self.batch_size * (processes or self.processes)

    @property
    def batch_size_per_device(self) -> int:
        return self.global_batch() // self.processes

    def scaled_lr(self, processes: int | None = None) -> float:
        """The learning rate at its height (linear scaling: Goyal et al. 2017, 1706.02677)."""
        return self.scaled(self.resolved_lr, processes)

    def scaled(self, lr: float, processes: int | None = None) -> float:
        """A learning rate for the global batch."""
        return lr * self.global_batch(processes) / 256 if self.lr_scaling else lr

    @property
    def resolved_lr(self) -> float:
        return self.lr

    def resolved_warmup_epochs(self, epochs: float) -> float:
        """How long a run of so many epochs warms up, which `max_steps` may have cut short."""
        given = self.warmup_epochs
        return rates.warmup_epochs(epochs) if given is None else given

    @property
    def resolved_lr_decay_rate(self) -> float | None:
        if self.lr_decay_rate or ":" in self.scheduler:  # whose own default holds
            return self.lr_decay_rate
        return schedules.default_of(self.scheduler, "lr_decay_rate") or 0.1

    @property
    def kind(self) -> str:
        """What the samples are: images, text or image-text."""
        return kind_of(self.dataset, self.data_folder)

    @property
    def text_encoder(self) -> str:
        """The name of the encoder of texts."""
        return self.encoder

    @property
    def resolved_max_length(self) -> tuple[int, int]:
        """Tokens of a query and of a document that are used; a caption is a query."""
        return self.max_length or default_length(self.text_encoder)

    @property
    def resolved_image_size(self) -> int:
        return self.image_size or row_of(self.dataset)["size"]

    @property
    def runs_folder(self) -> Path:
        """Where runs are kept: beside the programs of a clone, else in the current folder."""
        return folder_of_runs(self.output)


@dataclass(frozen=True, kw_only=True)
class Pretrain(
    Common,
    DataOptions,
    ViewsOptions,
    MethodOptions,
    LargeOptions,
    OptimizationOptions,
    HardwareOptions,
    RunOptions,
    WatchingOptions,
):
    """Contrastive pretraining of an encoder.

    Attributes:
        method_options: the method's settings that were given; the others have its defaults.
        loss_options: likewise the loss's.
    """

    method_options: Mapping[str, Any] = field(default_factory=dict)
    loss_options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def loss_name(self) -> str:
        """The loss that is computed: `loss`, or the method's own."""
        return signature.loss_of(self.method, self.loss)

    @property
    def method_settings(self) -> dict[str, Any]:
        """All settings of the method; of texts those that are not given differ, see OF_TEXTS."""
        options = signature.method(self.method).options
        given = {
            k: v for k, v in OF_TEXTS.items() if self.kind != "images" and allows(options, k, v)
        }
        return filled(options, given | {**self.method_options})

    @property
    def text_encoder(self) -> str:
        """The name of the encoder of texts, which a method may have besides that of images."""
        return self.method_settings.get("text_encoder", self.encoder)

    @property
    def loss_settings(self) -> dict[str, Any]:
        """All settings of that loss; one whose default is an expression stands as its source."""
        return filled(signature.loss(self.loss_name).options, self.loss_options)

    @property
    def resolved_schedules(self) -> dict[str, schedules.Schedule]:
        """The numbers that `schedule` moves, each from its value on."""
        values = self.method_settings | self.loss_settings
        parsed = (schedules.parse_schedule(word) for word in self.schedule)
        return {
            name: schedules.Schedule(start=values[name], end=end, steps=steps, shape=shape)
            for name, shape, end, steps in parsed
        }

    @property
    def learned(self) -> tuple[str, ...]:
        """The loss's scalars that learn."""
        choice = self.method_settings.get("learn", "nothing")
        return {"nothing": (), "both": ("temperature", "bias")}.get(choice, (choice,))

    @property
    def resolved_classifier_lr(self) -> float:
        return self.classifier_lr or rates.of_probe(self.optimizer)

    @property
    def resolved_bias_lr(self) -> float:
        return self.scaled(self.bias_lr or self.resolved_lr)

    @property
    def resolved_learned_lr(self) -> float | None:
        return self.learned_lr or rates.of_scalars(self.optimizer)

    @property
    def resolved_small_crop_size(self) -> int:
        return self.small_crop_size or round((self.crop_size or self.resolved_image_size) * 3 / 7)


@dataclass(frozen=True, kw_only=True)
class Linear(
    Common, DataOptions, EvaluationOptions, OptimizationOptions, HardwareOptions, RunOptions
):
    """Evaluation of a pretrained encoder.

    Attributes:
        eval_options: the evaluations' options that were given, which can also be read like
            settings, as `config.k`; the others have each evaluation's defaults.
    """

    scheduler: str = again(OptimizationOptions, "scheduler", "step")
    lr: float | None = again(  # pyright: ignore[reportIncompatibleVariableOverride]
        OptimizationOptions,
        "lr",
        None,
        shown=f"{LR:g}; of a linear classifier of frozen features the best of some, see --lr_grid",
    )
    lr_scaling: bool = again(OptimizationOptions, "lr_scaling", default=False, shown="no")
    weight_decay: float = again(OptimizationOptions, "weight_decay", 0.0)
    eval_options: Mapping[str, Any] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        given = vars(self).get("eval_options", {})
        if name not in given:
            raise AttributeError(f"the configuration has no {name}")
        return given[name]

    @property
    def resolved_lr(self) -> float:
        return self.lr or LR

    @property
    def eval_settings(self) -> dict[str, Any]:
        """The options of the evaluations, without those that several have with other defaults."""
        options = rooms(self)["eval_options"]
        each = [about(name).options for name in meant(self.eval)]
        common = {
            name: option
            for name, option in options.items()
            if len({repr(o[name].default) for o in each if name in o}) == 1
        }
        return filled(common, self.eval_options)


C = TypeVar("C", Pretrain, Linear)


def rooms(config: Pretrain | Linear) -> dict[str, dict[str, Option]]:
    """The options of what is chosen, by the attribute of the configuration that holds them."""
    if isinstance(config, Pretrain):
        return {
            "method_options": signature.method(config.method).options,
            "loss_options": signature.loss(config.loss_name).options,
        }
    found = dict[str, Option]()
    for name in meant(config.eval):
        found = about(name).options | found
    return {"eval_options": found}
