import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.base import IGNORED, UserError
from interp.config import RunConfig
from interp.recipe import Seeds, TrainConfig
from interp.tasks import AdditionTask, Corruption, GroupTask, JointTask, ModularTask, RepeatedTask

examples = settings(max_examples=40, deadline=None, derandomize=True)
ELEVEN = ModularTask(p=11, train_fraction=0.5)


def split(wrong=0, share=0.0, task=ELEVEN, **seeds):
    return RunConfig(task=task, corruption=Corruption(labels=wrong, share=share), seeds=Seeds(**seeds)).split()


@examples
@given(labels=st.integers(0, 60), seed=st.integers(0, 99))
def test_so_many_training_labels_are_wrong_and_nothing_else_is_changed(labels, seed):
    clean, corrupted = split(split=seed), split(labels, split=seed, labels=seed + 1)
    assert (corrupted.train.inputs == clean.train.inputs).all()
    assert (corrupted.train_index == clean.train_index).all()
    assert (corrupted.test.targets == clean.test.targets).all()
    assert (corrupted.true_targets == clean.train.targets).all()
    assert (corrupted.train.targets != clean.train.targets).sum() == labels == corrupted.corrupted.sum()


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.1, 6), (0.5, 30), (1.0, 60)])  # the floors of 0, 6, 30, 60
def test_a_share_of_the_training_set_is_rounded_down(share, count):
    assert split(share=share).corrupted.sum() == count


def test_only_their_own_seed_moves_them():
    first, same, other = split(20, labels=3), split(20, labels=3, model=9, order=9, noise=9), split(20, labels=4)
    assert (first.train.targets == same.train.targets).all()
    assert (first.corrupted != other.corrupted).any()
    assert (split(20, labels=3, split=1).corrupted == first.corrupted).all()  # by their place in the training set


def test_fewer_wrong_labels_are_some_of_more():
    few, many = split(10), split(40)
    assert (many.corrupted[few.corrupted]).all()
    assert (many.train.targets[few.corrupted] == few.train.targets[few.corrupted]).all()


def test_every_example_and_every_other_answer_is_equally_likely():
    task = ModularTask(p=5, train_fraction=0.9)  # 22 training examples
    chosen, shift, seeds = np.zeros(22), np.zeros(5), 2000
    for seed in range(seeds):
        found = split(11, task=task, labels=seed)
        chosen += found.corrupted
        shift += np.bincount((found.train.targets - found.true_targets)[found.corrupted] % 5, minlength=5)
    assert shift[0] == 0
    # half of 2,000, standard deviation √(2000/4) = 22; a quarter of 22,000, √(22000·3/16) = 64
    assert (abs(chosen - seeds / 2) < 5 * 22).all()
    assert (abs(shift[1:] - 11 * seeds / 4) < 5 * 64).all()


@pytest.mark.parametrize(
    "task",
    [
        ModularTask(p=7, operation="add_mod_p_minus_1", train_fraction=0.5),  # 6 is no answer
        ModularTask(p=11, operation="x2_y2", answers="tokens", train_fraction=0.5),  # nor are signs
        GroupTask(group="C2", train_fraction=0.75),  # of two answers the other one
        JointTask(operations=("add", "multiply"), p=5, train_fraction=0.5),
    ],
    ids=lambda task: task.about,
)
def test_a_wrong_answer_is_one_that_the_task_can_give(task):
    found = split(share=1.0, task=task)
    assert found.corrupted.all()
    assert set(found.train.targets) <= set(task.table().targets)


def test_an_example_with_several_answers_gets_all_of_them_wrong_each_anew():
    targets = np.random.default_rng(0).integers(2, 9, size=(12_000, 3))
    wrong = Corruption(share=0.25).of_batch(targets, np.arange(2, 9), seed=0, step=5)
    corrupted = (wrong != targets).any(axis=1)
    assert (wrong != targets)[corrupted].all()
    assert set(np.unique(wrong)) == set(range(2, 9))
    assert abs(corrupted.mean() - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 12_000)
    shifts = (wrong - targets)[corrupted] % 7
    assert len({tuple(row) for row in shifts}) == 6**3  # every combination, so they are drawn apart


def test_a_batch_is_drawn_from_seed_and_step_alone():
    targets, answers, corruption = np.arange(100) % 7, np.arange(7), Corruption(share=0.5)
    first, again = (corruption.of_batch(targets, answers, seed=1, step=8) for _ in range(2))
    assert (first == again).all()
    assert (first != corruption.of_batch(targets, answers, seed=1, step=9)).any()
    assert (first != corruption.of_batch(targets, answers, seed=2, step=8)).any()
    assert (Corruption().of_batch(targets, answers, seed=1, step=8) == targets).all()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"labels": 61}, "corruption.labels is 61; the training set has 60 examples, so take at most as many"),
        ({"labels": -1}, "corruption.labels is -1; it should be greater than or equal to 0"),
        ({"share": 1.5}, "corruption.share is 1.5; it should be less than or equal to 1"),
        ({"share": 0.001}, "corruption.share 0.001 of 60 training examples is none; take at least 0.018"),
        ({"labels": 3, "share": 0.1}, "corruption.labels is 3 and corruption.share is 0.1; give one of the two"),
    ],
    ids=str,
)
def test_what_cannot_be_corrupted_is_refused_when_it_is_asked_for(fields, words):
    with pytest.raises(UserError) as error:
        RunConfig(task=ELEVEN, corruption=Corruption(**fields))
    assert str(error.value) == words


def test_a_task_with_one_answer_has_no_wrong_one():
    with pytest.raises(UserError, match="the task has 1 answer, so none is wrong"):
        Corruption(share=0.5).of_batch(np.zeros(9, dtype=int), np.array([0]), seed=0, step=0)


def test_a_number_of_labels_needs_a_training_set():
    with pytest.raises(
        UserError, match=r"corruption.labels is 5, and this task draws new examples .* corruption.share"
    ):
        Corruption(labels=5).of_batch(np.zeros(9, dtype=int), np.arange(3), seed=0, step=0)


@pytest.mark.parametrize(
    "task", [AdditionTask(digits=3, examples=40), RepeatedTask(examples=40)], ids=lambda task: task.kind
)
def test_of_a_sequence_every_answer_that_can_be_known_is_wrong_and_no_other(task):
    found = split(wrong=10, task=task)
    assert found.corrupted.sum() == 10
    trained, true = found.train.targets[found.corrupted], found.true_targets[found.corrupted]
    assert ((trained != true) == (true != IGNORED)).all()
    assert trained[true != IGNORED].min() >= 0
    assert trained.max() < task.shape.outputs.n


def test_a_stream_has_its_share_of_wrong_answers_at_every_step():
    how = TrainConfig(batch_size=64)
    task = AdditionTask(digits=3, examples="endless")
    clean, wrong = (RunConfig(task=task, train=how, corruption=Corruption(share=share)) for share in (0.0, 0.25))
    counts = []
    for step in range(50):
        right, given = clean.fresh(step, 64), wrong.fresh(step, 64)
        assert (right.inputs == given.inputs).all()
        odd = (right.targets != given.targets).any(axis=1)
        assert (right.targets != given.targets)[odd].all()
        counts.append(odd.sum())
    assert sum(counts) / (50 * 64) == pytest.approx(0.25, abs=5 * (0.25 * 0.75 / 3200) ** 0.5)
    assert (wrong.fresh(7, 64).targets == wrong.fresh(7, 64).targets).all()
    with pytest.raises(UserError, match=r"take corruption\.share"):
        RunConfig(task=task, train=how, corruption=Corruption(labels=3))
