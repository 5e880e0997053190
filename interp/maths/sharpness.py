"""How far a loss rises near a point: at most in a box, and along its gradient."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import minimize
from torch import Tensor

Numbers = Float[np.ndarray, " n"]

Sloped = Callable[[Numbers], tuple[float, Numbers]]
"""Type of a function: its value at a point of the box [−1, 1]ⁿ, and its gradient there."""


FAR = 10.0
"""Mean |slope| at the start of the function that is minimised. L-BFGS-B's first step is minus the gradient, and a convex
function, whose maximum is sought, never teaches it a longer one: with small slopes it stays next to the start."""


def highest(loss: Sloped, start: Numbers, iterations: int) -> tuple[float, Numbers]:
    """The largest value met in the box [−1, 1]ⁿ, and where; by L-BFGS-B from a start, of so many iterations.

    The start counts as met. Where the gradient is 0, as in a minimum, it leads nowhere.
    """
    best, where = -np.inf, start

    def met(point: Numbers) -> tuple[float, Numbers]:
        nonlocal best, where
        value, slope = loss(point)
        if value > best:
            best, where = value, point.copy()
        return value, slope

    at_start, slope = met(start)
    size = float(np.abs(slope).mean())
    if size == 0:
        return best, where

    def lower(point: Numbers) -> tuple[float, Numbers]:
        value, slope = met(point)
        return -FAR / size * (value - at_start), -FAR / size * slope

    bounds, never = np.broadcast_to([-1.0, 1.0], (len(start), 2)), {"ftol": 0.0, "gtol": 0.0}
    minimize(lower, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": iterations, **never})
    return best, where


def phi(largest: float, loss: float) -> float:
    """Sharpness φ, per cent: how far a loss rises at most, ÷ 1 + the loss (Keskar et al. 2017, metric 2.1)."""
    return 100 * (largest - loss) / (1 + loss)


def ascent(
    gradient: Float[Tensor, " n"], radius: float, sizes: Float[Tensor, " n"] | None = None
) -> Float[Tensor, " n"]:
    """Step ε of length `radius` that raises a linear loss most: ρ·g/‖g‖ (SAM, Foret et al. 2021). 0 where the gradient is.

    With sizes T of the weights their own length counts, ‖ε/T‖ ≤ ρ: ρ·T²g/‖Tg‖ (ASAM, Kwon et al. 2021), which does not depend on
    the scale of each weight.
    """
    own = torch.ones_like(gradient) if sizes is None else sizes
    length = (own * gradient).norm()
    return radius * own.square() * gradient / length if length > 0 else torch.zeros_like(gradient)
