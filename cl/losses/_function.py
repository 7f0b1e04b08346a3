"""What the autograd functions of the losses share: no second derivatives, `vmap` by a loop."""

from typing import Any, ClassVar, NoReturn, cast

import torch
from jaxtyping import Float
from torch import Tensor

from cl.autograd import Function, are_transforms_active


class FirstOrder(Function):
    """A gradient as a function of its own, which says in words that it has none itself."""

    @classmethod
    def compute(cls, *inputs: Any) -> Any:
        """Apply it, as a node of the graph only where the gradient may be differentiated."""
        return cls.apply(*inputs) if torch.is_grad_enabled() else cls.forward(*inputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None: ...

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> NoReturn:
        raise NotImplementedError(
            "this loss has no second derivatives: its gradient is computed block by block and "
            "discarded; differentiate the naive formula in the loss's docstring instead"
        )


def one_by_one(
    function: type[torch.autograd.Function], info: Any, in_dims: tuple[Any, ...], *inputs: Any
) -> tuple[Any, Any]:
    """Apply a function to each element of a batch, which `torch.func.vmap` asks for.

    Args:
        function: the function.
        info: of `vmap`; has the batch size.
        in_dims: the axis of the batch in each input; None, or a tuple of them, where it has none.
        inputs: of the function.

    Returns:
        The outputs, stacked, and the axis of the batch in each.
    """
    each = [
        function.apply(
            *(
                x if dim is None or not isinstance(x, Tensor) else x.select(dim, i)
                for x, dim in zip(inputs, in_dims, strict=True)
            )
        )
        for i in range(info.batch_size)
    ]
    if isinstance(each[0], Tensor):
        return torch.stack(each), 0
    stacked = tuple(torch.stack(outputs) for outputs in zip(*each, strict=True))
    return stacked, (0,) * len(stacked)


class Times(FirstOrder):
    """Known gradients times the gradient of what they are gradients of.

    The first inputs are what the known gradients depend on; that they are inputs is what makes a
    second derivative come here.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(g: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(gradient * g for gradient in inputs[len(inputs) // 2 :])


class WholeLoss(Function):
    """A loss of embeddings of any length and of a scale, with its gradients as further outputs.

    The backward pass needs nothing else. A scale that is a number has no gradient.

    Attributes:
        node: the same function of `forward`, see `node_of`.
    """

    node: ClassVar[type[torch.autograd.Function]]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.node = node_of(cls)

    @classmethod
    def of(cls, z: Tensor, *given: Any) -> Float[Tensor, ""]:
        """The loss alone, of what `forward` takes but for the last: whether gradients are kept."""
        keep = torch.is_grad_enabled()
        if are_transforms_active():  # a batch of `vmap` does not say whether it needs a gradient
            return cast("tuple[Tensor, ...]", cls.apply(z, *given, keep))[0]
        wanted = any(isinstance(x, Tensor) and x.requires_grad for x in (z, *given))
        return cast("Tensor", cls.node.apply(z, *given, keep and wanted))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        known = output[1:]
        ctx.save_for_backward(*inputs[: len(known)], *known)
        ctx.mark_non_differentiable(*known)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, ...]:
        found = (
            () if grad_outputs[0] is None else Times.compute(grad_outputs[0], *ctx.saved_tensors)
        )
        return *found, *[None] * (len(ctx.needs_input_grad) - len(found))

    @classmethod
    def vmap(  # pyright: ignore[reportIncompatibleMethodOverride]  # torch calls it on the class
        cls, info: Any, in_dims: tuple[Any, ...], *inputs: Any
    ) -> tuple[Any, Any]:
        return one_by_one(cls, info, in_dims, *inputs)


def node_of(loss: type[WholeLoss]) -> type[torch.autograd.Function]:
    """The function for whoever transforms none: its only output is the loss.

    Gradients as outputs, and a context that is set up apart, are what `torch.func` asks for. They
    take as long as a third of the operations of a loss of 64 embeddings.

    Args:
        loss: computes the value and its gradients, and has the backward pass.
    """

    def forward(ctx: Any, *inputs: Any) -> Tensor:
        value, *known = loss.forward(*inputs)
        ctx.save_for_backward(*inputs[: len(known)], *known)
        ctx.set_materialize_grads(False)
        return value

    parts = {"forward": staticmethod(forward), "backward": staticmethod(loss.backward)}
    return type(loss.__name__, (torch.autograd.Function,), parts)
