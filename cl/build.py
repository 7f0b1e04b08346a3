"""From a checked configuration to the parts of a run: data, encoder, method, measurement."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from cl import hardware, runs, trainer
from cl.config import Pretrain
from cl.data import sets
from cl.data.augment.recipe import SMALL_SCALE, SWAV_SMALL, Recipe, full_size
from cl.data.module import ContrastiveData
from cl.data.sets import Images
from cl.eval._baseline import measure_frozen
from cl.losses import get_loss
from cl.methods import get_method
from cl.methods._base import Method
from cl.nets import encoders

MEASURED = 10_000  # images of each part that the measurement before and after looks at


@dataclass(frozen=True)
class Own:
    """What a caller from Python brings along as an object; None is made by its name.

    Args:
        encoder: from a view to features `(n d)`.
        data: what is trained on, and validated on.
        method: its class.
        loss: of embeddings `(v n d)`, ids and rows.
    """

    encoder: nn.Module | None = None
    data: ContrastiveData | sets.Source | None = None
    method: type[Method] | None = None
    loss: Callable[..., Any] | None = None


NOTHING = Own()


def build_data(config: Pretrain, own: Own) -> ContrastiveData:
    """The data set, its views, and what loads them."""
    if isinstance(own.data, ContrastiveData):
        return own.data
    source = own.data or sets.load(
        config.dataset,
        config.data_folder,
        config.train_dir,
        config.val_dir,
        config.download,
        class_list=config.class_list,
        data_fraction=config.data_fraction,
        skip_corrupt=config.skip_corrupt,
        workers=config.num_workers,
        console=None if runs.other_rank() else trainer.console,
    )
    return ContrastiveData(
        source,
        recipes(config, own),
        batch_size=config.batch_size_per_device,
        seed=config.seed,
        workers=config.num_workers,
        backend=config.backend,
        fill_last=config.last_batch_fill,
        size=config.resolved_image_size,
    )


def recipes(config: Pretrain, own: Own = NOTHING) -> list[Recipe]:
    """The views of a run: a preset with what the command line changes of it."""
    named = {
        "size": config.crop_size or config.resolved_image_size,
        "jitter_order": config.jitter_order,
        "brightness": config.brightness,
        "contrast": config.contrast,
        "saturation": config.saturation,
        "hue": config.hue,
        "crop_scale": config.crop_scale,
        "flip": config.flip_prob,
        "grayscale": config.grayscale_prob,
        "blur": config.blur_prob,
        "solarize": config.solarize_prob,
    }
    given = {k: v for k, v in named.items() if v is not None}
    full = [r.changed(given) for r in full_size(config.dataset, config.recipe, config.n_crops)]
    method = own.method or get_method(config.method)
    full = method.views(full, **config.method_settings)
    if not config.multicrop:
        return full
    small = {
        "size": config.resolved_small_crop_size,
        "views": config.n_small_crops,
        "crop_scale": config.small_crop_scale or SMALL_SCALE.get(config.recipe or "", SWAV_SMALL),
        "solarize": config.solarize_prob or 0.0,  # full-size views alone have it in the papers
    }
    return [*full, full[0].changed(small)]


def build_encoder(config: Pretrain, own: Own) -> nn.Module:
    """The encoder, with random weights unless it is the caller's own."""
    return own.encoder or encoders.create(
        config.encoder,
        config.resolved_image_size,
        zero_init_residual=config.zero_init_residual,
        norm=config.norm,
    )


def build_method(
    config: Pretrain, encoder: nn.Module, classes: int | None, own: Own = NOTHING
) -> Method:
    """The method on its encoder.

    Args:
        config: of the run.
        encoder: what is trained.
        classes: of the online probe; None where nothing has a label.
        own: what the caller brings along.
    """
    loss = own.loss or (get_loss(config.loss_name) if config.loss_name else None)
    return (own.method or get_method(config.method))(
        encoder,
        *([partial(loss, **config.loss_options)] if loss else []),  # else its own
        classes=classes,
        channels_last=config.channels_last,
        mini_batch_size=config.mini_batch_size,
        mini_batch_norm=config.mini_batch_norm,
        schedules=config.resolved_schedules,
        optimization=trainer.optimization(
            config,
            classifier_lr=config.resolved_classifier_lr,
            learned_lr=config.resolved_learned_lr,
        ),
        **config.method_settings,
    )


def about_encoder(config: Pretrain, recipe: Recipe) -> dict[str, Any]:
    """What it takes to use the encoder again, written beside its weights."""
    return {
        "encoder": config.encoder,
        "norm": config.norm,
        "image_size": config.resolved_image_size,
        "mean": list(recipe.mean),
        "std": list(recipe.std),
        "dataset": config.dataset,
        "method": config.method,
    }


def measurement(
    data: ContrastiveData, options: Mapping[str, Any]
) -> Callable[[nn.Module], dict[str, float]]:
    """A function: linear and kNN accuracy of an encoder on part of the data, on one device."""
    one_device = hardware.own_device(dict(options))

    def measure(encoder: nn.Module) -> dict[str, float]:
        train, val = (data.plain(spread(part)) for part in (data.source.train, data.source.val))
        return measure_frozen(encoder, (train, val), len(data.source.classes), **one_device)

    return measure


def spread(images: Images) -> Images:
    """At most `MEASURED` of the labelled images, evenly spread."""
    labelled = (images.labels >= 0).nonzero()[0]
    return images.subset(labelled[:: -(-len(labelled) // MEASURED)])
