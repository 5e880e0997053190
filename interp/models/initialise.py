"""Initial weights, by the two conventions of the field. Draws from its seed alone."""

import math

import torch
from torch import Tensor

from interp.base import TaskShape
from interp.models.toy import ToySpec
from interp.models.transformer import TransformerSpec, is_bias


def initial_weights(spec: TransformerSpec, shape: TaskShape, seed: int) -> dict[str, Tensor]:
    """Every parameter of the model, float32, by HookedTransformer's name.

    `hooked` equals what HookedTransformer itself draws after torch.manual_seed(seed), bit for bit: its tensors are
    drawn in the order in which `tensor_shapes` lists them.
    """
    generator = torch.Generator().manual_seed(seed)
    return {
        name: spec.init_scale * initial_tensor(name, size, spec, shape, generator)
        for name, size in spec.tensor_shapes(shape).items()
    }


def initial_tensor(
    name: str, size: tuple[int, ...], spec: TransformerSpec, shape: TaskShape, generator: torch.Generator
) -> Tensor:
    """One parameter: 0 for biases, 1 for LayerNorm's scale, normal otherwise."""
    if is_bias(name):
        return torch.zeros(size)
    if name.endswith(".w"):
        return torch.ones(size)
    return torch.empty(size).normal_(std=standard_deviation(name, spec, shape), generator=generator)


def standard_deviation(name: str, spec: TransformerSpec, shape: TaskShape) -> float:
    """Nanda et al. (2023, code): 1/√d_model, and 1/√d_vocab for W_U; HookedTransformer: 0.8/√d_model for all."""
    if spec.init == "hooked":
        return 0.8 / math.sqrt(spec.d_model)
    return 1 / math.sqrt(shape.d_vocab if name == "unembed.W_U" else spec.d_model)


def initial_toy_weights(spec: ToySpec, shape: TaskShape, seed: int) -> dict[str, Tensor]:
    """The same of a toy model: weights normal of variance 2/(d_hidden + n_features) (Glorot & Bengio 2010), b 0."""
    generator = torch.Generator().manual_seed(seed)
    std = math.sqrt(2 / (spec.d_hidden + shape.d_vocab))
    return {
        name: torch.empty(size).normal_(std=spec.init_scale * std, generator=generator)
        if len(size) > 1
        else torch.full(size, float(name == "ln.w"))
        for name, size in spec.tensor_shapes(shape).items()
    }
