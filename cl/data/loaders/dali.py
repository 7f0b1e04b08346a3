"""The dali backend: NVIDIA DALI decodes, and applies the parameters that the kernel's draws give.

Its pipeline has no randomness of its own, so views and resumed runs are as exact as elsewhere.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import torch

from cl.data.augment.cpu import JITTER, VIEW, draw
from cl.data.augment.recipe import Recipe
from cl.data.batch import Batch
from cl.data.loaders.base import Floats, ImageLoader, by_size
from cl.data.loaders.sampler import Index, Sampler
from cl.data.sets import Images
from cl.data.sets._decode import DECODING_ERRORS, is_upright_jpeg, ppm
from cl.data.sets._values import opened

WINDOW = ("top", "left", "height", "width", "flip")
INPUTS = (
    *WINDOW,
    *JITTER,
    "sigma",
    "solarize",
)  # of a view in the graph; gray is a saturation of 0
SHARP = 0.01  # a blur's deviation in pixels that leaves the image as it is
MISSING = "--backend dali: needs nvidia-dali; pip install nvidia-dali-cuda130 (or -cuda120)"


class DaliLoader(ImageLoader):
    """Views made by DALI, on the GPU where there is one.

    Close to the other backends but not equal to them: DALI turns the hue linearly (in YIQ), has one
    order for the jitter (hue and saturation, contrast, brightness; gray is no saturation), takes
    contrast around one half instead of the image's mean, and is clamped once, after all of it.

    Args:
        images: with their `files` or `pixels`.
        recipes: how the views are drawn.
        sampler: chooses the samples of each step.
        workers: number of threads; at least one is used.

    Raises:
        ValueError: DALI is not installed; later, a file that is damaged or no image.
    """

    def __init__(
        self, images: Images, recipes: Sequence[Recipe], sampler: Sampler, workers: int
    ) -> None:
        super().__init__(images, recipes, sampler)
        if images.channels != 3:
            raise ValueError(f"--backend dali cannot be used with --channels {images.channels}")
        try:
            import nvidia.dali  # noqa: F401
        except ImportError:
            raise ValueError(MISSING) from None
        self.workers, self.gpu = max(1, workers), torch.cuda.is_available()
        self.idle: Any = None  # the pipeline between epochs
        parts = [part for same in by_size(self.recipes) for part in same]
        self.views = [(first + v, r) for r, first, _ in parts for v in range(r.views)]

    def build(self) -> Any:
        """Build the graph: it decodes images once and renders every view from its parameters."""
        from nvidia.dali import fn, pipeline

        device = torch.cuda.current_device() if self.gpu else None
        size = self.sampler.batch_size
        made = pipeline.Pipeline(size, self.workers, device, prefetch_queue_depth=1)
        with made:
            if self.images.pixels is None:
                data, place = fn.external_source(name="images"), "mixed" if self.gpu else "cpu"
                image = fn.decoders.image(data, device=place, adjust_orientation=False)
            else:
                image = fn.external_source(name="images", layout="HWC")
                image = image.gpu() if self.gpu else image
            made.set_outputs(*[self.view(image, number, r) for number, r in self.views])
        made.build()
        return made

    def view(self, image: Any, number: int, recipe: Recipe) -> Any:
        """The part of the graph for one view."""
        from nvidia.dali import fn, math
        from nvidia.dali.types import DALIDataType as Type
        from nvidia.dali.types import DALIInterpType as Interpolation

        given: Any = fn.external_source(name=f"view{number}")
        p = {name: given[i] for i, name in enumerate(INPUTS)}
        window: Any = fn.cast(given[: len(WINDOW)], dtype=Type.INT32)
        cut = fn.slice(image, start=window[0:2], shape=window[2:4], axes=[0, 1])
        bicubic = recipe.crop_interpolation == "bicubic"
        how = Interpolation.INTERP_CUBIC if bicubic else Interpolation.INTERP_LINEAR
        size = [recipe.size] * 2
        x: Any = fn.resize(cut, size=size, antialias=True, interp_type=how, dtype=Type.FLOAT)
        x = x * (1 / 255)
        if bicubic:
            x = math.clamp(x, np.float32(0), np.float32(1))
        if recipe.jitter or recipe.grayscale:
            x = fn.color_twist(x, **{name: p[name] for name in JITTER})
            x = math.clamp(x, np.float32(0), np.float32(1))
        if recipe.blur:
            x = fn.gaussian_blur(x, sigma=p["sigma"], window_size=recipe.blur_kernel)
        if recipe.solarize:
            x = x + (p["solarize"].gpu() if self.gpu else p["solarize"]) * (x >= 0.5) * (1 - 2 * x)
        normal = {"mean": list(recipe.mean), "std": list(recipe.std), "output_layout": "CHW"}
        return fn.crop_mirror_normalize(x, mirror=window[4], dtype=Type.FLOAT, **normal)

    def batches(self) -> Iterator[Batch]:
        pipeline = self.idle or self.build()
        self.idle, ahead = None, None  # a pipeline left early or failed is not used again
        for index in self.sampler.remaining():
            images, sizes = zip(*map(self.read, index.tolist()), strict=True)
            pipeline.feed_input("images", list(images))
            for number, recipe in self.views:
                pipeline.feed_input(f"view{number}", self.draw(recipe, number, index, sizes))
            ready = None if ahead is None else self.finish(pipeline, ahead)
            pipeline.schedule_run()
            ahead = index
            if ready:
                yield ready
        if ahead is not None:
            yield self.finish(pipeline, ahead)
        self.idle = pipeline

    def read(self, at: int) -> tuple[Any, tuple[int, ...]]:
        """An image file's bytes, or pixels; and the image's height and width.

        DALI decodes color JPEGs alone: of gray, deep, palette and transparent images it makes
        others than the other loaders, so it gets the pixels of these, behind the line of a PPM.
        """
        if self.images.pixels is not None:
            pixels = self.images.pixel(at)
            return pixels, pixels.shape[:2]
        assert self.images.files is not None
        try:
            content = self.images.files.read(at)
            with opened(content, self.images.decoding) as image:
                if is_upright_jpeg(image, self.images.decoding):
                    return np.frombuffer(content, np.uint8), (image.height, image.width)
        except DECODING_ERRORS:
            pass  # no JPEG; if it is no image either, the next line names it
        pixels = self.images.pixel(at)
        return np.frombuffer(ppm(pixels), np.uint8), pixels.shape[:2]

    def draw(self, recipe: Recipe, number: int, index: Index, sizes: Sequence[Any]) -> Floats:
        """The parameters of a view of each sample, `(n INPUTS)`."""
        p, record = np.empty(len(index), VIEW), recipe.record
        for i, (sample, size) in enumerate(zip(index, sizes, strict=True)):
            place = self.sampler.seed, self.sampler.epoch, sample, number
            draw(record, *place, size[0], size[1], p[i])
        for name, nothing in (("brightness", 1), ("contrast", 1), ("saturation", 1), ("hue", 0)):
            p[name] = np.where(p["jitter"], p[name], nothing)
        p["hue"] *= 360
        p["saturation"] *= ~p["gray"]
        p["sigma"] = np.maximum(p["sigma"], SHARP)
        return np.stack([p[name] for name in INPUTS], axis=1).astype(np.float32)

    def finish(self, pipeline: Any, index: Index) -> Batch:
        """Wait for the oldest batch under way."""
        try:
            made = [torch.from_dlpack(x.as_tensor()) for x in pipeline.share_outputs()]
        except RuntimeError as error:
            for at in index.tolist():
                self.images.pixel(at)  # its error names the file
            raise ValueError(
                f"--backend dali: DALI cannot read one of {len(index)} images that the other "
                f"loaders can; use --backend torch ({error})"
            ) from error
        cuts = accumulate((parts[-1][2].stop for parts in by_size(self.recipes)), initial=0)
        views = [torch.stack(made[a:b]) for a, b in pairwise(cuts)]
        if self.gpu:
            torch.cuda.current_stream().synchronize()  # copied before DALI writes there again
        pipeline.release_outputs()
        return self.batch([], index)._replace(views=views)
