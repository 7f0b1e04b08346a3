"""Two SimCLR views a sample: ours beside torchvision, lightly, kornia and DALI.

    python -m benchmarks.data [--rounds 5] [--jpegs FOLDER] [--only small large]

`small`: 32-pixel images in memory, no blur, one core. `large`: two crops of 224 pixels, with blur,
from the JPEGs in FOLDER (repeated; by default cut from two photographs of scikit-learn's), one
worker and two; decoding alone besides. Color is exact everywhere but in DALI, which turns the hue
linearly. The implementations take turns; a sample has two views.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms as T

from benchmarks.photographs import photographs
from benchmarks.ratios import Ratio, by_turns
from cl import hardware
from cl.data import sets
from cl.data.augment.recipe import Recipe
from cl.data.loaders.base import Loader
from cl.data.loaders.memory import MemoryLoader
from cl.data.loaders.sampler import Sampler
from cl.data.loaders.workers import FileLoader
from cl.data.sets import Images

SMALL, LARGE = Recipe(size=32, crop_scale=(0.2, 1.0), blur=0.0), Recipe(size=224)
BATCH = 256
TABLE = "Two SimCLR views a sample"
SMALL_FLOORS = {"torchvision, PIL": 25.0, "lightly": 25.0}
LARGE_FLOORS = {"torchvision, PIL": 3.0, "lightly": 3.0}
Run = Callable[[], int]  # one pass; how many samples it was


def pil(recipe: Recipe) -> Callable[[Image.Image], Tensor]:
    """The recipe as torchvision's users write it."""
    jitter = T.ColorJitter(recipe.brightness, recipe.contrast, recipe.saturation, recipe.hue)
    steps: list[Any] = [
        T.RandomResizedCrop(recipe.size, recipe.crop_scale),
        T.RandomHorizontalFlip(recipe.flip),
        T.RandomApply([jitter], recipe.jitter),
        T.RandomGrayscale(recipe.grayscale),
    ]
    if recipe.blur:
        blur = T.GaussianBlur(recipe.blur_kernel, recipe.blur_sigma)
        steps.append(T.RandomApply([blur], recipe.blur))
    return T.Compose([*steps, T.ToTensor(), T.Normalize(recipe.mean, recipe.std)])


def lightly(recipe: Recipe) -> Callable[[Image.Image], list[Tensor]]:
    from lightly.transforms import SimCLRTransform

    return SimCLRTransform(
        input_size=recipe.size, min_scale=recipe.crop_scale[0], gaussian_blur=recipe.blur
    )


class Peer(Dataset[Any]):
    """A folder's images through a peer's transform, `None` for decoding alone."""

    def __init__(self, paths: list[Path], transform: Callable[[Image.Image], Any] | None) -> None:
        self.paths, self.transform = paths, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Any:
        with Image.open(self.paths[index]) as image:
            rgb = image.convert("RGB")
        return self.transform(rgb) if self.transform else 0


def ours(loader: Loader) -> Run:
    """Every epoch has views of its own."""

    def run() -> int:
        loader.sampler.set_epoch(loader.sampler.epoch + 1)
        return sum(len(batch.labels) for batch in loader)

    return run


def passing(batches: Iterable[Any], samples: int) -> Run:
    def run() -> int:
        for _ in batches:
            pass
        return samples

    return run


def sampler(images: Images, batch: int) -> Sampler:
    return Sampler(len(images), batch, 0)


def dali(images: Images, recipe: Recipe, batch: int, workers: int) -> dict[str, Run]:
    """Nothing where it is not installed."""
    from cl.data.loaders.dali import DaliLoader

    try:
        return {"DALI, CPU": ours(DaliLoader(images, [recipe], sampler(images, batch), workers))}
    except ValueError as error:
        print(error)
        return {}


def kornia(pixels: Tensor) -> dict[str, Run]:
    try:
        import kornia.augmentation as K
    except ImportError:
        print("kornia is not installed")
        return {}
    augment = torch.nn.Sequential(
        K.RandomResizedCrop((32, 32), SMALL.crop_scale, SMALL.crop_ratio),
        K.RandomHorizontalFlip(p=SMALL.flip),
        K.ColorJitter(0.8, 0.8, 0.8, 0.2, p=SMALL.jitter),
        K.RandomGrayscale(p=SMALL.grayscale),
        K.Normalize(torch.tensor(SMALL.mean), torch.tensor(SMALL.std)),
    )
    floats = pixels.permute(0, 3, 1, 2).float() / 255

    def run() -> int:
        for part in floats.split(BATCH):
            augment(part), augment(part)
        return len(floats)

    return {"kornia": run}


def small() -> dict[str, Run]:
    """Of 32-pixel images in memory, one worker."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.integers(0, 256, (2048, 3, 8, 8))).float()
    smooth = torch.nn.functional.interpolate(coarse, size=32, mode="bicubic").clamp(0, 255).byte()
    pixels = smooth.permute(0, 2, 3, 1).contiguous()
    images = Images(np.zeros(len(pixels), np.int64), pixels.numpy())
    some = [Image.fromarray(image) for image in pixels[:512].numpy()]

    def each(transform: Callable[[Image.Image], Any], times: int) -> Run:
        def run() -> int:
            for image in some:
                for _ in range(times):
                    transform(image)
            return len(some)

        return run

    return {
        "ours": ours(MemoryLoader(images, [SMALL], sampler(images, BATCH), 1)),
        "torchvision, PIL": each(pil(SMALL), 2),
        "lightly": each(lightly(SMALL), 1),
        **kornia(pixels),
        **dali(images, SMALL, BATCH, 1),
    }


def large(paths: list[Path], workers: int) -> dict[str, Run]:
    """Of JPEGs."""
    images = sets.in_files(paths)
    batch = 20

    def peer(transform: Callable[[Image.Image], Any] | None) -> Run:
        data = Peer(paths, transform)
        loader = DataLoader(
            data,
            batch,
            num_workers=workers,
            persistent_workers=True,
            multiprocessing_context="fork",
        )
        return passing(loader, len(paths))

    twice = pil(LARGE)
    return {
        "ours": ours(FileLoader(images, [LARGE], sampler(images, batch), workers)),
        "torchvision, PIL": peer(lambda image: (twice(image), twice(image))),
        "lightly": peer(lightly(LARGE)),
        **dali(images, LARGE, batch, workers),
        "decoding alone, PIL": peer(None),
    }


def rate(run: Run) -> float:
    """Samples a second of one pass."""
    start = time.perf_counter()
    return run() / (time.perf_counter() - start)


def compare(case: str, runs: dict[str, Run], rounds: int, floors: dict[str, float]) -> list[Ratio]:
    """By turns; the first one compiles, starts workers and fills caches."""
    rates = {who: partial(rate, run) for who, run in runs.items()}
    return by_turns(TABLE, case, "samples/s", rates, rounds, floors)


def ratios(
    rounds: int = 5, jpegs: Path | None = None, only: Sequence[str] = ("small", "large")
) -> Iterator[Ratio]:
    """Of small images in memory and of large ones in files."""
    torch.set_num_threads(1)
    hardware.keep_memory()  # as main_contrastive.py does; here every peer has it
    if "small" in only:
        cores = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(cores)})  # DALI has more threads than it is told to
        yield from compare("32 px, memory, one core", small(), rounds, SMALL_FLOORS)
        os.sched_setaffinity(0, cores)
    if "large" in only:
        paths = photographs(160) * 4  # a pass of which neither start nor end is much
        if jpegs is not None:
            found = (p for p in jpegs.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg"))
            paths = sorted(found) * 8
        for workers in (1, 2):
            case = f"224 px, JPEG, {workers} worker{'s' * (workers > 1)}"
            yield from compare(case, large(paths, workers), rounds, LARGE_FLOORS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jpegs", type=Path)
    parser.add_argument("--only", nargs="+", default=["small", "large"], choices=["small", "large"])
    for ratio in ratios(**vars(parser.parse_args())):
        print(ratio.line(), flush=True)


if __name__ == "__main__":
    main()
