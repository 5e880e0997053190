"""Null twins: the recipe of a run where nothing can be generalised."""

import numpy as np
import pytest
from helpers import tiny_config

import interp
from interp.base import UserError
from interp.cli import train as command
from interp.store import open_run
from interp.tasks import Corruption


def test_every_training_label_of_the_twin_is_wrong_and_all_else_is_as_it_was():
    config = tiny_config()
    twin = interp.null_twin(config)
    ours, theirs = config.split(), twin.split()
    np.testing.assert_array_equal(ours.train.inputs, theirs.train.inputs)
    assert (ours.train.targets != theirs.train.targets).all()
    np.testing.assert_array_equal(ours.test.targets, theirs.test.targets)
    assert twin.but(name=config.name, corruption=Corruption()) == config


def test_random_answers_are_as_likely_as_any_other():
    config = interp.preset("quick").config
    table = interp.null_twin(config, "answers").task.table()
    np.testing.assert_array_equal(table.inputs, config.task.table().inputs)
    p = 53
    right = (table.targets == config.task.table().targets).mean()
    assert abs(right - 1 / p) < 4 * np.sqrt(1 / p * (1 - 1 / p) / p**2)
    counts = np.bincount(table.targets, minlength=p)
    assert ((counts - p) ** 2 / p).sum() < 52 + 4 * np.sqrt(2 * 52)  # χ² of 52 degrees of freedom


@pytest.mark.parametrize(
    ("preset", "null", "says"),
    [
        ("toy-superposition", "labels", "no right answers"),
        ("s5", "answers", 'take null "labels"'),
    ],
)
def test_a_task_without_a_twin_says_so(preset, null, says):
    with pytest.raises(UserError, match=says):
        interp.null_twin(interp.preset(preset).config, null)


def test_the_command_trains_the_twin_beside_its_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sizes = {
        "train.steps": 4,
        "train.warmup-steps": 0,
        "task.p": 7,
        "model.d-model": 8,
        "model.d-head": 4,
        "model.n-heads": 2,
        "model.d-mlp": 8,
    }
    small = [word for name, value in sizes.items() for word in (f"--{name}", str(value))]
    assert command.main(["quick", *small, "--null", "labels"]) == 0
    twin = open_run(tmp_path / "checkpoints" / "quick-null-labels")
    assert twin.config.corruption.share == 1
    assert twin.config.name == "quick+null"
    assert command.main(["quick", *small, "--null", "answers", "--out", "elsewhere"]) == 0
    assert open_run(tmp_path / "elsewhere").config.model_dump()["task"]["operation"] == "random"


def test_the_untrained_twin_is_the_initial_weights_of_its_run(tmp_path):
    config = tiny_config()
    trained = interp.train_run(config, tmp_path / "trained")
    untrained = interp.train_run(interp.null_twin(config, "init"), tmp_path / "untrained")
    assert untrained.steps == (0,)
    for name, first in trained.first.weights.items():
        assert (untrained.final.weights[name] == first).all()
    assert interp.null_twin(interp.preset("toy-superposition").config, "init").train.steps == 0
