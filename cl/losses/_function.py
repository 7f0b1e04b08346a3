"""What the autograd functions of the losses share: no second derivatives, `vmap` by a loop."""

from typing import Any, NoReturn

import torch
from torch import Tensor

from cl.autograd import Function


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
        in_dims: the axis of the batch in each input; None where it has none.
        inputs: of the function.

    Returns:
        The outputs, stacked, and the axis of the batch in each.
    """
    each = [
        function.apply(
            *(
                x if dim is None else x.select(dim, i)
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
