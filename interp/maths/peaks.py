"""Peaks of a curve over settings, such as test error over width: is it one, or the noise of a curve that never rises?"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Num
from scipy.optimize import isotonic_regression

PRIOR = 2
"""Further runs, as it were, by which the variance of a setting is drawn to that of its neighbours: of three runs alone it is too
often far too small."""
NEAR = 2
"""Neighbours to each side whose variance that is."""
AS_SURE = 0.5
"""Ratio of a rise to its standard error, as a share of the largest ratio, from which on the largest rise is the one."""


@dataclass(frozen=True)
class Peak:
    """The rise of the means of a curve from a valley to a later peak: the largest of those that are about as sure as any."""

    valley: int
    """Index of the setting from which the mean rises."""
    peak: int
    """Index of the setting to which it rises; that of the lowest mean, as the valley, if no mean rises."""
    height: float
    """Mean at the peak less mean at the valley: 0 if no mean rises."""
    height_error: float
    """Standard error of the height, at these two settings."""
    p: float
    """Chance of so sure a rise if the curve never rises: runs are drawn about the monotone curve nearest to the means, with a
    spread at each setting as large as that of its runs (parametric bootstrap)."""


def peak(curve: Float[np.ndarray, "setting run"], draws: int = 10_000, seed: int = 0) -> Peak:
    """The rise of a curve, from values of several runs at every setting; NaN where a setting has fewer runs than others.

    A rise counts by its ratio to its standard error: settings whose runs differ much, such as networks so narrow that some fail
    to train, have the largest rises by chance. Valley and peak are those of the largest rise whose ratio is at least half of the
    largest ratio (`AS_SURE`). p is of the largest ratio. Under the null runs are normal about a monotone curve.
    Fitting that takes part of the noise with it, so p is close and not exact: tests/maths/test_peaks.py bounds by simulation how
    often it is below .05.

    Args:
        draws: number of curves that are drawn under the null.
        seed: seed of these.

    Raises:
        ValueError: no setting has two runs.
    """
    means, errors = np.nanmean(curve, axis=1), moderated_errors(curve)
    begin, end, ratio = sure_rise(means, errors)
    if begin == end:
        return Peak(begin, end, 0.0, 0.0, 1.0)
    counts = (~np.isnan(curve)).sum(axis=1)
    # Of settings without any spread the weights are as large as numbers go.
    weights = 1 / np.maximum(errors, 1e-9 * max(errors.max(), np.finfo(float).tiny)) ** 2
    fitted = isotonic_regression(means, weights=weights / weights.max(), increasing=False).x
    noise = np.random.default_rng(seed).standard_normal((draws, *curve.shape))
    drawn = fitted[:, None] + noise * (errors * np.sqrt(counts))[:, None]
    drawn[:, np.isnan(curve)] = np.nan
    ratios = surest_ratios(np.nanmean(drawn, axis=-1), moderated_errors(drawn))
    return Peak(
        begin,
        end,
        float(means[end] - means[begin]),
        float(np.hypot(errors[begin], errors[end])),
        float((1 + (ratios >= ratio).sum()) / (1 + draws)),
    )


def moderated_errors(curve: Float[np.ndarray, "*draws setting run"]) -> Float[np.ndarray, "*draws setting"]:
    """Standard error of the mean at every setting, its variance drawn to the mean of those nearby (`PRIOR`, `NEAR`).

    Raises:
        ValueError: no setting has two runs.
    """
    counts = (~np.isnan(curve)).sum(axis=-1)
    if counts.max() < 2:
        raise ValueError("no setting has two runs")
    squares = np.nansum((curve - np.nanmean(curve, axis=-1, keepdims=True)) ** 2, axis=-1)
    place = np.arange(curve.shape[-2])
    near = (np.abs(place[:, None] - place) <= NEAR).astype(float)
    known = (counts - 1) @ near
    whole = squares.sum(axis=-1, keepdims=True) / (counts - 1).sum(axis=-1, keepdims=True)
    usual = np.where(known > 0, squares @ near / np.maximum(known, 1), whole)
    return np.sqrt((squares + PRIOR * usual) / (counts - 1 + PRIOR) / counts)


def sure_rise(means: Float[np.ndarray, " setting"], errors: Float[np.ndarray, " setting"]) -> tuple[int, int, float]:
    """Indices of valley and peak of the largest rise that is sure (`AS_SURE`), and the largest ratio of any; 0 if none rises."""
    rise = np.triu(means[None, :] - means[:, None])
    ratio = over(rise, np.hypot(errors[None, :], errors[:, None]))
    if not (rise > 0).any():
        lowest = int(means.argmin())
        return lowest, lowest, 0.0
    sure = np.where(ratio >= AS_SURE * ratio.max(), rise, 0.0)
    begin, end = divmod(int(sure.argmax()), len(means))
    return begin, end, float(ratio.max())


def surest_ratios(
    means: Float[np.ndarray, "draw setting"], errors: Float[np.ndarray, "draw setting"]
) -> Float[np.ndarray, " draw"]:
    """The largest ratio of a rise to its standard error, of each draw; 0 of one that never rises."""
    found = np.zeros(len(means))
    for end in range(1, means.shape[1]):
        rise = means[:, end : end + 1] - means[:, :end]
        ratio = over(rise, np.hypot(errors[:, end : end + 1], errors[:, :end]))
        found = np.maximum(found, ratio.max(axis=1))
    return found


def over(rise: Float[np.ndarray, "a b"], error: Float[np.ndarray, "a b"]) -> Float[np.ndarray, "a b"]:
    """Rises ÷ their standard errors: infinitely sure without one, 0 where nothing rises."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(rise > 0, rise / error, 0.0)


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
    """95 % intervals of peak, height and threshold over bootstrap draws (Efron 1979).

    For peak and height, runs are drawn normal about the mean of their setting, with its moderated spread (`moderated_errors`): of
    three runs drawn anew with replacement the intervals are too short. For the threshold the runs themselves are drawn anew.

    They tell how far the seeds move what is found. They are no test: a height is never below 0, so its interval may leave 0 out
    where nothing rises; `peak` has the test.

    Args:
        curve: what peaks, such as test error; NaN where a setting has fewer runs than others.
        fits: what is fitted, such as train error, of the same runs.
        level: value of `fits` below which a setting fits, in the median.
        draws: number of bootstrap draws.
        seed: seed of these.

    Raises:
        ValueError: no setting has two runs.
    """
    numbers = np.random.default_rng(seed)
    fitted = np.full((draws, *curve.shape), np.nan)
    for setting, each in enumerate(fits):
        known = each[~np.isnan(each)]
        fitted[:, setting, : len(known)] = numbers.choice(known, size=(draws, len(known)))
    below = np.nanmedian(fitted, axis=-1) < level
    firsts = np.where(below.any(axis=1), below.argmax(axis=1), len(curve))
    spread = moderated_errors(curve) * np.sqrt((~np.isnan(curve)).sum(axis=1))
    chosen = np.nanmean(curve, axis=1)[:, None] + spread[:, None] * numbers.standard_normal((draws, *curve.shape))
    chosen[:, np.isnan(curve)] = np.nan
    means, errors = np.nanmean(chosen, axis=-1), moderated_errors(chosen)
    found = [sure_rise(*each) for each in zip(means, errors, strict=True)]
    heights = [line[end] - line[begin] for line, (begin, end, _) in zip(means, found, strict=True)]
    return Intervals(of_draws(np.array([end for _, end, _ in found])), of_draws(np.array(heights)), of_draws(firsts))


def of_draws(values: Num[np.ndarray, " draw"]) -> Interval:
    """The values between which 95 % of the draws lie; each is one that was drawn."""
    low, high = np.quantile(values, [0.025, 0.975], method="nearest")
    return Interval(float(low), float(high))
