"""Disagreement of answers whose agreement is planted."""

import itertools
import math

import numpy as np
import pytest

from interp.maths.disagreement import between, disagreement

CLASSES = np.repeat([0, 1], [4, 6])


def drawn(runs, seed, hard=None, n=400):
    """Answers of runs, with their classes: each errs on a hard example half of the time, and on a tenth of the others."""
    rng = np.random.default_rng(seed)
    classes = np.arange(n) % 4
    chance = np.where(np.arange(n) < (n // 4 if hard is None else hard), 0.5, 0.1)
    wrong = (classes + rng.integers(1, 4, (runs, n))) % 4
    return np.where(rng.random((runs, n)) < chance, wrong, classes), classes


def test_runs_that_are_one_function_do_not_disagree():
    one = drawn(1, seed=0)
    found = disagreement(np.repeat(one[0], 4, axis=0), one[1])
    assert found.value.found == found.value.least == found.value.normalised == 0
    assert found.error == found.normalised_error == 0


def test_two_runs_by_hand():
    # class 0: one errs on one of four, the other on none; class 1: both err on two of six, with one in common
    one = np.array([1, 0, 0, 0, 0, 0, 1, 1, 1, 1])
    two = np.array([0, 0, 0, 0, 0, 1, 0, 1, 1, 1])
    value = disagreement(np.stack([one, two]), CLASSES).value
    assert value.found == pytest.approx(0.3)
    assert value.least == pytest.approx(0.1)
    assert value.independent == pytest.approx(0.4 * (1 / 4) + 0.6 * 2 * (1 / 3) * (2 / 3))
    assert value.normalised == pytest.approx((0.3 - 0.1) / (value.independent - 0.1))


def test_independent_is_the_mean_over_all_ways_to_deal_answers_within_classes():
    one, two, classes = np.array([0, 1, 2, 0, 1, 1]), np.array([0, 0, 2, 1, 1, 2]), np.array([0, 0, 0, 1, 1, 1])
    ways = [
        (one != np.concatenate([first, second])).mean()
        for first in itertools.permutations(two[:3])
        for second in itertools.permutations(two[3:])
    ]
    assert between(np.stack([one, two]), classes)[1, 0, 1] == pytest.approx(np.mean(ways))


def test_least_is_the_minimum_over_all_answers_with_as_many_errors():
    one, two, classes = np.array([0, 1, 2, 0, 1, 1]), np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 0, 1, 1, 1])
    others = np.array(list(itertools.product(range(3), repeat=6)))
    others = others[(others != classes).sum(axis=1) == (two != classes).sum()]
    assert between(np.stack([one, two]), classes)[2, 0, 1] == pytest.approx((others != one).mean(axis=1).min())


def test_independent_runs_have_1_and_shared_hard_examples_bring_them_nearer():
    alone = disagreement(*drawn(20, seed=1, hard=0, n=4_000))
    shared = disagreement(*drawn(20, seed=1, hard=1_000, n=4_000))
    assert alone.value.normalised == pytest.approx(1, abs=0.02)
    # found 1/4·(1 − 1/4 − 1/4/3) + 3/4·(1 − .9² − .1²/3), independent 1 − .8² − .2²/3, least 0 but for chance
    assert shared.value.normalised == pytest.approx(0.30667 / 0.34667, abs=0.02)


def test_names_of_answers_and_the_order_of_examples_and_runs_do_not_matter():
    answers, classes = drawn(4, seed=2)
    found, names = disagreement(answers, classes), np.array([3, 0, 2, 1])
    order = np.random.default_rng(0).permutation(len(classes))
    other = disagreement(names[answers[::-1, order]], names[classes[order]])
    np.testing.assert_allclose([*other.value, *other[1:]], [*found.value, *found[1:]])


def test_runs_that_make_no_errors_leave_no_room():
    classes = np.arange(9) % 3
    assert math.isnan(disagreement(np.repeat(classes[None], 3, axis=0), classes).value.normalised)


def test_standard_errors_are_the_spread_over_sets_of_runs_and_at_most_twice_it_where_pairs_differ_by_chance_alone():
    """Runs have skills of their own, which decide the share that is found; where runs err independently nothing but chance
    is left in the normalised share, and the jackknife is too large by about √2 (Efron & Stein 1981)."""
    values, told = [], []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        skill = rng.uniform(0.05, 0.6, (6, 1))
        classes = np.arange(200) % 4
        answers = np.where(rng.random((6, 200)) < skill, (classes + rng.integers(1, 4, (6, 200))) % 4, classes)
        found = disagreement(answers, classes)
        values.append([found.value.found, found.value.normalised])
        told.append([found.error, found.normalised_error])
    of_found, of_normalised = np.sqrt(np.square(told).mean(axis=0)) / np.std(values, axis=0)
    assert of_found == pytest.approx(1, abs=0.15)
    assert 1 < of_normalised < 2


def test_two_runs_have_no_standard_error():
    assert all(math.isnan(error) for error in disagreement(*drawn(2, seed=0))[1:])
