import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.tasks import Examples, ModularTask
from interp.tasks.split import split_examples
from interp.testing import check_task

examples = settings(max_examples=40, deadline=None, derandomize=True)
tasks = st.builds(
    ModularTask,
    p=st.sampled_from([5, 7, 11]),
    operation=st.sampled_from(["add", "divide", "random"]),
    train_fraction=st.floats(0.1, 0.9),
)


def rows(part):
    """The prompts with their answers, as a list of tuples."""
    return [(*prompt, answer) for prompt, answer in zip(part.inputs.tolist(), part.targets.tolist(), strict=True)]


@examples
@given(task=tasks, seed=st.integers(0, 99))
def test_no_prompt_is_both_trained_on_and_tested_and_none_is_lost(task, seed):
    split = task.split(seed)
    train, test = set(rows(split.train)), set(rows(split.test))
    assert not train & test
    assert train | test == set(rows(task.table()))
    assert len(split.train) + len(split.test) == len(task.table()) == len(train) + len(test)


@examples
@given(task=tasks)
def test_a_table_is_taken_apart_by_its_seed_alone(task):
    check_task(task)


def test_different_seeds_give_different_splits():
    indices = {tuple(ModularTask(p=7, train_fraction=0.5).split(seed).train_index) for seed in range(20)}
    assert len(indices) == 20


@pytest.mark.parametrize("p, fraction, n_train", [(113, 0.3, 3830), (97, 0.5, 4704), (59, 0.8, 2784), (3, 0.12, 1)])
def test_the_share_to_train_on_is_rounded_down(p, fraction, n_train):
    task = ModularTask(p=p, train_fraction=fraction)  # the floors of 3830.7, 4704.5, 2784.8 and 1.08
    split = task.split(seed=0)
    assert len(split.train) == len(split.train_index) == n_train
    assert len(split.test) == p * p - n_train


def test_every_prompt_is_trained_on_equally_often_over_seeds():
    table = ModularTask(p=5).table()
    chosen = sum(np.bincount(split_examples(table, 0.4, seed).train_index, minlength=25) for seed in range(400))
    # 400 splits take each of 25 prompts 160 times, with standard deviation √(400·0.4·0.6) = 9.8.
    assert (np.abs(chosen - 160) < 5 * 9.8).all()


def test_splitting_leaves_the_table_and_numpys_own_randomness_alone():
    np.random.seed(0)  # noqa: NPY002  the global state is what must not move
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    ModularTask(p=7).split(seed=3)
    assert np.random.random() == expected  # noqa: NPY002


def test_rows_of_examples_are_examples():
    table = Examples(np.array([[1, 2], [3, 4], [5, 6]]), np.array([7, 8, 9]))
    assert len(table) == 3
    assert rows(table[np.array([2, 0])]) == [(5, 6, 9), (1, 2, 7)]
