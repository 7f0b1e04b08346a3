"""An encoder from its file, with what no tensor tells: how it is built, how images are prepared."""

import copy
import json
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from cl import checkpoints, runs
from cl.checkpoints import ENCODER
from cl.checkpoints.formats import Report
from cl.config import Linear, from_json
from cl.config.evaluations import of_images
from cl.config.programs import PROGRAMS
from cl.data.augment.recipe import Recipe, preset
from cl.data.sets import DEFAULTS
from cl.eval._transform import Transform
from cl.nets import encoders


class Restored(NamedTuple):
    """An encoder, and where it comes from.

    Args:
        encoder: `(n c h w)` images to `(n d)` features.
        recipe: how its images are prepared.
        about: what it takes to build it again.
        file: with its weights; None where they are random, or were in memory.
        report: how the file's tensors became the encoder's.
    """

    encoder: nn.Module
    recipe: Recipe
    about: dict[str, Any]
    file: Path | None = None
    report: Report | None = None

    @property
    def named(self) -> bool:
        """Whether the encoder can be built again by its name; one of the user's own cannot."""
        return ":" not in self.about["encoder"]


def load_encoder(
    run_or_file: str | Path,
    encoder: str | nn.Module | None = None,
    *,
    dataset: str | None = None,
    image_size: int | None = None,
) -> tuple[nn.Module, Transform]:
    """Load an encoder, and how its images are prepared.

    Args:
        run_or_file: a run's folder, or its id under `trained_models/`; an `encoder.safetensors`; or
            a checkpoint of another project (docs/evaluation.md has the list).
        encoder: its name, as on the command line; needed where the file does not say it. Or a
            module of your own, which gets the weights: one that was trained as an object, such as
            an `nn.Sequential`, is known by nobody else.
        dataset: whose mean and deviation the images get where the file does not say them; by
            default ImageNet's.
        image_size: side of the images in pixels; by default that of the run, or 224.

    Returns:
        The encoder in evaluation mode, on the CPU, and the transform from an image to what the
        encoder takes.

    Raises:
        ValueError: there is no such file, it is not read as data, or holds another encoder.
    """
    file = checkpoints.encoder_file(find_run(run_or_file))
    restored = restore(file, encoder, dataset, image_size)
    return restored.encoder.eval(), Transform(restored.recipe)


def find_run(given: str | Path) -> Path:
    """The folder of a run that is called by its id, or the path itself."""
    path, run = Path(given), PROGRAMS / "trained_models" / given
    return run if not path.exists() and run.is_dir() else path


def restore(
    file: Path | None,
    given: str | nn.Module | None = None,
    dataset: str | None = None,
    image_size: int | None = None,
) -> Restored:
    """Restore an encoder.

    Args:
        file: with its weights; None leaves them random.
        given: the encoder, or its name; None takes the name that the file says.
        dataset: whose recipe prepares the images, in what the file does not say.
        image_size: side of the images in pixels; by default the file's, or the data set's.

    Raises:
        ValueError: the weights are another encoder's, or nothing says whose they are.
    """
    about = about_file(file) if file else {}
    name = encoder_name(file, given, about.get("encoder"))
    recipe = preset(dataset) if dataset else Recipe(size=DEFAULTS["size"])
    size = image_size or about.get("image_size") or recipe.size
    built, norm = about.get("image_size", size), about.get("norm", "batch")
    own_module = isinstance(given, nn.Module)
    channels = len(about.get("mean", recipe.mean))
    encoder = given if own_module else encoders.create(name, built, norm=norm, channels=channels)
    report = checkpoints.load_weights(encoder, file) if file else None
    changes: dict[str, Any] = {"size": size}
    changes |= {k: tuple(about[k]) for k in ("mean", "std") if k in about}
    recipe = recipe.changed(changes)
    own = {"encoder": name, "norm": norm, "image_size": built}
    own |= {"mean": list(recipe.mean), "std": list(recipe.std), "dataset": dataset}
    if report is not None and report.padding is not None:
        own["padding"] = report.padding
    return Restored(encoder, recipe, own, file, report)


def encoder_name(file: Path | None, given: str | nn.Module | None, said: str | None) -> str:
    """The name of the encoder that is restored.

    Code is not imported because a file names it: an encoder from outside of this package must be
    given.

    Raises:
        ValueError: nothing says which encoder it is, or the file holds another one.
    """
    if isinstance(given, nn.Module):
        return qualified_name(given)
    if given is None and said is None:
        raise ValueError(f"{file} does not say whose weights it holds; give the encoder's name.")
    if given is None and said is not None and ":" in said:
        raise ValueError(
            f"{file} holds the weights of {said}, which is not an encoder of this package; give "
            "the encoder: a module that takes the weights, or this name if it needs no arguments."
        )
    if given is not None and said not in (None, given):
        raise ValueError(f"ENCODER {given}: {file} holds the weights of {said}")
    return given or said or ""


def restore_module(encoder: nn.Module, recipe: Recipe) -> Restored:
    """An encoder that is in memory: a copy, so that whatever trains leaves the original alone."""
    about = {"encoder": qualified_name(encoder), "image_size": recipe.size}
    about |= {"mean": list(recipe.mean), "std": list(recipe.std)}
    return Restored(copy.deepcopy(encoder).cpu(), recipe, about)


def qualified_name(thing: object) -> str:
    """Where the type of an object is defined.

    >>> qualified_name(nn.ReLU())
    'torch.nn.modules.activation:ReLU'
    """
    return f"{type(thing).__module__}:{type(thing).__qualname__}"


def about_file(file: Path) -> dict[str, Any]:
    """What it takes to build the encoder of a file, by the file or the run around it."""
    return about_run(file) or checkpoints.about_encoder(file)


def about_run(file: Path) -> dict[str, Any]:
    """What it takes to build the encoder of a run's .ckpt, by the configuration beside it."""
    config = file.with_name(runs.CONFIG)
    if file.suffix != ".ckpt" or not config.exists():
        return {}
    try:
        run = from_json(config.read_text())
        about = {} if isinstance(run, Linear) else preparation(config)
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(f"{config}, which says what {file} holds: {error!r}") from error
    if isinstance(run, Linear):
        return about_evaluation(run, file)
    size = run.resolved_image_size
    return {"encoder": run.encoder, "norm": run.norm, "image_size": size} | about


def preparation(config: Path) -> dict[str, Any]:
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
        raise ValueError(f"{flag} holds the classifier of --eval {kinds}; give an encoder.")
    if getattr(run, "lora_rank", None) is not None:
        raise ValueError(f"{flag} holds the parts of --lora_rank; give their sum, {beside}.")
    if not beside.exists():
        raise ValueError(f"{flag} needs its {ENCODER} beside it, which says how it is built.")
    return checkpoints.about_encoder(beside)
