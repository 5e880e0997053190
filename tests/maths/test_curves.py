import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.maths.curves import fall_rise_fall, first_below, first_lasting, first_reaching, steepest_fall

STEPS = np.array([0, 10, 20, 30, 40])


def test_the_first_step_is_that_from_which_the_curve_stays_above():
    assert first_lasting(STEPS, np.array([0.0, 0.2, 0.9, 1.0, 1.0]), 0.9) == 20


def test_a_curve_reaches_a_level_once_and_may_leave_it_again():
    values = np.array([0.0, 0.9, 0.5, 1.0, 0.2])
    assert first_reaching(STEPS, values, 0.9) == 10
    assert math.isnan(first_lasting(STEPS, values, 0.9))
    assert math.isnan(first_reaching(STEPS, values, 1.1))


def test_a_dip_starts_the_count_anew():
    assert first_lasting(STEPS, np.array([0.0, 1.0, 0.5, 1.0, 1.0]), 0.9) == 30


def test_a_curve_that_starts_above_has_arrived_at_its_first_step():
    assert first_lasting(STEPS, np.ones(5), 0.9) == 0


def test_a_curve_that_never_arrives_is_censored():
    assert math.isnan(first_lasting(STEPS, np.zeros(5), 0.9))


def test_a_curve_that_ends_below_is_censored_however_long_it_stayed_above():
    assert math.isnan(first_lasting(STEPS, np.array([1.0, 1.0, 1.0, 1.0, 0.0]), 0.9))


def test_a_value_that_was_not_measured_counts_as_below():
    assert first_lasting(STEPS, np.array([1.0, np.nan, 1.0, 1.0, 1.0]), 0.9) == 20
    assert math.isnan(first_lasting(STEPS, np.full(5, np.nan), 0.9))


def test_a_curve_crosses_once_for_all_however_it_returns():
    values = np.array([4.0, np.nan, 0.005, 9.0, 0.001])
    assert first_below(STEPS, values, 0.01) == 20
    assert math.isnan(first_below(STEPS, values, 0.001))


def test_a_curve_without_steps_never_arrives():
    assert math.isnan(first_lasting(np.array([], dtype=int), np.array([]), 0.9))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(values=st.lists(st.sampled_from([0.0, 0.5, 1.0, math.nan]), max_size=8))
def test_it_is_the_earliest_step_after_which_no_value_is_below(values):
    steps = 10 * np.arange(len(values))
    lasting = [step for i, step in enumerate(steps) if all(value >= 0.5 for value in values[i:])]
    found = first_lasting(steps, np.array(values, dtype=float), 0.5)
    assert found == lasting[0] if lasting else math.isnan(found)


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
