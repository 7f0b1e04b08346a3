"""A collapse is said loudly, kNN is the votes of the newest features, and looking moves nothing."""

import io
from unittest.mock import Mock

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from cl import measures
from cl.callbacks.geometry import Geometry
from cl.callbacks.saver import BROKEN
from cl.callbacks.watch import Watch
from cl.data.batch import Batch
from cl.interrupts import Stop
from cl.knn import classify
from cl.metrics import MONITORS
from cl.nets.heads import each_view, mlp

NOISE = torch.randn(2, 64, 8, generator=torch.Generator().manual_seed(0))
COLLAPSED = {
    "a point": (torch.ones(2, 64, 8), r"std 0\.0000 .* rank 1\.0 of 8"),
    "about a point": (NOISE + 1000, r"std 0\.00\d\d .* rank [5-8]\.\d of 8"),
    "a line": (NOISE[..., :1] * torch.ones(8), r"std (0\.9|1\.0)\d* .* rank 1\.0 of 8"),
}
ASKED = torch.ones(4, 8), torch.zeros(4, dtype=torch.long)


class Method(pl.LightningModule):
    """A method as a callback sees it; remembers what is logged."""

    def __init__(self, projector: nn.Module) -> None:
        super().__init__()
        self.projector, self.said = projector, {}

    def monitored(self, h: Tensor) -> Tensor:
        return each_view(self.projector, h)

    def log(self, name: str, value: Tensor, **_: object) -> None:
        self.said[name] = float(value)


def train(callback: Geometry, h: Tensor, labels: Tensor) -> Geometry:
    batch, method = Batch([], labels, torch.arange(len(labels))), Method(nn.Identity())
    callback.on_train_batch_end(Mock(spec=pl.Trainer), method, {"h": h}, batch, 0)
    return callback


def validate(
    callback: Geometry,
    h: Tensor,
    labels: Tensor,
    projector: nn.Module | None = None,
    sanity: bool = False,
) -> dict[str, float]:
    """What a validation in batches of four logs."""
    method, data = Method(projector or nn.Identity()), Mock(val_samples=len(h))
    t = Mock(
        spec=pl.Trainer,
        datamodule=data,
        sanity_checking=sanity,
        callbacks=[Watch(1)],
        global_step=7,
    )
    callback.on_validation_start(t, method)
    for i in torch.arange(len(h)).split(4):
        callback.on_validation_batch_end(t, method, {"h": h[i]}, Batch([], labels[i], i), 0)
    callback.on_validation_epoch_end(t, method)
    return method.said


def after(z: Tensor, on_collapse: str) -> Geometry:
    return train(Geometry(on_collapse), z, torch.zeros(z.shape[1], dtype=torch.long))


@pytest.mark.parametrize("kind", COLLAPSED)
def test_a_collapse_is_said_once_or_ends_the_run(kind: str) -> None:
    z, words = COLLAPSED[kind]
    with pytest.raises(Stop, match=f"step 7: .*{words}; ended by --on_collapse stop") as stop:
        validate(after(z, "stop"), *ASKED)
    assert stop.value.code == 3
    callback = after(z, "warn")
    with pytest.warns(UserWarning, match=f"COLLAPSED at step 7: .*{words}") as said:
        validate(callback, *ASKED)
    assert len(said) == 1
    validate(callback, *ASKED)  # a second warning would be an error here


@pytest.mark.parametrize("n", [2, 4, 15])
def test_a_few_embeddings_that_are_alike_have_collapsed(n: int) -> None:
    """Their loss is constant at the log of their number; a few have no rank, so a line is none."""
    with pytest.raises(Stop, match=r"COLLAPSED at step 7: embedding std 0\.0000"):
        validate(after(torch.ones(2, n, 8), "stop"), *ASKED)
    validate(after(COLLAPSED["a line"][0][:, :n], "stop"), *ASKED)
    validate(after(NOISE[:, :n], "stop"), *ASKED)


def test_one_embedding_has_no_geometry() -> None:
    assert not validate(after(torch.ones(2, 1, 8), "stop"), *ASKED)  # and one class no neighbors


@pytest.mark.parametrize("on_collapse", ["warn", "stop"])
def test_healthy_embeddings_are_measured_in_silence(on_collapse: str) -> None:
    """Through the projector in evaluation mode, whose BatchNorm is not moved by it."""
    projector = mlp(8, 16, 6)
    before = {k: v.clone() for k, v in projector.state_dict().items()}
    said = validate(after(NOISE, on_collapse), *ASKED, projector)
    assert all(torch.equal(v, before[k]) for k, v in projector.state_dict().items())
    assert all(m.training for m in projector.modules())
    with torch.no_grad():
        z = projector.eval()(NOISE.flatten(0, 1)).unflatten(0, (2, 64))
    values = measures.embedding_std(z[0]), measures.effective_rank(z[0])
    values += measures.alignment(z), measures.uniformity(z[0])
    assert [said[name] for name in MONITORS] == pytest.approx([float(v) for v in values], rel=1e-4)


def test_nothing_is_measured_before_training() -> None:
    assert validate(Geometry("stop"), *ASKED) == {}
    assert validate(after(NOISE * 0, "stop"), *ASKED, sanity=True) == {}


def test_one_process_goes_on_with_the_neighbors_of_two() -> None:
    """Each step's samples of both, in the order of the processes."""
    banks = [
        [(torch.full((2, 1), 10.0 * p + s), torch.full((2,), s)) for s in (1, 2)] for p in (0, 1)
    ]
    last = [torch.full((2, 2, 1), float(p)) for p in (0, 1)]
    callback = Geometry("warn")
    callback.load_state_dict({"known": banks, "last": last})
    assert [h[:, 0].tolist() for h, _ in callback.known] == [[1, 1, 11, 11], [2, 2, 12, 12]]
    assert [labels.tolist() for _, labels in callback.known] == [[1] * 4, [2] * 4]
    assert callback.last is not None
    assert callback.last[0, :, 0].tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(("bank", "kept"), [(1, 4), (8, 8), (10, 12), (100, 24)])
def test_the_bank_keeps_the_newest(bank: int, kept: int) -> None:
    callback = Geometry("warn", bank)
    for number in torch.arange(24).split(4):
        train(callback, torch.stack([number, -number])[..., None].float(), number)
    newest = list(range(24 - kept, 24))
    assert [i for h, _ in callback.known for i in h[:, 0].tolist()] == newest
    assert [i for _, labels in callback.known for i in labels.tolist()] == newest


def stored(callback: Geometry) -> io.BytesIO:
    file = io.BytesIO()
    torch.save(callback.state_dict(), file)
    file.seek(0)
    return file


def test_a_checkpoint_holds_the_bank_and_no_other_view() -> None:
    callback = train(Geometry("warn"), torch.randn(8, 100, 100), torch.zeros(100).long())
    assert len(stored(callback).getvalue()) < 1.1 * 100 * 100 * 4


@pytest.mark.parametrize(("unlabeled", "asked"), [(0.0, 77), (0.0, 20), (0.5, 50), (1.0, 50)])
def test_knn_is_the_votes_of_the_labeled(unlabeled: float, asked: int) -> None:
    """Unlabeled samples are no neighbors and no queries; a resumed bank votes the same."""
    torch.manual_seed(0)
    h, queries = torch.randn(2, 90, 8), torch.randn(77, 8)
    labels = h[0, :, :3].argmax(1).masked_fill(torch.rand(90) < unlabeled, -1)
    truth = queries[:, :3].argmax(1).masked_fill(torch.rand(77) < unlabeled / 2, -1)
    chosen, known = [i for i in range(0, 77, -(-77 // asked)) if truth[i] >= 0], labels >= 0
    expected = classify(h[0, known], labels[known], queries[chosen]) == truth[chosen]
    whole = train(Geometry("warn", queries=asked), h[:, :40], labels[:40])
    resumed = Geometry("warn", queries=asked)
    resumed.load_state_dict(torch.load(stored(whole), weights_only=True))
    for callback in (whole, resumed):
        train(callback, h[:, 40:], labels[40:])
        found = validate(callback, queries, truth)
        assert ("val/knn_top1" in found) is (unlabeled < 1)
        if unlabeled < 1:
            assert found["val/knn_top1"] == pytest.approx(float(expected.float().mean()))


def test_without_labels_there_is_no_knn() -> None:
    found = validate(after(NOISE, "stop"), ASKED[0], ASKED[1] - 1)
    assert found.keys() == {*MONITORS}


@pytest.mark.parametrize("where", ["the neighbors", "the images that are classified"])
@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
def test_features_that_are_not_finite_end_the_run(where: str, wrong: float) -> None:
    """With the code of weights that are not, and not as something that cannot be done."""
    known, asked = NOISE.clone(), ASKED[0].clone()
    (known[0] if where == "the neighbors" else asked)[3, 2] = wrong
    with pytest.raises(Stop, match="step 7: features are not finite; a lower --lr") as stop:
        validate(train(Geometry("warn"), known, torch.arange(64) % 2), asked, ASKED[1])
    assert stop.value.code == BROKEN


def test_uniformity_is_of_at_most_4096_evenly_spread_samples() -> None:
    z = torch.randn(2, 5000, 8)
    said = validate(after(z, "stop"), *ASKED)
    assert said["monitor/uniformity"] == measures.uniformity(z[0][::2]).item()
    assert said["monitor/embedding_std"] == measures.embedding_std(z[0]).item()


def test_features_that_are_not_finite_end_a_resumed_run_too() -> None:
    """Which has no embeddings of its own yet; without validation there is nothing to look at."""
    asked = ASKED[0].clone()
    asked[3, 2] = torch.nan
    with pytest.raises(Stop, match="step 7: features are not finite"):
        validate(Geometry("stop"), asked, ASKED[1])
    trainer = Mock(spec=pl.Trainer, enable_validation=False)
    Geometry("stop").on_train_epoch_end(trainer, Method(nn.Identity()))
