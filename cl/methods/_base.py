"""What every method shares: an encoder, an online probe, views in, one optimizer."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from cl import distributed
from cl.bounds import Share
from cl.callbacks.watch import watched
from cl.data.augment.recipe import Recipe
from cl.data.batch import Batch
from cl.nets import encoders, gradient_cache
from cl.nets.ema import Ema
from cl.nets.learned import Learned
from cl.nets.norm import still
from cl.nets.probe import Probe, cross_entropy, topk_correct
from cl.optim import Optimization, configure, planned
from cl.schedules import Schedule


def learned_scalars(loss: Callable[..., Tensor], learn: str) -> dict[str, float]:
    """Where the scalars of a loss that learn start: their given values, or the loss's defaults."""
    names = {"nothing": (), "both": ("temperature", "bias")}.get(learn, (learn,))
    return {name: float(option_of(loss, name)) for name in names}


def option_of(loss: Callable[..., Tensor], name: str) -> Any:
    """The value that a loss has for an option: the one it was given, else its default."""
    given = loss.keywords if isinstance(loss, partial) else {}
    return given.get(name, inspect.signature(loss).parameters[name].default)


class Method(pl.LightningModule, ABC):
    """A method is its heads (members) and its `objective`; whatever requires grad is trained.

    Args:
        encoder: `(n c h w)` images to `(n d)` features, d as `encoders.width` has it.
        classes: of the online probe.
        optimization: see there; by default SGD at 0.3 with warm-up and cosine.
        channels_last: lay images out with their channels last, which convolutions prefer.
        mini_batch_size: samples that are embedded at a time, see `cl.nets.gradient_cache`; None
            is all.
        mini_batch_norm: what BatchNorm normalises by then.
        ema_encoder: evaluate and save an exponential moving average of the encoder; the decay is
            warmed up as min(decay, (1 + t) / (10 + t)); None: no average
        schedules: numbers by name that change while training, see `now`; they are logged.
        learned: where a `temperature` or a `bias` of the loss starts that learns; logged too.
    """

    projector: nn.Module  # every method has one; the monitors look at what it puts out

    def __init__(
        self,
        encoder: nn.Module,
        *,
        classes: int,
        optimization: Optimization | None = None,
        channels_last: bool = True,
        mini_batch_size: int | None = None,
        mini_batch_norm: gradient_cache.Norm = "chunk",
        ema_encoder: Share | None = None,
        schedules: Mapping[str, Schedule] | None = None,
        learned: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.encoder = encoder.to(memory_format=layout)  # pyright: ignore[reportCallIssue]
        self.width = encoders.width(encoder)
        self.probe = Probe(self.width, classes, standardize=True)
        self.optimization = optimization or Optimization()
        self.layout = layout
        self.mini_batch_size = mini_batch_size
        self.mini_batch_norm: gradient_cache.Norm = mini_batch_norm
        self.ema_decay = ema_encoder
        self.average = None if ema_encoder is None else Ema(self.encoder)
        self.schedules, self.learned = dict(schedules or {}), Learned(**learned or {})
        self.steps = 0  # of the whole run, known when it starts
        self.global_views = 2  # of full size, the first of h; each batch says how many
        self.counts: dict[str, Tensor] = {}

    @classmethod
    def views(cls, recipes: list[Recipe], **_: Any) -> list[Recipe]:
        """The full-size views that it needs, from those of the recipe; by default these.

        Args:
            recipes: of the full-size views.
            _: its options.

        Raises:
            ValueError: it cannot be trained with these.
        """
        return recipes

    @abstractmethod
    def objective(self, h: Float[Tensor, "v n d"], labels: Int[Tensor, " n"]) -> Float[Tensor, ""]:
        """The loss of this process's features; what a method is."""

    def after_step(self, step: int) -> None:
        """What moves after the optimizer's step of that number, from 1 on; nothing here."""

    @property
    def eval_encoder(self) -> nn.Module:
        """The encoder whose features the probe and the monitors see."""
        return self.encoder

    @property
    def evaluated(self) -> nn.Module:
        """The encoder whose features are used in the end: saved and evaluated."""
        return self.eval_encoder if self.average is None else self.average.module[0]

    def probe_features(self, h: Float[Tensor, "v n d"]) -> Float[Tensor, "g n d"]:
        """The features that the probe learns from: those of the full-size views."""
        return h[: self.global_views].detach()

    @property
    def step(self) -> int:
        """Optimizer steps that are done; none without a Trainer."""
        return 0 if self._trainer is None else self.global_step

    def now(self, name: str) -> float:
        """The value of a schedule at this step."""
        if not self.steps:
            self.steps = 1 if self._trainer is None else planned(self.trainer)[0]
        return self.schedules[name].at(self.step, self.steps)

    def embed(self, views: list[Tensor]) -> Float[Tensor, "v n d"]:
        """Features of all views; those of one size go through the encoder in one forward.

        Small ones leave BatchNorm's running statistics alone: what is evaluated is of full size.
        """
        full = self.through(self.encoder, views[0])
        with still(self.encoder):
            small = [self.through(self.encoder, x) for x in views[1:]]
        return torch.cat([full, *small])

    def through(self, encoder: nn.Module, x: Float[Tensor, "v n c h w"]) -> Float[Tensor, "v n d"]:
        """Features of views of one size, `mini_batch_size` samples at a time."""
        if self.mini_batch_size is None:
            return self.features(x, encoder)
        encode = partial(self.features, encoder=encoder)
        return gradient_cache.embed_in_chunks(
            encode, x, self.mini_batch_size, encoder, self.mini_batch_norm
        )

    def features(
        self, x: Float[Tensor, "v n c h w"], encoder: nn.Module | None = None
    ) -> Float[Tensor, "v n d"]:
        """Features of views of one size, by `encoder` or by another one."""
        images = rearrange(x, "v n c h w -> (v n) c h w").contiguous(memory_format=self.layout)
        return rearrange((encoder or self.encoder)(images), "(v n) d -> v n d", v=len(x))

    def training_step(self, batch: Batch, _: int) -> dict[str, Any]:
        self.global_views = len(batch.views[0])
        h = self.embed(batch.views)
        objective = self.objective(h, batch.labels)
        whole = self.probe_features(h)
        logits = self.probe(whole)
        probe_loss = cross_entropy(logits, batch.labels)
        correct = [topk_correct(each, batch.labels, 1) for each in logits.detach()]
        labelled = (batch.labels >= 0).sum()
        seen = len(logits) * labelled
        parts = (
            distributed.loss_weight(torch.ones_like(batch.labels).sum()),
            distributed.loss_weight(labelled),
        )
        objective, probe_loss = objective * parts[0], probe_loss * parts[1]
        means = {  # over the processes they are those of the whole batch
            "train/loss": objective.detach(),
            "train/probe_loss": probe_loss.detach(),
            "train/probe_top1": torch.stack(correct).sum() / seen.clamp(min=1) * parts[1],
        }
        now = {f"schedule/{k}": self.now(k) for k in self.schedules}
        now |= {f"learned/{k}": v.detach() for k, v in self.learned.values().items()}
        if self._trainer is not None and not watched(self._trainer):
            n = len(batch.labels)
            self.log_dict(means, on_step=True, on_epoch=True, sync_dist=True, batch_size=n)
            self.log_dict(now, on_step=True, batch_size=n)
        return {"loss": objective + probe_loss, "h": whole, "log": means, "now": now}

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """A step and all that moves with it, before any callback can save the run."""
        super().optimizer_step(*args, **kwargs)
        step = self.step + 1
        self.learned.bound()
        self.after_step(step)
        if self.average is not None and self.ema_decay is not None:
            self.average.follow(min(self.ema_decay, (1 + step) / (10 + step)), self.encoder)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Scale the gradient down to a length; the probe's has no part in it, so changes nothing.

        Args:
            optimizer: of everything.
            gradient_clip_val: the length; None clips nothing.
            gradient_clip_algorithm: by the norm, Lightning's default.
        """
        if gradient_clip_val is not None:
            every = self.named_parameters()
            clipped = [p for name, p in every if not name.startswith("probe.")]
            nn.utils.clip_grad_norm_(clipped, gradient_clip_val)

    def on_validation_epoch_start(self) -> None:
        zero = torch.zeros((), dtype=torch.long, device=self.device)
        self.counts = {"top1": zero.clone(), "top5": zero.clone(), "n": zero.clone()}

    def validation_step(self, batch: Batch, _: int) -> dict[str, Tensor]:
        h = self.features(batch.views[0], self.eval_encoder)
        logits = self.probe(h)[0]
        self.counts["top1"] += topk_correct(logits, batch.labels, 1)
        self.counts["top5"] += topk_correct(logits, batch.labels, 5)
        self.counts["n"] += (batch.labels >= 0).sum()
        return {"h": h[0]}

    def on_validation_epoch_end(self) -> None:
        n = distributed.all_reduce_sum(self.counts["n"]).clamp(min=1)
        for name in ("top1", "top5"):
            share = distributed.all_reduce_sum(self.counts[name]) / n
            self.log(f"val/probe_{name}", share, logger=not watched(self.trainer))

    def configure_optimizers(self) -> Any:
        return configure(self, self.optimization, *planned(self.trainer), "train/loss")
