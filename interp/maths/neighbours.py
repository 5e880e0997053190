"""Who lies next to whom: do nearest neighbours belong together more often than under other names?"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


def nearest(points: Float[Tensor, "n d"]) -> Int[Tensor, "n others"]:
    """For each point the others, nearest first."""
    distances = torch.cdist(points.double(), points.double())
    distances.fill_diagonal_(-1.0)  # itself stands first, and is left out, where points coincide too
    return distances.argsort(dim=1, stable=True)[:, 1:]


def ring_shares(near: Int[Tensor, "n others"], residues: Int[Tensor, " n"]) -> Float[Tensor, " distance"]:
    """Share of the points' two nearest neighbours that are ±d residues away, for d = 1 … n/2; all of them sum to 1.

    On a ring that is walked in strides of d it is 1 at that d. By chance it is 2/(n−1) at each, for odd n.
    """
    n = len(near)
    apart = (residues[near[:, :2]] - residues[:, None]) % n
    return torch.bincount(torch.minimum(apart, n - apart).flatten(), minlength=n // 2 + 1)[1:].double() / (2 * n)


def coset_excess(near: Int[Tensor, "n others"], cosets: Int[Tensor, "partition n"]) -> Float[Tensor, " partition"]:
    """How much more often than by chance the nearest neighbours of an element are the rest of its coset: 1 always, 0 chance.

    Of each partition into parts of m elements, 1 < m < n, the m − 1 nearest neighbours count; the share s of them in one's own
    part is told as (s − c)/(1 − c), with c = (m − 1)/(n − 1) the mean over all ways to name the points.
    """
    n = len(near)
    others = (cosets == cosets[:, :1]).sum(dim=1) - 1
    found = torch.empty(len(cosets), dtype=torch.float64)
    for k in others.unique().tolist():
        assert 0 < k < n - 1
        labels = cosets[others == k]
        share = (labels[:, near[:, :k]] == labels[:, :, None]).double().mean(dim=(1, 2))
        found[others == k] = 1 - (1 - share) * (n - 1) / (n - 1 - k)
    return found


class Best(NamedTuple):
    """The best of several scores, beside the best when the points are named at random."""

    value: float
    place: int
    """Which candidate that is."""
    by_chance: float
    """Mean of the best over random names: what looking at many candidates gives by itself."""
    p_value: float
    """Share of random names whose best is as good, this one counted among them."""


def best_of(
    scores: Callable[[Int[Tensor, " n"]], Float[Tensor, " candidate"]], n: int, draws: int = 200, seed: int = 0
) -> Best:
    """The best score of n points under their own names, 0 … n−1, and under random ones (a permutation test).

    The best of all candidates is compared with the best of all candidates, so that their number is accounted for.
    """
    found = scores(torch.arange(n))
    generator = torch.Generator().manual_seed(seed)
    chance = torch.stack([scores(torch.randperm(n, generator=generator)).max() for _ in range(draws)])
    value = found.max()
    as_good = int((chance >= value - 1e-12).sum())  # equal shares may differ in rounding
    return Best(float(value), int(found.argmax()), float(chance.mean()), (1 + as_good) / (1 + draws))
