"""interp/tasks/: tasks of sequences, drawn from a set or from an endless stream."""

import numpy as np
import pytest
import torch
from helpers import needs_published, published
from hypothesis import given
from hypothesis import strategies as st
from networks import examples

from interp.base import IGNORED, DoesNotApply, UserError
from interp.config import RunConfig
from interp.maths.losses import accuracy, cross_entropy
from interp.models import TransformerSpec
from interp.models.transformer.dense import DenseForward
from interp.recipe import TrainConfig
from interp.store.foreign import read_foreign
from interp.tasks import AdditionTask, RepeatedTask, SkipTrigramTask
from interp.testing import check_task

TASKS = [
    AdditionTask(digits=2, examples=30, test_examples=20),
    RepeatedTask(vocabulary=5, length=9, subsequence=2, examples=30, test_examples=20),
    SkipTrigramTask(keys=3, fillers=4, length=5, examples=30, test_examples=20),
]
each_task = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.kind)


def number(digits):
    """What the digits of each row write."""
    return digits @ 10 ** np.arange(digits.shape[1] - 1, -1, -1)


@examples
@given(digits=st.integers(1, 18), seed=st.integers(0, 99))
def test_the_answers_are_the_digits_of_the_sum_and_stand_in_the_prompt_behind_where_they_are_read(digits, seed):
    task = AdditionTask(digits=digits, examples="endless", test_examples=30)
    found = task.fresh(0, 30, seed)
    a, plus, b, equals, total = np.split(found.inputs, [digits, digits + 1, 2 * digits + 1, 2 * digits + 2], axis=1)
    assert (number(a) + number(b) == number(total)).all()
    assert (plus == 10).all()
    assert (equals == 11).all()
    assert (found.targets == found.inputs[:, np.array(task.shape.classes.positions) + 1]).all()
    assert task.shape.classes.positions[-1] + 2 == task.shape.tokens.n_ctx == 3 * digits + 3
    assert len(task.answer_names()) == digits + 1


@examples
@given(data=st.data(), seed=st.integers(0, 99))
def test_an_answer_of_a_repetition_is_what_followed_at_the_occurrence_before(data, seed):
    subsequence, times, spare = data.draw(st.integers(2, 5)), data.draw(st.integers(2, 4)), data.draw(st.integers(0, 5))
    task = RepeatedTask(
        vocabulary=50, subsequence=subsequence, times=times, length=max(4, times * subsequence + spare), examples="endless"
    )  # fmt: skip
    found, first = task.fresh(0, 20, seed), task.subsequence + 1
    for tokens, targets in zip(found.inputs, found.targets, strict=True):
        places = first + np.flatnonzero(targets != IGNORED)
        assert len(places) == (times - 1) * (subsequence - 1)
        assert (targets[places - first] == tokens[places]).all()
        begins = places[:: subsequence - 1] - 1
        pattern = [tuple(tokens[begin : begin + subsequence]) for begin in begins]
        assert len(set(pattern)) == 1
        earlier = [tuple(tokens[i : i + subsequence]) for i in range(begins[0] - subsequence + 1)]
        assert pattern[0] in earlier


def test_a_repetition_stands_at_every_place():
    task = RepeatedTask(vocabulary=9, length=8, subsequence=2, times=3, examples="endless", test_examples=10)
    known = task.fresh(0, 20_000, 0).targets != IGNORED
    # Of 2 spare tokens and 3 occurrences there are 10 orders; the second occurrence begins at 2, 3, 4 in 3, 4, 3 of them,
    # the third at 4, 5, 6 in 1, 3, 6.
    assert known.mean(axis=0) == pytest.approx([0.3, 0.4, 0.3 + 0.1, 0.3, 0.6], abs=0.015)


@examples
@given(keys=st.integers(2, 6), fillers=st.integers(1, 6), length=st.integers(5, 9), seed=st.integers(0, 99))
def test_a_skip_trigram_is_answered_by_its_only_key(keys, fillers, length, seed):
    task = SkipTrigramTask(keys=keys, fillers=fillers, length=length, examples="endless", test_examples=1)
    found = task.fresh(0, 50, seed)
    is_key = found.inputs < keys
    assert (is_key.sum(axis=1) == 1).all()
    assert (found.inputs[is_key] == found.targets).all()
    assert (found.inputs[:, -1] == task.shape.tokens.d_vocab - 1).all()
    assert found.inputs[:, :-1].max() < task.shape.tokens.d_vocab - 1


@each_task
def test_no_sequence_is_drawn_twice_for_training_and_test(task):
    split = task.split(3)
    assert (len(split.train), len(split.test)) == (30, 20)
    assert len(np.unique(np.concatenate([split.train.inputs, split.test.inputs]), axis=0)) == 50


def test_every_sequence_there_is_can_be_had():
    task = AdditionTask(digits=1, examples=60, test_examples=40)
    split = task.split(0)
    sums = np.concatenate([split.train.inputs, split.test.inputs])
    assert sorted(map(tuple, sums[:, [0, 2]])) == [(a, b) for a in range(10) for b in range(10)]


@each_task
def test_a_split_is_drawn_from_its_seed(task):
    check_task(task)
    first, other = task.split(0), task.split(1)
    assert (first.train.inputs != other.train.inputs).any()


@each_task
def test_an_endless_stream_is_new_at_every_step_and_drawn_from_its_seed(task):
    task = task.but(examples="endless")
    inputs = [task.fresh(step, 16, seed).inputs for step, seed in ((0, 0), (1, 0), (0, 1))]
    check_task(task)
    assert not (inputs[0] == inputs[2]).all()
    assert len(task.split(0).train) == len(task.split(0).test) == task.n_train == 20


@pytest.mark.parametrize(
    "kind, fields, sentence",
    [
        (AdditionTask, {"digits": 0}, "task.digits is 0; it should be greater than or equal to 1"),
        (AdditionTask, {"examples": 0}, 'task.examples is 0; take a number from 1 to 1,000,000, or "endless"'),
        (
            AdditionTask,
            {"digits": 1, "examples": 60, "test_examples": 41},
            "101 different sequences to train and to test on are more than the 100 that there are; take fewer "
            "task.examples or task.test_examples",
        ),
        (AdditionTask, {"digits": 1, "examples": "endless", "test_examples": 51}, "102 different sequences"),
        (
            RepeatedTask,
            {"length": 40},
            "task.length 40 has no room for task.subsequence 16 task.times 3; take a length of at least 48",
        ),
        (
            SkipTrigramTask,
            {"fillers": 1, "length": 3},
            "1,512 different sequences to train and to test on are more than",
        ),
    ],
)
def test_an_impossible_size_is_a_sentence(kind, fields, sentence):
    with pytest.raises(UserError) as refused:
        kind(**fields)
    assert sentence in str(refused.value)


def test_what_cannot_be_learned_is_refused():
    with pytest.raises(
        UserError, match=r'task\.examples is "endless" and train.batch_size "full"; give train\.batch_size a'
    ):
        RunConfig(task=AdditionTask(examples="endless"))
    with pytest.raises(UserError, match='has its answers in the sequence, where they would be seen; take "causal"'):
        RunConfig(task=AdditionTask(), model=TransformerSpec(attention="bidirectional"))
    RunConfig(task=SkipTrigramTask(), model=TransformerSpec(attention="bidirectional"))
    RunConfig(task=AdditionTask(examples="endless"), train=TrainConfig(batch_size=64))


@each_task
def test_a_task_of_sequences_has_no_table(task):
    with pytest.raises(DoesNotApply, match=f'task "{task.kind}" draws its examples and has no table'):
        task.table()


@needs_published
def test_published_weights_of_5_digit_addition_answer_the_task():
    (foreign,) = read_foreign(published("progress-measures/5_digit_addition_infinite.pth"), {})
    task, weights = AdditionTask(examples="endless"), foreign.checkpoints[max(foreign.checkpoints)]()
    last = task.shape.outputs.but(positions=(-1,))
    assert task.shape.but(outputs=last) == foreign.config.task.shape
    test = task.split(0).test
    assert isinstance(foreign.config.model, TransformerSpec)
    logits = DenseForward(foreign.config.model, torch.from_numpy(test.inputs), task.shape.classes.positions)(weights)
    logits, targets = logits.flatten(0, 1), torch.from_numpy(test.targets).flatten()
    assert accuracy(logits, targets) > 0.99
    # The mean over the last losses that they logged, of 64 sums each.
    assert float(cross_entropy(logits, targets)) == pytest.approx(foreign.rows[-1]["train_loss"], rel=1)
