"""Checkpoints: written so that a crash loses nothing, read as data and never as code.

A run's folder holds `last.ckpt` (everything a resumed run needs), the one before it as
`previous.ckpt`, their sha256 sums, and `encoder.safetensors` under the keys its model has in timm.
This is the only file that touches one of them.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from cl.checkpoints import formats, hugging_face

VERSION = 1  # of the layout of a checkpoint, its mark: another project's file has none
LAST, PREVIOUS, ENCODER = "last.ckpt", "previous.ckpt", "encoder.safetensors"
TOWERS = "towers.safetensors"  # both encoders of a run on images and texts


class SafeIO(TorchCheckpointIO):
    """Writes beside, flushes to the disk, then renames; keeps the one before; checks sums."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        assert storage_options is None
        path = Path(path)
        try:
            self.write(checkpoint, path)
        except OSError as error:
            # A full disk: the training and the checkpoint before go on. Raised, it would leave the
            # other processes at the barrier behind this.
            step = checkpoint.get("global_step")
            warnings.warn(f"step {step} is NOT saved: {path}: {error}", stacklevel=2)

    def write(self, checkpoint: dict[str, Any], path: Path) -> None:
        """The checkpoint, complete or not at all.

        Raises:
            OSError: the disk is full, or gone.
        """
        new = path.with_suffix(".new")
        with new.open("wb") as file:
            torch.save({**checkpoint, formats.MARK: VERSION}, file)
            file.flush()
            os.fsync(file.fileno())
        digest = sha256(new)
        if path.exists():
            keep_previous(path)
        # The sum goes first: a crash between the two leaves the old file, whose sum then differs
        # and is refused in favor of its copy under `previous`.
        sum_of(path).write_text(f"{digest}  {path.name}\n")
        new.replace(path)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = True
    ) -> dict[str, Any]:
        assert weights_only is not False, "checkpoints are data"
        return torch.load(intact(Path(path)), map_location=map_location, weights_only=True)


def keep_previous(path: Path) -> None:
    """The checkpoint at `path` also becomes `previous.ckpt`, unless it is damaged itself."""
    if not valid(path):
        return
    previous = path.with_name(PREVIOUS)
    sum_of(previous).write_text(f"{sha256(path)}  {previous.name}\n")
    spare = previous.with_suffix(".new")
    spare.unlink(missing_ok=True)
    try:
        os.link(path, spare)
    except OSError:  # a file system without hard links
        shutil.copy2(path, spare)
    spare.replace(previous)


def sha256(path: Path) -> str:
    """The sum of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sum_of(path: Path) -> Path:
    """Where the sum of a checkpoint stands, in the format of `sha256sum --check`."""
    return path.with_name(f"{path.name}.sha256")


def valid(path: Path) -> bool:
    """Whether a checkpoint is there and equals its sum (one without a sum counts as whole)."""
    if not path.exists():
        return False
    return not sum_of(path).exists() or sum_of(path).read_text().split()[:1] == [sha256(path)]


def intact(path: Path) -> Path:
    """The checkpoint itself, or with a warning the one before it when it is damaged.

    Raises:
        ValueError: neither is whole.
    """
    if valid(path):
        return path
    previous = path.with_name(PREVIOUS)
    if valid(previous):
        warnings.warn(f"{path} is damaged or half written; going on from {previous}", stacklevel=2)
        return previous
    raise ValueError(f"{path} is damaged (its sha256 differs) and there is no whole {previous}")


def resumable(given: str | Path) -> Path:
    """The checkpoint of `--resume_training_from`: a run's folder or a file.

    Raises:
        ValueError: there is none.
    """
    path = Path(given)
    path = path / LAST if path.is_dir() else path
    if not path.exists() and not path.with_name(PREVIOUS).exists():
        raise ValueError(f"--resume_training_from {given}: no {LAST} there")
    return path


def save_encoder(encoder: nn.Module, path: Path, about: Mapping[str, Any]) -> None:
    """Write an encoder's weights, whole or not at all, with what it takes to build it again."""
    state = {key: value.detach().cpu().contiguous() for key, value in encoder.state_dict().items()}
    new = path.with_suffix(".new")
    save_file(state, new, metadata={"cl": json.dumps(dict(about))})
    new.replace(path)


def about_encoder(path: Path) -> dict[str, Any]:
    """What `save_encoder` wrote beside the weights, or beside a run's checkpoint; else empty.

    Raises:
        ValueError: the file is damaged.
    """
    if path.name in (LAST, PREVIOUS) and path.with_name(ENCODER).exists():
        path = path.with_name(ENCODER)
    if path.suffix != ".safetensors":
        return {}
    with only_data(path), safe_open(path, framework="pt") as file:
        return json.loads((file.metadata() or {}).get("cl", "{}"))


def encoder_file(given: str | Path, flag: str = "--pretrained_feature_extractor") -> Path:
    """The file of weights that a flag names: itself, or the best in a run's folder.

    Args:
        given: a file or a folder.
        flag: for messages.

    Raises:
        ValueError: nothing to load.
    """
    path = Path(given)
    if path.is_dir():
        found = [path / name for name in (ENCODER, LAST) if (path / name).exists()]
        if not found:
            raise ValueError(f"{flag} {given}: neither {ENCODER} nor {LAST} in it")
        return found[0]
    if not path.exists():
        raise ValueError(f"{flag} {given}: no such file or folder")
    return path


def read_encoder(path: Path) -> dict[str, Any]:
    """What a .safetensors, a run's .ckpt or another's file holds, as data and never as code.

    Raises:
        ValueError: the file is damaged, no file of weights, or would run code.
    """
    read, file = (tensors_in, path) if path.suffix == ".safetensors" else (data_in, intact(path))
    with only_data(path):
        found = read(file)
    if not isinstance(found, Mapping):
        raise ValueError(f"{path} holds a {type(found).__name__}, not tensors by name")
    return dict(found)


@contextmanager
def only_data(path: Path) -> Iterator[None]:
    """Say of a file that it cannot be read, whatever its bytes lead the reader into."""
    try:
        yield
    except (FileNotFoundError, PermissionError, MemoryError):
        raise
    except Exception as error:  # torch comes by a KeyError or an assert as well
        code = re.search(r"GLOBAL (\S+)", str(error))
        why = "damaged, or no file of weights"
        if code:
            why = f"it would run {code[1]}; its state dict alone, saved anew, is data"
        raise ValueError(f"{path} cannot be read as data: {why}") from error


def tensors_in(path: Path) -> dict[str, Tensor]:
    """The content of a .safetensors."""
    with safe_open(path, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


def data_in(path: Path) -> Any:
    """The content of what torch saved, with DINO's arguments, which are a dict with dots."""
    with torch.serialization.safe_globals([argparse.Namespace]):
        return torch.load(path, map_location="cpu", weights_only=True)


def load_weights(encoder: nn.Module, path: Path) -> formats.Report:
    """Fill an encoder from a file in any of `cl.checkpoints.formats`, completely or not at all.

    Of a run's .ckpt it is what `Method.evaluated` is: the average of the encoders, or the teacher
    unless the run is configured to use the online encoder. Where a peer's first convolution pads
    otherwise, the encoder's does so afterwards, and the report says it.

    Raises:
        ValueError: no data, a weight that is not finite, or with the missing, the foreign and the
            misshapen keys.
    """
    theirs = hugging_face.configuration(path)
    hugging_face.check_configuration(theirs, path)
    found = read_encoder(path)
    about, config = about_encoder(path), config_beside(path)
    state, report = formats.match_layout(
        found,
        encoder.state_dict(),
        path,
        online=config.get("features") == "online",
        ours=bool(about or config),
    )
    check_finite(state, path)
    encoder.load_state_dict(state, strict=True)
    tuned = {key: about[key] for key in ("padding", "epsilon") if key in about}
    report = replace(report, **tuned)  # what an encoder had that was tuned here
    if "layer_norm_eps" in theirs:
        report = replace(report, epsilon=theirs["layer_norm_eps"])
    if report.padding is not None:
        stem = encoder.get_submodule("conv1")
        assert isinstance(stem, nn.Conv2d)
        stem.padding = (report.padding, report.padding)
    for module in encoder.modules():
        if report.epsilon is not None and isinstance(module, nn.LayerNorm | nn.BatchNorm2d):
            module.eps = report.epsilon
    return report


def check_finite(state: Mapping[str, Tensor], where: object) -> None:
    """Check an encoder's weights and buffers.

    Raises:
        ValueError: one is NaN or infinite, so that all features would be.
    """
    broken = [key for key, value in state.items() if not value.isfinite().all()]
    if broken:
        raise ValueError(
            f"{where}: {len(broken)} of the encoder's tensors are not finite (NaN or infinite): "
            f"{', '.join(broken[:3])}{', ...' * (len(broken) > 3)}; its training diverged"
        )


def config_beside(path: Path) -> dict[str, Any]:
    """The settings of the run of a .ckpt, which say what is used of it; empty of another file.

    Raises:
        ValueError: they are damaged.
    """
    config = path.with_name("config.json")
    if path.suffix != ".ckpt" or not config.exists():
        return {}
    try:
        found = json.loads(config.read_text())
    except ValueError as error:
        raise ValueError(f"{config}, which says what is used of {path}: {error}") from error
    return found if isinstance(found, dict) else {}


def fingerprint(module: nn.Module) -> str:
    """sha256 over every parameter and buffer, names included: unchanged means bit for bit."""
    digest = hashlib.sha256()
    for key, value in sorted(module.state_dict().items()):
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
