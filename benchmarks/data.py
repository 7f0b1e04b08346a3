"""Two SimCLR views a sample: ours beside torchvision, lightly, kornia and DALI.

    python benchmarks/data.py [--rounds 5] [--jpegs FOLDER] [--only small large]

`small`: 32-pixel images in memory, no blur, one core. `large`: two crops of 224 pixels, with
blur, from the JPEGs in FOLDER (repeated), one worker and two; decoding alone besides. Color is
exact everywhere but in DALI, which turns the hue linearly. The implementations take turns; a line
has the median of the rounds in samples (of two views) a second, and ours over it.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms as T

from cl.data import sets
from cl.data.augment.recipe import Recipe
from cl.data.loaders.base import Loader
from cl.data.loaders.memory import MemoryLoader
from cl.data.loaders.sampler import Sampler
from cl.data.loaders.workers import FileLoader
from cl.data.sets import Images

SMALL, LARGE = Recipe(size=32, crop_scale=(0.2, 1.0), blur=0.0), Recipe(size=224)
BATCH = 256
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


def large(folder: Path, workers: int) -> dict[str, Run]:
    """Of JPEGs."""
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg")) * 8
    images = sets.in_files(paths)
    batch = 20

    def peer(transform: Callable[[Image.Image], Any] | None) -> Run:
        data = Peer(paths, transform)
        loader = DataLoader(data, batch, num_workers=workers, persistent_workers=True)
        return passing(loader, len(paths))

    twice = pil(LARGE)
    return {
        "ours": ours(FileLoader(images, [LARGE], sampler(images, batch), workers)),
        "torchvision, PIL": peer(lambda image: (twice(image), twice(image))),
        "lightly": peer(lightly(LARGE)),
        **dali(images, LARGE, batch, workers),
        "decoding alone, PIL": peer(None),
    }


def compare(title: str, runs: dict[str, Run], rounds: int) -> None:
    """Take turns, print medians."""
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            samples = run()
            if turn:  # the first one compiles, starts workers and fills caches
                rates[name].append(samples / (time.perf_counter() - start))
    medians = {name: statistics.median(rate) for name, rate in rates.items()}
    for name, median in medians.items():
        low, high = min(rates[name]), max(rates[name])
        print(
            f"{title:24} {name:20} {median:9,.0f} samples/s ({low:,.0f} to {high:,.0f})  "
            f"ours {medians['ours'] / median:6.2f} x  n={rounds}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jpegs", type=Path)
    parser.add_argument("--only", nargs="+", default=["small", "large"], choices=["small", "large"])
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, one thread a process")
    if "small" in given.only:
        cores = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(cores)})  # DALI has more threads than it is told to
        compare("32 px, memory, one core", small(), given.rounds)
        os.sched_setaffinity(0, cores)
    if "large" in given.only:
        if given.jpegs is None:
            parser.error("--jpegs: a folder of JPEG files is needed for `large`")
        for workers in (1, 2):
            title = f"224 px, JPEG, {workers} worker{'s' * (workers > 1)}"
            compare(title, large(given.jpegs, workers), given.rounds)


if __name__ == "__main__":
    main()
