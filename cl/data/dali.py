"""The dali backend: NVIDIA DALI decodes and executes, but what it executes is drawn by `cl.data.draw`.

Batches and parameters are fed to a pipeline that has no randomness of its own, so views depend on
(seed, epoch, sample, view) alone and a run resumes exactly, as with the other backends.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from cl.data.batch import Batch
from cl.data.draw import COUNT, FACTORS, FLIP, GRAY, JITTER, SIGMA, SOLARISE, draw, key_of
from cl.data.loaders import Loader, firsts
from cl.data.recipe import Recipe
from cl.data.sampler import Index, Sampler
from cl.data.sources import Images

SHARP = 0.01  # a blur's deviation in pixels that leaves the image as it is
Bytes = npt.NDArray[np.uint8]


class DaliLoader(Loader):
    """Views made by DALI, on the GPU where there is one.

    Close to the other backends but not equal to them: DALI turns the hue linearly (in YIQ), has one
    order for the jitter (hue and saturation, contrast, brightness; gray is no saturation), takes
    contrast around one half instead of the image's mean, and clamps once, after all of it.

    Args:
        images: with `paths` or `pixels`.
        recipes: of the views, a size each.
        sampler: which samples a step sees.
        workers: threads; at least one.

    Raises:
        ValueError: DALI is not installed.
    """

    def __init__(
        self, images: Images, recipes: Sequence[Recipe], sampler: Sampler, workers: int
    ) -> None:
        try:
            import nvidia.dali  # noqa: F401
        except ImportError:
            raise ValueError(
                "--backend dali: needs nvidia-dali; "
                "pip install nvidia-dali-cuda130 (or -cuda120)"
            ) from None
        super().__init__(images, recipes, sampler)
        self.workers = max(1, workers)
        self.pipeline: Any = None

    def build(self) -> Any:
        """The graph: the images once, then every view of every recipe from its parameters."""
        from nvidia.dali import fn, pipeline, types

        gpu = torch.cuda.is_available()

        def view(image: Any, recipe: Recipe, number: int) -> Any:
            window = fn.external_source(name=f"window{number}")
            p = fn.external_source(name=f"p{number}")
            x = fn.slice(image, start=window[0:2], shape=window[2:4], axes=[0, 1])
            linear, side = types.DALIInterpType.INTERP_LINEAR, [recipe.size, recipe.size]
            x = fn.resize(x, size=side, interp_type=linear, antialias=True, dtype=types.FLOAT)
            x = x * np.float32(1 / 255)
            if recipe.jitter or recipe.grayscale:
                x = fn.color_twist(x, brightness=p[0], contrast=p[1], saturation=p[2], hue=p[3])
                x = types_clamp(x)
            if recipe.blur:
                x = fn.gaussian_blur(x, sigma=p[4], window_size=recipe.blur_kernel)
            if recipe.solarise:
                on = (p[5].gpu() if gpu else p[5]) * (x >= 0.5)
                x = x + on * (1 - 2 * x)
            normal = {"mean": list(recipe.mean), "std": list(recipe.std), "output_layout": "CHW"}
            return fn.crop_mirror_normalize(x, mirror=window[4], dtype=types.FLOAT, **normal)

        def types_clamp(x: Any) -> Any:
            from nvidia.dali import math

            return math.clamp(x, np.float32(0), np.float32(1))

        made = pipeline.Pipeline(
            batch_size=self.sampler.batch_size,
            num_threads=self.workers,
            device_id=torch.cuda.current_device() if gpu else None,
            prefetch_queue_depth=2,
        )
        with made:
            if self.images.pixels is None:
                image = fn.decoders.image(
                    fn.external_source(name="images"),
                    device="mixed" if gpu else "cpu",
                    adjust_orientation=False,
                    jpeg_fancy_upsampling=True,
                )
            else:
                image = fn.external_source(name="images", layout="HWC")
                image = image.gpu() if gpu else image
            pairs = zip(self.recipes, firsts(self.recipes), strict=True)
            views = [view(image, r, first + v) for r, first in pairs for v in range(r.views)]
            made.set_outputs(*views)
        made.build()
        return made

    def batches(self) -> Iterator[Batch]:
        self.pipeline = self.pipeline or self.build()
        begun: list[Index] = []
        with ThreadPoolExecutor(self.workers) as pool:
            try:
                for index in self.sampler.remaining():
                    self.begin(index, pool)
                    begun.append(index)
                    if len(begun) == 2:
                        yield self.finish(begun.pop(0))
                while begun:
                    yield self.finish(begun.pop(0))
            finally:  # an epoch left early leaves nothing for the next one
                for index in begun:
                    self.finish(index)

    def begin(self, index: Index, pool: ThreadPoolExecutor) -> None:
        """Feed a batch and its parameters."""
        images, sizes = zip(*pool.map(self.read, index.tolist()), strict=True)
        self.pipeline.feed_input("images", list(images))
        for recipe, first in zip(self.recipes, firsts(self.recipes), strict=True):
            for number in range(first, first + recipe.views):
                window, p = self.parameters(recipe, number, index, sizes)
                self.pipeline.feed_input(f"window{number}", window)
                self.pipeline.feed_input(f"p{number}", p)
        self.pipeline.schedule_run()
