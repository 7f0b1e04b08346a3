"""The memory backend on a GPU: pixels on the device, the next batch's views made there meanwhile.

A thread draws the next batch's numbers, sends them in one piece and launches its operations
(`cl.data.augment.gpu`) on a stream of its own, while the training step runs on another. Neither the
step nor its launches wait. It runs on any device; on a CPU the kernel is many times faster.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from cl.data.augment.cpu import VIEW, draw_many
from cl.data.augment.gpu import Numbers, Renderer, coefficients
from cl.data.augment.recipe import Recipe
from cl.data.batch import Batch
from cl.data.loaders.base import Loader, by_size, shape
from cl.data.loaders.sampler import Index, Sampler
from cl.data.sets import Images

# Numbers in the largest tensor of a piece of a batch, 64 MB: about six are alive beside the views.
PIECE = 2**24
Made = tuple[Batch, torch.cuda.Event | None]


class DeviceLoader(Loader):
    """Views of images whose pixels are in memory, made on a device.

    Args:
        images: with `pixels`.
        recipes: of the views, a size each.
        sampler: which samples a step sees.
        device: where pixels and labels are kept, the views are made, and the model is.
    """

    def __init__(
        self,
        images: Images,
        recipes: Sequence[Recipe],
        sampler: Sampler,
        device: torch.device,
    ) -> None:
        super().__init__(images, recipes, sampler)
        assert images.pixels is not None
        self.host, self.device = images.pixels, device
        self.parts = by_size(self.recipes)
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.kept: tuple[Tensor, Tensor, list[Renderer]] | None = None
        self.taken: torch.cuda.Event | None = None  # where the newest step begins

    def batches(self) -> Iterator[Batch]:
        with ThreadPoolExecutor(1) as pool:
            ahead: Future[Made] | None = None
            for index in self.sampler.remaining():
                ready = ahead
                ahead = pool.submit(self.prepare, index, self.sampler.epoch, self.taken)
                if ready:
                    yield self.take(*ready.result())
            if ahead:
                yield self.take(*ahead.result())

    def prepare(self, index: Index, epoch: int, before: torch.cuda.Event | None) -> Made:
        """A batch and what to wait for on the device; runs in the thread.

        Args:
            index: its samples.
            epoch: of the run.
            before: a step that must have begun. Launches hurry ahead of the device, and every batch
                that they are ahead holds memory: here it is the thread that waits, not the step.
        """
        drawn = self.draw(index, epoch)
        if before:
            before.synchronize()
        if not self.stream:
            return self.make(index, drawn), None
        with torch.cuda.stream(self.stream):
            return self.make(index, drawn), mark(self.stream)

    def take(self, batch: Batch, done: torch.cuda.Event | None) -> Batch:
        """The batch for the stream that trains."""
        if done:
            training = torch.cuda.current_stream(self.device)
            training.wait_event(done)
            for x in (*batch.views, batch.labels, batch.index):
                x.record_stream(training)  # whose memory is not given away before it is done
            self.taken = mark(training)
        return batch

    def draw(self, index: Index, epoch: int) -> list[np.ndarray]:
        """The parameters `(v n)` of the views of each size, of type `VIEW`."""
        height, width = self.host.shape[1:3]
        drawn = []
        for parts in self.parts:
            p = np.empty(shape(parts, len(index))[:2], VIEW)
            for recipe, first, at in parts:
                numbers, seed = recipe.record, self.sampler.seed
                draw_many(numbers, seed, epoch, index, first, height, width, p[at])
            drawn.append(p)
        return drawn

    def make(self, index: Index, drawn: Sequence[np.ndarray]) -> Batch:
        """A batch on the device, a piece of each size's views at a time."""
        if not self.kept:
            self.kept = self.keep()
        pixels, labels, renderers = self.kept
        pieces = [
            (size, at, coefficients(p[:, at], renderers[size].size))
            for size, p in enumerate(drawn)
            for at in self.cuts(renderers[size].size, *p.shape)
        ]
        samples, sent = self.send(index, [host for *_, host in pieces])
        views = [
            pixels.new_empty(shape(parts, len(index)), dtype=torch.float32) for parts in self.parts
        ]
        for (size, at, host), c in zip(pieces, sent, strict=True):
            renderers[size](pixels.index_select(0, samples[at]), host, c, views[size][:, at])
        return Batch(views, labels.index_select(0, samples), samples)

    def cuts(self, size: int, views: int, samples: int) -> list[slice]:
        """The samples in pieces."""
        height, width = self.host.shape[1:3]
        step = max(1, PIECE // (3 * max(views * size * max(size, width), height * width)))
        return [slice(i, i + step) for i in range(0, samples, step)]

    def keep(self) -> tuple[Tensor, Tensor, list[Renderer]]:
        """What stays on the device."""
        height, width = self.host.shape[1:3]
        renderers = [
            Renderer([recipe for recipe, *_ in parts], height, width, self.device)
            for parts in self.parts
        ]
        pixels, labels = (
            torch.from_numpy(x).to(self.device) for x in (self.host, self.images.labels)
        )
        return pixels, labels, renderers

    def send(self, index: Index, numbers: Sequence[Numbers]) -> tuple[Tensor, list[Tensor]]:
        """Samples and coefficients on the device, by one copy that nobody waits for."""
        sizes = [c.size for c in numbers]
        words = len(index) + -(-sum(sizes) // 2)
        packed = torch.empty(words, dtype=torch.int64, pin_memory=self.stream is not None)
        host = packed.numpy()
        host[: len(index)] = index
        floats = host[len(index) :].view(np.float32)[: sum(sizes)]
        np.concatenate([c.ravel() for c in numbers], out=floats)
        sent = packed.to(self.device, non_blocking=True)
        parts = sent[len(index) :].view(torch.float32)[: sum(sizes)].split(sizes)
        return sent[: len(index)], [
            part.view(c.shape) for part, c in zip(parts, numbers, strict=True)
        ]


def mark(stream: torch.cuda.Stream) -> torch.cuda.Event:
    """What has been launched on a stream so far; a thread that waits for it sleeps."""
    event = torch.cuda.Event(blocking=True)
    event.record(stream)
    return event
