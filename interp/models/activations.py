"""Activation functions by the names that they have on the command line."""

from collections.abc import Callable

import torch
from torch import Tensor

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
