"""Activation checkpointing: of an encoder's blocks only what goes in is kept for the backward.

Chen et al. 2016 (https://arxiv.org/abs/1604.06174). A block is computed a second time in the
backward, with the random numbers it had. It costs up to one more forward pass.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from cl.nets.lora import LoRA
from cl.nets.towers import Towers
from cl.nets.transformer import Transformer


def checkpoint_blocks(encoder: nn.Module) -> None:
    """Let each block of an encoder be computed again in the backward, in place.

    The encoders of timm and of transformers know their blocks. Of others they are what stands in a
    `nn.Sequential` or `nn.ModuleList` and has layers of its own. Whoever calls the backward keeps
    running statistics from moving in it, see `gradient_cache.unmoved`.

    Args:
        encoder: of images or of texts; of two at least one must have blocks.

    Raises:
        ValueError: there are none, or LoRA computes with other weights than the blocks have, which
            are not there when a block is computed again.
    """
    if any(isinstance(module, LoRA) for module in encoder.modules()):
        raise ValueError("--checkpoint_activations cannot be used with --lora_rank.")
    parts = [encoder.image, encoder.text] if isinstance(encoder, Towers) else [encoder]
    divided = [divide(part) for part in parts]
    if not any(divided):
        raise ValueError(
            f"--checkpoint_activations: {type(encoder).__name__} has no blocks, which are members "
            "of nn.Sequential or nn.ModuleList with layers of their own; an encoder of yours can "
            "have a method set_grad_checkpointing(enable), as timm's have"
        )


def divide(encoder: nn.Module) -> bool:
    """`checkpoint_blocks` of one encoder; whether there are any."""
    if isinstance(encoder, Transformer):
        known = bool(encoder.model.supports_gradient_checkpointing)
        if known:
            encoder.model.gradient_checkpointing_enable({"use_reentrant": False})
        return known
    enable: Any = getattr(encoder, "set_grad_checkpointing", None)
    if enable is not None:
        try:
            enable(True)
        except AssertionError:  # as some of timm's say that they cannot
            return False
        return True
    found = find_blocks(encoder)
    for block in found:
        block.forward = partial(recomputed, block.forward)
    return bool(found)


def recomputed(forward: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """What a forward gives, computed a second time in the backward."""
    return checkpoint(forward, *args, use_reentrant=False, **options)


def find_blocks(module: nn.Module) -> list[nn.Module]:
    """The blocks within a module: those of stages, where containers stand in containers."""
    found: list[nn.Module] = []
    listed = isinstance(module, nn.Sequential | nn.ModuleList)
    for child in module.children():
        inner = find_blocks(child)
        if listed and has_layers(child) and not (isinstance(child, nn.Sequential) and inner):
            found.append(child)
        else:
            found += inner
    return found


def has_layers(module: nn.Module) -> bool:
    """Whether modules within a module have parameters."""
    return any(True for child in module.children() for _ in child.parameters())
