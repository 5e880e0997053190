"""Who lies next to whom: do nearest neighbours belong together more often than under other names?"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.maths.sampling import standard_error


def nearest(points: Float[Tensor, "n d"]) -> Int[Tensor, "n others"]:
    """Indices of all other points for each point, nearest first."""
    distances = torch.cdist(points.double(), points.double())
    distances.fill_diagonal_(-1.0)  # itself stands first, and is left out, where points coincide too
    return distances.argsort(dim=1, stable=True)[:, 1:]


def ring_shares(
    near: Int[Tensor, "n others"], residues: Int[Tensor, "*names n"], period: int | None = None
) -> Float[Tensor, "*names distance"]:
    """Share of the points' two nearest neighbours that are ±d residues away, for d = 1 … period/2. Sums to 1.

    `residues` names the points, once or in several ways; `period` (default: n) is what they are residues of. 1 at d if the
    residues lie on a ring in steps of d. By chance 2/(n−1) at each d, for odd n and as many residues.
    """
    period = len(near) if period is None else period
    apart = (residues[..., near[:, :2]] - residues[..., None]) % period
    distance = torch.minimum(apart, period - apart).flatten(-2)
    counts = torch.zeros(*residues.shape[:-1], period // 2 + 1, dtype=torch.float64)
    counts.scatter_add_(-1, distance, torch.ones_like(distance, dtype=torch.float64))
    return counts[..., 1:] / (2 * len(near))


def coset_excess(near: Int[Tensor, "n others"], cosets: Int[Tensor, "partition n"]) -> Float[Tensor, " partition"]:
    """Excess over chance of nearest neighbours in the same coset, for each partition: 1 all of them, 0 as by chance.

    For a partition into cosets of m elements, 1 < m < n, it counts the m − 1 nearest neighbours of each element. s is the share
    of them in its own coset; the excess is (s − c)/(1 − c). c = (m − 1)/(n − 1) is the mean of s over all namings of the points.
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
    """The best of several candidates' scores, beside the best when the points are named at random."""

    value: float
    place: int
    """Index of the best candidate."""
    by_chance: float
    """Mean over random names of the best score: what the choice among many candidates gives by itself."""
    by_chance_error: float
    """Standard error of that mean over the names that were drawn."""
    p_value: float
    """Share of namings whose best score is at least as good, the given naming counted among them."""


def best_of(
    scores: Callable[[Int[Tensor, "names n"]], Float[Tensor, "names candidate"]],
    n: int,
    draws: int = 200,
    seed: int = 0,
) -> Best:
    """The best score of n points under their own names, 0 … n−1, and under random ones (a permutation test).

    `scores` is asked for several namings at once.

    The best of all candidates is compared with the best of all candidates, so that their number is accounted for.
    """
    generator = torch.Generator().manual_seed(seed)
    names = [torch.arange(n), *(torch.randperm(n, generator=generator) for _ in range(draws))]
    found, *others = scores(torch.stack(names))
    chance, value = torch.stack(others).amax(dim=1), found.max()
    as_good = int((chance >= value - 1e-12).sum())  # equal shares may differ in rounding
    error = standard_error(chance).item()
    return Best(float(value), int(found.argmax()), float(chance.mean()), error, (1 + as_good) / (1 + draws))
