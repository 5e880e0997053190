"""Selectivity of neurons: how much of a neuron's variance one input feature alone explains, whatever lies between."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from interp.maths.sampling import standard_error


class Effects(NamedTuple):
    """Shares of every neuron's variance that each feature alone explains, with their standard errors."""

    shares: Float[Tensor, "neuron feature"]
    errors: Float[Tensor, "neuron feature"]


def main_effects(
    function: Callable[[Float[Tensor, "n feature"]], Float[Tensor, "n neuron"]],
    vectors: Float[Tensor, "n feature"],
    others: Float[Tensor, "n feature"],
) -> Effects:
    """Share of every neuron's variance that each feature alone explains, Var E[h | x_i] ÷ Var h (Sobol 1993), in float64.

    `vectors` and `others` are independent draws from one distribution, with independent features. Shares then sum to at most 1;
    the rest is interaction of features. For a linear neuron they are w_i² Var x_i ÷ Σ_j w_j² Var x_j. Estimated as the
    correlation of the neuron over pairs of vectors that share x_i and nothing else (Janon et al. 2014, arXiv 1303.6447).
    A share of 0 may come out slightly negative. The standard error is that of a ratio of means, linearised: at most about 1/√n
    for Gaussian neurons. NaN for a neuron that does not vary.
    """
    first, shares, errors = function(vectors).double(), [], []
    for feature in range(vectors.shape[1]):
        sharing = others.clone()
        sharing[:, feature] = vectors[:, feature]
        second = function(sharing).double()
        mean = (first.mean(dim=0) + second.mean(dim=0)) / 2
        one, other = first - mean, second - mean
        products, squares = one * other, (one.square() + other.square()) / 2
        variance = squares.mean(dim=0)
        shares.append(products.mean(dim=0) / variance)
        errors.append(standard_error((products - shares[-1] * squares).mT) / variance)
    return Effects(torch.stack(shares, dim=1), torch.stack(errors, dim=1))
