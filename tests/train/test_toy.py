"""Toy models in the one trainer: the steps of a plain loop, alone, side by side, and across a stop."""

import numpy as np
import pytest
import torch

import interp
from interp.base import UserError
from interp.config import RunConfig
from interp.maths.losses import squared_error
from interp.models import ToySpec
from interp.models.network import initial_weights
from interp.objective.values import Vectors
from interp.recipe import Seeds, TrainConfig
from interp.store import RunWriter
from interp.tasks import ModularTask, SparseFeaturesTask
from interp.train.learner import Learner, together
from interp.train.loop import train, train_many

TASK = SparseFeaturesTask(n_features=300, sparsity=0.97, normalised=True, examples=700, test_examples=50)
"""210,000 numbers: enough for the closed form."""
HOW = TrainConfig(
    steps=30,
    weight_decay=0.01,
    betas=(0.9, 0.999),
    warmup_steps=5,
    schedule="cosine",
    log_every=10,
    checkpoint_every=10,
)


def config(**changes) -> RunConfig:
    return RunConfig(**{"name": "toy", "task": TASK, "model": ToySpec(d_hidden=2), "train": HOW, **changes})


def plain_loop(config: RunConfig) -> dict[str, torch.Tensor]:
    """The same run as it is written in a notebook, in torch alone."""
    x = torch.from_numpy(config.split().train.inputs)
    weights = {
        k: v.requires_grad_() for k, v in initial_weights(config.model, config.task.shape, config.seeds.model).items()
    }
    how = config.train
    optimiser = torch.optim.AdamW(
        weights.values(), lr=how.lr, betas=how.betas, eps=how.eps, weight_decay=how.weight_decay
    )
    rates = [min(step / 5, (1 + np.cos(np.pi * (step - 5) / 25)) / 2 if step >= 5 else 1) for step in range(how.steps)]
    for rate in rates:
        optimiser.param_groups[0]["lr"] = how.lr * rate
        optimiser.zero_grad()
        out = torch.relu(x @ weights["W"].T @ weights["W"] + weights["b"])
        errors = (x - out) ** 2
        (errors.sum(1).mean() if how.loss_reduction == "sum" else errors.mean()).backward()
        optimiser.step()
    return {name: tensor.detach() for name, tensor in weights.items()}


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("examples", [700, 20])  # in closed form, and by autograd
def test_training_is_the_plain_loop(tmp_path, reduction, examples):
    chosen = config(task=TASK.but(examples=examples), train=HOW.but(loss_reduction=reduction, eps=1e-4))
    run, expected = train(chosen, tmp_path / "run"), plain_loop(chosen)
    for name, tensor in run.final.weights.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-4, atol=1e-6)
    # The history has the sum, whatever is minimised.
    outputs = run.final.model(torch.from_numpy(run.split.test.inputs))
    loss = squared_error(outputs, torch.from_numpy(run.split.test.inputs), torch.from_numpy(run.task.importances))
    assert run.final.metrics["test_loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert np.isnan(run.final.metrics["test_accuracy"])


def test_large_sets_take_the_closed_form_and_small_ones_autograd():
    large, small = (Learner.make([config(task=TASK.but(examples=n))], "cpu").whole for n in (700, 20))
    assert isinstance(large, Vectors) and isinstance(small, Vectors)
    assert large.closed is not None
    assert small.closed is None


def test_runs_side_by_side_take_the_steps_that_they_take_alone(tmp_path):
    each = [
        config(task=TASK.but(examples=n, sparsity=s), seeds=Seeds(split=seed, model=seed))
        for n, s, seed in ((700, 0.97, 0), (600, 0.95, 1), (520, 0.97, 2))
    ]
    assert len({together(one) for one in each}) == 1  # filled up to the largest, none doubled
    beside = train_many(each, [tmp_path / f"beside{i}" for i in range(3)])
    for i, one in enumerate(each):
        alone = train(one, tmp_path / f"alone{i}")
        for name, tensor in alone.final.weights.items():
            torch.testing.assert_close(beside[i].final.weights[name], tensor, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(beside[i].history["test_loss"], alone.history["test_loss"], rtol=1e-5)


@pytest.mark.parametrize("examples, batch_size", [(700, "full"), ("endless", 32), (100, 32)])
def test_a_run_that_stopped_ends_as_one_that_did_not(tmp_path, examples, batch_size):
    chosen = config(task=TASK.but(examples=examples), train=HOW.but(batch_size=batch_size, schedule="constant"))
    whole = train(chosen, tmp_path / "whole")
    train(chosen.but(train=chosen.train.but(steps=13)), tmp_path / "part")
    train(chosen, tmp_path / "part", resume=True)
    for name in whole.tensor_shapes:
        assert torch.equal(interp.open_run(tmp_path / "part").final.weights[name], whole.final.weights[name])


def test_a_frozen_bias_stays_0_and_an_untied_model_learns_both_ways(tmp_path):
    run = train(config(model=ToySpec(d_hidden=2, bias=False, tied=False, hidden="solu_ln")), tmp_path / "run")
    assert not run.final.weights["b"].any()
    for name in ("W", "W_out", "ln.w"):
        assert not torch.equal(run.final.weights[name], run.at(0).weights[name])


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"model": ToySpec(d_hidden=300)}, "model.d_hidden is 300 and task.n_features 300; take fewer hidden numbers"),
        ({"task": ModularTask()}, "a toy model is for sparse features"),
        ({"model": interp.preset("quick").config.model}, "those are for a toy model"),
        ({"train": HOW.but(dropout=0.1)}, "train.dropout is 0.1; it is for tokens"),
        ({"train": HOW.but(loss="stablemax")}, "train.loss is 'stablemax'; it is for tokens"),
        ({"task": TASK.but(examples="endless")}, 'task.examples is "endless" and train.batch_size "full"'),
    ],
)
def test_what_does_not_fit_together_is_refused_in_a_sentence(changes, words):
    with pytest.raises(UserError) as error:
        config(**changes)
    assert words in str(error.value)


def test_reduction_is_for_vectors():
    with pytest.raises(UserError, match="loss_reduction is"):
        interp.preset("quick").config.but(train=interp.preset("quick").config.train.but(loss_reduction="mean"))


def test_a_run_that_is_there_keeps_its_reduction(tmp_path):
    train(config(), tmp_path / "run")
    with (
        pytest.raises(UserError, match="loss_reduction"),
        RunWriter(tmp_path / "run", config(train=HOW.but(loss_reduction="mean")), resume=True),
    ):
        pass
