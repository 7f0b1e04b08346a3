"""Every method: what it trains, what it must not touch, and what its heads look like."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from cl.data.batch import Batch
from cl.losses.nt_xent import nt_xent
from cl.methods._base import Method
from cl.methods.simclr import SimCLR, class_ids
from cl.nets.encoders import create
from tests.methods.made import OF_IMAGES, made


@pytest.fixture(params=OF_IMAGES)
def method(request: pytest.FixtureRequest) -> Method:
    torch.manual_seed(0)
    return made(request.param, create("resnet6_w8", 16))


def batch(n: int = 8, sizes: tuple[int, ...] = (16,)) -> Batch:
    torch.manual_seed(1)
    views = [torch.randn(4, n, 3, size, size) for size in sizes]
    return Batch(views, torch.arange(n) % 4 - 1, torch.arange(n))


def test_everything_that_requires_grad_gets_one(method: Method) -> None:
    method.training_step(batch(), 0)["loss"].backward()
    without = [n for n, p in method.named_parameters() if p.requires_grad and p.grad is None]
    assert not without


def test_the_probe_never_changes_the_encoder(method: Method) -> None:
    """The stop-gradient: the encoder's gradient is the objective's alone, bit for bit."""
    method.training_step(batch(), 0)["loss"].backward()
    trained = [(n, p) for n, p in method.named_parameters() if p.requires_grad]
    whole = {n: p.grad.clone() for n, p in trained if "probe" not in n}
    assert method.probe.linear.weight.grad.abs().sum() > 0
    method.zero_grad()
    h = method.embed(batch().views)
    method.objective(h, batch().labels).backward()
    for name, p in trained:
        if "probe" not in name:
            torch.testing.assert_close(p.grad, whole[name], rtol=0, atol=0)


def test_clipping_leaves_the_probe_out() -> None:
    """Otherwise the length of the probe's gradient would change the encoder's step."""
    method = made("simclr", create("resnet6_w8", 16))
    method.training_step(batch(), 0)["loss"].backward()
    trained = {n: p for n, p in method.named_parameters() if p.requires_grad}
    before = {n: p.grad.clone() for n, p in trained.items()}
    whole = torch.cat([g.flatten() for n, g in before.items() if not n.startswith("probe.")])
    method.configure_gradient_clipping(
        torch.optim.SGD(trained.values(), 0.1), float(0.5 * whole.norm())
    )
    for name, p in trained.items():
        share = 1.0 if name.startswith("probe.") else 0.5
        torch.testing.assert_close(p.grad, share * before[name], rtol=1e-4, atol=1e-8)


def test_gradients_are_clipped_by_their_norm_alone(method: Method) -> None:
    with pytest.raises(ValueError, match="by their norm, not by value"):
        method.configure_gradient_clipping(torch.optim.SGD(method.parameters(), 0.1), 1.0, "value")


def test_the_probe_ignores_unlabeled_samples(method: Method) -> None:
    some = batch()
    out = method.training_step(some, 0)
    kept = some.labels >= 0
    logits = method.probe(out["h"])[:, kept]
    expected = nn.functional.cross_entropy(
        logits.flatten(0, 1), some.labels[kept].repeat(len(logits))
    )
    torch.testing.assert_close(out["log"]["train/probe_loss"], expected.detach())
    none = some._replace(labels=torch.full_like(some.labels, -1))
    assert method.training_step(none, 0)["log"]["train/probe_loss"] == 0


def test_features_do_not_depend_on_the_layout(method: Method) -> None:
    x = torch.randn(2, 4, 3, 16, 16)
    method.eval()
    first = method.features(x)
    method.layout = torch.contiguous_format
    method.encoder.to(memory_format=torch.contiguous_format)
    torch.testing.assert_close(method.features(x), first, rtol=1e-5, atol=1e-5)


def test_views_of_one_size_are_one_forward(method: Method) -> None:
    seen: list[tuple[int, ...]] = []
    method.encoder.register_forward_hook(lambda _, x, __: seen.append(tuple(x[0].shape)))
    h = method.embed([torch.randn(2, 4, 3, 16, 16), torch.randn(6, 4, 3, 8, 8)])
    assert h.shape == (8, 4, 32)
    assert seen == [(8, 3, 16, 16), (24, 3, 8, 8)]


def test_multicrop_probe_learns_from_whole_views_only() -> None:
    method = made("simclr", create("resnet6_w8", 16))
    seen: list[tuple[int, ...]] = []
    method.probe.register_forward_hook(lambda _, x, __: seen.append(tuple(x[0].shape)))
    method.training_step(batch(sizes=(16, 8)), 0)
    assert seen == [(4, 8, 32)]


def test_small_views_leave_running_statistics_alone() -> None:
    """Features are evaluated on full-size images; small crops have other moments."""
    torch.manual_seed(0)
    method, full = made("simclr", create("resnet6_w8", 16)), torch.randn(2, 4, 3, 16, 16)
    twin = copy.deepcopy(method)
    method.embed([full, 5 + torch.randn(6, 4, 3, 8, 8)])
    twin.embed([full])
    for (name, ours), right in zip(
        method.encoder.named_buffers(), twin.encoder.buffers(), strict=True
    ):
        assert torch.equal(ours, right) or name.endswith("num_batches_tracked"), name
    assert not torch.equal(
        method.encoder.get_buffer("stem.norm.running_mean"),
        create("resnet6_w8", 16).get_buffer("stem.norm.running_mean"),
    )


@pytest.mark.parametrize("name", ["looc", "supcon"])
def test_heads_without_batch_norm(name: str) -> None:
    method = made(name, create("resnet6_w8", 16))
    heads = [method.projector, *getattr(method, "others", ())]
    assert all([type(m) for m in head] == [nn.Linear, nn.ReLU, nn.Linear] for head in heads)


def test_class_ids_keep_unlabeled_samples_apart() -> None:
    ids = class_ids(torch.tensor([1, -1, 1, -1, 0]))
    assert ids[0] == ids[2]
    assert len(set(ids.tolist())) == 4


def test_supervised_pulls_classes_together() -> None:
    """With all labels different SupCon is SimCLR; with equal ones it is not."""
    torch.manual_seed(0)
    method = made("supcon", create("resnet6_w8", 16)).eval()
    h = torch.randn(2, 6, 32)
    apart = method.objective(h, torch.arange(6))
    z = method.projector(h.flatten(0, 1)).unflatten(0, (2, 6))
    torch.testing.assert_close(apart, nt_xent(z))
    assert not torch.allclose(method.objective(h, torch.zeros(6, dtype=torch.long)), apart)


def test_simsiams_target_stands_still() -> None:
    """The gradient is that of a loop in which the other view's embedding is a constant."""
    torch.manual_seed(0)
    method = made("simsiam", create("resnet6_w8", 16)).double()
    h = torch.randn(2, 6, 32, dtype=torch.float64)
    method.objective(h, torch.zeros(6, dtype=torch.long)).backward()
    ours = method.projector[0].weight.grad.clone()
    method.zero_grad()
    z = [method.projector(x) for x in h]
    p, z = [method.predictor(x) for x in z], [x.detach() for x in z]
    cos: Callable[[Tensor, Tensor], Tensor] = nn.CosineSimilarity(dim=-1)
    (-(cos(p[0], z[1]).mean() + cos(p[1], z[0]).mean()) / 2).backward()
    torch.testing.assert_close(ours, method.projector[0].weight.grad, rtol=1e-9, atol=1e-12)


def test_without_classes_nothing_is_said_of_accuracy(method: Method) -> None:
    """The objective is the same bit for bit, and a validation step needs no labels."""
    torch.manual_seed(0)
    name = type(method).__module__.rpartition(".")[2]
    without = made(name, create("resnet6_w8", 16), classes=None)
    assert without.probe is None
    theirs = method.state_dict()
    without.load_state_dict({k: v for k, v in theirs.items() if not k.startswith("probe.")})
    out = without.training_step(batch(), 0)
    assert out["log"].keys() == {"train/loss"}
    assert torch.equal(
        out["log"]["train/loss"], method.training_step(batch(), 0)["log"]["train/loss"]
    )
    assert torch.equal(out["loss"].detach(), out["log"]["train/loss"])
    without.on_validation_epoch_start()
    assert without.validation_step(batch(), 0)["h"].shape == (8, 32)
    without.on_validation_epoch_end()  # which would fail to log without a Trainer


class Own(nn.Module):
    """An encoder that says nothing of itself."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def test_any_encoder_will_do() -> None:
    """Images, and sequences of another shape with an example."""
    method = SimCLR(Own(), classes=3, hidden_mlp=8, encoding_size=4)
    assert method.width == 5
    method.training_step(batch(), 0)["loss"].backward()
    words = nn.EmbeddingBag(10, 6)
    method = SimCLR(words, example=torch.zeros(2, 7, dtype=torch.long), hidden_mlp=8)
    tokens = torch.randint(10, (2, 8, 7))
    h = method.embed([tokens])
    assert h.shape == (2, 8, 6)
    torch.testing.assert_close(h[1, 3], words(tokens[1, 3][None])[0])
