"""Stages of a curve over training: it falls, rises and falls again on logarithmic steps, or all of that is noise.

A curve is averaged over stretches of equal ratio of steps. Each stage is tested against the nearest curve that does not have it,
with noise like the curve's own: its size from place to place, and how much of it lasts from one logged step to the next. Single
logged values far from both of their neighbours are spikes: under the null there may be some anywhere, so they make no stage.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, Num
from scipy.optimize import isotonic_regression

from interp.maths.peaks import largest_rise, rises

STAGES = ("simple generalisation", "memorisation", "consolidation")
"""Stages in their order: the curve falls, rises, and falls again."""
PER_DECADE = 12
"""Stretches of steps in a factor of ten."""
FEWEST = 10
"""Logged steps from 1 on that a curve needs."""
NEAR = 25
"""Logged steps over which the size of the noise is taken to be one."""
UNUSUAL = 0.2
"""Share of second differences that is left out as steep or as outliers; `TRIMMED` is the mean square of the others."""
TRIMMED = 0.4377
SPIKE = 3.0
"""A value is a spike if it lies above both of its neighbours, or below both, by so many second differences of those near it."""
MEDIAN = 0.6745
"""Median size of a Gaussian number of standard deviation 1."""
PHI = np.r_[np.arange(0, 0.9, 0.1), 0.9, 0.94, 0.97, 0.99]
"""Correlations from one logged step to the next that noise may have; what lasts longer is the curve itself."""
SERIES = 200
"""Series that are drawn for each of these, to see how well so many values tell it."""
LONGEST = 400
"""Values in such a series, at most."""
APART = 2.0
"""Standard errors by which a level of a monotone curve has to lie below the one before, to count as one."""


class Noise(NamedTuple):
    """Noise of a curve about something smooth: autoregressive, of order 1 in the logged steps."""

    differences: Float[np.ndarray, " n"]
    """Root mean square of the second differences near each logged step."""
    rounding: float
    """Standard deviation of the noise, at least: that of rounding to the smallest jump of the curve."""
    weights: Float[np.ndarray, " phi"]
    """Probability of each correlation in `PHI`, given the curve."""

    @property
    def lasting(self) -> float:
        """Correlation from one logged step to the next, in the mean."""
        return float(self.weights @ PHI)

    def drawn(self, draws: int, seed: int) -> Float[np.ndarray, "draw n"]:
        """Draws of such noise, each with a correlation of its own: how well the curve tells it counts as well."""
        numbers = np.random.default_rng(seed)
        phi = numbers.choice(PHI, draws, p=self.weights)
        sizes = np.maximum(self.differences[:, None] / np.sqrt(expected(phi, 1)), self.rounding)
        return (sizes * autoregressive(phi, len(sizes), numbers)).T


class Stage(NamedTuple):
    """A fall or a rise of a curve; NaN where there is none."""

    begin: float
    """Steps, middles of stretches on a logarithmic axis."""
    end: float
    height: float
    """How far the curve falls or rises, averaged over the stretches at both ends."""
    height_error: float
    """Standard error of the height by the noise, at these two places."""
    p: float
    """Chance of so large a fall or rise in the nearest curve without one."""


class Stages(NamedTuple):
    """Stages of a curve, and the curve as it is averaged."""

    fall: Stage
    rise: Stage
    second_fall: Stage
    lower: float
    """Second minimum less the first: below 0 where the curve ends its second fall lower than its first. NaN without both."""
    lower_error: float
    """Standard error of that difference by the noise."""
    steps: Float[np.ndarray, " stretch"]
    averages: Float[np.ndarray, " stretch"]
    errors: Float[np.ndarray, " stretch"]
    """Standard errors of the averages by the noise."""
    lasting: float
    """Correlation of the noise from one logged step to the next."""


NONE = Stage(np.nan, np.nan, np.nan, np.nan, np.nan)


def stages(
    steps: Int[np.ndarray, " n"],
    values: Float[np.ndarray, " n"],
    level: float = 0.05,
    draws: int = 2_000,
    seed: int = 0,
) -> Stages:
    """The stages of a curve logged at these steps; step 0 has no logarithm and is left out, as are NaN and spikes.

    The rise is looked for first: against a curve that never rises. If its p is below `level`, the first fall is what comes
    before its valley, and the second fall the largest after it: against a curve that never falls from there on. If it is not,
    there is one fall at most, against a curve that never falls. A drift that lasts for many logged steps is part of the curve of
    this run, and no noise: whether it comes again is for other seeds to tell.

    Args:
        steps: logged steps.
        values: of the curve, such as test error.
        level: p below which the rise counts, so that a second fall is looked for.
        draws: number of curves that are drawn under each null.
        seed: seed of these.

    Raises:
        ValueError: fewer than `FEWEST` values from step 1 on.
    """
    known = (steps >= 1) & np.isfinite(values)
    if known.sum() < FEWEST:
        raise ValueError(f"has {known.sum()} logged values from step 1 on; stages need {FEWEST}")
    steps, values = steps[known], without_spikes(values[known])
    means, noise = Stretches.of(steps), noise_of(values, seed)
    curve = Averaged(means.middles, means.averages(values), means.averages(noise.drawn(draws, seed)))
    averages, errors = curve.averages, curve.drawn.std(axis=0)
    told = (means.middles, averages, errors, noise.lasting)
    whole = slice(0, len(averages))
    valley, top, p = curve.largest(whole, 1)
    if p >= level or top == valley:
        begin, end, fall_p = curve.largest(whole, -1)
        one = curve.stage(begin, end, fall_p) if end > begin else NONE
        return Stages(one, NONE._replace(p=p), NONE, np.nan, np.nan, *told)
    begin, _, fall_p = curve.largest(slice(0, valley + 1), -1)
    first = curve.stage(begin, valley, fall_p) if valley > begin else NONE
    _, low, second_p = curve.largest(slice(valley, len(averages)), -1)
    rise = curve.stage(valley, top, p)
    if low <= top:
        return Stages(first, rise, NONE, np.nan, np.nan, *told)
    second, lower = curve.stage(top, low, second_p), float(averages[low] - averages[valley])
    return Stages(first, rise, second, lower, curve.error(valley, low), *told)


class Averaged(NamedTuple):
    """A curve averaged over stretches, with draws of its noise averaged in the same way."""

    middles: Float[np.ndarray, " stretch"]
    averages: Float[np.ndarray, " stretch"]
    drawn: Float[np.ndarray, "draw stretch"]

    def error(self, begin: int, end: int) -> float:
        """Standard error of the difference between two stretches by the noise."""
        return float((self.drawn[:, end] - self.drawn[:, begin]).std())

    def stage(self, begin: int, end: int, p: float) -> Stage:
        """The fall or rise between two stretches."""
        height = abs(float(self.averages[end] - self.averages[begin]))
        return Stage(float(self.middles[begin]), float(self.middles[end]), height, self.error(begin, end), p)

    def largest(self, part: slice, sign: int) -> tuple[int, int, float]:
        """Ends of the largest rise (sign 1) or fall (−1) of a part of the curve, and its p."""
        here, noisy = sign * self.averages[part], sign * self.drawn[:, part]
        begin, end, height = largest_rise(here)
        heights = rises(falling(here, noisy) + noisy).max(axis=1)
        first = part.start or 0
        return first + begin, first + end, float((1 + (heights >= height).sum()) / (1 + len(self.drawn)))


class Stretches(NamedTuple):
    """Stretches of equal ratio of steps, those without a logged step left out."""

    of_step: Int[np.ndarray, " n"]
    """Number of the stretch of each logged step."""
    middles: Float[np.ndarray, " stretch"]
    """Geometric mean of the logged steps of each."""

    @classmethod
    def of(cls, steps: Num[np.ndarray, " n"]) -> "Stretches":
        """The stretches of these steps, which ascend from 1 or more."""
        which = np.unique(np.floor(PER_DECADE * np.log10(steps) + 1e-9), return_inverse=True)[1]
        counts = np.bincount(which)
        return cls(which, np.exp(np.bincount(which, np.log(steps)) / counts))

    def averages(self, values: Float[np.ndarray, "*draws n"]) -> Float[np.ndarray, "*draws stretch"]:
        """Mean of the values of each stretch."""
        begins = np.searchsorted(self.of_step, np.arange(len(self.middles)))
        return np.add.reduceat(values, begins, axis=-1) / np.bincount(self.of_step)


def falling(
    curve: Float[np.ndarray, " stretch"], noise: Float[np.ndarray, "draw stretch"]
) -> Float[np.ndarray, " stretch"]:
    """The nearest curve that never rises, its levels pooled where noise does not tell them apart.

    Unpooled, the nearest curve to a flat one falls, with the noise; that would hide rises under the null.
    """
    begins = isotonic_regression(curve, increasing=False).blocks[:-1]
    while len(begins) > 1:
        counts = np.diff([*begins, len(curve)])
        levels, noisy = (np.add.reduceat(each, begins, axis=-1) / counts for each in (curve, noise))
        falls = -np.diff(levels) / np.diff(noisy, axis=-1).std(axis=0).clip(min=np.finfo(float).tiny)
        if falls.min() > APART:
            break
        begins = np.delete(begins, 1 + falls.argmin())
    counts = np.diff([*begins, len(curve)])
    return np.repeat(np.add.reduceat(curve, begins) / counts, counts)


def without_spikes(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """The curve with each spike brought to the nearer of its two neighbours.

    A spike makes three large second differences, so two of them outweigh the fifth that `trimmed` leaves out. Here the median
    says what is large. A curve that falls or rises throughout has none, however steep it is.
    """
    usual = nearby(np.abs(second_differences(values, 1)), lambda sizes: np.median(sizes, axis=-1)) / MEDIAN
    far = SPIKE * np.maximum(usual, smallest_jump(values))[1:-1]
    before, here, after = values[:-2], values[1:-1], values[2:]
    alone = (here - before) * (here - after) > 0
    nearer = np.where(np.abs(here - before) < np.abs(here - after), before, after)
    return np.r_[values[0], np.where(alone & (np.abs(here - nearer) > far), nearer, here), values[-1]]


def nearby(
    differences: Float[np.ndarray, " m"], size: Callable[[Float[np.ndarray, "window near"]], Any]
) -> Float[np.ndarray, " n"]:
    """Size of the second differences near each of the values that they are of."""
    near = np.lib.stride_tricks.sliding_window_view(differences, min(NEAR, len(differences)))
    place = np.arange(len(differences) + 2) - 1 - (near.shape[1] - 1) / 2
    return np.interp(place, np.arange(len(near)), size(near))


def smallest_jump(values: Float[np.ndarray, " n"]) -> float:
    """Smallest difference between two values in succession that is not 0; 0 of a curve that is constant."""
    jumps = np.abs(np.diff(values))
    return float(jumps[jumps > 0].min()) if jumps.any() else 0.0


def noise_of(values: Float[np.ndarray, " n"], seed: int = 0) -> Noise:
    """Noise of a curve by its second differences, which a straight line does not have (Gasser et al. 1986).

    Those of noise of size s and correlation φ have over k steps the mean square s²·(6 − 8φᵏ + 2φ²ᵏ), so the ratios of those over
    2 and 4 steps to those over 1 tell φ: as well as in series of the same length that are drawn for each φ. The fifth that is
    largest is left out, for where the curve is steep.
    """
    differences = np.sqrt(nearby(second_differences(values, 1), trimmed))
    rounding = smallest_jump(values) / np.sqrt(12)
    known = ratios(values)
    if not np.isfinite(known).all():  # of a curve without noise
        return Noise(differences, rounding, np.eye(len(PHI))[0])
    return Noise(differences, rounding, likelihood(known, min(len(values), LONGEST), seed))


def likelihood(known: Float[np.ndarray, " ratio"], n: int, seed: int) -> Float[np.ndarray, " phi"]:
    """Probability of each correlation, of equal ones before, given the ratios of a series of n values: they are about normal."""
    found = []
    for mean, spread in in_series(n, seed):
        off = known - mean
        found.append(-0.5 * (off @ np.linalg.solve(spread, off) + np.linalg.slogdet(spread)[1]))
    weights = np.exp(np.array(found) - max(found))
    return weights / weights.sum()


@lru_cache(maxsize=64)
def in_series(n: int, seed: int) -> list[tuple[Float[np.ndarray, " ratio"], Float[np.ndarray, "ratio ratio"]]]:
    """Mean and covariance of the ratios in drawn series of n values, for each correlation in `PHI`."""
    numbers = np.random.default_rng(seed)
    drawn = [ratios(autoregressive(np.full(SERIES, phi), n, numbers).T) for phi in PHI]
    return [(each.mean(axis=0), np.cov(each.T)) for each in drawn]


def ratios(values: Float[np.ndarray, "*draws n"]) -> Float[np.ndarray, "*draws ratio"]:
    """Logarithms of the mean squares of second differences over 2 and 4 steps ÷ those over 1."""
    with np.errstate(divide="ignore", invalid="ignore"):
        one, two, four = (np.log(trimmed(second_differences(values, lag))) for lag in (1, 2, 4))
        return np.stack([two - one, four - one], axis=-1)


def second_differences(values: Float[np.ndarray, "*draws n"], lag: int) -> Float[np.ndarray, "*draws m"]:
    """v(i − k) − 2·v(i) + v(i + k)."""
    return values[..., : -2 * lag] - 2 * values[..., lag:-lag] + values[..., 2 * lag :]


def trimmed(differences: Float[np.ndarray, "*draws m"]) -> Float[np.ndarray, "*draws"] | float:
    """Mean square of Gaussian numbers by all but the largest fifth of them."""
    squares = np.sort(differences**2, axis=-1)
    return squares[..., : max(1, round((1 - UNUSUAL) * squares.shape[-1]))].mean(axis=-1) / TRIMMED


def expected(phi: Float[np.ndarray, "*draws"], lag: int) -> Float[np.ndarray, "*draws"]:
    """Mean square of the second differences of noise of size 1."""
    return 6 - 8 * phi**lag + 2 * phi ** (2 * lag)


def autoregressive(
    phi: Float[np.ndarray, " draw"], n: int, numbers: np.random.Generator
) -> Float[np.ndarray, "n draw"]:
    """Series of size 1 that are correlated so much from one value to the next."""
    found = numbers.standard_normal((n, len(phi)))
    for step in range(1, n):
        found[step] = phi * found[step - 1] + np.sqrt(1 - phi**2) * found[step]
    return found
