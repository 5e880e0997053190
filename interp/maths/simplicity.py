"""How simple a function is: hyperplanes of its neurons near a point, and bits of its weights on a grid."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor


def frames(
    rows: int, width: int, directions: int, generator: torch.Generator
) -> Float[Tensor, "rows directions width"]:
    """Random orthonormal directions at every row, uniformly distributed; as many as there are at most."""
    drawn = torch.randn(rows, width, min(directions, width), generator=generator)
    return torch.linalg.qr(drawn).Q.mT


def vertices(
    x: Float[Tensor, "rows width"], directions: Float[Tensor, "rows some width"], radius: float | Tensor
) -> Float[Tensor, "rows two_some width"]:
    """The points x ± r·v of every row: vertices of a cross-polytope (Humayun et al. 2024, arXiv 2402.15555)."""
    return torch.cat([x[:, None] + radius * directions, x[:, None] - radius * directions], dim=1)


def crossed(pre: Float[Tensor, "rows vertices neuron"]) -> Int[Tensor, " rows"]:
    """Number of neurons that are positive at some vertices of a row and negative at others."""
    return ((pre.amin(dim=1) < 0) & (pre.amax(dim=1) > 0)).sum(dim=-1)


def code_length(symbols: Int[Tensor, " n"]) -> Float[Tensor, ""]:
    """Bits of these symbols by a code for their own frequencies, n·H + ½(k − 1)·log₂ n for k different ones, float64.

    The second term is what the frequencies take (Rissanen 1986). The order of the symbols is not looked at, nor are the values
    that the k symbols stand for.
    """
    counts = torch.unique(symbols, return_counts=True)[1].double()
    n, shares = len(symbols), counts / counts.sum()
    return -n * (shares * shares.log2()).sum() + (len(counts) - 1) / 2 * math.log2(n)
