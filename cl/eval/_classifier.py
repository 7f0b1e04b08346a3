"""An encoder with a linear layer that learns from augmented images."""

from dataclasses import replace
from typing import Any

import pytorch_lightning as pl
import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn

from cl import distributed
from cl.data.batch import Batch
from cl.data.module import ContrastiveData
from cl.eval._result import EvalResult, score
from cl.eval._training import Training
from cl.layer_decay import layer_rates
from cl.nets.encoders import example_for, width
from cl.nets.lora import LoRA
from cl.nets.probe import Standardize, cross_entropy, shown_topk, topk_correct
from cl.optim import Optimization, build_optimizer, planned_steps, regroup, written_out


class Classifier(pl.LightningModule):
    """An encoder and a linear layer that learn from augmented images with labels.

    Args:
        encoder: `(n c h w)` images to `(n d)` features.
        classes: how many there are.
        optimization: how it is trained.
        example: a batch as the encoder takes it, for one that does not say its width.
        frozen: freeze the encoder, weights and buffers, and train only the layer.
        standardize: give each feature mean 0 and deviation 1 first, by running statistics.
        lora_rank: rank of the updates that are trained in place of the encoder's weights, see
            `LoRA`; its running statistics are then frozen too.
        lora_alpha: see `LoRA`.
        channels_last: the layout in memory.
    """

    def __init__(
        self,
        encoder: nn.Module,
        classes: int,
        optimization: Optimization,
        *,
        example: Tensor | None = None,
        frozen: bool = False,
        standardize: bool = False,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        channels_last: bool = True,
    ) -> None:
        super().__init__()
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        dim = width(encoder, example)
        encoder = encoder.to(memory_format=self.layout)  # pyright: ignore[reportCallIssue]
        encoder.requires_grad_(not frozen)
        self.encoder = encoder if lora_rank is None else LoRA(encoder, lora_rank, lora_alpha)
        self.frozen_stats = frozen or lora_rank is not None
        self.encoder.train(not self.frozen_stats)
        self.standardize = Standardize(dim) if standardize else nn.Identity()
        self.classifier = nn.Linear(dim, classes)
        self.optimization, self.frozen = optimization, frozen
        self.seen: list[tuple[Tensor, Tensor]] = []
        self.scores: Tensor | None = None  # of the whole validation part, when it has been seen
        self.labels: Tensor | None = None

    @property
    def evaluated(self) -> nn.Module:
        """The encoder, as it is saved."""
        return self.encoder.merged() if isinstance(self.encoder, LoRA) else self.encoder

    def train(self, mode: bool = True) -> "Classifier":
        super().train(mode)
        if self.frozen_stats:
            self.encoder.eval()
        return self

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        images = x.contiguous(memory_format=self.layout)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            h = self.encoder(images)
        if isinstance(self.standardize, Standardize):
            h = self.standardize(h.unsqueeze(0)).squeeze(0)
        return self.classifier(h)

    def training_step(self, batch: Batch, _: int) -> dict[str, Any]:
        views = batch.views[0]
        labels = repeat(batch.labels, "n -> (v n)", v=len(views))
        logits = self(rearrange(views, "v n c h w -> (v n) c h w"))
        seen = (labels >= 0).sum()
        share = distributed.loss_weight(seen)
        loss = cross_entropy(logits[None], labels) * share
        top1 = topk_correct(logits.detach(), labels, 1) / seen.clamp(min=1) * share
        return {"loss": loss, "log": {"train/loss": loss.detach(), "train/probe_top1": top1}}

    def on_validation_epoch_start(self) -> None:
        self.seen = []

    def validation_step(self, batch: Batch, _: int) -> None:
        self.seen.append((self(batch.views[0][0]).float(), batch.labels))

    def on_validation_epoch_end(self) -> None:
        scores, labels = (torch.cat(part) for part in zip(*self.seen, strict=True))
        self.scores = distributed.gather(scores, dim=0)[0].cpu()
        self.labels = distributed.gather(labels, dim=0)[0].cpu()
        known = self.labels >= 0
        n = known.sum().clamp(min=1)
        loss = cross_entropy(self.scores[None], self.labels)
        self.log("val/loss", loss, logger=False)
        for k in shown_topk(self.classifier.out_features):
            share = topk_correct(self.scores[known], self.labels[known], k) / n
            self.log(f"val/probe_top{k}", share, logger=False)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        regroup(checkpoint, self, self.optimization)

    def configure_optimizers(self) -> Any:
        length = planned_steps(self.trainer, self.optimization.scheduler)
        self.optimization = written_out(self.optimization, *length)
        return build_optimizer(self, self.optimization, *length, "train/loss")


def learn(
    encoder: nn.Module,
    data: ContrastiveData,
    classes: int,
    training: Training,
    *,
    frozen: bool = False,
    standardize: bool = False,
    lora_rank: int | None = None,
    lora_alpha: float | None = None,
    layer_decay: float | None = None,
    channels_last: bool = True,
) -> EvalResult:
    """Train a `Classifier` and score it on the test part.

    Args:
        encoder: `(n c h w)` images to `(n d)` features; trained in place unless `frozen`.
        data: crops of the training images, plain test images.
        classes: how many there are.
        training: optimizer, schedule, batch size and epochs.
        frozen: only the linear layer learns.
        standardize: see `Classifier`.
        lora_rank: see `Classifier`.
        lora_alpha: see `Classifier`.
        layer_decay: see `Optimization`.
        channels_last: the layout in memory.

    Returns:
        Top-k accuracies after the last epoch, see `score`, and the encoder that was trained.
    """
    o = replace(training.plan(training.lr, training.weight_decay), layer_decay=layer_decay)
    recipe = data.recipes[0]
    module = Classifier(
        encoder,
        classes,
        o,
        example=example_for(encoder, recipe.channels, recipe.size),
        frozen=frozen,
        standardize=standardize,
        lora_rank=lora_rank,
        lora_alpha=lora_alpha,
        channels_last=channels_last,
    )
    trainer = training.fit(module, data)
    if module.scores is None:  # all epochs were done when the run was resumed
        trainer.validate(module, datamodule=data, verbose=False)
    assert module.scores is not None
    assert module.labels is not None
    how = {
        "normalization": "standardized by running statistics" if standardize else "none",
        "views": f"crops of {recipe.crop_scale} of the area, mirrored with {recipe.flip:g}",
        "lora_rank": lora_rank,
        "lora_alpha": lora_alpha,
        "backend": data.backend,
        "last_batch_fill": data.fill_last,
    }
    how |= training.describe(module.optimization)
    if layer_decay is not None:
        how["layer_rates"] = layer_rates(encoder, o.lr, layer_decay)
    return score(module.scores, module.labels, how=how, encoder=module.evaluated)
