import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.maths.curves import collapse, fall_rise_fall, first_below, reached, steepest_fall

STEPS = np.array([0, 10, 20, 30, 40])


def test_the_first_of_three_in_a_row_counts():
    found = reached(STEPS, np.array([0.0, 0.2, 0.9, 1.0, 1.0]), 0.9)
    assert found == (20, 40, ())
    assert reached(STEPS, np.array([0.0, 1.0, 0.5, 1.0, 1.0]), 0.9, in_a_row=2).step == 30
    assert reached(STEPS, np.array([0.0, 1.0, 0.5, 1.0, 1.0]), 0.9, in_a_row=1).step == 10


def test_what_comes_later_is_told_and_changes_nothing():
    steps, values = 10 * np.arange(9), np.array([0.0, 1, 1, 1, 0.5, 1, 1, 0.5, 0.5])
    assert reached(steps, values, 0.9) == (10, 30, (40, 70))


def test_a_curve_that_starts_above_has_arrived_at_its_first_step():
    assert reached(STEPS, np.ones(5), 0.9) == (0, 40, ())


def test_a_curve_that_does_not_arrive_is_censored_where_that_is_known():
    for values, until in (([0, 0, 0, 0, 0], 40), ([0, 1, 1, 0, 0], 40), ([0, 1, 0, 1, 1], 20), ([0, 0, 0, 0, 1], 30)):
        found = reached(STEPS, np.array(values, dtype=float), 0.9)
        assert math.isnan(found.step)
        assert found.until == until
    assert reached(STEPS[:2], np.ones(2), 0.9).until < 0  # at step 0 it may have arrived


def test_a_value_that_was_not_measured_counts_as_below():
    assert reached(STEPS, np.array([1.0, np.nan, 1.0, 1.0, 1.0]), 0.9).step == 20
    assert math.isnan(reached(STEPS, np.full(5, np.nan), 0.9).step)


def test_a_curve_crosses_once_for_all_however_it_returns():
    values = np.array([4.0, np.nan, 0.005, 9.0, 0.001])
    assert first_below(STEPS, values, 0.01) == 20
    assert math.isnan(first_below(STEPS, values, 0.001))


def test_a_curve_without_steps_never_arrives():
    assert math.isnan(reached(np.array([], dtype=int), np.array([]), 0.9).step)


levels = st.lists(st.sampled_from([0.0, 0.5, 1.0, math.nan]), max_size=14)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(values=levels, in_a_row=st.integers(1, 4))
def test_it_is_the_earliest_step_that_as_many_follow(values, in_a_row):
    steps = 10 * np.arange(len(values))
    windows = [values[i : i + in_a_row] for i in range(len(values) - in_a_row + 1)]
    expected = [step for step, window in zip(steps, windows, strict=False) if all(each >= 0.5 for each in window)]
    found = reached(steps, np.array(values, dtype=float), 0.5, in_a_row)
    assert found.step == expected[0] if expected else math.isnan(found.step)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(values=levels, cut=st.integers(0, 14), in_a_row=st.integers(1, 4))
def test_nothing_that_is_said_of_the_first_steps_becomes_false_later(values, cut, in_a_row):
    steps, curve = 10 * np.arange(len(values)), np.array(values, dtype=float)
    early, late = reached(steps[:cut], curve[:cut], 0.5, in_a_row), reached(steps, curve, 0.5, in_a_row)
    if not math.isnan(early.step):
        assert late.step == early.step
        assert late.until >= early.until
        assert late.falls[: len(early.falls)] == early.falls
    elif not math.isnan(early.until):
        assert math.isnan(late.step) or late.step > early.until


def test_a_run_that_loses_what_it_had_collapses_where_it_falls():
    steps = 10 * np.arange(8)
    learned, lost = [0.1, 1, 1, 1, 1, 0.2, 1, 1], [0.1, 1, 1, 1, 1, 1, 1, 0.2]
    assert collapse(steps, np.array(lost), np.array(lost)) == 70
    assert collapse(steps, np.array(learned), np.array(learned)) == 50  # though it comes back
    assert math.isnan(collapse(steps, np.array(learned), np.full(8, 0.1)))  # memorised only, and back again
    assert collapse(steps, np.array(lost), np.full(8, 0.1)) == 70


def test_a_dip_is_no_collapse():
    steps, dips = 10 * np.arange(8), np.array([0.1, 1, 1, 1, 0.6, 1, 0.9, 0.9])
    assert reached(steps, dips, 0.99).falls == (40, 60)
    assert math.isnan(collapse(steps, dips, dips))
    assert math.isnan(collapse(steps, np.full(8, np.nan), np.full(8, np.nan)))


GRID = np.unique(np.geomspace(1, 10_000, 400).round().astype(int))


@pytest.mark.parametrize("power", [0.3, 1, 4])
def test_a_power_law_falls_as_sharply_everywhere(power):
    fall = steepest_fall(GRID, 7.0 * GRID ** -float(power))
    assert fall.ratio == pytest.approx(1.3**power, rel=0.01)
    assert fall.sharpness == pytest.approx(1, rel=0.02)


def test_a_planted_drop_is_the_steepest_fall_whatever_the_units():
    loss = 2 * GRID**-0.1 * np.where(GRID < 1000, 1, 0.02)
    fall = steepest_fall(GRID, loss)
    assert fall.step * 1.3 > 1000 > fall.step / 1.05
    assert fall.ratio == pytest.approx(50 * 1.3**0.1, rel=0.01)
    assert fall.sharpness > 3
    for louder in (100, 0.001):
        assert tuple(steepest_fall(GRID, louder * loss)) == pytest.approx(tuple(fall))
    slower = steepest_fall(10 * GRID, loss)
    assert tuple(slower) == pytest.approx((10 * fall.step, fall.ratio, fall.sharpness))


def test_what_rises_counts_as_flat():
    loss = np.where(GRID < 1000, 10.0, 10 * (GRID / 1000.0) ** -2)
    risen = np.where(GRID < 1000, 10 * (GRID / 1000.0) ** 0.5, loss)
    spiked = np.where((GRID > 5000) & (GRID < 6000), 5.0, loss)
    flat = steepest_fall(GRID, loss)
    assert tuple(steepest_fall(GRID, risen)) == pytest.approx(tuple(flat), rel=0.03)
    assert steepest_fall(GRID, spiked).ratio < 3  # from the spike back it would be 12


def test_a_curve_that_only_rises_does_not_fall():
    assert np.isnan(steepest_fall(GRID, GRID.astype(float))).all()
    assert np.isnan(steepest_fall(GRID, np.full(len(GRID), 2.0))).all()


def test_a_first_low_a_high_and_a_last_low_are_found_where_they_are():
    assert fall_rise_fall(np.array([1.0, 0.6, 0.3, 0.5, 0.8, 0.7, 0.1, 0.2]), by=0.2) == (2, 4, 6)


def test_a_curve_that_only_falls_or_rises_first_or_does_not_fall_again_has_no_three_stages():
    for curve in ([1, 0.5, 0], [0.2, 1, 0], [1, 0.2, 0.9], [1, 0, 0, 1, 1]):
        assert fall_rise_fall(np.array(curve, dtype=float), by=0.3) is None


def test_of_several_highs_the_one_with_the_larger_smaller_side_counts():
    assert fall_rise_fall(np.array([1.0, 0.5, 0.7, 0.2, 0.9, 0.1]), by=0.1) == (3, 4, 5)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 6), min_size=3, max_size=9), st.sampled_from([1.0, 2.0, 4.0]))
def test_the_three_stages_are_those_that_trying_all_places_finds(values, by):
    curve, found = np.array(values, dtype=float), fall_rise_fall(np.array(values, dtype=float), by)
    every = [
        min(curve[high] - curve[first], curve[high] - curve[last])
        for first, high, last in itertools.combinations(range(len(curve)), 3)
        if curve[:first].max(initial=-np.inf) - curve[first] >= by
    ]
    largest = max(every, default=-1)
    assert (found is not None) == (largest >= by)
    if found:
        first, high, last = found
        assert first < high < last
        assert min(curve[high] - curve[first], curve[high] - curve[last]) == largest
