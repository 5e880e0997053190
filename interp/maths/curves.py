"""Landmarks of learning curves: the step a threshold is passed, how sharply one falls, a fall that is followed by a rise."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Num
from scipy.special import chdtri

IN_A_ROW = 3
"""Evaluations one after another at a level from which it counts as reached: one good batch is not understanding."""


def first_below(steps: Int[np.ndarray, " n"], values: Float[np.ndarray, " n"], threshold: float) -> float:
    """The first step at which `values` is below `threshold`, whatever comes later; NaN when it never is."""
    below = np.flatnonzero(values < threshold)
    return float(steps[below[0]]) if len(below) else float("nan")


class Least(NamedTuple):
    """The lowest value of a curve, and the first step with it; both NaN of a curve without values."""

    value: float
    step: float


def least(steps: Int[np.ndarray, " n"], values: Float[np.ndarray, " n"]) -> Least:
    """The lowest value of a curve and where it is: what stopping early would have kept, had it known."""
    if np.isnan(values).all():
        return Least(math.nan, math.nan)
    place = int(np.nanargmin(values))
    return Least(float(values[place]), float(steps[place]))


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


SOLVED = 0.1
"""Share of its start at which a loss counts as down: what is steepest below that is not how the task was learned."""
STRETCH = 0.1
"""Length of the stretches that are compared, as a share of the time that the fall takes."""
PLATEAU = 0.99
"""Share of its height that the logistic starts at beside which a fall is held; it is `SHARP`."""
SHARP = 17.0
"""Sharpness of that logistic, rounded down from 17.6; 4.1 if it starts at 95 % of its height, 151 at 99.9 %."""


class Fall(NamedTuple):
    """How a curve falls: where it is steepest, and by how much steeper than where it was flattest before.

    Falls and levels are shares of the first value.
    """

    step: float
    """Step at which the steepest stretch begins."""
    until: float
    """Step by which the fall is made: where the curve is at `SOLVED`, or has made as much of its fall so far."""
    end: float
    """Level at that step: `SOLVED`, or more if the curve never came so far; then `until` may change when it goes on."""
    steepest: float
    """Fall over the steepest stretch."""
    flattest: float
    """Fall over the flattest stretch that ends before the steepest begins; NaN if there is no room for one."""
    noise: float
    """Standard deviation of the noise up to the steepest stretch, at most; infinite if it has fewer than three values."""
    sharpness: float
    """`steepest` ÷ `flattest` or `noise`, whichever is larger; 1 if no stretch lies before. Infinite if both are 0."""


def steepest_fall(steps: Num[np.ndarray, " n"], values: Float[np.ndarray, " n"]) -> Fall:
    """How a positive curve falls, on linear time and up to where it is solved; NaN if it never falls.

    Rises count as flat: every value is the lowest so far, and straight between steps. All stretches are `STRETCH` of the time
    that the fall takes. A curve that falls ever more slowly is steepest at once and has a sharpness of 1: any exponential or
    power law, also after a warm-up of up to one stretch. What comes after `until` changes nothing.
    """
    known = ~np.isnan(values)
    steps, values = steps[known], values[known]
    lowest = np.minimum.accumulate(values)
    if not len(values) or lowest[-1] >= values[0]:
        return Fall(*[math.nan] * len(Fall._fields))
    last = float(lowest[-1] / values[0])
    end = SOLVED if last <= SOLVED else 1 - (1 - SOLVED) * (1 - last)
    return fall_until(steps, values, passes(steps.astype(float), lowest / values[0], end), end)


def fall_until(
    steps: Num[np.ndarray, " n"], values: Float[np.ndarray, " n"], until: float, end: float, noise: float | None = None
) -> Fall:
    """The fall of a curve up to a step by which it is down to `end`; with its own noise if none is given."""
    times, curve = steps.astype(float), np.minimum.accumulate(values) / values[0]
    stretch = STRETCH * (until - times[0])

    def fall(begins: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
        return np.interp(begins, times, curve) - np.interp(begins + stretch, times, curve)

    # Between these the fall of a stretch is linear in its beginning.
    begins = np.unique(np.r_[times, times - stretch, until - stretch])
    begins = begins[(begins >= times[0]) & (begins <= until - stretch)]
    falls = fall(begins)
    steepest = int(np.argmax(falls >= falls.max() - 1e-9))  # of equals the first, whatever rounding says
    begin = begins[steepest]
    last = begin - stretch
    flattest = fall(np.append(begins[begins < last], last)).min() if last >= times[0] else math.nan
    before = times <= begin
    noise = noise_of(times[before], values[before] / values[0]) if noise is None else noise
    floor = max(flattest, noise)  # a fall that is less than the noise is not known
    sharpness = falls[steepest] / floor if floor > 0 else math.inf
    sharpness = 1.0 if math.isnan(flattest) else max(1.0, float(sharpness))
    return Fall(float(begin), until, end, float(falls[steepest]), float(flattest), noise, sharpness)


def passes(times: Num[np.ndarray, " n"], values: Float[np.ndarray, " n"], level: float) -> float:
    """The time at which a curve that nowhere rises comes down to a level that it reaches, straight between its values."""
    below = int(np.argmax(values <= level))
    if not below:
        return float(times[0])
    share = (values[below - 1] - level) / (values[below - 1] - values[below])
    return float(times[below - 1] + share * (times[below] - times[below - 1]))


def noise_of(times: Num[np.ndarray, " n"], values: Float[np.ndarray, " n"]) -> float:
    """Upper 95 % limit of the standard deviation of independent noise on a smooth curve; infinite for fewer than three values.

    From how far every value is off the line between its neighbours (Gasser et al. 1986), weighted by the time between those.
    What is not smooth counts as noise; noise that lasts for several values does not.
    """
    free = (len(times) - 2) / 2  # neighbours share values: about half as many degrees of freedom
    if free <= 0:
        return math.inf
    between = times[2:] - times[:-2]
    left, right = (times[2:] - times[1:-1]) / between, (times[1:-1] - times[:-2]) / between
    off = left * values[:-2] + right * values[2:] - values[1:-1]
    variance = np.average(off**2 / (left**2 + right**2 + 1), weights=between)
    return float(np.sqrt(variance * free / chdtri(free, 0.95)))


class Nulls(NamedTuple):
    """Sharpness of two curves with the ends of a curve that was measured, at its steps and with its noise as the least floor."""

    exponential: float
    """Of the exponential from its start through its `end`: 1."""
    logistic: float
    """Of the logistic: 17.6, or less where the noise or the distance between the steps would hide such a plateau."""


def nulls(steps: Num[np.ndarray, " n"], fall: Fall) -> Nulls:
    """How sharp an exponential and a logistic with the ends of this fall would have been found to be; NaN without a fall."""
    if math.isnan(fall.until):
        return Nulls(math.nan, math.nan)
    times, until = (steps - steps[0]).astype(float), fall.until - float(steps[0])
    noise = fall.noise if math.isfinite(fall.noise) else None
    return Nulls(
        *(
            fall_until(steps, curve(times, until, fall.end), fall.until, fall.end, noise).sharpness
            for curve in (exponential, logistic)
        )
    )


def exponential(times: Num[np.ndarray, " n"], until: float, end: float) -> Float[np.ndarray, " n"]:
    """The exponential from 1 at time 0 through `end` at time `until`: a fall without a plateau."""
    return end ** (times / until)


def logistic(
    times: Num[np.ndarray, " n"], until: float, end: float, plateau: float = PLATEAU
) -> Float[np.ndarray, " n"]:
    """The falling logistic from 1, `plateau` of its height, at time 0 through `end` at time `until`."""
    first, last = (math.log(share / (1 - share)) for share in (plateau, plateau * end))
    return (1 / plateau) / (1 + np.exp(-(first + (last - first) * times / until)))


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
