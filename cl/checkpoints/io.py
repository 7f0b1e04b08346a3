"""Checkpoints: written so that a crash loses nothing, read as data and never as code.

A run's folder holds `last.ckpt` (everything a resumed run needs), the one before it as
`previous.ckpt`, their sha256 sums, and `encoder.safetensors` under the keys its model has in timm.
This and `files` are the only ones that touch one of them.
"""

import argparse
import hashlib
import json
import re
import shutil
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from cl.checkpoints import formats, hugging_face
from cl.checkpoints.background import Write, Writes
from cl.checkpoints.copies import Copies, Spare
from cl.checkpoints.files import (
    WRITING,
    NotFiniteError,
    NotSavedError,
    fits_sum,
    sum_of,
    write_whole,
)
from cl.nets import lora
from cl.nets.towers import Towers
from cl.nets.transformer import Transformer

VERSION = 1  # of the layout of a checkpoint, its mark: another project's file has none
LAST, PREVIOUS, ENCODER = "last.ckpt", "previous.ckpt", "encoder.safetensors"
TEXT = "text"  # the folder of a transformer, as sentence-transformers reads it
TOWERS = "towers.safetensors"  # both encoders of a run on images and texts


class SafeIO(TorchCheckpointIO):
    """Writes beside, flushes to the disk, then renames; keeps the one before; checks sums."""

    def __init__(self) -> None:
        super().__init__()
        self.deferred: Writes | None = None
        self.spare: Spare = {}  # the copies of the newest deferred writes
        self.found_whole: dict[Path, Path] = {}  # until it is loaded

    @contextmanager
    def defer(self) -> Iterator[Writes]:
        """Copy what would be written meanwhile; each write is what the caller makes of it.

        The writes before have ended: their memory is taken for these.
        """
        self.deferred = Writes(self.spare)
        self.spare = self.deferred.copies.all
        try:
            yield self.deferred
        finally:
            self.deferred = None

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        assert storage_options is None
        marked = {**checkpoint, formats.MARK: VERSION}
        if self.deferred is not None:
            copy = self.deferred.copies.of(marked)
            self.deferred.append(partial(write_checkpoint, copy, Path(path)))
            return
        try:
            write_checkpoint(marked, Path(path))
        except NotSavedError as error:
            # The training and the checkpoint before go on. Raised, it would leave the other
            # processes at the barrier behind this.
            step = checkpoint.get("global_step")
            warnings.warn(f"step {step} is NOT saved: {error}", stacklevel=2)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = True
    ) -> dict[str, Any]:
        assert weights_only is not False, "checkpoints are data"
        found = self.found_whole.pop(Path(path), None) or intact(Path(path))
        return read_checkpoint(found, map_location)

    def step_of(self, path: Path) -> int:
        """The step of a checkpoint that is loaded next, for which its file is summed once.

        Its tensors are left on the disk.
        """
        self.found_whole[path] = found = intact(path)
        return int(read_checkpoint(found, mmap=True)["global_step"])


def read_checkpoint(file: Path, map_location: Any = "cpu", mmap: bool = False) -> dict[str, Any]:
    """The content of a checkpoint.

    Args:
        file: that is whole.
        map_location: where its tensors go.
        mmap: leave them on the disk until they are asked for.

    Raises:
        ValueError: it is another program's, or cannot be read.
    """
    with only_data(file):
        loaded = torch.load(file, map_location=map_location, weights_only=True, mmap=mmap)
    if not isinstance(loaded, dict) or formats.MARK not in loaded:
        raise ValueError(f"{file} is no checkpoint of a run of this program")
    return loaded


def step_in(path: Path) -> int | None:
    """The step of a checkpoint, without a look at its sum; None of one that cannot be read."""
    try:
        return int(read_checkpoint(path, mmap=True)["global_step"])
    except (OSError, ValueError, LookupError, TypeError):  # which whoever loads it tells of
        return None


def write_checkpoint(content: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint; of a run's newest one, the one before is kept.

    On a disk without room for a third one the oldest makes room: the newest is whole meanwhile.

    Raises:
        NotFiniteError: a weight is NaN or infinite: it must not take a good one's place.
        NotSavedError: the disk is full, or gone.
    """
    weights = content.get("state_dict", {})
    broken = [name for name, value in weights.items() if not is_finite(value)]
    if broken:
        several = "1 tensor is" if len(broken) == 1 else f"{len(broken)} tensors are"
        kept = "; the checkpoint before is kept" * path.exists()
        raise NotFiniteError(f"{several} not finite (NaN or infinite), as {broken[0]}{kept}")
    before = path.with_name(PREVIOUS) if path.name == LAST and is_whole(path) else None

    def write() -> None:
        write_whole(path, lambda file: torch.save(content, file), keep=before)

    try:
        write()
    except NotSavedError:
        if before is None or not is_alone(before) or has_room(path):
            raise
        before.unlink()
        sum_of(before).unlink(missing_ok=True)
        write()


def is_finite(value: Tensor) -> bool:
    """Whether no number is NaN or infinite: a sum is finite then, unless it overflows."""
    if not value.numel() or not value.is_floating_point() or value.sum().isfinite():
        return True
    low, high = value.aminmax()  # NaN wherever a number is
    return bool(low.isfinite() & high.isfinite())


def has_room(path: Path) -> bool:
    """Whether the disk has room for another file of this one's size, or half as large again."""
    return shutil.disk_usage(path.parent).free > 1.5 * path.stat().st_size


def is_alone(path: Path) -> bool:
    """Whether a file is there and has no other name, which would keep what it takes of the disk."""
    return path.exists() and path.stat().st_nlink == 1


def is_whole(path: Path) -> bool:
    """Whether a checkpoint is there and equals its sum, or without one can be read to its end."""
    fits = fits_sum(path)
    return is_readable(path) if fits is None else fits


def is_readable(path: Path) -> bool:
    """Whether all of a checkpoint's content is as its archive says, and data."""
    if not path.is_file():  # opened, a pipe would be waited for
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                return False
        with only_data(path):
            torch.load(path, map_location="meta", weights_only=True, mmap=True)
    except Exception:  # zipfile comes by several as well
        return False
    return True


def intact(path: Path) -> Path:
    """The checkpoint itself, or with a warning the one before it when it is damaged.

    Where neither equals its sum they are judged by their content: sums can be what is damaged.

    Raises:
        ValueError: neither is whole.
    """
    previous = path.with_name(PREVIOUS)
    if is_whole(path):
        return path
    if previous != path and is_whole(previous):
        warnings.warn(f"{path} is damaged or half written; going on from {previous}", stacklevel=2)
        return previous
    for file in (path, previous):
        if is_readable(file):
            warnings.warn(f"{sum_of(file)} is damaged; {file} itself can be read", stacklevel=2)
            return file
    raise ValueError(
        f"{path} is damaged (it can't be read, or its sha256 differs) and there is no whole "
        f"{previous}"
    )


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
    """Write an encoder's weights and their sum, with what it takes to build it again.

    The updates of LoRA are merged, unless `about` has their `lora_rank`. A transformer of texts,
    also one beside an encoder of images, is also written as a folder that sentence-transformers
    reads.

    Raises:
        NotSavedError: the disk is full, or gone.
    """
    write_of_encoder(encoder, path, about, Copies())()


def write_of_encoder(
    encoder: nn.Module, path: Path, about: Mapping[str, Any], copies: Copies
) -> Write:
    """What `save_encoder` does, of the weights as they are now: call it when it is time.

    Args:
        encoder: see there.
        path: of the file.
        about: what is written beside the weights.
        copies: those of the step.
    """
    merged = lora.without_updates(encoder)
    written = merged if about.get("lora_rank") is None else encoder
    state, metadata = copies.of(written.state_dict()), {"cl": json.dumps(dict(about))}
    pair = isinstance(merged, Towers)
    text = merged.text if pair else merged
    weights = copies.of(text.state_dict()) if isinstance(text, Transformer) else {}
    text_map = copies.of(merged.text_map.state_dict()) if pair and weights else {}

    def write() -> None:
        tensors = {key: value.contiguous() for key, value in state.items()}
        write_whole(path, lambda file: file.write(save(tensors, metadata)))
        if isinstance(text, Transformer):
            query, document = about["max_length"]  # a caption is a query
            try:
                longest = query if pair else max(query, document)
                text.save(path.with_name(TEXT), longest, weights, text_map.get("weight"))
            except WRITING as error:
                raise NotSavedError(f"{path.with_name(TEXT)}: {error}") from error

    return write


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


def towers_file(given: str | Path, flag: str = "--pretrained_feature_extractor") -> Path:
    """The file of both encoders of a run on images and texts: itself, or the best in its folder.

    Args:
        given: a file or a folder; the file of the images' encoder stands for its folder.
        flag: for messages.

    Raises:
        ValueError: nothing to load.
    """
    path = Path(given)
    if path.name == ENCODER:
        path = path.parent
    found = [path / name for name in (TOWERS, LAST) if (path / name).exists()]
    if path.is_file() or found:
        return path if path.is_file() else found[0]
    raise ValueError(
        f"{flag} {given}: no {TOWERS}, which has the encoders of a run of --method clip; a CLIP "
        "that transformers has saved is ENCODER hf:FOLDER"
    )


def read_encoder(path: Path) -> dict[str, Any]:
    """What a .safetensors, a run's .ckpt or another's file holds, as data and never as code.

    Raises:
        ValueError: the file is damaged, no file of weights, or would run code.
    """
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is no plain file, but a folder, a pipe or a device")
    read = tensors_in if path.suffix == ".safetensors" else data_in
    file = intact(path) if path.name in (LAST, PREVIOUS) else path
    if file == path and fits_sum(path) is False:
        raise ValueError(f"{path} is damaged: its sha256 differs from {sum_of(path)}")
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
    unless the run is configured to use the online encoder. LoRA's updates that stand apart in it
    are merged. Where a peer's first convolution pads otherwise, the encoder's does so afterwards,
    and the report says it.

    Raises:
        ValueError: no data, a weight that is not finite, or with the missing, the foreign and the
            misshapen keys.
    """
    theirs = hugging_face.configuration(path)
    hugging_face.check_configuration(theirs, path, encoder)
    found = read_encoder(path)
    about, config = about_encoder(path), config_beside(path)
    apart = any(isinstance(module, lora.LoRA) for module in encoder.modules())
    state, report = formats.match_layout(
        found,
        encoder.state_dict(),
        path,
        online=config.get("features") == "online",
        ours=bool(about or config),
        adapted=None if apart else lora.adapted_weights(encoder),
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
