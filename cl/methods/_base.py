"""What every method shares: an encoder, an online probe, views in, one optimizer."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from einops import rearrange
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from cl import checkpoints, distributed
from cl.bounds import FromPython, Share
from cl.callbacks.watch import has_watch, needs_log
from cl.data.augment.recipe import Recipe
from cl.data.batch import Batch
from cl.data.loaders.given import as_batch
from cl.nets import encoders, gradient_cache
from cl.nets.ema import Ema
from cl.nets.heads import each_view, mlp
from cl.nets.learnable import Learnable
from cl.nets.norm import frozen_stats
from cl.nets.probe import Probe, cross_entropy, shown_topk, topk_correct
from cl.nets.recompute import checkpoint_blocks
from cl.optim import Optimization, build_optimizer, planned_steps, regroup
from cl.schedules import Schedule

RENAMED = {"target.": "teacher.", "learned.": "learnable."}  # keys of earlier checkpoints
EXAMPLE = (2, 3, 32, 32)  # a batch of images, by which the width of features can be measured


def learnable_scalars(loss: Callable[..., Tensor], learn: str) -> dict[str, float]:
    """Initial values of a loss's learnable scalars: the given ones, or the loss's defaults."""
    names = {"nothing": (), "both": ("temperature", "bias")}.get(learn, (learn,))
    return {name: float(option_of(loss, name)) for name in names}


def option_of(loss: Callable[..., Tensor], name: str) -> Any:
    """The value that a loss has for an option: the one it was given, else its default."""
    given = loss.keywords if isinstance(loss, partial) else {}
    return given.get(name, inspect.signature(loss).parameters[name].default)


def brought_by(loss: Callable[..., Tensor] | None) -> dict[str, Any]:
    """The optimizer and rates that a loss brings for methods without ones of their own."""
    function = loss.func if isinstance(loss, partial) else loss
    return getattr(inspect.getmodule(function), "DEFAULTS", {})


class Method(pl.LightningModule, ABC):
    """A method is its heads (members) and its `objective`; whatever requires grad is trained.

    Args:
        encoder: any module from a batch of views to `(n d)` features.
        loss: what `objective` computes by `self.loss(...)`; None for a method without one.
        classes: number of classes of the online probe; None: no probe, and no accuracy is logged.
        example: a batch as the encoder takes it, for an encoder that does not say the width d of
            its features, see `encoders.width`; two images of 32 x 32 pixels by default.
        optimization: see there; by default as the method's `defaults` say, else those of its loss,
            else SGD at 0.3, with warm-up and cosine.
        channels_last: the memory layout of images that convolutions prefer.
        mini_batch_size: samples that are embedded at a time, see `cl.nets.gradient_cache`; None:
            all at once.
        mini_batch_norm: BatchNorm mode with `mini_batch_size`: per-chunk statistics ("chunk") or
            running statistics ("frozen").
        checkpoint_activations: compute the encoder's blocks a second time in the backward, see
            `cl.nets.recompute`.
        ema_encoder: evaluate and save an exponential moving average of the encoder; the decay is
            warmed up as min(decay, (1 + t) / (10 + t)); None: no average
        schedules: options of the method or its loss that change while training, by name; logged.
        learnable: initial values of the loss's learnable `temperature` and `bias`; logged too.
    """

    projector: nn.Module  # every method has one; the monitors look at its embeddings
    graded: ClassVar[bool] = False  # whether it learns from scores of pairs, where there are any
    defaults: ClassVar[dict[str, Any]] = {}  # the optimizer and rates of its source, flags as well

    def __init__(
        self,
        encoder: nn.Module,
        loss: Callable[..., Tensor] | None = None,
        *,
        classes: FromPython[int | None] = None,
        example: Tensor | None = None,
        optimization: Optimization | None = None,
        channels_last: bool = True,
        mini_batch_size: int | None = None,
        mini_batch_norm: gradient_cache.Norm = "chunk",
        checkpoint_activations: bool = False,
        ema_encoder: Share | None = None,
        schedules: Mapping[str, Schedule] | None = None,
        learnable: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.encoder = encoder.to(memory_format=layout)  # pyright: ignore[reportCallIssue]
        self.width = encoders.width(encoder, torch.zeros(EXAMPLE) if example is None else example)
        self.probe = None if classes is None else Probe(self.width, classes, standardize=True)
        self.loss_function = loss
        self.loss_arguments = set(inspect.signature(loss).parameters) if loss else set()
        self.optimization = optimization or Optimization(**(self.defaults or brought_by(loss)))
        self.layout = layout
        self.mini_batch_size = mini_batch_size
        self.mini_batch_norm: gradient_cache.Norm = mini_batch_norm
        self.checkpoint_activations = checkpoint_activations
        if checkpoint_activations:
            checkpoint_blocks(self.encoder)
        self.ema_encoder = ema_encoder
        self.average = None if ema_encoder is None else Ema(self.encoder)
        self.whole: list[nn.Module] = []  # a copy of an encoder that is in parts on the processes
        self.schedules = dict(schedules or {})
        self.learnable = Learnable(**learnable or {})
        self.steps = 0  # of the whole run, known when it starts
        self.global_views = 2  # of full size, the first of h; each batch says how many
        self.scores: Tensor | None = None  # of the pairs of the batch, where the data have them
        self.counts: dict[str, Tensor] = {}
        self.skipped: bool | Tensor = False  # whether `FiniteSteps` leaves this step out

    @classmethod
    def views(cls, recipes: list[Recipe], **_: Any) -> list[Recipe]:
        """The full-size views that the method needs, from those of the recipe; by default these.

        Args:
            recipes: of the full-size views.
            _: the method's options.

        Raises:
            ValueError: the method cannot be trained with these.
        """
        return recipes

    def build_projector(self, hidden_mlp: int, encoding_size: int) -> nn.Module:
        """The head whose embeddings the loss compares; a method may build another one.

        Args:
            hidden_mlp: width of the hidden layer.
            encoding_size: dimensions of the embedding.
        """
        return mlp(self.width, hidden_mlp, encoding_size)

    @abstractmethod
    def objective(self, h: Float[Tensor, "v n d"], labels: Int[Tensor, " n"]) -> Float[Tensor, ""]:
        """The loss of this process's features; what a method is."""

    def loss(self, *args: Any, **kwargs: Any) -> Float[Tensor, ""]:
        """The loss function with the values that its options have at this step."""
        assert self.loss_function is not None
        return self.loss_function(*args, **kwargs, **self.loss_options())

    def loss_options(self) -> dict[str, Any]:
        """The options of the loss that are learned or scheduled."""
        moving = {k: self.now(k) for k in self.schedules if k in self.loss_arguments}
        return {**self.learnable.values(), **moving}

    def after_step(self, step: int) -> None:
        """What is updated after the optimizer's step of that number, from 1 on; nothing here."""

    @property
    def eval_encoder(self) -> nn.Module:
        """The encoder whose features the probe and the monitors see."""
        return self.whole[0] if self.whole else self.encoder

    @property
    def evaluated(self) -> nn.Module:
        """The encoder that is saved and evaluated in the end."""
        return self.eval_encoder if self.average is None else self.average.module[0]

    @property
    def saved(self) -> dict[str, nn.Module]:
        """The modules whose weights a run keeps for use, by the names of their files."""
        return {checkpoints.ENCODER: self.evaluated}

    @property
    def embedders(self) -> list[nn.Module]:
        """The encoder and the heads, those of a teacher too."""
        found: list[nn.Module] = []
        for module in self.children():
            if isinstance(module, Ema):
                found += module.module
            elif isinstance(module, nn.ModuleList):
                found += module
            elif module is not self.probe:
                found.append(module)
        return found

    def probe_features(self, h: Float[Tensor, "v n d"]) -> Float[Tensor, "g n d"]:
        """The features that the probe learns from: those of the full-size views."""
        return h[: self.global_views].detach()

    def monitored(self, h: Float[Tensor, "g n d"]) -> Float[Tensor, "g n e"]:
        """The embeddings of `probe_features` whose geometry is watched."""
        return each_view(self.projector, h)

    @property
    def step(self) -> int:
        """Number of optimizer steps that are done; 0 without a Trainer."""
        return 0 if self._trainer is None else self.global_step

    def now(self, name: str) -> float:
        """The value of a scheduled option at this step."""
        if not self.steps:
            self.steps = 1 if self._trainer is None else planned_steps(self.trainer)[0]
        return self.schedules[name].at(self.step, self.steps)

    def apply_schedules(self) -> None:
        """Set the scheduled options of the method, which are its attributes, for this step.

        Raises:
            ValueError: neither the method nor its loss has an option of that name.
        """
        for name in self.schedules.keys() - self.loss_arguments:
            if not hasattr(self, name):
                kind = type(self).__name__
                raise ValueError(f"schedule {name}: neither {kind} nor its loss has that option")
            setattr(self, name, self.now(name))

    def generator(self, device: torch.device) -> torch.Generator:
        """Random numbers of this step: the same on every process and in a resumed run."""
        return torch.Generator(device).manual_seed(self.step)

    def embed(self, views: list[Tensor]) -> Float[Tensor, "v n d"]:
        """Features of all views; those of one size go through the encoder in one forward pass.

        Small ones do not change BatchNorm's running statistics: full-size views are evaluated.
        """
        last = len(views) - 1
        full = self.through(self.encoder, views[0], more=last > 0)
        with frozen_stats(self.encoder):
            small = [
                self.through(self.encoder, x, more=i < last) for i, x in enumerate(views[1:], 1)
            ]
        return torch.cat([full, *small])

    def through(
        self, encoder: nn.Module, x: Shaped[Tensor, "v n *view"], *, more: bool = False
    ) -> Float[Tensor, "v n d"]:
        """Features of views of one size, `mini_batch_size` samples at a time.

        Args:
            encoder: that embeds them.
            x: the views.
            more: whether others go through it in this step, see `embed_in_chunks`.
        """
        if self.mini_batch_size is None:
            return self.features(x, encoder)
        encode = partial(self.features, encoder=encoder)
        return gradient_cache.embed_in_chunks(
            encode, x, self.mini_batch_size, encoder, self.mini_batch_norm, more=more
        )

    def features(
        self, x: Shaped[Tensor, "v n *view"], encoder: nn.Module | None = None
    ) -> Float[Tensor, "v n d"]:
        """Features of views of one size, by `encoder` or by another one."""
        views = rearrange(x, "v n ... -> (v n) ...")
        if views.ndim == 4:
            views = views.contiguous(memory_format=self.layout)
        return rearrange((encoder or self.encoder)(views), "(v n) d -> v n d", v=len(x))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Rename and regroup what earlier versions of this package had otherwise."""
        regroup(checkpoint, self, self.optimization)
        state = checkpoint["state_dict"]
        for key in [key for key in state if key.startswith((*RENAMED,))]:
            before = key.partition(".")[0] + "."
            state[RENAMED[before] + key.removeprefix(before)] = state.pop(key)

    def training_step(self, given: Batch | Any, _: int) -> dict[str, Any]:
        batch = as_batch(given)
        self.apply_schedules()
        self.global_views = batch.global_views or len(batch.views[0])
        self.scores = batch.scores
        h = self.embed(batch.views)
        objective = self.objective(h, batch.labels)
        full = self.probe_features(h)
        weight = distributed.loss_weight(torch.ones_like(batch.labels).sum())
        objective = objective * weight
        probe_loss, accuracy = self.probe_step(full, batch.labels)
        # Their means over the processes are those of the whole batch.
        means = {"train/loss": objective.detach(), **accuracy}
        now = {f"schedule/{k}": self.now(k) for k in self.schedules}
        now |= {f"learned/{k}": v.detach() for k, v in self.learnable.values().items()}
        if self._trainer is not None and not has_watch(self._trainer):
            n = len(batch.labels)
            how: dict[str, Any] = {"batch_size": n, "logger": needs_log(self.trainer)}
            self.log_dict(means, on_step=True, on_epoch=True, sync_dist=True, **how)
            self.log_dict(now, on_step=True, **how)
        loss = objective + probe_loss if accuracy else objective
        return {"loss": loss, "h": full, "log": means, "now": now}

    def probe_step(
        self, h: Float[Tensor, "g n d"], labels: Int[Tensor, " n"]
    ) -> tuple[Tensor | float, dict[str, Tensor]]:
        """The probe's loss and what is logged of it; nothing without a probe."""
        if self.probe is None:
            return 0.0, {}
        logits = self.probe(h)
        labeled = (labels >= 0).sum()
        weight = distributed.loss_weight(labeled)
        loss = cross_entropy(logits, labels) * weight
        correct = (logits.detach().argmax(dim=2) == labels).sum()
        top1 = correct / (len(logits) * labeled).clamp(min=1) * weight
        return loss, {"train/probe_loss": loss.detach(), "train/probe_top1": top1}

    def backward(self, loss: Float[Tensor, ""], *args: Any, **kwargs: Any) -> None:
        """The backward, in which blocks that are computed again move no running statistics."""
        again = (
            gradient_cache.unmoved(self.encoder) if self.checkpoint_activations else nullcontext()
        )
        with again:
            super().backward(loss, *args, **kwargs)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """The step and what is updated with it, before any callback can save the run."""
        super().optimizer_step(*args, **kwargs)
        if self.skipped is True:
            return
        step = self.step + 1
        self.learnable.bound()
        self.after_step(step)
        if self.average is not None and self.ema_encoder is not None:
            self.average.update(min(self.ema_encoder, (1 + step) / (10 + step)), self.encoder)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradient norm, excluding the probe, which must not influence the encoder.

        Args:
            optimizer: of all parameters.
            gradient_clip_val: the largest norm; None clips nothing.
            gradient_clip_algorithm: Lightning's; by the norm where it is None.

        Raises:
            ValueError: it is another one.
        """
        if gradient_clip_algorithm not in (None, "norm"):
            raise ValueError(
                f"gradients are clipped by their norm, not by {gradient_clip_algorithm}"
            )
        if gradient_clip_val is not None:
            named = self.named_parameters()
            clipped = [p for name, p in named if not name.startswith("probe.")]
            nn.utils.clip_grad_norm_(clipped, gradient_clip_val)

    def on_validation_epoch_start(self) -> None:
        zero = torch.zeros((), dtype=torch.long, device=self.device)
        self.counts = {"top1": zero.clone(), "top5": zero.clone(), "n": zero.clone()}

    def validation_step(self, given: Batch | Any, _: int) -> dict[str, Tensor]:
        batch = as_batch(given)
        h = self.features(batch.views[0], self.eval_encoder)
        if self.probe is not None:
            logits = self.probe(h)[0]
            for k in shown_topk(logits.shape[1]):
                self.counts[f"top{k}"] += topk_correct(logits, batch.labels, k)
            self.counts["n"] += (batch.labels >= 0).sum()
        return {"h": h[0]}

    def on_validation_epoch_end(self) -> None:
        if self.probe is None:
            return
        n = distributed.all_reduce_sum(self.counts["n"]).clamp(min=1)
        for name in (f"top{k}" for k in shown_topk(self.probe.linear.out_features)):
            accuracy = distributed.all_reduce_sum(self.counts[name]) / n
            self.log(f"val/probe_{name}", accuracy, logger=needs_log(self.trainer))

    def configure_optimizers(self) -> Any:
        length = planned_steps(self.trainer, self.optimization.scheduler)
        return build_optimizer(self, self.optimization, *length, "train/loss")
