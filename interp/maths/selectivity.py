"""Selectivity of neurons: how much of a neuron's variance one input feature alone explains, whatever lies between."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


def main_effects(
    function: Callable[[Float[Tensor, "n feature"]], Float[Tensor, "n neuron"]],
    vectors: Float[Tensor, "n feature"],
    others: Float[Tensor, "n feature"],
) -> Float[Tensor, "neuron feature"]:
    """Share of every neuron's variance that each feature alone explains, Var E[h | x_i] ÷ Var h (Sobol 1993), in float64.

    `vectors` and `others` are independent draws from one distribution, with independent features. Shares then sum to at most 1;
    the rest is interaction of features. For a linear neuron they are w_i² Var x_i ÷ Σ_j w_j² Var x_j. Estimated as the
    correlation of the neuron over pairs of vectors that share x_i and nothing else (Janon et al. 2014, arXiv 1303.6447).
    The error is about 1/√n: a share of 0 may come out slightly negative. NaN for a neuron that does not vary.
    """
    first, shares = function(vectors).double(), []
    for feature in range(vectors.shape[1]):
        sharing = others.clone()
        sharing[:, feature] = vectors[:, feature]
        second = function(sharing).double()
        mean = (first.mean(dim=0) + second.mean(dim=0)) / 2
        one, other = first - mean, second - mean
        shares.append((one * other).mean(dim=0) / (one.square() + other.square()).mean(dim=0).div(2))
    return torch.stack(shares, dim=1)
