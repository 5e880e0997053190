"""Landmarks of learning curves: the step a threshold is passed, the steepest fall, a fall that is followed by a rise."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

IN_A_ROW = 3
"""Evaluations one after another at a level from which it counts as reached: one good batch is not understanding."""


def first_below(steps: Int[np.ndarray, " n"], values: Float[np.ndarray, " n"], threshold: float) -> float:
    """The first step at which `values` is below `threshold`, whatever comes later; NaN when it never is."""
    below = np.flatnonzero(values < threshold)
    return float(steps[below[0]]) if len(below) else float("nan")


class Reached(NamedTuple):
    """When a curve first reached a level, and what became of it. Nothing of this becomes false when the curve goes on."""

    step: float
    """First of `in_a_row` evaluations one after another at or above the level; NaN: not reached."""
    until: float
    """If it was reached, the last step of the first stay. If not, the last step by which it is known not to be reached.

    That is the step before an unfinished stay, whose first step would count if the curve went on. Over several runs treat a
    curve that has not arrived as right-censored there (Kaplan–Meier), never as one that arrives then.
    """
    falls: tuple[float, ...]
    """First step of every later stretch below the level."""


def reached(
    steps: Int[np.ndarray, " n"], values: Float[np.ndarray, " n"], level: float, in_a_row: int = IN_A_ROW
) -> Reached:
    """When `values` first stays at or above `level` for `in_a_row` steps one after another. A value of NaN counts as below."""
    above = values >= level
    edges = np.diff(np.r_[0, above.astype(int), 0])
    begins, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)  # stays are [begin, end)
    long = np.flatnonzero(ends - begins >= in_a_row)
    if len(long):
        first = long[0]
        falls = [float(steps[end]) for end in ends[first:] if end < len(steps)]
        return Reached(float(steps[begins[first]]), float(steps[ends[first] - 1]), tuple(falls))
    if not len(steps):
        return Reached(math.nan, math.nan, ())
    known = begins[-1] - 1 if above[-1] else len(steps) - 1
    return Reached(math.nan, float(steps[known] if known >= 0 else steps[0] - 1), ())


def collapse(
    steps: Int[np.ndarray, " n"], train: Float[np.ndarray, " n"], test: Float[np.ndarray, " n"], level: float = 0.99,
    in_a_row: int = IN_A_ROW,
) -> float:  # fmt: skip
    """The step at which a run lost what it had reached; NaN if it never did.

    A fall counts if the accuracy is nearer to its first value than to `level`: a jump of the optimiser, or worse. Test accuracy
    is followed from generalisation on, whether it comes back or not. A run that had memorised only counts if train accuracy has
    not come back at its last step: on the way to generalisation such jumps belong to learning.
    """
    found = first_deep(steps, test, level, in_a_row, lasting=False)
    return first_deep(steps, train, level, in_a_row, lasting=True) if math.isnan(found) else found


def first_deep(
    steps: Int[np.ndarray, " n"], values: Float[np.ndarray, " n"], level: float, in_a_row: int, lasting: bool
) -> float:
    """First step of the first stretch below the level that goes half-way back; if `lasting`, of one that the curve ends in."""
    known = values[~np.isnan(values)]
    marks = reached(steps, values, level, in_a_row)
    for fall in marks.falls:
        begin = int(np.searchsorted(steps, fall))
        back = np.flatnonzero(values[begin:] >= level)
        stretch = values[begin : begin + back[0]] if len(back) else values[begin:]
        if np.nanmin(stretch, initial=math.inf) < (known[0] + level) / 2 and not (lasting and len(back)):
            return fall
    return math.nan


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
