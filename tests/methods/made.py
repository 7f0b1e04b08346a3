"""A small one of every method, by its name."""

from typing import Any

from torch import nn

from cl.config.signature import methods
from cl.methods import get_method
from cl.methods._base import Method

# Those of two views of images; what trains on other samples alone has tests of its own.
OF_IMAGES = [name for name, method in methods().items() if not method.samples]
WIDTH = 16  # of heads that are 64 wide or more by default


def made(name: str, encoder: nn.Module, **options: Any) -> Method:
    """A method with its own loss and its defaults, but for its widths."""
    settings = methods()[name].options.values()
    widths = {s.name: WIDTH for s in settings if type(s.default) is int and s.default >= 64}
    return get_method(name)(encoder, **{"classes": 3} | widths | options)
