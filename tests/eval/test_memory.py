"""The plan of the memory: said before the work, refused where there is too little."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from cl.config import Linear, configure
from cl.data.augment.recipe import Recipe
from cl.data.sets import from_dataset
from cl.eval import NAMES, _memory, get_evaluation
from cl.eval._load import load_task
from cl.eval._memory import Memory, free_memory, left_by_group, plan_memory
from cl.eval._restore import restore_module
from cl.evaluation import evaluate
from tests.data.made import in_memory

CPU = torch.device("cpu")
GB = 1_000_000_000


@pytest.fixture
def encoder() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def with_memory(megabytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_memory, "free_memory", lambda _: megabytes * 1_000_000)


class Pairs(torch.utils.data.Dataset):
    def __init__(self, n: int) -> None:
        self.images = in_memory(n, 16)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[object, int]:
        return self.images.pixel(i), i % 3


def test_the_plan_is_said_and_what_does_not_fit_is_refused(
    encoder: nn.Module,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    data, flags = (Pairs(60), Pairs(30)), {"wandb": "off", "output": str(tmp_path)}
    with_memory(20_000, monkeypatch)
    assert evaluate(encoder, data, ("knn", "logistic"), **flags).keys() == {"knn", "logistic"}
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "for 60 x 8 features; 20.0 GB are free" in said
    with_memory(0, monkeypatch)
    with pytest.raises(
        ValueError, match=r"it takes about .* MB of memory for 60 x 8 features, and "
    ):
        evaluate(encoder, data, "knn", **flags)
    said = capsys.readouterr().err
    assert said.startswith("error: --eval knn: it takes about")
    assert said.count("\n") == 1


def test_the_plan_is_of_the_gpu_that_is_used(
    encoder: nn.Module, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[torch.device] = []
    monkeypatch.setattr(_memory, "free_memory", lambda device: asked.append(device) or GB)
    source = from_dataset(Pairs(12), Pairs(6))
    flags = {"dataset": source, "encoder": encoder, "eval": ["knn"], "output": str(tmp_path)}
    flags["pretrained_feature_extractor"] = "in memory"
    task = load_task(configure(Linear, flags), source, restore_module(encoder, Recipe(size=16)))
    task.options |= {"accelerator": "gpu", "devices": [3]}
    plan_memory(task)
    assert asked == [torch.device("cuda", 3)]


@pytest.mark.parametrize(("kind", "precision"), [(torch.float32, "64"), (torch.bfloat16, "32")])
def test_an_encoder_of_another_precision_is_measured(
    encoder: nn.Module, kind: torch.dtype, precision: str, tmp_path: Path
) -> None:
    flags = {"wandb": "off", "output": str(tmp_path), "precision": precision}
    found = evaluate(encoder.to(kind), (Pairs(12), Pairs(6)), "retrieval", **flags)
    assert found.keys() == {"retrieval"}


def test_every_evaluation_of_features_says_what_it_takes() -> None:
    """Of features like ImageNet's 24 GB are enough, and of more images more is needed."""
    given = {
        "knn": {"k": (20,), "knn_temperature": (0.07,)},
        "logistic": {"c": (1.0,)},
    }
    for name, flags in given.items():
        plan = get_evaluation(name, "working_memory")
        assert plan(1_281_167, 50_000, 2048, 1000, **flags) < 4 * GB
        assert plan(50_000, 50_000, 2048, 1000, **flags) < 4 * GB
    for name in ("cluster", "retrieval"):
        plan = get_evaluation(name, "working_memory")
        assert plan(0, 1000, 64, 10) < plan(0, 50_000, 64, 10) < 24 * GB
    selecting = get_evaluation("logistic", "working_memory")(1_281_167, 1, 2048, 10, c=(1.0, 2.0))
    assert selecting > 4 * 1_281_167 * 2048
    assert {"knn", "logistic", "linear", "cluster", "retrieval"} <= {*NAMES}


def test_the_plan_names_the_evaluation_that_takes_most() -> None:
    plan = Memory({"knn": GB, "logistic": 3 * GB}, 2 * GB, "7 x 2")
    assert plan.describe() == "logistic takes about 3.0 GB for 7 x 2 features; 2.0 GB are free"
    plan.check("knn")
    plan.check("sts")  # which says nothing
    with pytest.raises(ValueError, match=r"it takes about 3.0 GB of memory .* 2.0 GB are free; a "):
        plan.check("logistic")


def test_a_control_group_leaves_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = free_memory(CPU)
    assert whole > GB / 10
    group = tmp_path / "job" / "step"
    group.mkdir(parents=True)
    for name, value in {"max": "3000000", "current": "1000000"}.items():
        (group.parent / f"memory.{name}").write_text(value)
    (group.parent / "memory.stat").write_text("anon 1\ninactive_file 200000\nactive_file 50000\n")
    (group / "memory.max").write_text("max")
    assert left_by_group(group) == math.inf
    assert left_by_group(group.parent) == 2_250_000
    (tmp_path / "cgroup").write_text("1:cpu:/\n0::/job/step\n")
    monkeypatch.setattr(_memory, "CGROUP", tmp_path)
    monkeypatch.setattr(_memory, "OWN_GROUP", tmp_path / "cgroup")
    assert free_memory(CPU) == 2_250_000
