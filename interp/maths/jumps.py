"""The jump of an accuracy on logarithmic time: when it is, how sharp, and how far that of test lies behind that of train."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Num
from scipy.optimize import curve_fit
from scipy.special import erf

RISE = 0.25
"""Rise of an accuracy from its lowest to its highest value that counts as a jump, at least."""

STEEPEST = 100.0
"""Sharpness up to which a fit is looked for: a jump of 1 % of the time at which it is."""


class Jump(NamedTuple):
    """The fit a·erf(s·(log t − log t*)) + b of an accuracy at steps t ≥ 1; NaN where there is no jump."""

    step: float
    """t*: the curve is half-way there."""
    sharpness: float
    """s: between t*·e^(−0.48/s) and t*·e^(0.48/s) the curve makes half of its way."""
    low: float
    """b − a: accuracy long before."""
    high: float
    """b + a: accuracy long after."""
    residual: float
    """Root mean square of accuracy minus fit."""
    why: str
    """Why there is none, as the end of a sentence; empty where there is one."""

    def at(self, steps: Num[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """The fitted accuracy at these steps."""
        return form(np.log(steps), (self.high - self.low) / 2, self.sharpness, math.log(self.step), self.middle)

    @property
    def middle(self) -> float:
        """b: accuracy at the jump."""
        return (self.low + self.high) / 2


def form(log_step: Float[np.ndarray, " n"], a: float, s: float, log_jump: float, b: float) -> Float[np.ndarray, " n"]:
    """a·erf(s·(log t − log t*)) + b."""
    return a * erf(s * (log_step - log_jump)) + b


def none(why: str) -> Jump:
    """No jump, and why."""
    return Jump(math.nan, math.nan, math.nan, math.nan, math.nan, why)


def erf_jump(steps: Int[np.ndarray, " n"], accuracy: Float[np.ndarray, " n"]) -> Jump:
    """The jump of an accuracy, by least squares (Miller et al. 2024, arXiv 2402.08946, on log t).

    Step 0 has no logarithm and is left out, as are NaN. Every value that was logged counts alike, so a curve that is logged at
    even steps weighs its end most. A jump whose middle lies outside the steps is none: its height is a guess.
    """
    known = (steps >= 1) & np.isfinite(accuracy)
    t, y = np.log(steps[known].astype(float)), accuracy[known]
    if len(y) < 5:
        return none(f"has {len(y)} values, and four numbers are fitted")
    low, high = float(y.min()), float(y.max())
    if high - low < RISE:
        return none(f"never rises by {RISE:g}")
    first = t[np.argmax(y >= (low + high) / 2)]
    bounds = ([0, 1e-3, -np.inf, -1], [1, STEEPEST, np.inf, 2])
    fits = []
    for sharpness in (0.5, 2.0, 8.0):  # the squares have several minima
        try:
            found, _ = curve_fit(form, t, y, [(high - low) / 2, sharpness, first, (low + high) / 2], bounds=bounds)
        except RuntimeError:  # no convergence from here
            continue
        fits.append((float(np.sqrt(np.square(form(t, *found) - y).mean())), found))
    if not fits:
        return none("fits no such curve")
    residual, (a, s, log_jump, b) = min(fits, key=lambda fit: fit[0])
    if not t[0] <= log_jump <= t[-1]:
        return none("is half-way outside the steps that were logged")
    return Jump(math.exp(log_jump), float(s), float(b - a), float(b + a), residual, "")
