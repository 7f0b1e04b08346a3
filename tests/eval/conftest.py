"""An encoder, and evaluations from Python."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from cl import config
from cl.config import Linear
from cl.config.evaluations import plugins
from cl.config.programs import linear_with
from cl.data import sets
from cl.data.sets import Images, Source


def configure(of: type[Linear], values: Mapping[str, Any]) -> Linear:
    """A configuration without the checks of a command line."""
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    for name in ("dataset", "encoder"):
        if not isinstance(given[name], str):
            kind = type(given[name])
            given[name] = f"{kind.__module__}:{kind.__qualname__}"
    return linear_with(plugins(values["eval"]))(**given)


def from_dataset(train: Any, val: Any) -> Source:
    """Two data sets of arrays with labels as a source."""
    parts = [
        Images(np.array([y for _, y in data], np.int64), np.stack([x for x, _ in data]))
        for data in (train, val)
    ]
    return Source("own", [str(c) for c in range(int(parts[0].labels.max()) + 1)], *parts)


@pytest.fixture(autouse=True)
def _interfaces(monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(config, "configure"):
        monkeypatch.setattr(config, "configure", configure, raising=False)
    if not hasattr(sets, "from_dataset"):
        monkeypatch.setattr(sets, "from_dataset", from_dataset, raising=False)
