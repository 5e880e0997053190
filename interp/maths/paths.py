"""Paths from a network A to a network B: where a point t of them lies, and how high they lead."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

Parts = Float[Tensor, "t 3"]
"""Type of the parts of A, of the bend and of B in points of a path; each row sums to 1."""


def line(t: Float[Tensor, " t"]) -> Parts:
    """(1 − t)·A + t·B."""
    return torch.stack([1 - t, torch.zeros_like(t), t], dim=1)


def bezier(t: Float[Tensor, " t"]) -> Parts:
    """(1 − t)²·A + 2t(1 − t)·θ + t²·B, a quadratic Bézier curve."""
    return torch.stack([(1 - t) ** 2, 2 * t * (1 - t), t**2], dim=1)


def polygon(t: Float[Tensor, " t"]) -> Parts:
    """From A straight to θ at t = ½, from there straight to B."""
    return torch.stack([(1 - 2 * t).clamp(min=0), 1 - (1 - 2 * t).abs(), (2 * t - 1).clamp(min=0)], dim=1)


CURVES: dict[str, Callable[[Float[Tensor, " t"]], Parts]] = {"line": line, "bezier": bezier, "polygon": polygon}
"""Curves by name (Garipov et al. 2018, arXiv 1802.10026, section 3)."""


def even(points: int) -> Float[Tensor, " t"]:
    """So many t evenly from 0 to 1, both among them, float64."""
    return torch.linspace(0, 1, points, dtype=torch.float64)


def drawn(n: int, generator: torch.Generator) -> Float[Tensor, " n"]:
    """One t uniform in each of n equal parts of [0, 1], float64. The mean over them is an unbiased mean over the path."""
    return (torch.arange(n) + torch.rand(n, generator=generator, dtype=torch.float64)) / n


def at(parts: Parts, A: Float[Tensor, "*size"], bend: Float[Tensor, "*size"], B: Float[Tensor, "*size"]) -> Tensor:
    """One tensor of the networks at points of a path, [t, *size]."""
    each = parts.to(A.dtype)
    return torch.tensordot(each, torch.stack([A, bend, B]), dims=1)


class Barrier(NamedTuple):
    """How far something on a path rises above its ends, 0 if it does not: B = max − what the ends have."""

    above_ends: float
    """Above the larger end."""
    above_line: float
    """Above the line between the values at the ends, (1 − t)·L(A) + t·L(B), at most (Entezari et al. 2022)."""
    at: int
    """Number of the point with the largest value."""


def excess(values: Float[np.ndarray, " t"]) -> Float[np.ndarray, " t"]:
    """What lies above the straight line between the first and the last of evenly spaced values."""
    t = np.linspace(0, 1, len(values))
    return values - ((1 - t) * values[0] + t * values[-1])


def barrier(values: Float[np.ndarray, " t"]) -> Barrier:
    """The barrier of evenly spaced values along a path, ends included; NaN where they are not known."""
    if np.isnan(values).any():
        return Barrier(np.nan, np.nan, 0)
    return Barrier(
        float(values.max() - max(values[0], values[-1])), float(excess(values).max()), int(np.argmax(values))
    )
