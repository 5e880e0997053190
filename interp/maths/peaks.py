"""Peaks of a curve over settings, such as test error over width: is it one, or the noise of a curve that never rises?"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Num
from scipy.optimize import isotonic_regression


@dataclass(frozen=True)
class Peak:
    """The largest rise of the means of a curve: from a valley to a later peak."""

    valley: int
    """Index of the setting with the lowest mean before the peak."""
    peak: int
    """Index of the setting whose mean lies highest above the lowest before it; that of the valley if no mean rises."""
    height: float
    """Mean at the peak less mean at the valley: 0 if no mean rises."""
    height_error: float
    """Standard error of the height, at these two settings."""
    p: float
    """Chance of so large a rise if the curve never rises: the monotone curve nearest to the means takes its place, with errors
    as large as those of the means (parametric bootstrap)."""


def peak(curve: Float[np.ndarray, "setting run"], draws: int = 10_000, seed: int = 0) -> Peak:
    """The largest rise of a curve, from values of several runs at every setting; NaN where a setting has fewer runs than others.

    Under the null the means are normal about a monotone curve. Fitting that takes part of the noise with it, so p is
    close and not exact: tests/maths/test_peaks.py bounds by simulation how often it is below .05.

    Args:
        draws: number of curves that are drawn under the null.
        seed: seed of these.
    """
    means, errors = np.nanmean(curve, axis=1), standard_errors(curve)
    begin, end, height = largest_rise(means)
    fitted = isotonic_regression(means, increasing=False).x
    noise = np.random.default_rng(seed).standard_normal((draws, len(means)))
    heights = rises(fitted + noise * errors).max(axis=1)
    error = float(np.hypot(errors[begin], errors[end])) if end > begin else 0.0
    return Peak(begin, end, height, error, float((1 + (heights >= height).sum()) / (1 + draws)))


def standard_errors(curve: Float[np.ndarray, "setting run"]) -> Float[np.ndarray, " setting"]:
    """Standard error of the mean at every setting; a setting with one run has the largest of the others.

    Raises:
        ValueError: no setting has two runs.
    """
    counts = (~np.isnan(curve)).sum(axis=1)
    if counts.max() < 2:
        raise ValueError("no setting has two runs")
    squares = np.nansum((curve - np.nanmean(curve, axis=1, keepdims=True)) ** 2, axis=1)
    deviations = np.sqrt(squares / np.maximum(counts - 1, 1))
    return np.where(counts > 1, deviations, deviations.max()) / np.sqrt(counts)


def rises(curve: Float[np.ndarray, "... setting"]) -> Float[np.ndarray, "... setting"]:
    """How far a curve lies above the lowest value so far, at every setting."""
    return curve - np.minimum.accumulate(curve, axis=-1)


def largest_rise(curve: Float[np.ndarray, " setting"]) -> tuple[int, int, float]:
    """Indices of valley and peak of the largest rise, and its height; twice the same index and 0 if the curve never rises."""
    above = rises(curve)
    end = int(above.argmax())
    if above[end] <= 0:
        return end, end, 0.0
    begin = int(curve[: end + 1].argmin())
    return begin, end, float(above[end])


def threshold(settings: Float[np.ndarray, " setting"], curve: Float[np.ndarray, "setting run"], level: float) -> float:
    """The first setting whose median over runs is below `level`; NaN if none is. Of train error: the interpolation threshold."""
    below = np.nanmedian(curve, axis=1) < level
    return float(settings[below.argmax()]) if below.any() else float("nan")


class Interval(NamedTuple):
    """The lower and the upper end of a 95 % interval."""

    low: float
    high: float


class Intervals(NamedTuple):
    """95 % intervals of what is read off a curve, over its runs drawn anew."""

    peak: Interval
    """Indices of settings."""
    height: Interval
    threshold: Interval
    """Indices of settings; the number of settings where no setting fits."""


def intervals(
    curve: Float[np.ndarray, "setting run"],
    fits: Float[np.ndarray, "setting run"],
    level: float,
    draws: int = 2_000,
    seed: int = 0,
) -> Intervals:
    """95 % intervals of peak, height and threshold: the runs of each setting are drawn anew with replacement (Efron 1979).

    They tell how far the seeds move what is found. They are no test: a height is never below 0, so its interval may leave 0 out
    where nothing rises; `peak` has the test. With three runs a setting they are too short.

    Args:
        curve: what peaks, such as test error; NaN where a setting has fewer runs than others.
        fits: what is fitted, such as train error, of the same runs.
        level: value of `fits` below which a setting fits, in the median.
        draws: number of bootstrap draws.
        seed: seed of these.
    """
    numbers = np.random.default_rng(seed)
    means, medians = np.empty((draws, len(curve))), np.empty((draws, len(curve)))
    for setting, (values, fitted) in enumerate(zip(curve, fits, strict=True)):
        known = np.flatnonzero(~np.isnan(values))
        rows = known[numbers.integers(len(known), size=(draws, len(known)))]
        means[:, setting], medians[:, setting] = values[rows].mean(axis=1), np.median(fitted[rows], axis=1)
    above, below = rises(means), medians < level
    firsts = np.where(below.any(axis=1), below.argmax(axis=1), len(curve))
    return Intervals(
        *(of_draws(each) for each in (above.argmax(axis=1), above.max(axis=1), firsts)),
    )


def of_draws(values: Num[np.ndarray, " draw"]) -> Interval:
    """The values between which 95 % of the draws lie; each is one that was drawn."""
    low, high = np.quantile(values, [0.025, 0.975], method="nearest")
    return Interval(float(low), float(high))
