"""Training of an encoder whose weights are in parts on the processes: FSDP (`fully_shard`)."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor
from torch.utils import _pytree as pytree

from cl import distributed
from cl.nets.recompute import find_blocks


class ShardedStrategy(DDPStrategy):
    """What DDP computes, with weights, gradients and optimizer states of the encoder in parts.

    Zhao et al. 2023 (https://arxiv.org/abs/2304.11277), by torch's `fully_shard`: each block's
    weights are whole only while it computes. Heads, probe and learned scalars are whole on each
    process and their gradients averaged, as by DDP.

    What evaluates or saves the encoder has a whole copy, in the memory of the host unless it
    validates. Checkpoints are those of DDP. Lightning's ModelParallelStrategy would read and write
    them past the `CheckpointIO`.
    """

    def model_to_device(self) -> None:
        """Nothing: the encoder goes there in parts, see `configure_ddp`."""

    def configure_ddp(self) -> None:
        method: Any = self.lightning_module
        encoder = method.encoder.to(memory_format=torch.contiguous_format)
        method.whole = [copy.deepcopy(encoder).requires_grad_(False).eval()]
        distributed.shard_parameters(encoder, find_blocks(encoder), self.root_device)
        method.to(self.root_device)
        for name, p in method.named_parameters():
            if p.requires_grad and not name.startswith("encoder."):
                p.register_post_accumulate_grad_hook(average_gradient)

    @torch.no_grad()
    def gather_encoder(self) -> None:
        """Bring the whole copy up to date; all processes come here."""
        method: Any = self.lightning_module
        state = method.encoder.state_dict()
        for name, own in method.whole[0].state_dict().items():
            own.copy_(distributed.unsharded(state[name]))

    def on_validation_start(self) -> None:
        self.gather_encoder()
        method: Any = self.lightning_module
        method.whole[0].to(self.root_device)

    def on_validation_end(self) -> None:
        method: Any = self.lightning_module
        method.whole[0].to("cpu")

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """The state dict with the whole encoder, on every process."""
        self.gather_encoder()
        method: Any = self.lightning_module
        whole = {f"encoder.{name}": v for name, v in method.whole[0].state_dict().items()}
        return {name: whole.get(name, value) for name, value in method.state_dict().items()}

    def optimizer_state(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """The whole states of an optimizer, on the first process."""

        def gathered(value: Tensor) -> Tensor:
            whole = distributed.unsharded(value).cpu()
            return whole if self.is_global_zero else whole[:0] if whole.ndim else whole

        return pytree.tree_map_only(Tensor, gathered, super().optimizer_state(optimizer))

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        for optimizer, saved in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            kernels = [(group["fused"], group["foreach"]) for group in optimizer.param_groups]
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            numbers = [number for group in saved["param_groups"] for number in group["params"]]
            for number, p in zip(numbers, parameters, strict=True):
                for name, value in saved["state"].get(number, {}).items():
                    if isinstance(value, Tensor):
                        saved["state"][number][name] = distributed.sharded_like(value, p)
            optimizer.load_state_dict(saved)
            for group, (fused, foreach) in zip(optimizer.param_groups, kernels, strict=True):
                group.update(fused=fused, foreach=foreach)


def average_gradient(p: Tensor) -> None:
    """Give a parameter the mean of its gradients on all processes."""
    assert p.grad is not None
    p.grad.copy_(distributed.all_reduce_sum(p.grad) / distributed.world_size())
