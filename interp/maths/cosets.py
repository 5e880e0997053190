"""Cosets of a group's subgroups: how much of a function on the group lies between them."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.maths import groups
from interp.maths.irreps import distinct
from interp.maths.sampling import standard_error

SIDES = ("left", "right")
RANDOM_FUNCTIONS = 64
"""Gaussian functions on the group whose best cosets are averaged for comparison."""


class Cosets:
    """Every partition of a group into cosets of the subgroups that few elements generate, the trivial one left out."""

    def __init__(self, table: Int[np.ndarray, "n n"]):
        classes, few = groups.subgroup_classes(table)
        self.n, self.classes = len(table), [every for every in classes if every[0].sum() > 1]
        self.bound = f"subgroups that at most {few} element{'s' * (few > 1)} generate"
        listed = [
            (number, side, groups.cosets(table, np.flatnonzero(mask), name))
            for number, every in enumerate(self.classes)
            for mask in every
            for side, name in enumerate(SIDES)
        ]
        self.labels = torch.from_numpy(np.stack([labels for _, _, labels in listed]))
        self.place = torch.tensor([side * len(self.classes) + number for number, side, _ in listed])
        generators = [groups.generators(table, np.flatnonzero(every[0])) for every in self.classes]
        orders = [int(every[0].sum()) for every in self.classes]
        self.coords: dict[str, Any] = {
            "subgroup": list(distinct([f"order {order}" for order in orders])),
            "subgroup_order": ("subgroup", orders),
            "subgroup_conjugates": ("subgroup", [len(every) for every in self.classes]),
            "subgroup_generators": ("subgroup", [" ".join(map(str, each)) for each in generators]),
        }

    def r2(self, values: Float[Tensor, "n d"]) -> Float[Tensor, "d side subgroup"]:
        """Adjusted R² of each column between cosets, the best of a subgroup's conjugates."""
        each = coset_r2(values, self.labels).mT
        best = torch.full((len(each), len(SIDES) * len(self.classes)), -torch.inf, dtype=torch.float64)
        best = best.scatter_reduce(1, self.place.expand_as(each), each, "amax")
        return best.unflatten(1, (len(SIDES), -1))

    def of_random(self, seed: int = 0) -> tuple[float, float]:
        """Mean of the best adjusted R² of any subgroup, for Gaussian functions on the group, and its standard error."""
        generator = torch.Generator().manual_seed(seed)
        values = torch.randn(RANDOM_FUNCTIONS, self.n, 1, generator=generator, dtype=torch.float64)
        best = [float(self.r2(each).amax()) for each in values]  # one at a time, in the memory of one
        return float(np.mean(best)), standard_error(torch.tensor(best, dtype=torch.float64)).item()


def coset_r2(values: Float[Tensor, "... n d"], cosets: Int[Tensor, "partition n"]) -> Float[Tensor, "... partition d"]:
    """Adjusted R² of each column on the cosets, its variance between them: 1 − (1 − R²)(n − 1)/(n − m), at most 1.

    `cosets` gives the index of every element's coset, 0 … m − 1 with m < n, for each of several partitions. 1: the function is
    constant on every coset. 0: as a random function is on average, or the one coset is the whole group. Below 0: worse than
    a random function. NaN for a column that does not vary.
    """
    n, number = values.shape[-2], cosets.amax(dim=-1).double() + 1
    centred = values.double() - values.double().mean(dim=-2, keepdim=True)
    spread = centred[..., None, :, :].expand(*centred.shape[:-2], *cosets.shape, values.shape[-1])
    where = cosets[..., None].expand_as(spread)
    sums = torch.zeros_like(spread).scatter_add(-2, where, spread)
    sizes = torch.zeros(cosets.shape, dtype=torch.float64).scatter_add(-1, cosets, torch.ones_like(cosets).double())
    between = (sums.square() / sizes.clamp(min=1)[..., None]).sum(dim=-2)
    r2 = between / centred.square().sum(dim=-2)[..., None, :]
    return 1 - (1 - r2) * ((n - 1) / (n - number))[:, None]
