"""Permutation tests: closed forms, every way listed one by one, censored runs, what is true without an effect."""

from itertools import permutations
from math import comb

import numpy as np
import pytest
import scipy.stats

from interp.maths.permutation import holm, later, permuted

NEVER = np.nan


def stratum(groups, until=()):
    values = np.concatenate([np.array(group, dtype=float) for group in groups])
    watched = np.full(len(values), np.inf) if not len(until) else np.array(until, dtype=float)
    return later(values, watched), np.repeat(np.arange(len(groups)), [len(group) for group in groups])


def one_by_one(strata):
    """p by every permutation of the labels of every stratum, with the pairs counted in loops: the slow reference."""

    def statistic(order, labels):
        runs = range(len(labels))
        return sum(order[j, i] for i in runs for j in runs if labels[i] < labels[j])

    sums = [0]
    for order, labels in strata:
        here = [statistic(order, way) for way in permutations(labels.tolist())]
        sums = [one + other for one in sums for other in here]
    found = sum(statistic(order, labels) for order, labels in strata)
    return found, float(np.mean(np.abs(sums) >= abs(found)))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 10])
def test_two_settings_fully_apart_have_two_ways_of_all(size):
    found = permuted([stratum([range(size), range(100, 100 + size)])])
    assert found.p == found.least_p == min(1, 2 / comb(2 * size, size))
    assert (found.statistic, found.pairs, found.p_error) == (size**2, size**2, 0)


def test_three_against_three_is_a_tenth_and_five_against_five_two_of_252():
    assert permuted([stratum([[1, 2, 3], [4, 5, 6]])]).p == 0.1
    assert permuted([stratum([range(5), range(5, 10)])]).p == 2 / 252


def test_every_way_listed_one_by_one_gives_the_same():
    rng = np.random.default_rng(0)
    for sizes in ([3, 4], [2, 5], [2, 2, 3], [1, 2, 2, 2]):
        for _ in range(5):
            values = rng.integers(0, 5, sum(sizes)).astype(float)  # with ties
            values[rng.random(len(values)) < 0.3] = NEVER
            until = rng.integers(0, 6, len(values))
            of_setting = np.split(values, np.cumsum(sizes)[:-1])
            strata = [stratum(of_setting, until)]
            found = permuted(strata)
            assert (found.statistic, found.p) == pytest.approx(one_by_one(strata))


def test_strata_listed_one_by_one_give_the_same():
    rng = np.random.default_rng(1)
    for _ in range(5):
        strata = [stratum([rng.integers(0, 4, 2), rng.integers(0, 4, 3)]) for _ in range(2)]
        found = permuted(strata)
        assert (found.statistic, found.p) == pytest.approx(one_by_one(strata))
        assert found.least_p == 2 / 10**2


def test_without_ties_p_is_that_of_mann_and_whitney():
    rng = np.random.default_rng(2)
    one, other = rng.normal(size=9), rng.normal(size=12) + 0.5
    known = scipy.stats.mannwhitneyu(one, other, method="exact")
    found = permuted([stratum([one, other])])
    assert found.p == pytest.approx(known.pvalue)
    assert found.statistic == 9 * 12 - 2 * known.statistic


def test_a_trend_has_kendalls_statistic_and_drawn_p_is_near_the_counted():
    rng = np.random.default_rng(3)
    groups = [rng.normal(size=3) + 0.7 * level for level in range(3)]
    strata = [stratum(groups)]
    exact, drawn = permuted(strata), permuted(strata, limit=10, draws=20_000)
    labels, values = strata[0][1], np.concatenate(groups)
    known = sum(np.sign((labels[i] - labels[j]) * (values[i] - values[j])) for i in range(9) for j in range(i))
    assert exact.statistic == known == drawn.statistic
    assert exact.p_error == 0 < drawn.p_error
    assert abs(drawn.p - exact.p) < 4 * drawn.p_error
    assert permuted(strata, limit=10, draws=20_000) == drawn
    assert permuted(strata, limit=10, draws=20_000, seed=1).p != drawn.p


def test_fully_ordered_settings_have_two_ways_of_all():
    assert permuted([stratum([[1, 2], [3, 4], [5, 6]])]).p == 2 / 90


def test_a_monotone_change_of_the_values_changes_nothing():
    rng = np.random.default_rng(4)
    values, until = rng.exponential(size=12), rng.exponential(size=12)
    values[::4] = NEVER
    labels = np.repeat([0, 1, 2], 4)
    before, after = later(values, until), later(np.exp(3 * values), np.exp(3 * until))
    assert (before == after).all()
    assert permuted([(before, labels)]) == permuted([(after, labels)])


def test_a_run_that_did_not_arrive_comes_after_those_that_arrived_while_it_was_watched():
    order = later(np.array([10, 20, 30, NEVER, NEVER]), np.array([50.0, 50, 50, 20, 50]))
    assert order[3].tolist() == [1, 1, 0, 0, 0]  # watched to 20: whether it comes before 30 is not known
    assert order[4].tolist() == [1, 1, 1, 0, 0]
    assert (order == -order.T).all()


def test_none_that_arrive_in_one_setting_are_as_far_apart_as_can_be():
    assert permuted([stratum([[10, 20, 30], [NEVER] * 3], [50] * 6)]).p == 0.1
    assert permuted([stratum([[NEVER] * 3, [NEVER] * 3], [50] * 6)]).p == 1


def test_without_an_effect_p_is_below_alpha_no_more_often_than_alpha():
    """Exactly, not by sampling: over every way to deal two and three settings to six runs."""
    for sizes in ([3, 3], [2, 2, 2]):
        labels = np.repeat(np.arange(len(sizes)), sizes)
        values = np.arange(len(labels), dtype=float)
        order = later(values, values)
        p = np.array([permuted([(order, np.array(way))]).p for way in permutations(labels.tolist())])
        for alpha in np.unique(p):
            assert np.mean(p <= alpha) == pytest.approx(alpha)


def test_holm_by_hand():
    # .01·4, .02·3, .03·2 (not below the one before), .5
    assert holm(np.array([0.03, 0.01, 0.5, 0.02])) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm(np.array([0.6, 0.9])) == pytest.approx([1, 1])
