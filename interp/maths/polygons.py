"""Polygons and solids that features form where several share dimensions (Elhage et al. 2022, "Toy Models of Superposition").

Rows of V [features, dimensions] are the features' directions, none of them 0.
"""

import math
from typing import NamedTuple

import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from interp.maths import superposition


class Form(NamedTuple):
    """A form: k features placed symmetrically in r dimensions, such as a pentagon in 2."""

    name: str
    features: int
    dimensions: int

    @property
    def dimensionality(self) -> float:
        """Dimensionality D = r/k of each of its features."""
        return self.dimensions / self.features

    @property
    def vertices(self) -> Float[Tensor, "k r"]:
        """Unit vectors at the vertices of the form. In three dimensions an antiprism: a ring, at heights ±1/√3 in turn.
        At those heights the mass is the same in every direction, and the antiprism of four is the regular tetrahedron."""
        order = torch.arange(self.features, dtype=torch.float64)
        angles = 2 * math.pi / self.features * order
        ring = torch.stack([angles.cos(), angles.sin()], dim=-1)
        if self.dimensions < 3:
            return ring[:, : self.dimensions]
        heights = (-1.0) ** order / 3**0.5
        return torch.cat([ring * (2 / 3) ** 0.5, heights[:, None]], dim=1)


FORMS = (
    Form("own dimension", 1, 1),
    Form("digon", 2, 1),
    Form("triangle", 3, 2),
    Form("tetrahedron", 4, 3),
    Form("pentagon", 5, 2),
    Form("square antiprism", 8, 3),
)
"""The forms that Elhage et al. (2022) find."""


def closed_forms() -> pd.DataFrame:
    """A table of the forms by name: features, dimensions, D of each feature, superposition ratio, degrees between neighbours."""
    rows = {}
    for form in FORMS:
        cosines = (form.vertices @ form.vertices.mT).fill_diagonal_(-1)
        rows[form.name] = {
            "features": form.features,
            "dimensions": form.dimensions,
            "D": form.dimensionality,
            "superposition ratio": superposition.superposition_ratio(form.vertices).item(),
            "degrees to the nearest": cosines.max().clamp(-1, 1).acos().rad2deg().item()
            if len(cosines) > 1
            else math.nan,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("form")


class Polygon(NamedTuple):
    """A group of features that overlap with each other and with no others."""

    name: str
    """Name of its form, or `k in r`: k features in r dimensions."""
    members: Int[Tensor, " k"]
    """Indices of the features, rows of V."""


def polygons(V: Float[Tensor, "n d"], overlap: float = 0.1, tolerance: float = 0.05) -> list[Polygon]:
    """Groups of features that overlap: connected components of the graph that joins two features if |cos| is above `overlap`.

    Every feature is in exactly one group. Parts of a model in orthogonal subspaces come out apart, as in the tegum products of
    Elhage et al. (2022).
    """
    unit = torch.nn.functional.normalize(V.double(), dim=-1)
    n, group = connected_components(((unit @ unit.mT).abs() > overlap).numpy(), directed=False)
    each = [torch.from_numpy(group == number).nonzero()[:, 0] for number in range(n)]
    return [Polygon(name(V[members], tolerance), members) for members in each]


NONE = -1
"""The polygon of a feature that is not represented."""


def polygons_of(
    V: Float[Tensor, "n d"], represented: Bool[Tensor, " n"], overlap: float = 0.1, tolerance: float = 0.05
) -> tuple[list[Polygon], Int[Tensor, " n"]]:
    """The polygons of the represented features, and the number of each feature's."""
    (which,) = represented.nonzero(as_tuple=True)
    found = polygons(V[which], overlap, tolerance)
    number = torch.full((len(V),), NONE)
    for index, each in enumerate(found):
        number[which[each.members]] = index
    return found, number


def name(V: Float[Tensor, "k d"], tolerance: float = 0.05) -> str:
    """Name of the form that k features in r dimensions make, or `k in r` if they make none.

    They make a form if D of each (among these alone) is r/k within `tolerance`, and their sum is 0 within `tolerance` of their
    lengths. r is the rounded participation ratio of the spectrum of their unit vectors. The sum tells a digon from two
    features that point the same way, which have its D. Only these numbers count: a cube would be a square antiprism.
    """
    V = V.double()
    unit = torch.nn.functional.normalize(V, dim=-1)
    k, r = len(V), round(superposition.participation(superposition.dimension_shares(unit)).item())
    D, balance = superposition.feature_dimensionality(V), V.sum(dim=0).norm() / V.norm(dim=-1).sum()
    regular = bool(((D - r / k).abs() <= tolerance).all()) and (k == 1 or bool(balance <= tolerance))
    return next((form.name for form in FORMS if regular and form[1:] == (k, r)), f"{k} in {r}")


def gaps(V: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
    """Angle in degrees from each direction in the plane to the next, counterclockwise. Sums to 360."""
    angles = torch.atan2(V[:, 1], V[:, 0]).double().rad2deg()
    ascending, order = angles.sort()
    following = torch.cat([ascending[1:], ascending[:1] + 360])
    return torch.empty_like(angles).scatter_(0, order, following - ascending)


def fold_order(V: Float[Tensor, "n 2"], folds: Int[Tensor, " m"], by_length: bool = False) -> Float[Tensor, " m"]:
    """m-fold order |Σ_j w_j e^{imθ_j}| / Σ_j w_j of n directions θ_j in the plane, for each m: 0 to 1; NaN without any.

    w is 1, or by length ‖v_j‖; vectors that are 0 do not count. The n corners of a regular n-gon have order 1 at m = n and its
    multiples, and 0 at every other m. For m = 2 to 6 it is the bond order of two-dimensional crystals (Nelson & Halperin 1979).
    """
    V = V.double()
    lengths = V.norm(dim=-1)
    weights = lengths if by_length else (lengths > 0).double()
    phases = torch.atan2(V[:, 1], V[:, 0]) * folds[:, None]
    return torch.polar(weights.expand_as(phases), phases).sum(dim=-1).abs() / weights.sum()


def random_fold_order(V: Float[Tensor, "n 2"], by_length: bool = False) -> Float[Tensor, ""]:
    """Mean m-fold order of as many directions drawn at random, √(π/4n): the same for every m; NaN without any.

    By length it is √(π·Σ‖v‖²/4) / Σ‖v‖. Both are of a walk of many steps; of two to nine equal ones they are up to 3 % too low.
    """
    lengths = V.double().norm(dim=-1)
    weights = lengths if by_length else (lengths > 0).double()
    return (math.pi / 4 * weights.square().sum()).sqrt() / weights.sum()
