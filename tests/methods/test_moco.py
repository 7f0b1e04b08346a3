"""MoCo against its pseudocode (He et al. 2020, algorithm 1), in float64, and its queue."""

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from cl.data.batch import Batch
from cl.losses.moco import moco
from cl.methods.moco import MoCo
from cl.nets.encoders import create

N, K, DIM = 4, 12, 8


def made(**options: object) -> MoCo:
    torch.manual_seed(0)
    sizes = {"queue_size": K, "hidden_mlp": 16, "encoding_size": DIM}
    return MoCo(create("resnet6_w8", 16), **sizes | options).double()


def batch(seed: int) -> Batch:
    g = torch.Generator().manual_seed(seed)
    views = torch.randn(2, N, 3, 16, 16, generator=g, dtype=torch.float64)
    return Batch([views], torch.zeros(N, dtype=torch.long), torch.arange(N))


def by_hand(q: Tensor, k: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """The paper's: a cross-entropy whose right class is the first, sample by sample."""
    q, k = (nn.functional.normalize(x, dim=1) for x in (q, k))
    losses = []
    for one, key in zip(q, k, strict=True):
        logits = torch.stack([one @ key, *(one @ negative for negative in queue)]) / temperature
        losses.append(nn.functional.cross_entropy(logits[None], torch.zeros(1, dtype=torch.long)))
    return torch.stack(losses).mean()


def test_the_loss_is_the_papers() -> None:
    q, k, queue = torch.randn(3, N, DIM, dtype=torch.float64, generator=torch.manual_seed(0))
    q.requires_grad_()
    queue = nn.functional.normalize(queue, dim=1)
    ours, right = moco(q, k, queue, temperature=0.07), by_hand(q, k, queue, 0.07)
    torch.testing.assert_close(ours, right, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(torch.autograd.grad(ours, q), torch.autograd.grad(right, q))


def test_steps_are_the_papers() -> None:
    """Five steps: the loss of both queries, and the queue a list from which the oldest fall out."""
    method = made()
    method.queue.embeddings.copy_(
        nn.functional.normalize(method.queue.embeddings, dim=1)
    )  # was so in float32
    queue = list(method.queue.embeddings.clone())
    place = 0
    for step in range(1, 6):
        x = batch(step)
        h = method.embed(x.views)
        q = [method.projector(view) for view in h]
        k = [z.detach() for z in method.targets[1]]
        pairs = [by_hand(q[v], k[w], torch.stack(queue), 0.2) for v, w in ((1, 0), (0, 1))]
        ours = method.objective(h, x.labels)
        torch.testing.assert_close(ours, torch.stack(pairs).mean(), rtol=1e-12, atol=1e-12)
        method.after_step(step)
        for key in nn.functional.normalize(torch.cat(k), dim=1):
            queue[place] = key
            place = (place + 1) % K
        torch.testing.assert_close(
            method.queue.embeddings, torch.stack(queue), rtol=1e-12, atol=1e-12
        )
    assert int(method.queue.oldest) == place == (5 * 2 * N) % K


def test_a_batch_larger_than_the_queue_fills_it() -> None:
    method = made(queue_size=3)
    method.embed(batch(1).views)
    method.after_step(1)
    newest = nn.functional.normalize(method.targets[1][1, -3:], dim=1)
    torch.testing.assert_close(method.queue.embeddings, newest)


def test_the_teacher_gets_no_gradient_and_the_queue_is_saved() -> None:
    method = made()
    method.training_step(batch(1), 0)["loss"].backward()
    assert not [p for p in method.teacher.parameters() if p.grad is not None]
    assert {"queue.embeddings", "queue.oldest"} <= method.state_dict().keys()


def test_the_share_that_a_step_keeps_is_constant() -> None:
    schedule = made().schedules["ema_beta"]
    assert [schedule.at(step, 100) for step in (0, 50, 99)] == [0.999] * 3


def test_a_step_of_several_batches_is_refused() -> None:
    """Their keys would not be in the queue."""
    trainer = pl.Trainer(
        accelerator="cpu",
        accumulate_grad_batches=2,
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader = DataLoader([batch(0)], batch_size=None)
    with pytest.raises(ValueError, match="MoCo's queue takes one batch a step"):
        trainer.fit(made(), loader, loader)
