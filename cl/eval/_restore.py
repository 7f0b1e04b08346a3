"""An encoder from its file, with what no tensor tells: how it is built, how images are prepared."""

import json
from pathlib import Path
from typing import Any

from torch import nn

from cl import checkpoints, runs
from cl.checkpoints import ENCODER
from cl.checkpoints.formats import Report
from cl.config import Linear, from_json
from cl.config.evaluations import of_images
from cl.data.augment.recipe import Recipe, preset
from cl.nets import encoders


def restore(
    config: Linear, file: Path | None
) -> tuple[nn.Module, Recipe, dict[str, Any], Report | None]:
    """Restore an encoder.

    Args:
        config: names the encoder and the data set.
        file: with its weights; None leaves them random.

    Returns:
        The encoder, how its images are prepared, what it takes to build it again, and how the
        file's tensors became the encoder's.

    Raises:
        ValueError: the weights are another encoder's.
    """
    about = (about_run(file) or checkpoints.about_encoder(file)) if file else {}
    if about and about["encoder"] != config.encoder:
        raise ValueError(
            f"ENCODER {config.encoder}: {file} holds the weights of {about['encoder']}"
        )
    size = config.image_size or about.get("image_size") or config.resolved_image_size
    built, norm = about.get("image_size", size), about.get("norm", "batch")
    encoder = encoders.create(config.encoder, built, norm=norm)
    report = checkpoints.load_encoder(encoder, file) if file else None
    changes: dict[str, Any] = {"size": size}
    changes |= {k: tuple(about[k]) for k in ("mean", "std") if k in about}
    recipe = preset(config.dataset).changed(changes)
    own = {"encoder": config.encoder, "norm": norm, "image_size": built}
    own |= {"mean": list(recipe.mean), "std": list(recipe.std), "dataset": config.dataset}
    if report is not None and report.padding is not None:
        own["padding"] = report.padding
    return encoder, recipe, own, report


def about_run(file: Path) -> dict[str, Any]:
    """What it takes to build the encoder of a run's .ckpt, by the configuration beside it."""
    config = file.with_name(runs.CONFIG)
    if file.suffix != ".ckpt" or not config.exists():
        return {}
    try:
        run = from_json(config.read_text())
        about = {} if isinstance(run, Linear) else prepared(config)
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(f"{config}, which says what {file} holds: {error!r}") from error
    if isinstance(run, Linear):
        return about_evaluation(run, file)
    size = run.resolved_image_size
    return {"encoder": run.encoder, "norm": run.norm, "image_size": size} | about


def prepared(config: Path) -> dict[str, Any]:
    """Mean and deviation of a pretraining's images, as its config.json has them."""
    recipe = json.loads(config.read_text())["derived"]["recipes"][0]
    return {"mean": recipe["mean"], "std": recipe["std"]}


def about_evaluation(run: Linear, file: Path) -> dict[str, Any]:
    """The same of an evaluation's, of which only one that learns from images trains an encoder.

    Raises:
        ValueError: there is none in it, or not as one.
    """
    flag, beside = f"--pretrained_feature_extractor {file}", file.with_name(ENCODER)
    if not of_images(run.eval):
        kinds = " ".join(run.eval)
        raise ValueError(f"{flag}: holds the classifier of --eval {kinds}, allowed an encoder")
    if getattr(run, "lora_rank", None) is not None:
        raise ValueError(f"{flag}: holds the parts of --lora_rank, allowed their sum, {beside}")
    if not beside.exists():
        raise ValueError(f"{flag}: allowed beside its {ENCODER}, which says how it is built")
    return checkpoints.about_encoder(beside)
