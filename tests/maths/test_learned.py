"""interp/maths/learned.py on examples that are learned when they are told to be."""

import numpy as np
import pytest
from scipy.stats import kruskal

from interp.maths.learned import explained, first_in_a_row, for_good, gaps, gaps_by_chance, lapses, quantiles

STEPS = np.array([0, 10, 20, 30, 40])
RIGHT = np.array(
    [
        # always, never, once, from 20, lost again, lost and found
        [1, 0, 0, 0, 1, 1],
        [1, 0, 1, 0, 1, 1],
        [1, 0, 0, 1, 1, 0],
        [1, 0, 0, 1, 0, 1],
        [1, 0, 0, 1, 0, 1],
    ],
    dtype=bool,
)
INF = np.inf


def test_examples_are_learned_where_they_begin_to_be_right_in_a_row():
    assert first_in_a_row(RIGHT, STEPS, 2).tolist() == [0, INF, INF, 20, 0, 0]
    assert first_in_a_row(RIGHT, STEPS, 1).tolist() == [0, INF, 10, 20, 0, 0]
    assert first_in_a_row(RIGHT, STEPS, 3).tolist() == [0, INF, INF, 20, 0, INF]
    assert first_in_a_row(RIGHT, STEPS, 6).tolist() == [INF] * 6


def test_for_good_is_after_the_last_wrong_answer():
    assert for_good(RIGHT, STEPS).tolist() == [0, INF, INF, 20, INF, 30]


def test_lapses_count_from_right_to_wrong_after_learning():
    assert lapses(RIGHT, STEPS, first_in_a_row(RIGHT, STEPS, 2)).tolist() == [0, 0, 0, 0, 1, 1]
    assert lapses(RIGHT, STEPS, first_in_a_row(RIGHT, STEPS, 1)).tolist() == [0, 0, 1, 0, 1, 1]


@pytest.mark.parametrize(
    ("learned", "expected"),
    [
        ([1.0, 2, 3, 4], [1, 2, 3]),
        ([4.0, 1, 3, 2, 5], [2, 3, 4]),
        ([1.0, 2, INF, INF], [1, 2, np.nan]),
        ([INF], [np.nan] * 3),
        ([], [np.nan] * 3),
    ],
)
def test_quartiles_are_steps_by_which_so_many_have_it(learned, expected):
    np.testing.assert_array_equal(quantiles(np.array(learned)), expected)


def test_weights_count_as_often_as_they_say():
    np.testing.assert_array_equal(
        quantiles(np.array([3.0, 1, 2]), np.array([1.0, 4, 3])), quantiles(np.array([1.0, 1, 1, 1, 2, 2, 2, 3]))
    )


def test_groups_that_tell_all_and_nothing():
    learned = np.array([1.0, 1, 2, 2, INF, INF])
    assert explained(learned, np.array([0, 0, 1, 1, 2, 2])) == (pytest.approx(1), 2 / 5)
    assert explained(learned, np.array([0, 1, 0, 1, 0, 1])) == (pytest.approx(0), 1 / 5)
    assert np.isnan(explained(np.ones(4), np.array([0, 0, 1, 1]))).all()


def test_the_share_is_the_statistic_of_kruskal_and_wallis_and_its_mean_at_random():
    rng = np.random.default_rng(0)
    learned, groups = rng.integers(0, 9, 60).astype(float), rng.integers(0, 4, 60)
    share, _ = explained(learned, groups)
    assert share * 59 == pytest.approx(kruskal(*(learned[groups == each] for each in range(4))).statistic)
    shuffled = [explained(learned, rng.permutation(groups)) for _ in range(2000)]
    assert np.mean([each for each, _ in shuffled]) == pytest.approx(shuffled[0][1], abs=0.003)  # 3 of 59; error 0.001


def test_gaps_by_chance_are_those_of_all_pairs():
    one, other = np.array([0.0, 10, 10, 40, INF]), np.array([20.0, 30, INF])
    assert gaps(one[[0, 1, 4]], other).tolist() == [20, 20, INF]
    every = gaps(np.repeat(one, 3), np.tile(other, 5))
    np.testing.assert_array_equal(gaps_by_chance(one, other, same=False), quantiles(every))
    i, j = np.array([(i, j) for i in range(5) for j in range(5) if i != j]).T
    np.testing.assert_array_equal(gaps_by_chance(one, one, same=True), quantiles(gaps(one[i], one[j])))
