import numpy as np
import pytest

from interp.maths.toy_losses import best_bias, of_a_pair, phases

DENSITIES = [1.0, 0.7, 0.3, 0.1]
SAMPLES = 2_000_000


def drawn(density):
    numbers = np.random.default_rng(0)
    return np.where(numbers.random((SAMPLES, 2)) < density, numbers.random((SAMPLES, 2)), 0)


def errors(x, W, b, importance):
    """Of each example, written out as in the paper."""
    out = np.maximum(x @ np.outer(W, W) + b, 0)
    return ((x - out) ** 2) @ np.array(importance)


def agrees(samples, expected):
    return abs(samples.mean() - expected) < 5 * samples.std() / SAMPLES**0.5


@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("importance", [(1.0, 1.0), (1.0, 0.2), (1.0, 7.0)])
def test_the_losses_are_those_of_drawn_examples(density, importance):
    x, found, mean, b = drawn(density), phases(density, importance), density / 2, best_bias(density)
    assert agrees(errors(x, (1, 0), (0, mean), importance), found.first)
    assert agrees(errors(x, (0, 1), (mean, 0), importance), found.second)
    assert agrees(errors(x, (1, -1), (b, b), importance), found.both)


@pytest.mark.parametrize("density", DENSITIES)
def test_no_other_bias_is_better(density):
    x, best = drawn(density)[:200_000], best_bias(density)
    losses = {b: errors(x, (1, -1), (b, b), (1, 1)).mean() for b in np.linspace(-0.6, 0.6, 241)}
    assert min(losses, key=lambda b: losses[b]) == pytest.approx(best, abs=0.02)
    # By the formula, which is exact, to the last digits.
    assert all(
        of_a_pair(density, best) <= of_a_pair(density, best + step) for step in (-1e-3, 1e-3) if best + step >= 0
    )


def test_with_b_0_a_pair_costs_a_sixth_of_the_chance_that_both_are_there():
    assert of_a_pair(0.3, 0.0) == pytest.approx(0.3**2 / 6)  # E min(x₁, x₂)² = 1/6


def test_sparse_features_are_stored_as_a_pair_and_dense_ones_one_at_a_time():
    for importance in (0.5, 1.0, 2.0):
        sparse, dense = phases(0.05, (1.0, importance)), phases(1.0, (1.0, importance))
        assert sparse.both == min(sparse)
        assert dense.both != min(dense)
    assert phases(1.0, (1.0, 0.2)).first == min(phases(1.0, (1.0, 0.2)))
    assert phases(1.0, (1.0, 5.0)).second == min(phases(1.0, (1.0, 5.0)))
