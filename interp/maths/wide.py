"""Networks of infinite width in closed form: the kernels of ReLU networks, and regression with a kernel.

A network of which only the last layer learns is regression with the arc-cosine kernel (Cho and Saul 2009; Lee et al. 2018).
One of which every layer learns by gradient flow on a squared error, in the parametrisation of Jacot et al. (2018), is
regression with the neural tangent kernel.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Kernels(NamedTuple):
    """Kernels of an infinitely wide network between two sets of vectors."""

    last: Float[Tensor, "n m"]
    """Covariance of the outputs over initial weights, which is the kernel where the last layer alone learns."""
    every: Float[Tensor, "n m"]
    """Neural tangent kernel, where every layer learns."""


def relu_kernels(
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "m d"],
    n_hidden: int = 1,
    weight_variance: float = 2.0,
    bias_variance: float = 0.0,
) -> Kernels:
    """Kernels between rows of x and of y, of a ReLU network with so many hidden layers of infinite width.

    Args:
        x: vectors, in the precision that the kernels have.
        y: other vectors, or the same.
        n_hidden: hidden layers.
        weight_variance: variance of a weight times the width that it reads; 2 keeps the size of activations.
        bias_variance: variance of every layer's biases.
    """
    d = x.shape[1]
    covariance = weight_variance * (x @ y.T) / d + bias_variance
    of_x, of_y = (weight_variance * z.square().sum(dim=1) / d + bias_variance for z in (x, y))
    tangent = covariance
    for _ in range(n_hidden):
        sizes = (of_x[:, None] * of_y).sqrt()
        # An input of 0 without biases has no angle with others; its kernel is 0 whatever is taken for it.
        cosine = torch.where(sizes > 0, covariance / sizes, 0).clamp(-1, 1)
        angle = cosine.arccos()
        # E[φ(u)φ(v)] and E[φ′(u)φ′(v)] of normal u and v (Cho and Saul 2009, orders 1 and 0).
        sent = sizes * (angle.sin() + (math.pi - angle) * cosine) / (2 * math.pi)
        slopes = (math.pi - angle) / (2 * math.pi)
        covariance = weight_variance * sent + bias_variance
        tangent = covariance + weight_variance * slopes * tangent
        of_x, of_y = (weight_variance * each / 2 + bias_variance for each in (of_x, of_y))
    return Kernels(covariance, tangent)


def regression(
    known: Float[Tensor, "n n"],
    asked: Float[Tensor, "m n"],
    targets: Float[Tensor, "n output"],
    penalties: Sequence[float],
) -> Float[Tensor, "penalty m output"]:
    """Outputs of kernel ridge regression where they are asked for, for each penalty: k(x, X)·(K + λ·κ)⁻¹·Y.

    κ is the mean of K's diagonal, so that the scale of the kernel does not matter. Penalty 0 fits the targets exactly if K can be
    inverted, and by least squares with the least norm else.

    Args:
        known: the kernel among the training examples.
        asked: the kernel between other examples and those.
        targets: what is answered at the training examples.
        penalties: λ of each regression, none negative.
    """
    values, vectors = torch.linalg.eigh(known)
    level = known.diagonal().mean()
    along, at = vectors.T @ targets, asked @ vectors
    # Below it an eigenvalue is rounding: the tolerance of a pseudo-inverse.
    floor = values.abs().max() * len(known) * torch.finfo(known.dtype).eps
    found = []
    for penalty in penalties:
        inverse = torch.where(values > floor, 1 / (values + penalty * level), 0)
        found.append(at @ (inverse[:, None] * along))
    return torch.stack(found)
