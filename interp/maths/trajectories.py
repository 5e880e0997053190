"""The way of a point through many dimensions, from the inner products of its places: components, lengths, a random walk beside.

Inner products [step, step] are all that is needed of vectors that are too many and too long to be kept side by side.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Components(NamedTuple):
    """Principal components of some places."""

    positions: Float[Tensor, "step component"]
    """Coordinates along each component, from the mean; the last place is on the positive side."""
    shares: Float[Tensor, " component"]
    """Share of the variance of the places in each; NaN if they coincide."""


def principal(products: Float[Tensor, "step step"], components: int) -> Components:
    """Principal components of places, from their inner products about any origin; largest first, at most one less than places.

    The eigenvectors of the centred products times the roots of the eigenvalues are the coordinates (Gower 1966).
    """
    middle = products - products.mean(dim=0) - products.mean(dim=1, keepdim=True) + products.mean()
    values, vectors = torch.linalg.eigh((middle + middle.mT) / 2)
    values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
    signs = torch.where(vectors[-1] < 0, -1.0, 1.0)
    kept = slice(min(components, len(products) - 1))
    return Components((signs * vectors * values.sqrt())[:, kept], values[kept] / values.sum())


def random_walk(lengths: Float[Tensor, " move"]) -> Float[Tensor, "step step"]:
    """Inner products, from its beginning, of the places of a random walk in very many dimensions whose moves have these lengths.

    There every move is at right angles to all others, so that two places share the moves that lead to both. Its components are
    waves, and the first has 6/π² = 61 % of the variance if moves are many and equal (Antognini & Sohl-Dickstein 2018).
    """
    reached = torch.cat([lengths.new_zeros(1), lengths.square().cumsum(0)])
    return torch.minimum(reached[:, None], reached)


def displacement(products: Float[Tensor, "step step"]) -> Float[Tensor, " step"]:
    """Distance of each place from the first."""
    own = products.diagonal()
    return (own + own[0] - 2 * products[0]).clamp(min=0).sqrt()


def path_length(lengths: Float[Tensor, " move"]) -> Float[Tensor, " step"]:
    """Length of the way up to each place, over the places in between; 0 at the first."""
    return torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])


def cosines(products: Float[Tensor, "step step"], place: int) -> Float[Tensor, " step"]:
    """Cosine of each place with one of them, as seen from the origin of the products; NaN at the origin."""
    lengths = products.diagonal().sqrt()
    return products[place] / (lengths * lengths[place])
