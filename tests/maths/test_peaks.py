"""Peaks: planted ones are found, and curves that never rise have none more often than p says."""

import numpy as np
import pytest

from interp.maths.peaks import (
    intervals,
    largest_rise,
    moderated_errors,
    peak,
    rises,
    standard_errors,
    sure_rise,
    surest_ratios,
    threshold,
)

CURVE = np.array([0.30, 0.22, 0.18, 0.20, 0.27, 0.25, 0.19, 0.15, 0.13])
NEVER = {
    "flat": np.zeros(12),
    "falling": -np.linspace(0, 3, 12),
    "falling, then flat": -np.minimum(np.linspace(0, 6, 12), 3),
}


def test_the_largest_rise_is_between_the_lowest_before_and_the_highest_above_it():
    for seed in range(200):
        curve = np.random.default_rng(seed).standard_normal(7)
        pairs = [(curve[j] - curve[i], i, j) for i in range(7) for j in range(i, 7)]
        height, begin, end = max(pairs)
        assert largest_rise(curve)[2] == pytest.approx(max(0.0, height))
        if height > 0:
            assert largest_rise(curve)[:2] == (begin, end)


def test_a_curve_that_never_rises_has_no_peak():
    assert largest_rise(np.array([3.0, 2.0, 2.0, 1.0])) == (0, 0, 0.0)
    assert not rises(np.array([3.0, 2.0, 2.0, 1.0])).any()
    found = peak(np.array([[3.0, 3.1], [2.0, 2.1], [1.0, 0.9]]))
    assert (found.height, found.height_error, found.p) == (0, 0, 1)


@pytest.mark.parametrize("seed", range(5))
def test_a_planted_peak_is_found_with_its_height(seed):
    runs = CURVE[:, None] + 0.01 * np.random.default_rng(seed).standard_normal((9, 5))
    found = peak(runs)
    assert (found.valley, found.peak) == (2, 4)
    assert abs(found.height - 0.09) < 5 * found.height_error and found.p < 0.001
    assert found.height_error == pytest.approx(0.01 * np.sqrt(2 / 5), rel=0.7)


@pytest.mark.parametrize("shape", NEVER)
@pytest.mark.parametrize("runs", [3, 5])
def test_curves_that_never_rise_have_a_p_below_a_level_no_more_often_than_that(shape, runs):
    numbers, small = np.random.default_rng(0), 0
    for _ in range(300):
        curve = NEVER[shape][:, None] + numbers.standard_normal((12, runs))
        small += peak(curve, draws=200, seed=1).p < 0.05
    # 15 of 300 are expected, with a standard deviation of 3.8; four of these
    assert small <= 30


SPREADS = {
    "narrow ones fail now and then": np.array([0.1, 0.1, 0.1, 0.08, 0.06, 0.04, 0.02, *[0.01] * 5]),
    "three far noisier": np.array([*[1.0] * 3, *[0.02] * 9]),
}


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("runs", [3, 5])
def test_settings_that_differ_in_their_spread_make_no_peak_more_often_either(spread, runs):
    numbers, small = np.random.default_rng(0), 0
    for _ in range(300):
        small += peak(SPREADS[spread][:, None] * numbers.standard_normal((12, runs)), draws=200, seed=1).p < 0.05
    assert small <= 30


def test_a_sure_rise_is_found_beside_a_larger_one_that_is_none():
    """A fall over noisy settings, then a peak of a tenth where runs agree: as of widths of which the narrow fail to train."""
    curve = np.array([0.9, 0.8, 0.7, 0.6, 0.55, 0.5, 0.44, 0.48, 0.52, 0.56, 0.5, 0.44])
    for seed in range(10):
        noise = SPREADS["narrow ones fail now and then"][:, None] * np.random.default_rng(seed).standard_normal((12, 5))
        found = peak(curve[:, None] + noise)
        assert (found.valley, found.peak) == (6, 9) and found.p < 0.01


def test_the_surest_of_many_draws_is_that_of_each():
    numbers = np.random.default_rng(0)
    means, errors = numbers.standard_normal((50, 8)), 0.1 + numbers.random((50, 8))
    means[0], errors[1] = -np.arange(8), 0  # one that never rises, and one without noise
    for line, error, ratio in zip(means, errors, surest_ratios(means, errors), strict=True):
        pairs = [(line[j] - line[i]) / max(np.hypot(error[i], error[j]), 1e-300) for j in range(8) for i in range(j)]
        expected = np.inf if not error.any() else max(0.0, *pairs)
        assert ratio == pytest.approx(expected) and sure_rise(line, error)[2] == ratio


def test_errors_are_drawn_to_those_of_their_neighbours():
    curve = np.random.default_rng(0).standard_normal((9, 4)) * np.array([[1.0]] * 4 + [[0.0]] + [[1.0]] * 4)
    own, drawn = standard_errors(curve), moderated_errors(curve)
    variances = 4 * own**2
    for place in range(9):
        near = variances[max(0, place - 2) : place + 3].mean()
        assert drawn[place] ** 2 * 4 == pytest.approx((3 * variances[place] + 2 * near) / 5)
    assert drawn[4] > 0  # of runs that are equal by chance
    with pytest.raises(ValueError, match="no setting has two runs"):
        moderated_errors(curve[:, :1])


def test_a_larger_peak_is_less_likely_by_chance():
    noise = np.random.default_rng(3).standard_normal((9, 3))
    p = [peak(10 * size * CURVE[:, None] + noise).p for size in (0, 1, 3, 10)]
    assert p == sorted(p, reverse=True) and p[-1] < 0.01


def test_settings_with_fewer_runs_count_with_those_they_have():
    curve = np.array([[1.0, 3.0, np.nan], [2.0, np.nan, np.nan], [1.0, 2.0, 3.0]])
    np.testing.assert_allclose(standard_errors(curve), [1.0, np.sqrt(2), 1 / np.sqrt(3)])
    with pytest.raises(ValueError, match="no setting has two runs"):
        peak(np.ones((3, 1)))


def test_a_threshold_is_the_first_setting_that_fits():
    settings = np.array([4.0, 8.0, 16.0, 32.0])
    curve = np.array([[0.3, 0.2, 0.4], [0.02, 0.0, 0.03], [0.0, 0.02, 0.0], [0.0, 0.0, 0.0]])
    assert threshold(settings, curve, 0.01) == 16
    assert np.isnan(threshold(settings, curve + 1, 0.01))


def test_intervals_hold_what_is_planted_and_are_a_point_without_noise():
    fits = np.where(np.arange(9) < 4, 0.2, 0.0)[:, None].repeat(4, axis=1)
    exact = intervals(CURVE[:, None].repeat(4, axis=1), fits, 0.01)
    assert (exact.peak, exact.threshold) == ((4, 4), (4, 4))
    assert exact.height == pytest.approx((0.09, 0.09))
    held, wide = 0, []
    for seed in range(100):
        runs = CURVE[:, None] + 0.02 * np.random.default_rng(seed).standard_normal((9, 10))
        found = intervals(runs, fits[:, [0] * 10], 0.01, draws=200)
        held += found.peak.low <= 4 <= found.peak.high
        wide.append(found.peak.high - found.peak.low)
    # standard errors of .006 beside a step of .02 from peak to its neighbour: now and then the neighbour is the higher one
    assert held >= 90
    assert 0 < np.mean(wide) < 2


def test_an_interval_of_the_height_holds_it_nearly_as_often_as_it_says_even_of_three_runs():
    means, held = np.array([0.5, 0.2, 0.25, 0.45, 0.3, 0.2]), 0
    for seed in range(200):
        runs = means[:, None] + 0.02 * np.random.default_rng(seed).standard_normal((6, 3))
        low, high = intervals(runs, runs, 0.01, draws=200, seed=seed).height
        held += low <= 0.25 <= high
    # 95 % would be 190; runs drawn anew with replacement held it 161 times
    assert held >= 176


def test_a_threshold_that_no_setting_reaches_lies_beyond_the_last():
    curve = CURVE[:, None].repeat(2, axis=1)
    assert intervals(curve, curve, 0.01).threshold == (9, 9)
