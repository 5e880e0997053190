"""MLPs on vectors: a teacher's answers, and images; from the task to every analysis that applies."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from helpers import SHORT, StopAt, files
from torch import nn

import interp
from interp import analyze
from interp.base import UserError
from interp.config import RunConfig
from interp.models import MlpSpec, ToySpec, TransformerSpec
from interp.models.network import initial_weights, load, over
from interp.recipe import Seeds, TrainConfig
from interp.tasks import Corruption, ImagesTask, TeacherTask
from interp.tasks.images import SETS
from interp.train.learner import Learner
from interp.train.loop import Interrupted, train

MODEL = MlpSpec(inputs="vectors", width=12, n_hidden=2, act_fn="tanh", biases=True, init="linear")
HOW = TrainConfig(steps=20, log_every=5, checkpoint_every=10, lr=1e-2)
TASKS = {"teacher": TeacherTask(examples=30, test_examples=20, teacher_width=9), "images": ImagesTask(examples=60)}


def config_of(kind, **parts):
    return RunConfig(**{"name": kind, "task": TASKS[kind], "model": MODEL, "train": HOW, **parts})


# The tasks


def test_a_student_with_the_teachers_weights_answers_as_the_teacher():
    task = TASKS["teacher"].but(teacher_seed=3)
    numbers, widths = np.random.default_rng(3), [5, 9, 9, 5]
    weights: dict[str, Any] = {}
    for layer, (before, after) in enumerate(pairwise(widths)):
        bound = 1 / math.sqrt(before)
        names = ("unembed.W_U", "unembed.b_U") if layer == 2 else (f"layers.{layer}.W", f"layers.{layer}.b")
        for name, size in zip(names, ((before, after), (after,)), strict=True):
            weights[name] = torch.from_numpy(numbers.uniform(-bound, bound, size))
    train = task.split(0).train
    forward = over(MODEL.but(width=9), task.shape, torch.from_numpy(train.inputs).double(), "float64")
    np.testing.assert_allclose(forward(weights).numpy(), train.targets, rtol=1e-5, atol=1e-6)


def test_seeds_of_teacher_and_inputs_are_apart():
    task = TASKS["teacher"]
    one, other, taught = task.split(0), task.split(1), task.but(teacher_seed=1).split(0)
    assert not np.allclose(one.train.inputs, other.train.inputs)
    np.testing.assert_array_equal(one.train.inputs, taught.train.inputs)
    assert not np.allclose(one.train.targets, taught.train.targets)
    endless = task.but(examples="endless").fresh(5, 7, seed=0)
    np.testing.assert_allclose(endless.targets, task.answers(endless.inputs.astype(float)), rtol=1e-4, atol=1e-5)


def test_every_image_is_trained_or_tested_on():
    splits, table = [ImagesTask(examples=500).split(seed) for seed in (0, 1)], ImagesTask().table().inputs
    for split in splits:
        assert (len(split.train), len(split.test)) == (500, SETS["digits"].n - 500)
        both = np.concatenate([split.train.inputs, split.test.inputs])
        assert sorted(map(bytes, both)) == sorted(map(bytes, table))
        assert set(split.train.targets) == set(range(10))
        np.testing.assert_array_equal(table[split.train_index], split.train.inputs)
    assert not np.array_equal(splits[0].train_index, splits[1].train_index)
    assert table.min() == 0 and table.max() == 1 and table.dtype == np.float32


# The network


@pytest.mark.parametrize("kind, act_fn, plain", [("teacher", "tanh", nn.Tanh), ("images", "relu", nn.ReLU)])
def test_the_network_is_torchs_own_layers(kind, act_fn, plain):
    shape, spec = TASKS[kind].shape, MODEL.but(act_fn=act_fn)
    weights = initial_weights(spec, shape, 0)
    layers = nn.Sequential(
        nn.Linear(shape.vectors.width, 12), plain(), nn.Linear(12, 12), plain(), nn.Linear(12, shape.outputs.n)
    )
    of_layers: dict[str, torch.Tensor] = {}
    for place in (0, 2, 4):
        names = ("unembed.W_U", "unembed.b_U") if place == 4 else (f"layers.{place // 2}.W", f"layers.{place // 2}.b")
        of_layers |= {f"{place}.weight": weights[names[0]].T, f"{place}.bias": weights[names[1]]}
    layers.load_state_dict(of_layers)
    inputs = torch.from_numpy(TASKS[kind].split(0).test.inputs)
    torch.testing.assert_close(over(spec, shape, inputs)(weights), layers(inputs).detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(load(spec, shape, weights)(inputs), layers(inputs), rtol=1e-4, atol=1e-5)


def test_initial_weights_are_as_nn_linear_draws_them():
    shape = TASKS["images"].shape
    weights = initial_weights(MODEL.but(width=300), shape, 0)
    for name, tensor in weights.items():
        fan_in = 64 if name.startswith("layers.0") else 300
        assert tensor.abs().max() <= 1 / math.sqrt(fan_in)
        if tensor.ndim > 1:  # of a bias there are few
            assert tensor.std().item() == pytest.approx(nn.Linear(fan_in, 2000).weight.std().item(), rel=0.03)
    large = initial_weights(MODEL.but(width=300, init_scale=8.0), shape, 0)
    for name, tensor in weights.items():
        torch.testing.assert_close(large[name], 8 * tensor)


# Runs


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("how", [{}, {"batch_size": 16, "precision": "float64"}], ids=str)
def test_a_run_that_was_stopped_ends_as_one_that_was_not(kind, how, tmp_path):
    config = config_of(kind, train=HOW.but(**how))
    whole = train(config, tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(config, tmp_path / "stopped", watcher=StopAt(7))
    assert files(train(config, tmp_path / "stopped", resume=True)) == files(whole)


@pytest.mark.parametrize("kind", TASKS)
def test_runs_side_by_side_take_the_steps_that_they_take_alone(kind):
    configs = [
        config_of(kind, task=TASKS[kind].but(examples=examples), seeds=Seeds(model=seed, split=seed))
        for seed, examples in enumerate([40, 60])
    ]
    together, alone = Learner.make(configs, "cpu"), [Learner.make([config], "cpu") for config in configs]
    for step in range(10):
        for one in (together, *alone):
            one.update(step)
    for run, one in enumerate(alone):
        assert together.rows(10)[run] == pytest.approx(one.rows(10)[0], rel=1e-3, nan_ok=True)
        for name, expected in one.parameters(0).items():
            torch.testing.assert_close(together.parameters(run)[name], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", TASKS)
def test_every_analysis_that_applies_measures_and_draws(kind, tmp_path):
    run = interp.open_run(train(config_of(kind), tmp_path / "run").path)
    assert {"curves", "norms"} <= set(run.applies.fitting)
    for name in run.applies.fitting:
        found = run.measure(name, **SHORT.get(name, {}))
        assert analyze.draw(found) is not None, name
        assert len(interp.summarise(found)), name


def test_wrong_labels_of_images_are_told_apart():
    split = config_of("images", corruption=Corruption(labels=20)).split()
    assert split.corrupted.sum() == 20
    assert (split.train.targets != split.true_targets).sum() == 20


@pytest.mark.parametrize(
    "kind, model, sentence",
    [
        ("teacher", MlpSpec(), 'model.inputs is "one_hot"; take "vectors"'),
        ("teacher", TransformerSpec(), "a toy model or an MLP"),
        ("images", ToySpec(d_hidden=2), 'take model.kind "mlp"'),
    ],
)
def test_a_model_of_another_kind_of_input_is_refused(kind, model, sentence):
    with pytest.raises(UserError, match=sentence):
        config_of(kind, model=model)


def test_vectors_are_not_for_tokens():
    with pytest.raises(UserError, match="examples are tokens"):
        RunConfig(model=MODEL)
