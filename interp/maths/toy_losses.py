"""Closed forms of the loss of a toy model, to hold trained ones against.

Two features, each there with chance d and then uniform in [0, 1), one hidden number, x' = relu(Wᵀ·W·x + b), loss
I₁·(x₁ − x'₁)² + I₂·(x₂ − x'₂)²: the phase diagram of "Toy Models of Superposition" (Elhage et al. 2022).
"""

from typing import NamedTuple

from scipy.optimize import brentq


class Phases(NamedTuple):
    """Expected loss of each solution, with the best b."""

    first: float
    """W = [1, 0]: the first feature alone."""
    second: float
    """W = [0, 1]: the second alone."""
    both: float
    """W = [1, −1]: both, opposite each other."""


def phases(density: float, importance: tuple[float, float]) -> Phases:
    """The three losses at a density d in (0, 1].

    A feature that is left out is answered by its mean b = d/2, and costs its variance d/3 − d²/4; the other costs nothing.
    Opposite ones cost `of_a_pair` each.
    """
    first, second = importance
    left_out, paired = density / 3 - density**2 / 4, of_a_pair(density, best_bias(density))
    return Phases(second * left_out, first * left_out, (first + second) * paired)


def of_a_pair(density: float, bias: float) -> float:
    """E (x₁ − relu(x₁ − x₂ + b))² for b in [0, 1]: d²/6 − d²b/3 + (1 − d)b² + d(1 + d)b³/3 − d²b⁴/6.

    Neither there: b². One: b², or (b − x₂)₊² with mean b³/3. Both: x₁² below x₂ − b and (x₂ − b)² above, with mean
    1/6 − b/3 + 2b³/3 − b⁴/6. Below 0 every b is worse than 0.
    """
    d, b = density, bias
    return d**2 / 6 - d**2 * b / 3 + (1 - d) * b**2 + d * (1 + d) / 3 * b**3 - d**2 * b**4 / 6


def best_bias(density: float) -> float:
    """b ≥ 0 at which `of_a_pair` is least: the one root of its derivative, which rises from −d²/3."""
    d = density
    root = brentq(lambda b: -(d**2) / 3 + 2 * (1 - d) * b + d * (1 + d) * b**2 - 2 / 3 * d**2 * b**3, 0, 1)
    assert isinstance(root, float)
    return root
