"""Activation functions by the names that they have on the command line."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from interp.maths.compiled import once_at_most

LAYER_NORM_EPS = 1e-5
"""Epsilon of LayerNorm: HookedTransformer's default."""


def solu(x: Tensor) -> Tensor:
    """SoLU activation: x · softmax(x) over the neurons (Elhage et al. 2022)."""
    return x * x.softmax(dim=-1)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "relu": torch.relu,
    "gelu": torch.nn.functional.gelu,
    "silu": torch.nn.functional.silu,
    "solu": solu,
    "solu_ln": solu,
    "quadratic": torch.square,
    "tanh": torch.tanh,
}


def activate(name: str, pre: Tensor) -> Tensor:
    """Activations of neurons from their pre-activations. In training ReLU's gradient overwrites the one that it is given."""
    return _Relu.apply(pre) if name == "relu" and once_at_most() else ACTIVATIONS[name](pre)


class _Relu(torch.autograd.Function):
    """ReLU whose gradient is taken in place of the one by its result; differentiable once.

    That has to come from a product, so that nothing else reads it.
    """

    @staticmethod
    def forward(ctx: Any, pre: Tensor) -> Tensor:
        post = pre.relu()
        ctx.save_for_backward(post)
        return post

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        (post,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward.grad_input(gradients[0], post, 0, grad_input=gradients[0])
