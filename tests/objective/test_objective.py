"""interp/objective: what is minimised and what is logged, whatever the task and the model."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from interp.base import IGNORED
from interp.config import RunConfig
from interp.maths.losses import cross_entropy, one_hot_error
from interp.models.network import Forward, initial_weights
from interp.objective import evaluate, in_parts, objective
from interp.objective.classes import Answers, served
from interp.recipe import TrainConfig
from interp.tasks import AdditionTask, ModularTask, RepeatedTask, SkipTrigramTask

TASKS = [
    AdditionTask(digits=2, examples=30, test_examples=20),
    RepeatedTask(vocabulary=7, length=9, subsequence=3, examples=30, test_examples=20),
    SkipTrigramTask(keys=3, fillers=4, length=6, examples=30, test_examples=20),
]


@dataclass(frozen=True)
class Fixed(Forward):
    """A network that answers the same whatever its weights."""

    outputs: torch.Tensor

    def __call__(self, weights, factors=None):
        return self.outputs


def drawn(task, seed=0):
    """Targets of two runs, and outputs for them."""
    targets = torch.from_numpy(np.stack([task.split(seed).train.targets for seed in (0, 1)]))
    generator = torch.Generator().manual_seed(seed)
    return targets, torch.randn(*targets.shape, task.shape.outputs.n, generator=generator)


@pytest.mark.parametrize("task", [*TASKS, ModularTask(p=7, train_fraction=0.5)], ids=lambda task: task.kind)
def test_loss_and_accuracy_are_means_over_all_answers_that_there_are(task):
    targets, logits = drawn(task)
    loss, accuracy = Answers(targets, Fixed(logits), TrainConfig()).logged({})
    for run in range(2):
        known = targets[run] != IGNORED
        each = logits[run].double().log_softmax(dim=-1)[known].gather(-1, targets[run][known][:, None])
        torch.testing.assert_close(loss[run], -each.mean())
        assert accuracy[run] == (logits[run].argmax(dim=-1) == targets[run])[known].double().mean()


def test_the_squared_error_is_the_distance_from_the_right_answers_one_hot_vector():
    task = ModularTask(p=7, train_fraction=0.5)
    targets, outputs = drawn(task)
    target = torch.nn.functional.one_hot(targets, 7).double()
    expected = (outputs.double() - target).square().sum(dim=-1).mean(dim=-1)
    over = {reduction: TrainConfig(loss="squared_error", loss_reduction=reduction) for reduction in ("sum", "mean")}
    torch.testing.assert_close(Answers(targets, Fixed(outputs), over["sum"]).minimised({}), expected)
    torch.testing.assert_close(Answers(targets, Fixed(outputs), over["mean"]).minimised({}), expected / 7)
    for train in over.values():  # the history has the sum
        torch.testing.assert_close(Answers(targets, Fixed(outputs), train).logged({})[0], expected)


def test_an_answer_that_is_not_known_has_no_squared_error():
    targets, outputs = torch.tensor([[1, IGNORED]]), torch.tensor([[[0.0, 1.0, 0.0], [9.0, 9.0, 9.0]]])
    assert one_hot_error(outputs, targets).tolist() == [0.0]


def test_the_parts_of_a_set_give_the_mean_over_all_of_it(monkeypatch):
    config = RunConfig(task=ModularTask(p=7, train_fraction=0.5))
    monkeypatch.setattr("interp.objective.runs.CHUNK", 10)
    examples, stack = [config.split().train], initial_weights(config.model, config.task.shape, 0)
    weights = {name: tensor[None] for name, tensor in stack.items()}
    parts = in_parts(examples, [config], "cpu")
    assert len(parts) == 3
    loss, accuracy = objective(examples, [config], "cpu").logged(weights)[:, 0].tolist()
    (part_loss,), (part_accuracy,) = evaluate(parts, weights)
    assert (part_loss, part_accuracy) == (pytest.approx(loss), accuracy)


@pytest.mark.parametrize("runs, found", [("a", 1), ("ab", 1), ("aba", 1), ("aaaa", 4), ("aabbbb", 2), ("aaabb", 1)])
def test_neighbours_that_share_examples_are_counted_off(runs, found):
    sets = {name: TASKS[0].split(seed).train for seed, name in enumerate("ab")}
    assert served([sets[name] for name in runs]) == found


def test_a_softmax_is_minimised_as_it_is_logged():
    config = RunConfig(task=ModularTask(p=7, train_fraction=0.5))
    weights = {n: w[None] for n, w in initial_weights(config.model, config.task.shape, 0).items()}
    whole = objective([config.split().train], [config], "cpu")
    assert whole.minimised(weights) == whole.logged(weights)[0]
    targets = torch.from_numpy(config.split().train.targets)[None]
    assert whole.logged(weights)[0] == cross_entropy(whole.forward(weights), targets)
