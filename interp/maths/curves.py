"""Landmarks of learning curves."""

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

    NaN means "not reached by the last step", a censored value: treat it so over runs (Kaplan–Meier), never as the
    last step.
    """
    below = np.flatnonzero(~(values >= threshold))
    first = below[-1] + 1 if len(below) else 0
    return float(steps[first]) if first < len(steps) else float("nan")


class Fall(NamedTuple):
    """The steepest part of a curve that falls; NaN where there is none."""

    step: float
    """Where it begins."""
    ratio: float
    """How many times smaller the value is at its end."""
    sharpness: float
    """How many times further the logarithm falls than by the power law fitted to the curve: 1 for a power law."""


def steepest_fall(steps: Int[np.ndarray, " n"], values: Float[np.ndarray, " n"], factor: float = 1.3) -> Fall:
    """Where a positive curve falls furthest, in its logarithm, while the steps grow by `factor`.

    What rises counts as flat: the curve is at its largest value until that has come, and at the lowest so far from there
    on. The power law is the straight line of least squares through logarithm against logarithm, evenly weighted in the
    logarithm of the step, from step 1 or the first after it: how long one waits at the end changes it, and so `sharpness`.
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
    """Places of a first low, a later high and a last low, where the curve falls, rises and falls again each by so much.

    Of all such highs the one with the largest smaller side is taken, and the lowest place on either side of it, the first of
    them; None where there is none. `by` should be well above the noise of the values.
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
