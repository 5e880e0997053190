import math
from typing import Any

import numpy as np
import pytest
from helpers import needs_published, published

from interp.maths import phases

STEPS = np.arange(0, 1001, 10)


def falling(begin, end, high, low):
    """ln loss: `high` until `begin`, straight to `low` at `end`, and `low` from there on."""
    return np.interp(STEPS, [begin, end], [math.log(high), math.log(low)])


def planted():
    """Train loss small from step 60 on; test loss highest at 100, ln straight down from there to 500."""
    train = np.where(STEPS < 60, 4.0, 1e-3)
    test = np.exp(np.where(STEPS < 100, math.log(10) - 0.001 * (100 - STEPS), falling(100, 500, 10, 1e-5)))
    return train, test


def planted_mechanism():
    """Excluded loss lowest at 100 and straight up to 10 at 300; Σw² down from 300 to 600; restricted loss gone by 300."""
    train = np.where(STEPS < 60, 4.0, 1e-3)
    excluded = np.interp(STEPS, [0, 100, 300], [4.0, 0.01, 10.0])
    restricted = np.exp(falling(100, 300, 3.0, 1e-8))
    squares = np.interp(STEPS, [300, 600], [3000.0, 1000.0])
    return train, excluded, restricted, squares


def test_phases_by_the_test_loss_lie_where_they_were_planted():
    np.testing.assert_allclose(phases.boundaries_by_test_loss(STEPS, *planted()), [100, 140, 460])
    np.testing.assert_allclose(phases.boundaries_by_test_loss(STEPS, *planted(), edge=0.25), [100, 200, 400])


def test_phases_by_mechanism_lie_where_they_were_planted():
    found = phases.boundaries_by_mechanism(STEPS, *planted_mechanism())
    # 90 % of the way from 100 to 300, then 90 % of the fall of Σw² from what it is at 280, which is still its highest.
    np.testing.assert_allclose(found, [100, 280, 570])


def test_a_peak_before_the_training_set_is_learned_is_none():
    train, test = planted()
    assert phases.boundaries_by_test_loss(STEPS, train, np.where(STEPS == 30, 50.0, test))[0] == 100


def test_a_test_loss_that_falls_already_when_memorised_has_its_highest_there():
    train, test = planted()
    assert phases.boundaries_by_test_loss(STEPS, np.where(STEPS < 200, 4.0, train), test)[0] == 200


def test_a_run_that_never_memorises_has_no_phases():
    _, test = planted()
    assert np.isnan(phases.boundaries_by_test_loss(STEPS, np.full(101, 0.02), test)).all()
    _, excluded, restricted, squares = planted_mechanism()
    found = phases.boundaries_by_mechanism(STEPS, np.full(101, 0.02), excluded, restricted, squares)
    assert np.isnan(found).all()


def test_a_test_loss_that_still_rises_at_the_end_is_censored():
    train, _ = planted()
    assert np.isnan(phases.boundaries_by_test_loss(STEPS, train, 1.0 + STEPS)).all()


def test_a_run_that_memorises_and_never_generalises_is_censored_after_memorisation():
    train, test = planted()
    found = phases.boundaries_by_test_loss(STEPS, train, np.maximum(test, 0.02))
    np.testing.assert_array_equal(found, [100, np.nan, np.nan])


@pytest.mark.parametrize("cut", [350, 400, 500])
@pytest.mark.parametrize("edge", [0.1, 0.25])
def test_a_run_that_was_cut_while_the_test_loss_fell_has_no_end_of_cleanup(cut, edge):
    seen = cut >= STEPS
    train, test = planted()
    _, begun, ended = phases.boundaries_by_test_loss(STEPS[seen], train[seen], test[seen], edge=edge)
    assert 100 < begun <= 200
    assert math.isnan(ended)


def test_a_run_that_was_cut_while_the_excluded_loss_rose_has_no_circuit():
    seen = STEPS <= 250
    train, excluded, restricted, squares = (curve[seen] for curve in planted_mechanism())
    found = phases.boundaries_by_mechanism(STEPS[seen], train, excluded, restricted, squares)
    np.testing.assert_array_equal(found, [100, np.nan, np.nan])


def test_an_excluded_loss_that_stays_low_ends_no_memorisation():
    train, excluded, restricted, squares = planted_mechanism()
    low = np.minimum(excluded, 4.0) / 1000
    assert np.isnan(phases.boundaries_by_mechanism(STEPS, train, low, restricted, squares)).all()


def test_an_excluded_loss_need_not_rise_tenfold():
    train, excluded, restricted, squares = planted_mechanism()
    found = phases.boundaries_by_mechanism(STEPS, train, np.clip(excluded, 1.0, 5.0), restricted, squares)
    at_190 = 0.01 + 9.99 * 90 / 200  # it is 5 at 200, and 4.6 is 90 % of the way from 1 to 5
    np.testing.assert_allclose(found[:2], [80, 190 + 10 * (4.6 - at_190) / (5 - at_190)])


def test_weights_that_do_not_shrink_end_no_cleanup():
    train, excluded, restricted, squares = planted_mechanism()
    found = phases.boundaries_by_mechanism(STEPS, train, excluded, restricted, 4000 - squares)  # they grow
    np.testing.assert_allclose(found, [100, 280, np.nan])


def test_cleanup_waits_for_the_later_of_weights_and_restricted_loss():
    train, excluded, _, squares = planted_mechanism()
    late = np.exp(falling(100, 800, 3.0, 1e-8))
    assert phases.boundaries_by_mechanism(STEPS, train, excluded, late, squares)[2] == pytest.approx(730)


@pytest.mark.parametrize("scale", [0.1, 7])
def test_boundaries_and_half_ways_go_with_the_scale_of_the_steps(scale):
    rules: list[tuple[Any, Any]] = [
        (phases.boundaries_by_test_loss, planted()),
        (phases.boundaries_by_mechanism, planted_mechanism()),
    ]
    for boundary, curves in rules:
        np.testing.assert_allclose(boundary(scale * STEPS, *curves), scale * boundary(STEPS, *curves))
    values = np.tanh((STEPS - 400) / 100)
    assert phases.half_way(scale * STEPS, values, scale * 50.0) == pytest.approx(
        scale * phases.half_way(STEPS, values, 50.0)
    )


def test_half_of_the_way_is_counted_from_its_beginning_and_lasts():
    values = np.interp(STEPS, [0, 100, 300, 310, 320, 500], [5.0, 2.0, 4.0, 2.5, 4.0, 6.0])
    assert phases.half_way(STEPS, values, 100.0) == 320  # at 300 it fell back
    assert phases.half_way(STEPS, values, 400.0) == pytest.approx(400 + 50)
    assert phases.half_way(STEPS, values, 405.0) == pytest.approx(405 + 47.5)  # not a logged step


def test_neither_a_constant_nor_a_factor_changes_half_of_the_way():
    values = np.tanh((STEPS - 400) / 100)
    expected = phases.half_way(STEPS, values, 50.0)
    for changed in (values + 1000, -3 * values, 0.01 * values - 5):
        assert phases.half_way(STEPS, changed, 50.0) == pytest.approx(expected)


def test_a_curve_without_a_way_has_no_half_of_it():
    assert math.isnan(phases.half_way(STEPS, np.ones(101), 0.0))


def test_crossings_lie_between_logged_steps():
    steps, values = np.array([0, 10, 20, 30]), np.array([0.0, 4.0, 1.0, 3.0])
    assert phases.crossing(steps, values, 2.0) == 5
    assert phases.lasting_crossing(steps, values, 2.0) == 25
    assert phases.crossing(steps, values, 0.0) == phases.lasting_crossing(steps, values, 0.0) == 0
    assert math.isnan(phases.crossing(steps, values, 5.0))
    assert math.isnan(phases.lasting_crossing(steps, values, 3.5))


def test_a_loss_that_was_rounded_to_nothing_has_a_logarithm():
    assert np.isfinite(phases.log_loss(np.array([0.0, 1e-310]))).all()


def test_prompts_that_are_all_alike_have_no_spread():
    members = np.arange(50) % 3 == 0
    weights = phases.resampling_weights(members, 30, np.random.default_rng(0))
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert (weights[:, ~members] == 0).all()
    np.testing.assert_allclose(weights @ np.full(50, 7.0), 7.0)


def test_the_spread_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(1).normal(size=400)
    means = phases.resampling_weights(np.ones(400, dtype=bool), 4000, np.random.default_rng(0)) @ values
    assert means.std() == pytest.approx(values.std() / 20, rel=0.05)


def test_the_median_of_kaplan_and_meier_worked_by_hand():
    """Steps 1, 3, 5+, 6, 9, 10+: left after 1: 5/6, after 3: 4/6, after 6: 4/6 · 2/3 = 4/9."""
    assert phases.kaplan_meier_median(np.array([3.0, 1.0, 9.0, 6.0]), np.array([5.0, 10.0])) == 6


def test_exactly_a_half_left_is_the_median():
    """3, 4+, 5, 6+: left 3/4, then 3/4 · 1/2 = 3/8; and 2, 3, 4+, 4+: exactly 1/2 after 3."""
    assert phases.kaplan_meier_median(np.array([3.0, 5.0]), np.array([4.0, 6.0])) == 5
    assert phases.kaplan_meier_median(np.array([2.0, 3.0]), np.array([4.0, 4.0])) == 3


def test_a_median_that_fewer_than_half_reach_is_not_known():
    assert math.isnan(phases.kaplan_meier_median(np.array([3.0]), np.array([4.0, 5.0])))
    assert math.isnan(phases.kaplan_meier_median(np.array([]), np.array([4.0])))


def test_without_censored_runs_it_is_the_lower_median():
    assert phases.kaplan_meier_median(np.array([4.0, 1.0, 9.0]), np.array([])) == 4
    assert phases.kaplan_meier_median(np.array([4.0, 1.0, 9.0, 7.0]), np.array([])) == 4


@needs_published
def test_the_published_sweep_memorises_until_step_1420(tmp_path):
    from interp.convert import main as convert
    from interp.store import open_run

    assert convert([str(published("progress-measures/mod_addition_frac_train_sweep.pth")), "--out", str(tmp_path)]) == 0
    ends = {}
    for fraction in ("0.3", "0.28", "0.25"):
        history = open_run(tmp_path / f"train_fraction={fraction}").history
        train, test = (history[name].to_numpy() for name in ("train_loss", "test_loss"))
        ends[fraction] = phases.boundaries_by_test_loss(history.index.to_numpy(), train, test)
    assert [found[0] for found in ends.values()] == pytest.approx([1420, 1451, 1455], abs=3)
    assert 1420 < ends["0.3"][1] < 7583  # where the test loss falls below 1
    assert all(math.isnan(found[2]) for found in ends.values())  # they were stopped at 3e-6, still falling
