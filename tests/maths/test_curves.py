import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.maths.curves import (
    PLATEAU,
    SHARP,
    SOLVED,
    STRETCH,
    collapse,
    exponential,
    fall_rise_fall,
    first_below,
    logistic,
    noise_of,
    nulls,
    reached,
    steepest_fall,
)

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


TIMES = np.arange(0, 4001)


@pytest.mark.parametrize("tau", [100, 300, 1000])
def test_a_plain_exponential_is_no_phase_change(tau):
    fall = steepest_fall(TIMES, 3 * np.exp(-TIMES / tau))
    assert fall.step == 0
    assert fall.sharpness == 1
    assert fall.until == pytest.approx(tau * math.log(10), rel=1e-4)
    assert fall.steepest == pytest.approx(1 - 10**-0.1, rel=1e-4)


@pytest.mark.parametrize("power", [0.3, 1, 4])
def test_nor_is_any_power_law_though_it_be_flat_for_long(power):
    fall = steepest_fall(TIMES, 7 * (1 + TIMES / 10.0) ** -power)
    assert (fall.step, fall.sharpness) == (0, 1)


def test_a_straight_fall_is_nowhere_steeper():
    assert steepest_fall(TIMES, 5.0 - TIMES / 1000).sharpness == 1


@pytest.mark.parametrize("warmup", [0.05, 0.1, 0.3, 1])
def test_nor_is_an_exponential_after_a_warm_up(warmup):
    # The rate rises evenly to 1, so that as much is learned as in half the time; the loss is down at 1000.
    whole = 1000 / (1 - warmup / 2)
    rising = warmup * whole
    learned = np.where(rising > TIMES, TIMES**2 / (2 * rising), TIMES - rising / 2)
    fall = steepest_fall(TIMES, np.exp(-math.log(10) * learned / 1000))
    assert fall.until == pytest.approx(whole, rel=1e-3)
    assert fall.sharpness < SHARP / 2
    assert warmup > STRETCH or fall.sharpness == 1


def test_a_logistic_has_the_sharpness_that_is_asked_for():
    loss = 2 * logistic(TIMES, until=1000.0, end=0.1)
    fall, width = steepest_fall(TIMES, loss), 1000 / (math.log(99) + math.log(0.901 / 0.099))
    assert loss[1000] == pytest.approx(0.2)
    steepest = math.tanh(100 / (4 * width)) / PLATEAU
    flattest = 1 - 1 / (1 + math.exp(100 / width) / 99) / PLATEAU
    assert fall.steepest == pytest.approx(steepest, rel=1e-4)
    assert fall.sharpness == pytest.approx(steepest / flattest, rel=1e-3)
    assert fall.step + 50 == pytest.approx(width * math.log(99), abs=1)  # its middle is the logistic's
    assert 17 == SHARP < fall.sharpness < 18


@pytest.mark.parametrize("slope", [1e-3, 1e-4])
def test_a_cliff_after_a_plateau_is_as_much_steeper_as_it_falls_more(slope):
    # Over 1000 steps it falls by `slope` a hundred steps, then straight down to 0 within 50.
    cliff = np.interp(TIMES, [0, 1000, 1050], [1, 1 - 10 * slope, 0])
    fall = steepest_fall(TIMES, cliff)
    until = 1050 - 50 * 0.1 / (1 - 10 * slope)
    stretch = until / 10
    assert fall.until == pytest.approx(until)
    assert fall.step == pytest.approx(until - stretch)
    assert fall.flattest == pytest.approx(slope * stretch / 100)
    before = slope * (1000 - until + stretch) / 100
    assert fall.steepest == pytest.approx(0.9 - 10 * slope + before)
    assert fall.sharpness == pytest.approx(fall.steepest / fall.flattest, rel=1e-6)


def test_a_plateau_without_any_fall_is_infinitely_flatter():
    assert steepest_fall(TIMES, np.where(TIMES < 1000, 3.0, 0.1)).sharpness == math.inf


def falling():
    """A curve with a plateau that falls a little and waves, and a fall down to .04 of its start."""
    return 2.5 * (0.04 + 0.96 * logistic(TIMES, until=1500.0, end=0.05)) + 0.003 * np.sin(TIMES / 40)


def test_neither_units_nor_what_comes_later_change_how_sharp_a_fall_is():
    loss = falling()
    fall = steepest_fall(TIMES, loss)
    assert fall.end == SOLVED
    assert 5 < fall.sharpness < 30
    assert steepest_fall(TIMES, 100 * loss) == pytest.approx(fall)
    later = 7 * TIMES + 300
    expected = fall._replace(step=7 * fall.step + 300, until=7 * fall.until + 300)
    assert steepest_fall(later, loss) == pytest.approx(expected)
    down = int(fall.until) + 2
    for cut in (down, down + 100, 2 * down):
        assert steepest_fall(TIMES[:cut], loss[:cut]) == fall
    assert steepest_fall(TIMES, np.where(down > TIMES, loss, 50.0)) == fall


@pytest.mark.parametrize("flat", [10, 1000, 100_000])
def test_a_flat_tail_changes_nothing_even_if_the_task_is_never_solved(flat):
    loss = 1 + logistic(TIMES[:1500], until=1000.0, end=0.1)
    fall = steepest_fall(TIMES[:1500], loss)
    assert fall.end == pytest.approx(1 - 0.9 * (1 - loss[-1] / loss[0]))
    assert fall.end > SOLVED
    steps = np.append(TIMES[:1500], 1499 + flat)
    assert steepest_fall(steps, np.append(loss, loss[-1])) == fall


def test_what_falls_after_the_task_is_solved_does_not_count():
    # A fall in logarithms that is far steeper than all before: from .05 to 10⁻⁶ within a step.
    loss = np.where(TIMES < 2000, np.maximum(np.exp(-TIMES / 300), 0.05), 1e-6)
    assert steepest_fall(TIMES, loss).sharpness == 1


def test_what_rises_counts_as_flat():
    down = np.interp(TIMES, [0, 1000, 1200, 4000], [2, 2, 0.1, 0.1])
    risen = down + np.interp(TIMES, [0, 500, 900], [0, 6, 0])
    flat, hump = steepest_fall(TIMES, down), steepest_fall(TIMES, risen)
    assert hump._replace(noise=0, sharpness=0) == flat._replace(noise=0, sharpness=0)
    assert hump.sharpness >= SHARP


def test_a_curve_that_never_is_lower_does_not_fall():
    for loss in (1.0 + TIMES, np.full(len(TIMES), 2.0), np.full(len(TIMES), np.nan)):
        fall = steepest_fall(TIMES, loss)
        assert np.isnan(fall).all()
        assert np.isnan(nulls(TIMES, fall)).all()


def test_values_that_were_not_logged_are_left_out():
    loss, here = falling(), TIMES % 10 == 0
    assert steepest_fall(TIMES, np.where(here, loss, np.nan)) == steepest_fall(TIMES[here], loss[here])


@pytest.mark.parametrize("noise", [0.003, 0.03, 0.3])
@pytest.mark.parametrize("n", [60, 400])
def test_noise_makes_no_phase_change_of_an_exponential_or_a_straight_fall(noise, n):
    steps, draws = np.linspace(0, 2000, n), np.random.default_rng(0)
    for loss in (exponential(steps, 1000.0, 0.1), np.maximum(1 - 0.9 * steps / 1000, 0.05)):
        noisy = (np.abs(loss + noise * draws.standard_normal(n)) + 1e-9 for _ in range(100))
        assert np.nanmax([steepest_fall(steps, each).sharpness for each in noisy]) < SHARP


def test_a_plateau_is_held_to_be_no_flatter_than_the_noise():
    steps, draws = np.arange(0, 2000, 5), np.random.default_rng(0)
    cliff = np.where(steps < 1000, 1, 0.05)
    for noise in (0.001, 0.01):
        fall = steepest_fall(steps, cliff + noise * draws.standard_normal(len(steps)))
        assert fall.noise == pytest.approx(noise, rel=0.4)  # the upper limit of an estimate from 190 values
        assert fall.sharpness <= 1 / noise
        assert fall.sharpness >= SHARP


def test_the_noise_is_that_which_was_put_in_whatever_the_steps_and_the_trend():
    steps, draws = np.unique(np.geomspace(1, 10**5, 4000).round()), np.random.default_rng(0)
    values = 5 - steps / 10**5 + 0.02 * draws.standard_normal(len(steps))
    assert noise_of(steps, values) == pytest.approx(0.02, rel=0.2)
    assert noise_of(steps, 5 - steps / 10**5) == pytest.approx(0, abs=1e-12)
    assert noise_of(steps[:2], values[:2]) == math.inf
    few = [noise_of(steps[i : i + 8], values[i : i + 8]) for i in range(0, 3000, 8)]
    assert np.mean(np.array(few) > 0.02) > 0.9  # an upper limit, however few they are


def test_the_nulls_have_the_ends_of_the_curve_and_are_told_apart():
    for end in (0.1, 0.4):
        for curve in (exponential, logistic):
            values = curve(TIMES, 800.0, end)
            assert values[[0, 800]] == pytest.approx([1, end])
    fall = steepest_fall(TIMES, falling())
    found = nulls(TIMES, fall)
    assert found.exponential == 1
    assert found.logistic == pytest.approx(17.6, abs=0.2)
    assert nulls(TIMES, fall._replace(noise=0.05)).logistic < 5  # what noise hides is not shown by the curve either


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
