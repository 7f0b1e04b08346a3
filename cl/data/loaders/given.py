"""Views that a DataLoader of the user's makes: each of its batches becomes a `Batch`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Integral
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, IterableDataset, Subset, TensorDataset

from cl.data.batch import Batch
from cl.data.sets._map_style import labels_in
from cl.data.worker_processes import start_iterator

FORMS = (
    "a batch must be ([view, view, ...], labels), (views, labels) or [view, view, ...], where a "
    "view is a tensor with the samples first and `views` one tensor (views, samples, ...); "
    "lightly's (views, labels, names) and solo-learn's (numbers, views, labels) are taken too"
)


class GivenViews:
    """The batches of a loader as they are, in the form that methods take.

    Args:
        loader: gives `([view, ...], labels)`, `(views, labels)` or `[view, ...]`: a view is
            `(n c h w)` (or `(n length)` tokens), `views` one tensor `(v n c h w)`, labels `(n)`
            whole numbers, absent or below 0 where there are none. Views of one size become one
            tensor, sizes stay in the order of their first view. The names of lightly's batches
            and the numbers of solo-learn's are left out. A loader's `state_dict` and
            `load_state_dict` are those of its views.
        least: views of a sample that there must be; validation needs one.
    """

    def __init__(self, loader: Iterable[Any], least: int = 2) -> None:
        self.loader, self.least = loader, least
        # Lightning tells samplers the epoch, which it finds under these names.
        self.sampler = getattr(loader, "sampler", None)
        self.batch_sampler = getattr(loader, "batch_sampler", None)
        if hasattr(loader, "state_dict") and hasattr(loader, "load_state_dict"):
            # Lightning keeps in a checkpoint the states of the loaders that have these methods.
            self.state_dict = loader.state_dict  # pyright: ignore[reportAttributeAccessIssue]
            self.load_state_dict = loader.load_state_dict  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def shares(self) -> bool:
        """Whether each process may get samples of its own, which its sampler shows.

        An iterable data set and a loader without a sampler share samples in their own way.
        """
        if isinstance(getattr(self.loader, "dataset", None), IterableDataset):
            return True
        samplers = self.batch_sampler, getattr(self.batch_sampler, "sampler", None), self.sampler
        known = [sampler for sampler in samplers if sampler is not None]
        return not known or any(hasattr(s, "num_replicas") and hasattr(s, "rank") for s in known)

    def __len__(self) -> int:
        return len(self.loader)  # pyright: ignore[reportArgumentType]  # a TypeError if it has none

    def __iter__(self) -> Iterator[Batch]:
        first, loader = 0, self.loader
        batches = start_iterator(loader) if isinstance(loader, DataLoader) else iter(loader)
        for number, given in enumerate(batches):
            try:
                views, labels = split_batch(given)
                batch = to_batch(views, labels, first)
                if sum(map(len, batch.views)) < self.least:
                    raise ValueError(
                        "it has one view of each sample, and methods compare at least two. Let the "
                        "data set return several, or give it to cl.data.sets.from_dataset, and "
                        "views are drawn here"
                    )
            except ValueError as error:
                raise ValueError(f"batch {number} of the DataLoader: {error}") from None
            first += len(batch.labels)
            yield batch


def as_batch(given: Any) -> Batch:
    """A batch of a loader that a Trainer was given as it is, whose samples have no numbers.

    Raises:
        ValueError: it is of none of the forms.
    """
    return given if isinstance(given, Batch) else to_batch(*split_batch(given), first=0)


def split_batch(given: Any) -> tuple[list[Tensor], Tensor | None]:
    """The views `(n ...)` of a batch, and its labels.

    Raises:
        ValueError: it is of none of the forms.
    """
    parts = [given] if isinstance(given, Tensor) else given
    if isinstance(parts, Mapping | str) or not isinstance(parts, tuple | list) or not parts:
        raise ValueError(f"it is a {type(given).__name__}; {FORMS}")
    parts = without_names(parts)
    *views, last = parts
    labels = last if views and is_labels(last) else None
    if labels is None:
        views = [*parts]
    if len(views) == 1:
        (alone,) = views
        if isinstance(alone, tuple | list) or (isinstance(alone, Tensor) and alone.ndim == 5):
            views = [*alone]
    if not views or not all(isinstance(x, Tensor) and x.ndim > 1 for x in views):
        raise ValueError(f"it has {', '.join(map(form_of, parts))}; {FORMS}")
    return views, labels


def without_names(parts: Sequence[Any]) -> Sequence[Any]:
    """A batch without the samples' names, as lightly gives them, or numbers, as solo-learn does."""
    if len(parts) != 3:
        return parts
    first, middle, last = parts
    if is_labels(first) and is_labels(last):
        return [middle, last]
    named = isinstance(last, tuple | list) and all(isinstance(name, str) for name in last)
    return [first, middle] if named and is_labels(middle) else parts


def is_labels(x: Any) -> bool:
    """Whether it is a tensor `(n)` of whole numbers."""
    return isinstance(x, Tensor) and x.ndim == 1 and not x.is_floating_point()


def number_of_classes(data: Any) -> int:
    """How many classes a data set has: as its `classes` say, names or a number, or its labels.

    Subsets and concatenations have those of the data sets in them; 0 where nothing says it.
    """
    if isinstance(data, Subset):
        return number_of_classes(data.dataset)
    if isinstance(data, ConcatDataset):
        each = [number_of_classes(part) for part in data.datasets]
        return max(each) if all(each) else 0
    said = getattr(data, "classes", None)
    if said is not None:
        return int(said) if isinstance(said, Integral) else len(said)
    if isinstance(data, TensorDataset):
        last = data.tensors[-1]
        return int(last.max()) + 1 if is_labels(last) and len(last) else 0
    labels = labels_in(data) if hasattr(data, "__len__") else None
    return 0 if labels is None else int(labels.max(initial=-1)) + 1


def form_of(part: Any) -> str:
    """A part of a batch, for a message."""
    if isinstance(part, Tensor):
        return f"a tensor {tuple(part.shape)}"
    return f"a {type(part).__name__}"


def to_batch(views: list[Tensor], labels: Tensor | None, first: int) -> Batch:
    """Views, those of one size together; samples are numbered from `first`.

    Raises:
        ValueError: their numbers of samples differ.
    """
    numbers = {len(x) for x in views} | ({len(labels)} if labels is not None else set[int]())
    if len(numbers) > 1:
        raise ValueError(f"its views and labels are of {sorted(numbers)} samples")
    by_size: dict[torch.Size, list[Tensor]] = {}
    for x in views:
        by_size.setdefault(x.shape, []).append(x)
    (n,) = numbers
    device = views[0].device
    labels = torch.full((n,), -1, device=device) if labels is None else labels.long()
    return Batch(
        [torch.stack(same) for same in by_size.values()],
        labels,
        first + torch.arange(n, device=device),
    )
