"""Closed forms of the loss of a toy model, to compare trained ones with.

Two features, one hidden number. A feature is non-zero with probability d, and then uniform in [0, 1). x' = relu(Wᵀ·W·x + b).
The loss is I₁·(x₁ − x'₁)² + I₂·(x₂ − x'₂)²: the phase diagram of "Toy Models of Superposition" (Elhage et al. 2022).
"""

from typing import NamedTuple

from scipy.optimize import brentq


class Phases(NamedTuple):
    """Expected loss of each of three solutions, with the best b."""

    first: float
    """Loss of W = [1, 0]: the first feature alone is represented."""
    second: float
    """Loss of W = [0, 1]: the second feature alone is represented."""
    both: float
    """Loss of W = [1, −1]: both features are represented, opposite each other."""


def phases(density: float, importance: tuple[float, float]) -> Phases:
    """Expected losses of the three solutions at a density d in (0, 1].

    A feature that is left out is predicted by its mean b = d/2, and costs its variance d/3 − d²/4. The other costs nothing.
    Features opposite each other cost `of_a_pair` each.
    """
    first, second = importance
    left_out, paired = density / 3 - density**2 / 4, of_a_pair(density, best_bias(density))
    return Phases(second * left_out, first * left_out, (first + second) * paired)


def of_a_pair(density: float, bias: float) -> float:
    """Expected squared error of a feature in an opposite pair, E (x₁ − relu(x₁ − x₂ + b))², for a bias b in [0, 1].

    It is d²/6 − d²b/3 + (1 − d)b² + d(1 + d)b³/3 − d²b⁴/6, from three cases. Neither feature is on: b². One is on: b², or
    (b − x₂)₊² with mean b³/3. Both are on: x₁² if x₁ is below x₂ − b, else (x₂ − b)², with mean 1/6 − b/3 + 2b³/3 − b⁴/6.
    Any b below 0 is worse than 0.
    """
    d, b = density, bias
    return d**2 / 6 - d**2 * b / 3 + (1 - d) * b**2 + d * (1 + d) / 3 * b**3 - d**2 * b**4 / 6


def best_bias(density: float) -> float:
    """Bias b ≥ 0 at which `of_a_pair` is smallest: the one root of its derivative, which rises from −d²/3."""
    d = density
    root = brentq(lambda b: -(d**2) / 3 + 2 * (1 - d) * b + d * (1 + d) * b**2 - 2 / 3 * d**2 * b**3, 0, 1)
    assert isinstance(root, float)
    return root
