"""The memory backend on a GPU: pixels stay on the device, and views are rendered there.

While a training step runs, a thread draws the parameters of the next batch, sends them in one copy
and launches its operations (`cl.data.augment.gpu`) on a stream of its own. Neither the step nor its
launches wait. It runs on any device; on a CPU the kernel is many times faster.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from torch import Tensor

from cl.data.augment.cpu import VIEW, draw_many
from cl.data.augment.gpu import Numbers, Renderer, coefficients
from cl.data.augment.recipe import Recipe
from cl.data.batch import Batch
from cl.data.loaders.base import ImageLoader, by_size, shape
from cl.data.loaders.sampler import Index, Sampler
from cl.data.sets import Images

# Elements of the largest tensor of a piece of a batch, 64 MB: about six such tensors are alive at a
# time, besides the views.
PIECE = 2**24
Ready = tuple[Batch, torch.cuda.Event | None]


class DeviceLoader(ImageLoader):
    """Views of images whose pixels are in memory, made on a device.

    Args:
        images: with their `pixels`.
        recipes: how the views are drawn.
        sampler: chooses the samples of each step.
        device: of the model, of the pixels and labels, and of the views.
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
        self.uploaded: tuple[Tensor, Tensor, list[Renderer]] | None = None
        self.step_start: torch.cuda.Event | None = None  # of the newest step
        # For all epochs. A thread begins on the first GPU, and would make a context there.
        begin = partial(torch.cuda.set_device, device) if self.stream else None
        self.pool = ThreadPoolExecutor(1, initializer=begin)

    def batches(self) -> Iterator[Batch]:
        ahead: Future[Ready] | None = None
        for index in self.sampler.remaining():
            ready = ahead
            ahead = self.pool.submit(self.prepare, index, self.sampler.epoch, self.step_start)
            if ready:
                yield self.hand_over(*ready.result())
        if ahead:
            yield self.hand_over(*ahead.result())

    def prepare(self, index: Index, epoch: int, before: torch.cuda.Event | None) -> Ready:
        """A batch and the event after which it is ready; runs in the thread.

        Args:
            index: its samples.
            epoch: of the run.
            before: the start of a step, which must have been reached. Launches run ahead of the
                device, and every batch ahead holds memory: so the thread waits, not the step.
        """
        parameters = self.draw(index, epoch)
        if before:
            before.synchronize()
        if not self.stream:
            return self.render(index, parameters), None
        with torch.cuda.stream(self.stream):
            return self.render(index, parameters), record_event(self.stream)

    def hand_over(self, batch: Batch, done: torch.cuda.Event | None) -> Batch:
        """Hand a batch to the stream that trains."""
        if done:
            training = torch.cuda.current_stream(self.device)
            training.wait_event(done)
            for x in (*batch.views, batch.labels, batch.index):
                x.record_stream(training)  # its memory is not reused before that stream is done
            self.step_start = record_event(training)
        return batch

    def draw(self, index: Index, epoch: int) -> list[np.ndarray]:
        """The parameters `(v n)` of the views of each size, of type `VIEW`."""
        height, width = self.host.shape[1:3]
        parameters = []
        for parts in self.parts:
            p = np.empty(shape(parts, len(index))[:2], VIEW)
            for recipe, first, at in parts:
                numbers, seed = recipe.record, self.sampler.seed
                draw_many(numbers, seed, epoch, index, first, height, width, p[at])
            parameters.append(p)
        return parameters

    def render(self, index: Index, parameters: Sequence[np.ndarray]) -> Batch:
        """Render a batch on the device, a piece of each size's views at a time."""
        if not self.uploaded:
            self.uploaded = self.upload()
        pixels, labels, renderers = self.uploaded
        pieces = [
            (size, at, coefficients(p[:, at], renderers[size].size))
            for size, p in enumerate(parameters)
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
        """Slices of the samples, so that no piece is larger than `PIECE`."""
        height, width = self.host.shape[1:3]
        step = max(1, PIECE // (3 * max(views * size * max(size, width), height * width)))
        return [slice(i, i + step) for i in range(0, samples, step)]

    def upload(self) -> tuple[Tensor, Tensor, list[Renderer]]:
        """Pixels, labels and constants, which stay on the device."""
        height, width = self.host.shape[1:3]
        renderers = [
            Renderer([recipe for recipe, *_ in parts], height, width, self.device)
            for parts in self.parts
        ]
        labels = torch.from_numpy(self.images.labels).to(self.device)
        if self.images.rows is None:
            return torch.from_numpy(self.host).to(self.device), labels, renderers
        size = len(self.images), *self.host.shape[1:]
        pixels, at = torch.empty(size, dtype=torch.uint8, device=self.device), 0
        for stack in self.images.stacks():  # mapped, and never all in memory
            pixels[at : at + len(stack)] = torch.from_numpy(stack)
            at += len(stack)
        return pixels, labels, renderers

    def send(self, index: Index, numbers: Sequence[Numbers]) -> tuple[Tensor, list[Tensor]]:
        """Samples and coefficients on the device, sent in one asynchronous copy."""
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


def record_event(stream: torch.cuda.Stream) -> torch.cuda.Event:
    """An event at the end of what has been launched; a thread that waits for it sleeps."""
    event = torch.cuda.Event(blocking=True)
    event.record(stream)
    return event
