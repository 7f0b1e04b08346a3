"""What a person reads before and after a run: the table, schedules, the last lines."""

import copy
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor, nn

from cl import checkpoints, losses, pictures, runs
from cl.checkpoints.space import say_bytes
from cl.config import Linear, Pretrain
from cl.config.datasets import row_of
from cl.config.evaluations import asking_for
from cl.config.handed_on import words_of_evaluation
from cl.config.programs import from_anywhere
from cl.data.augment.recipe import Recipe
from cl.data.image_text_data import ImageTextData
from cl.data.loaders.texts import SIDES
from cl.data.module import ContrastiveData, GivenData
from cl.data.sets import Images
from cl.data.text_data import TextData
from cl.layer_decay import layer_rates
from cl.nets import encoders
from cl.nets.lora import LoRA
from cl.nets.towers import Towers
from cl.nets.transformer import Transformer
from cl.optim import Optimization, check_epochs, lr_factor
from cl.schedules import FOLLOWS_LOSS, Schedule
from cl.terminal import escape_controls

Data = ContrastiveData | TextData | ImageTextData | GivenData
API = "see docs/api.md"
EMBEDS = "-m cl.embedding"
SMALL, SMALL_SIDE = 2**21, 96  # weights and px up to which an encoder is run to know its memory
BLOCKS, ASCII = "▁▂▃▄▅▆▇█", "_.:-=+*#"  # the least value first


def start_table(
    config: Pretrain,
    data: Data,
    method: nn.Module,
    encoder: nn.Module,
    options: Mapping[str, Any],
) -> dict[str, object]:
    """What the settings of a run amount to, by name.

    Args:
        config: of the run.
        data: what it trains on.
        method: everything that is trained.
        encoder: its part that sees images.
        options: of the Trainer, see `cl.hardware.trainer_options`.
    """
    batch, size = config.global_batch(), config.batch_size_per_device
    steps, chunk = steps_per_epoch(config, data), config.mini_batch_size or size
    loss = ", ".join(f"{k} {v}" for k, v in config.loss_settings.items() if v is not None)
    image = encoder.image if isinstance(encoder, Towers) else encoder
    base = image.encoder if isinstance(image, LoRA) else image
    stem = "" if isinstance(data, TextData) else f"stem {encoders.stem_of(base)}, "
    probed = getattr(method, "probe", None) is not None
    probe = f", probe {config.resolved_classifier_lr:g}" if probed else ""
    biases = f", biases {config.resolved_bias_lr:g}" if config.bias_lr else ""
    end = f" to {config.min_lr:g}" if config.min_lr else ""
    layers = say_layer_rates(**rates_of_layers(config, encoder))
    return {
        "method": f"{config.method}, {config.loss_name} ({loss})".replace(" ()", ""),
        **about_data(data),
        "encoder": f"{config.encoder}, {stem}{about_weights(image)}",
        **about_texts(config, encoder),
        "all parameters": sum(p.numel() for p in method.parameters()),
        "devices": f"{config.processes} x {device_name(options)}, {options['precision']}",
        **processes(config, options["accelerator"]),
        "global batch": f"{batch:,}, {chunk:,} on a device at a time",
        "learning rate": f"{config.optimizer} {config.scaled_lr():g} "
        f"({config.scheduler}{end}){layers}{biases}{probe}",
        "steps": f"{planned(config, steps):,} ({steps} an epoch)",
        **about_views(config, data, method, encoder, chunk),
        "disk": space_needed(config, method).describe(),
    }


def rates_of_layers(config: Pretrain | Linear, encoder: nn.Module) -> dict[str, Any]:
    """The lowest and the highest learning rate of an encoder's layers; empty: they are alike.

    Raises:
        ValueError: the encoder does not say which layers it has.
    """
    decay = getattr(config, "layer_decay", None)
    return {} if decay is None else {"layer_rates": layer_rates(encoder, config.scaled_lr(), decay)}


def say_layer_rates(layer_rates: tuple[float, float] | None = None) -> str:
    """The learning rates of an encoder's layers, for the table; empty where they are alike.

    >>> say_layer_rates((2e-5, 0.75e-3))
    ', layers 2e-05 to 0.00075'
    """
    return "" if layer_rates is None else f", layers {layer_rates[0]:.3g} to {layer_rates[1]:.3g}"


def device_name(options: Mapping[str, Any]) -> str:
    """The model of a GPU; of others their kind."""
    gpu = options["accelerator"] == "gpu" and torch.cuda.is_available()
    return torch.cuda.get_device_name() if gpu else str(options["accelerator"])


def space_needed(config: Pretrain, method: nn.Module) -> checkpoints.Space:
    """What a run will need of the disk, and what is free.

    Args:
        config: of the run.
        method: everything that is trained.
    """
    folder = config.runs_folder / (config.run_id or "")
    if resumed := config.resume_training_from:
        folder = Path(resumed) if Path(resumed).is_dir() else Path(resumed).parent
    saved = getattr(method, "saved", {}).values()
    kept = config.keep_best + len(config.keep_epochs)
    return checkpoints.plan_space(folder, method, saved, config.optimizer, kept)


def about_weights(encoder: nn.Module) -> str:
    """How many parameters an encoder has, how many of them learn, and where they come from."""
    base = encoder.encoder if isinstance(encoder, LoRA) else encoder
    said = f"{sum(p.numel() for p in base.parameters()):,} parameters"
    if isinstance(encoder, LoRA):
        learn = sum(p.numel() for p in encoder.parameters() if p.requires_grad)
        factor = "" if encoder.scale is None else f" times {encoder.scale:g}"
        said += f", LoRA{factor}: {learn:,} learn"
    return f"{base.origin}, {said}" if isinstance(base, Transformer) else said


def about_texts(config: Pretrain, encoder: nn.Module) -> dict[str, object]:
    """The rows about the encoder of texts beside one of images, and about what is locked."""
    if not isinstance(encoder, Towers):
        return {}
    lock = {"locked": f"the encoder of {encoder.lock}s"} if encoder.lock else {}
    return {"text encoder": f"{config.text_encoder}, {about_weights(encoder.text)}", **lock}


def about_data(data: Data) -> dict[str, object]:
    """The rows about the data set; a loader of the user's own says nothing of its views."""
    if isinstance(data, GivenData):
        return {"data": data.describe()}
    if isinstance(data, TextData):
        hard = {"hard negatives": data.hard_negatives} if data.hard_negatives else {}
        said = data.source.describe()
        return {"data": f"{data.source.name}: {said}", "tokens": data.describe(), **hard}
    return {
        "data": f"{data.source.name}: {data.source.describe()}",
        **about_probe_data(data),
        **({"pixels": said} if (said := images_shown(data).describe_decoding()) else {}),
        "views": ", ".join(map(describe_views, data.recipes)),
        "loader": data.describe(),
    }


def describe_views(recipe: Recipe) -> str:
    """How many views of which size, and how they are resized where it is not bilinearly."""
    how = " (bicubic)" if recipe.crop_interpolation == "bicubic" else ""
    return f"{recipe.views} of {recipe.size} px{how}"


def about_probe_data(data: Data) -> dict[str, object]:
    """The row about images with labels that a run without any is watched by."""
    if not isinstance(data, ContrastiveData) or data.labeled is data.source:
        return {}
    return {"probe data": f"{data.labeled.name}: {data.labeled.describe()}"}


def images_shown(data: ContrastiveData | ImageTextData) -> Images:
    """The training images."""
    return (data.images if isinstance(data, ImageTextData) else data).source.train


def about_views(
    config: Pretrain,
    data: Data,
    method: nn.Module,
    encoder: nn.Module,
    chunk: int,
) -> dict[str, object]:
    """The rows that follow from number and size of the views: negatives and memory."""
    if isinstance(data, GivenData):
        return {}
    if isinstance(data, TextData):
        if data.source.train.scores is not None:  # whose pairs are ranked, and no others made
            return {}
        views = SIDES + data.negatives
        said = describe_negatives(config.loss_name, config.global_batch(), views)
        return {"negatives per anchor": said}
    if isinstance(data, ImageTextData):
        said = describe_negatives(config.loss_name, config.global_batch(), SIDES)
        return {"negatives per anchor": said}
    sizes = [r.size for r in data.recipes for _ in range(r.views)]
    states = 2 if config.optimizer in ("adam", "adamw") else 1
    channels = data.recipes[0].channels
    said = describe_negatives(config.loss_name, config.global_batch(), len(sizes))
    try:
        needed = memory(method, encoder, sizes, chunk, states, channels)
    except Exception:  # where a forward asks for values, it needs some
        encoders.check_sizes(encoder, sizes, channels)
        return {"negatives per anchor": said}
    return {"negatives per anchor": said, "memory": f"about {say_bytes(needed)} a device"}


def processes(config: Pretrain | Linear, accelerator: str) -> dict[str, object]:
    """The row about processes; none where there is only one."""
    if config.processes == 1:
        return {}
    backend = "nccl" if accelerator == "gpu" else "gloo"
    where = f"{config.nodes} node{'s' * (config.nodes > 1)} x {config.devices_per_node}"
    patience = f"--timeout {config.timeout:g} minutes"
    return {"world size": f"{config.processes} processes, {where}, {backend}, {patience}"}


def steps_per_epoch(config: Pretrain, data: Data) -> int:
    """Optimizer steps of an epoch, with all processes that there will be.

    Raises:
        ValueError: a loader of the user's own has no length, and `max_steps` is not given or the
            learning rate falls by epochs.
    """
    if isinstance(data, GivenData):
        try:
            return len(data.train_dataloader())
        except TypeError:
            if not config.max_steps:
                raise ValueError("--max_steps is needed: the DataLoader has no length") from None
            check_epochs(config.scheduler)
            return config.max_steps
    return len(data.sampler(config.batch_size_per_device, 0, config.processes))


def activation_bytes(encoder: nn.Module, sizes: list[int], channels: int = 3) -> int:
    """Bytes that autograd keeps for one float32 view of each size.

    A large encoder runs on the meta device, where tensors have shapes and no data. That loads
    SymPy, so a small one runs on the CPU, on zeros.

    Args:
        encoder: is copied.
        sizes: side of the images in pixels, one for each view of a sample.
        channels: of the images.
    """
    is_small = sum(p.numel() for p in encoder.parameters()) <= SMALL and max(sizes) <= SMALL_SIDE
    device = "cpu" if is_small else "meta"
    twin = copy.deepcopy(encoder).to(device)
    kept: dict[int, int] = {}  # bytes by storage: two layers may keep one tensor, or a view of it

    def pack(t: Tensor) -> Tensor:
        storage = t.untyped_storage()
        kept[storage._cdata] = storage.nbytes()
        return t

    keeping = torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t)
    with keeping, torch.random.fork_rng([], enabled=is_small):  # of dropout
        graphs = [twin(torch.zeros(2, channels, size, size, device=device)) for size in sizes]
    for weight in (*twin.parameters(), *twin.buffers()):
        kept.pop(weight.untyped_storage()._cdata, None)
    del graphs  # until here, so that no storage's address was another's before
    return sum(kept.values()) // 2


def memory(
    module: nn.Module,
    encoder: nn.Module,
    sizes: list[int],
    batch_size: int,
    states: int,
    channels: int = 3,
) -> int:
    """Estimated bytes of a training step on one device: weights, gradients, states, activations.

    Args:
        module: everything that is trained.
        encoder: its part that sees images.
        sizes: side in pixels of each view of a sample.
        batch_size: samples on this device.
        channels: of the images.
        states: tensors the optimizer keeps for each parameter (SGD 1, Adam 2).
    """
    parameters = sum(p.numel() * p.element_size() for p in module.parameters())
    return parameters * (2 + states) + activation_bytes(encoder, sizes, channels) * batch_size


def show(title: str, rows: Mapping[str, object], console: Console) -> None:
    """Print a table."""
    table = Table(title=as_text(title), show_header=False, title_justify="left", title_style="bold")
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, as_text(f"{value:,}" if isinstance(value, int) else value))
    console.print(table)


def show_start(
    folder: Path, rows: Mapping[str, object], space: checkpoints.Space, console: Console
) -> None:
    """Print the table of a run that begins or goes on, from the first process; warn of its disk.

    Args:
        folder: of the run.
        rows: see `start_table`.
        space: that its files need.
        console: where it is printed.
    """
    if not runs.other_rank():
        show(f"run {folder.name}", rows, console)
    if space.is_short:
        warnings.warn(f"the disk will be full: {space.describe()} in {folder}", stacklevel=2)


def as_text(content: object) -> Text:
    """Content of a table that is neither rich's markup nor an escape of the terminal's."""
    return Text(escape_controls(content))


def planned(config: Pretrain, per_epoch: int) -> int:
    """The optimizer steps of a run, whose epochs have so many."""
    whole = per_epoch * config.epochs
    return whole if config.max_steps is None else min(whole, config.max_steps)


def plot_schedules(
    config: Pretrain,
    o: Optimization,
    schedules: Mapping[str, Schedule],
    per_epoch: int,
    console: Console,
) -> None:
    """Draw what changes while training: a line each, and the picture that `--dry_run` names.

    Args:
        config: of the run.
        o: the optimizer's settings, whose learning rate is drawn first.
        schedules: the method's, by name.
        per_epoch: steps of an epoch.
        console: where the lines are printed.

    Raises:
        ValueError: the picture cannot be written.
    """
    steps = planned(config, per_epoch)
    curves = {"lr": [o.lr * lr_factor(o, step, steps, per_epoch) for step in range(steps)]}
    if o.scheduler == FOLLOWS_LOSS:
        curves.clear()
        console.print(f"lr is not drawn: --scheduler {o.scheduler} follows the loss", markup=False)
    for name, schedule in schedules.items():
        curves[name] = [schedule.at(step, steps) for step in range(steps)]
    if curves:
        blocks = ASCII if console.options.ascii_only else BLOCKS
        console.print(draw_lines(curves, blocks=blocks), markup=False)
        picture = pictures.draw_curves(curves, per_epoch)
        pictures.save(picture.savefig, f"--dry_run {config.dry_run}", Path(config.dry_run or ""))


def draw_lines(curves: pictures.Curves, columns: int = 60, blocks: str = BLOCKS) -> str:
    """A row for each curve: its name, first, least, greatest and last value, and its shape.

    >>> print(draw_lines({"lr": [0, 0.5, 1]}, columns=3))
    lr  0 to 1, ends at 1  ▁▅█
    """
    names = max(map(len, curves))
    rows = []
    for name, values in curves.items():
        low, high = min(values), max(values)
        seen = [values[round(i * (len(values) - 1) / max(1, columns - 1))] for i in range(columns)]
        shape = "".join(blocks[round((v - low) / (high - low or 1) * 7)] for v in seen)
        rows.append(f"{name:{names}}  {low:g} to {high:g}, ends at {values[-1]:g}  {shape}")
    return "\n".join(rows)


def last_lines(
    config: Pretrain,
    run: runs.Run,
    metrics: Mapping[str, Any],
    program: str | None,
    *,
    multilabel: bool = False,
    evaluations: Sequence[str] | None = None,
) -> list[str]:
    """The last lines of a run: its result, its place, the next command.

    Args:
        config: of the run.
        run: that has ended.
        metrics: the last numbers, by name.
        program: that trained; None if only a call from Python repeats the run.
        multilabel: whether an image may be of several classes.
        evaluations: that its data can have; None of a loader, which does not say it.
    """
    lines, result = ["", headline(run, metrics, multilabel)], run.result
    if {"untrained", "trained"} <= result.keys():
        for key, name in (("linear_top1", "linear (logistic)"), ("knn_top1", "kNN")):
            before, after = (100 * result[when][key] for when in ("untrained", "trained"))
            start = "at the start" if config.init_from else "random init"
            lines.append(f"{name:18}{after:.1f} % top-1 ({start} {before:.1f} %)")
        fitted = "fitted to {fitted_on:,.0f} images, tested on {measured_on:,.0f}"
        lines.append(" " * 18 + fitted.format(**result["trained"]))
    place = f"run               {run.folder}"
    if program is None:
        if evaluations == ():
            what = "sentences" if config.kind == "text" else "data"
            return [*lines, place, f"next              cl.embed(run.encoder, {what}), {API}"]
        of = "run.folder" if config.kind == "image-text" else "run.encoder"  # of images alone
        asked = asking_for(evaluations or ())
        how = f"{of}, data, eval={asked[1]!r}" if asked else f"{of}, data"
        return [*lines, place, f"next              cl.evaluate({how}), {API}"]
    if evaluations == ():
        where = Path(config.data_folder) / config.dataset.partition(":")[2]
        known = row_of(config.dataset)["argument"] == ("FILE" if config.kind == "text" else "PATH")
        words = run.folder, where if known else "PLACE", "--out", run.folder / "features.npy"
        return [*lines, place, f"next              {runs.command(EMBEDS, *words)}"]
    words = words_of_evaluation(config, from_anywhere(run.folder), evaluations or ())
    return [*lines, place, f"next              {runs.command('main_linear.py', *words)}"]


def headline(run: runs.Run, metrics: Mapping[str, Any], multilabel: bool) -> str:
    """What validation found; without labels, how the embeddings fill their space.

    Args:
        run: that has ended.
        metrics: the last numbers, by name.
        multilabel: whether an image may be of several classes.
    """
    if "val/mrr10" in metrics:
        of = {"MRR": "mrr10", "nDCG": "ndcg10", "Recall": "recall10"}
        said = (f"{name}@10 {metrics[f'val/{key}']:.3f}" for name, key in of.items())
        return f"retrieval         {', '.join(said)}"
    if "val/recall10_t2i" in metrics:
        ways = {"text to image": "t2i", "image to text": "i2t"}
        said = (f"{name} {metrics[f'val/recall10_{key}']:.3f}" for name, key in ways.items())
        return f"Recall@10         {', '.join(said)}"
    if "val/spearman" in metrics:
        return f"similarity        Spearman {metrics['val/spearman']:.3f}"
    probe, rank = metrics.get("val/probe_top1"), metrics.get("monitor/effective_rank")
    if run.method.probe is not None or rank is None:
        reached = "no epoch was validated" if probe is None else f"{100 * probe:.1f} % top-1"
        return f"online probe      {reached}"
    named = ((name, float(metrics[f"monitor/{name}"])) for name in ("alignment", "uniformity"))
    said = "".join(f", {name} {value:.2f}" for name, value in named)
    why = "several labels an image have no probe" if multilabel else "there are no labels"
    return f"embeddings        effective rank {float(rank):.1f}{said}; {why}"


def describe_negatives(loss: str, batch: int, views: int) -> str:
    """Say how many embeddings of other samples a loss contrasts an anchor with.

    Args:
        loss: its name; empty where the method has a loss of its own.
        batch: samples in the global batch.
        views: views per sample.
    """
    count = losses.negatives(loss, views, batch) if loss else None
    if count is None:
        return "unknown: the loss does not say"
    return f"{count:,} of other samples" if count else "none"
