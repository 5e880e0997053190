"""Forks: several futures of one state."""

import pytest
import torch
from helpers import tiny_config

from interp.recipe import TrainConfig
from interp.train.learner import Learner

KEEPING = {
    "adamw": TrainConfig(lr=1e-2, warmup_steps=0),
    "sgd with momentum": TrainConfig(optimizer="sgd", lr=0.1, weight_decay=0.0, warmup_steps=0),
    "grokfast by a window": TrainConfig(lr=1e-2, warmup_steps=0, grokfast="ma", grokfast_window=3),
    "decay to the initial weights": TrainConfig(lr=1e-2, warmup_steps=0, decay_to="initial"),
}


def copies(tensors):
    return {name: tensor.clone() for name, tensor in tensors.items()}


def equal(found, expected) -> bool:
    """Whether two states are the same bits."""
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)


@pytest.mark.parametrize("how", KEEPING)
def test_two_learners_of_one_state_take_the_same_steps_and_leave_it_and_the_first_alone(how):
    config = tiny_config(train=KEEPING[how])
    first = Learner.make([config], "cpu")
    for step in range(5):
        first.update(step)
    state = first.state(0)
    before, forks = copies(state), [Learner.make([config], "cpu") for _ in range(2)]
    for fork in forks:
        fork.restore(0, state)
    for fork in forks:
        for step in range(5, 15):
            fork.update(step)
    assert not torch.equal(forks[0].state(0)["model/embed.W_E"], before["model/embed.W_E"])
    assert equal(forks[0].state(0), forks[1].state(0))
    assert equal(state, before)
    assert equal(first.state(0), before)
    for step in range(5, 15):  # and the first goes on as its forks went
        first.update(step)
    assert equal(first.state(0), forks[0].state(0))
    assert equal(state, before)
