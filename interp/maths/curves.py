"""Landmarks of learning curves: the step a threshold is passed, the steepest fall, a fall that is followed by a rise."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int


def first_below(steps: Int[np.ndarray, " n"], values: Float[np.ndarray, " n"], threshold: float) -> float:
    """The first step at which `values` is below `threshold`, whatever comes later; NaN when it never is."""
    below = np.flatnonzero(values < threshold)
    return float(steps[below[0]]) if len(below) else float("nan")


def first_reaching(steps: Int[np.ndarray, " n"], values: Float[np.ndarray, " n"], threshold: float) -> float:
    """The first step at which `values` is at or above `threshold`, whatever comes later; NaN when it never is."""
    reached = np.flatnonzero(values >= threshold)
    return float(steps[reached[0]]) if len(reached) else float("nan")


def first_lasting(steps: Int[np.ndarray, " n"], values: Float[np.ndarray, " n"], threshold: float) -> float:
    """The first step from which `values` stays at or above `threshold` to the end; NaN when it never does.

    NaN means "not reached by the last step". Over several runs treat it as right-censored (Kaplan–Meier), never as
    the last step.
    """
    below = np.flatnonzero(~(values >= threshold))
    first = below[-1] + 1 if len(below) else 0
    return float(steps[first]) if first < len(steps) else float("nan")


class Fall(NamedTuple):
    """The steepest part of a curve that falls; NaN where there is none."""

    step: float
    """Step at which the fall begins."""
    ratio: float
    """Value at the beginning of the fall ÷ value at its end; above 1."""
    sharpness: float
    """Fall of the logarithm ÷ the fall that a power law fitted to the curve has over as many steps; 1 for a power law."""


def steepest_fall(steps: Int[np.ndarray, " n"], values: Float[np.ndarray, " n"], factor: float = 1.3) -> Fall:
    """The steepest fall of a positive curve: where its logarithm falls furthest while the steps grow by `factor`.

    Rises count as flat: up to its maximum the curve is taken to be the maximum, afterwards the lowest value so far.
    The power law is a least-squares line through log value against log step, weighted evenly in log step, from the first
    step that is at least 1. It depends on where the curve ends, and so does `sharpness`.
    """
    known = (steps > 0) & (values > 0)
    x, values = np.log(steps[known]), values[known]
    peak = int(values.argmax()) if len(values) else 0
    y = np.log(np.minimum.accumulate(np.append(np.full(peak, values.max(initial=0)), values[peak:])))
    if not len(x) or x[-1] - x[0] <= np.log(factor) or y[-1] == y[0]:
        return Fall(np.nan, np.nan, np.nan)
    even = np.linspace(x[0], x[-1], 1000)
    height = np.interp(even, x, y)
    inside = even[even <= x[-1] - np.log(factor)]
    falls = height[: len(inside)] - np.interp(inside + np.log(factor), x, y)
    steepest = int(falls.round(9).argmax())  # of equals the first, whatever rounding says
    trend = -np.polyfit(even, height, 1)[0] * np.log(factor)
    return Fall(float(np.exp(inside[steepest])), float(np.exp(falls[steepest])), float(falls[steepest] / trend))


def fall_rise_fall(values: Float[np.ndarray, " n"], by: float) -> tuple[int, int, int] | None:
    """Indices (low, high, low) of a curve that falls, rises and falls again, each time by at least `by`; None if it does not.

    The high is the one whose smaller side (rise before it, fall after it) is largest. Each low is the first lowest point on its
    side. `by` should be well above the noise of the values.
    """
    n, best, found = len(values), by, None
    fallen = np.maximum.accumulate(values) - values >= by
    lows = np.where(fallen, values, np.inf)
    for high in range(1, n - 1):
        first, last = int(lows[:high].argmin()), high + 1 + int(values[high + 1 :].argmin())
        side = min(values[high] - lows[first], values[high] - values[last])
        if side >= best and (found is None or side > best):
            best, found = side, (first, high, last)
    return found
