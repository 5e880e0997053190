"""Sparse features: what is drawn has the distribution that was asked for."""

import numpy as np
import pytest
import torch

from interp.base import UserError
from interp.maths.losses import squared_error
from interp.tasks import SparseFeaturesTask

MANY = {"n_features": 12, "sparsity": 0.75, "examples": 40_000, "test_examples": 1}
"""Over 480,000 numbers a share near 1/4 is known to 0.0006."""


def drawn(**fields) -> np.ndarray:
    return SparseFeaturesTask(**{**MANY, **fields}).split(0).train.inputs


def test_a_feature_is_there_with_the_chance_of_the_density_and_uniform_then():
    x = drawn()
    assert (x > 0).mean() == pytest.approx(0.25, abs=0.003)
    np.testing.assert_allclose(np.quantile(x[x > 0], [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.01)
    there = x > 0
    assert (there[:, 0] & there[:, 1]).mean() == pytest.approx(1 / 16, abs=0.006)  # independent


def test_sets_come_together_or_apart():
    there = drawn(sets="together", set_size=3) > 0
    for first in range(0, 12, 3):
        assert (there[:, first] == there[:, first + 1]).all()
        assert (there[:, first] == there[:, first + 2]).all()
    assert there.mean() == pytest.approx(0.25, abs=0.006)
    apart = drawn(sets="apart", set_size=3) > 0
    assert apart.reshape(-1, 4, 3).sum(axis=2).max() == 1
    assert apart.mean() == pytest.approx(0.25, abs=0.006)


def test_normalised_vectors_have_length_1_unless_they_are_0():
    lengths = np.linalg.norm(drawn(normalised=True), axis=1)
    np.testing.assert_allclose(lengths[lengths > 0], 1, rtol=1e-6)
    assert (lengths == 0).mean() == pytest.approx(0.75**12, abs=0.003)


def test_the_loss_of_zero_is_that_of_answering_zero():

    task = SparseFeaturesTask(**MANY, importance=(0.7,))
    x = task.split(0).train.inputs
    loss = squared_error(torch.zeros(x.shape), torch.from_numpy(x), torch.from_numpy(task.importances))
    assert float(loss) == pytest.approx(task.of_zero(x), rel=1e-6)
    # E Σ I x² = Σ 0.7^i · density/3
    assert task.of_zero(x) == pytest.approx(sum(0.7**i for i in range(12)) * 0.25 / 3, rel=0.02)
    assert SparseFeaturesTask(n_features=30, normalised=True, sparsity=0.5).of_zero(np.eye(30)) == 1


def test_repeated_examples_stand_there_as_often_as_asked():
    task = SparseFeaturesTask(n_features=20, sparsity=0.5, examples=10, repeated=2, copies=4, test_examples=5)
    x = task.split(0).train.inputs
    assert len(x) == task.n_train == 16
    rows, counts = np.unique(x, axis=0, return_counts=True)
    assert sorted(counts) == [1] * 8 + [4] * 2
    assert len(rows) == 10
    assert len(task.split(0).test) == 5


def test_a_stream_depends_on_seed_and_step_alone():
    task = SparseFeaturesTask(n_features=20, examples="endless")
    first = task.fresh(3, 8, seed=1).inputs
    np.testing.assert_array_equal(first, task.fresh(3, 8, seed=1).inputs)
    assert not np.array_equal(first, task.fresh(4, 8, seed=1).inputs)
    assert not np.array_equal(first, task.fresh(3, 8, seed=2).inputs)


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"sparsity": 1}, "task.sparsity is 1; it should be less than 1"),
        ({"sparsity": -0.1}, "task.sparsity is -0.1; it should be greater than or equal to 0"),
        ({"examples": 0}, 'task.examples is 0; take a number from 1 to 1,000,000, or "endless"'),
        ({"n_features": 5, "importance": (1, 2, 3)}, "task.importance has 3 numbers and task.n_features is 5"),
        ({"importance": (-1.0,)}, "task.importance is (-1.0,); it should have no number below 0"),
        ({"n_features": 5, "sets": "together"}, "which sets of 2 do not divide"),
        ({"n_features": 6, "sets": "apart", "sparsity": 0.2}, "take task.sparsity at least 0.5"),
        ({"repeated": 1}, "give both, such as 1 and 5"),
        ({"examples": "endless", "repeated": 1, "copies": 2}, "take a number of examples"),
        ({"n_features": 1_000_000, "examples": 100_000}, "take fewer"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_a_sentence(fields, words):
    with pytest.raises(UserError) as error:
        SparseFeaturesTask(**fields)
    assert words in str(error.value)
