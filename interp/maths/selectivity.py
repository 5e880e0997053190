"""How much of each output one input alone makes: how selective neurons are, whatever lies between."""

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

    Both sets of vectors are drawn alike and independently, features too. Of independent features the shares sum to at most 1;
    what is missing is what features do together. Of a linear neuron they are w_i² Var x_i ÷ Σ_j w_j² Var x_j. An estimate: what
    the neuron gives for vectors that share x_i and nothing else is correlated (Janon et al. 2014, arXiv 1303.6447), with an
    error of about 1/√n, so that a share of 0 may come out slightly below it. NaN for a neuron that never varies.
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
