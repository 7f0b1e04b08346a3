"""The base of our autograd functions."""

import inspect
from typing import Any

import torch

POSITIONAL = inspect.Signature([inspect.Parameter("inputs", inspect.Parameter.VAR_POSITIONAL)])


class Function(torch.autograd.Function):
    """An autograd function that gets all of its inputs by position.

    Torch inspects the signature of `forward` in every call, to fill in defaults; with this one it
    finds none at once, which saves the time of ten small operations.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        vars(cls.forward)["__signature__"] = POSITIONAL


def are_transforms_active() -> bool:
    """Whether a function is being transformed by `torch.func`, as `grad` and `vmap` do."""
    return torch._C._are_functorch_transforms_active()
