"""Pretraining, from a checked configuration to a run."""

from dataclasses import asdict
from pathlib import Path

from pytorch_lightning.callbacks import Callback

from cl import build, hardware, runs, summary, trainer
from cl.build import NOTHING, Own
from cl.callbacks.geometry import Geometry
from cl.callbacks.saver import Saver
from cl.config import Pretrain
from cl.eval._baseline import Baseline
from cl.nets.norm import SyncEverywhere
from cl.runs import Run

PROGRAM = "main_contrastive.py"


def train(config: Pretrain, own: Own = NOTHING) -> Run:
    """Pretrain as configured.

    Args:
        config: as checked.
        own: what a caller from Python brings along.

    Returns:
        The run; its `code` is the exit code of the process.

    Raises:
        ValueError: the data, the encoder or the folder are not what they should be.
    """
    with trainer.setup(config):
        data = build.build_data(config, own)
        encoder = build.build_encoder(config, own)
        if config.show_views:
            summary.plot_views(data, Path(config.show_views))
            say(f"views of {data.describe()}: {config.show_views}")
            return Run(config.runs_folder, encoder)
        method = build.build_method(config, encoder, len(data.source.classes) or None, own)
        options = hardware.trainer_options(
            config.gpus, config.devices_per_node, config.precision, config.nodes
        )
        rows = summary.table(config, data, method, encoder, options)
        if config.dry_run:
            summary.show("dry run", rows, trainer.console)
            steps = summary.steps_per_epoch(config, data)
            schedules = method.optimization, method.schedules
            summary.plot_schedules(config, *schedules, steps, trainer.console)
            return Run(config.runs_folder, encoder, method)

        derived = {"recipes": [asdict(recipe) for recipe in data.recipes]}
        folder, checkpoint = trainer.run_folder(config, derived)
        runs.keep_skipped(folder, data.source.skipped)
        if not runs.other_rank():
            summary.show(f"run {folder.name}", rows, trainer.console)
        about = build.about_encoder(config, data.recipes[0])
        callbacks: list[Callback] = [Geometry(config.on_collapse), Saver(folder, about)]
        if config.baseline:
            measure, resumed = build.measurement(data, options), checkpoint is not None
            callbacks.append(Baseline(folder / runs.RESULT, measure, resumed=resumed))
        on_gpu, parallel = options["accelerator"] == "gpu", config.processes > 1
        plugins = [SyncEverywhere(on_gpu)] if config.sync_batchnorm and parallel else []
        made = trainer.make_trainer(config, folder, checkpoint, callbacks, options, plugins)
        code = trainer.fit(made, method, data, checkpoint, PROGRAM, folder)
        run = Run(folder, method.evaluated, method, code)
        if not code and made.is_global_zero:
            for line in summary.last_lines(config, run, made.callback_metrics):
                say(line)
        return run


def say(line: str) -> None:
    """Print a line for the user."""
    trainer.console.print(line, markup=False)
