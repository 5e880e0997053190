"""Contrasts of estimates beside Welch's test, and their size on disagreements that do not differ."""

import math

import numpy as np
import pytest
from scipy import stats

from interp.maths.contrasts import against, contrast
from interp.maths.disagreement import disagreement


def test_of_two_means_it_is_the_test_of_welch():
    rng = np.random.default_rng(0)
    one, two = rng.normal(0, 1, 5), rng.normal(1, 3, 8)
    errors = np.array([stats.sem(one), stats.sem(two)])
    found = against(np.array([one.mean(), two.mean()]), errors, np.array([5, 8]), 0, np.array([1]))
    assert found.value == pytest.approx(two.mean() - one.mean())
    assert found.p == pytest.approx(stats.ttest_ind(one, two, equal_var=False)[1])


def test_one_against_the_mean_of_others():
    values, errors, runs = np.array([5.0, 1.0, 2.0, 3.0]), np.array([3.0, 9.0, 2.0, 2.0]), np.full(4, 5)
    found = against(values, errors, runs, 0, np.array([2, 3]))
    assert found[:2] == pytest.approx((-2.5, math.sqrt(9 + 4 / 4 + 4 / 4)))
    assert found == contrast(values[[0, 2, 3]], errors[[0, 2, 3]], runs[[0, 2, 3]], np.array([-1, 0.5, 0.5]))
    assert all(math.isnan(each) for each in against(values, errors, runs, 0, np.array([], dtype=int)))


N = 120


def p_of(seed, shared):
    """p of a cell of five runs that share so many draws, against three whose runs share half of them.

    Runs have skills of their own, examples their hardness; the examples and the draws that are shared are those of all cells.
    """
    rng = np.random.default_rng(seed)
    hard, common, luck, other = rng.uniform(0, 2, N), rng.random(N), rng.random(N), rng.integers(1, 4, N)
    cells = []
    for share in (shared, 0.5, 0.5, 0.5):
        lucks = np.where(common < share, luck, rng.random((5, N)))
        others = np.where(common < share, other, rng.integers(1, 4, (5, N)))
        wrong = lucks < rng.uniform(0.1, 0.5, (5, 1)) * hard
        cells.append(disagreement(np.where(wrong, np.arange(N) + others, np.arange(N)) % 4, np.arange(N) % 4))
    values = np.array([each.value.normalised for each in cells])
    errors = np.array([each.normalised_error for each in cells])
    return against(values, errors, np.full(4, 5), 0, np.array([1, 2, 3])).p


def test_disagreements_of_five_runs_are_told_apart_no_more_often_than_p_says_and_often_where_they_differ():
    draws = 400
    alike = np.mean([p_of(seed, shared=0.5) < 0.05 for seed in range(draws)])
    assert alike < 0.05 + 3 * math.sqrt(0.05 * 0.95 / draws)
    assert np.mean([p_of(seed, shared=0.95) < 0.05 for seed in range(100)]) > 0.9
