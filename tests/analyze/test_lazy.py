"""The tangent kernel against explicit Jacobians, and linearisations that are exact or known in closed form."""

from typing import Any

import numpy as np
import pytest
import torch
from helpers import tiny_config
from torch.func import functional_call, jacrev

from interp import analyze
from interp.analyze.landscape.lazy import Options, Tangent
from interp.base import UserError
from interp.models import MlpSpec, ToySpec, TransformerSpec
from interp.models.network import initial_weights
from interp.store import RunWriter, open_run
from interp.tasks import ModularTask, RepeatedTask, SparseFeaturesTask, TeacherTask
from interp.views.halves import Halves

SMALL: dict[str, Any] = {"n_heads": 2, "d_model": 16, "d_head": 8, "d_mlp": 24}


@pytest.fixture
def of_model(tmp_path):
    """A run whose checkpoints are initial weights, and these changed."""

    def of_model(model, task, *changes):
        config = tiny_config(task=task, model=model)
        with RunWriter(tmp_path / "run", config) as writer:
            for step, change in enumerate((dict, *changes)):
                writer.checkpoint(step, change(initial_weights(model, task.shape, seed=0)))
        return open_run(tmp_path / "run")

    return of_model


def shifted(*names, by=0.3, seed=5):
    """A change of some tensors by random numbers."""

    def change(weights):
        generator = torch.Generator().manual_seed(seed)
        return weights | {
            name: weights[name] + by * torch.randn(weights[name].shape, generator=generator) for name in names
        }

    return change


def jacobian(run, step, inputs):
    """∂outputs/∂weights that learn, [n, output, weight], through the hooked network."""
    network, positions = run.at(step).model, list(run.task.shape.classes.positions)
    weights = {name: w.detach() for name, w in network.named_parameters()}

    def outputs(moved):
        return functional_call(network, {**weights, **moved}, (inputs,))[:, positions].flatten(0, 1)

    learned = {name: weights[name] for name in run.config.model.learned(run.task.shape)}
    return torch.cat([each.flatten(2) for each in jacrev(outputs)(learned).values()], dim=2).double()


def exact(J):
    """The centred tangent kernel."""
    J = J - J.mean(dim=0)
    return torch.einsum("now,mow->nm", J, J)


def cosine(one, other):
    return ((one * other).sum() / (one.norm() * other.norm())).item()


def test_the_kernel_is_that_of_explicit_jacobians_of_hookedtransformer(tiny):
    found = analyze.measure(tiny, "lazy", prompts=20, probes=100)
    tangent = Tangent(Halves.of(tiny), Options(prompts=20, probes=100), tiny.first.weights)
    inputs, last = torch.from_numpy(tangent.drawn.inputs), tiny.steps[-1]
    first, final = (exact(jacobian(tiny, step, inputs)) for step in (tiny.steps[0], last))
    mean = tangent.kernels(tiny.final.weights).mean(dim=0)
    assert cosine(mean, final) > 0.97  # the mean of 100 probes is noisy
    assert mean.trace().item() == pytest.approx(final.trace().item(), rel=0.1)
    here = found.sel(step=last)
    assert abs(here["kernel_distance"].item() - (1 - cosine(first, final))) < 4 * here["kernel_distance_error"].item()
    one_hot = torch.nn.functional.one_hot(torch.from_numpy(tangent.drawn.targets), 11).double()
    answers = exact(one_hot[..., None])
    expected = cosine(final, answers)
    assert abs(here["label_alignment"].item() - expected) < 4 * here["label_alignment_error"].item()


def test_nothing_has_changed_at_the_step_of_the_linearisation(tiny):
    at = tiny.steps[2]
    found = analyze.measure(tiny, "lazy", at=at).sel(step=at)
    assert found["kernel_distance"].item() == pytest.approx(0, abs=1e-12)
    assert found["moved"].item() == 0
    assert (found["nonlinearity"] == 0).all()
    np.testing.assert_allclose(found["linear_loss"], found["loss"])


@pytest.mark.parametrize(
    ("model", "task", "name"),
    [
        (MlpSpec(width=12, n_hidden=2, act_fn="relu"), ModularTask(p=7, train_fraction=0.5), "unembed.W_U"),
        (TransformerSpec(**SMALL, normalization="LN"), ModularTask(p=7, train_fraction=0.5), "unembed.W_U"),
        (MlpSpec(width=12, inputs="vectors", act_fn="tanh"), TeacherTask(examples=30, test_examples=20), "unembed.W_U"),
        (
            ToySpec(d_hidden=2, tied=False, output="none"),
            SparseFeaturesTask(n_features=9, examples=20, test_examples=9),
            "W",
        ),
    ],
    ids=["mlp", "transformer", "teacher", "toy"],
)
def test_a_network_that_is_linear_in_what_changed_is_its_linearisation(of_model, model, task, name):
    found = analyze.measure(of_model(model, task, shifted(name)), "lazy").sel(step=1)
    assert (found["nonlinearity"] < 1e-5).all()
    assert found["moved"] > 0.1
    np.testing.assert_allclose(found["linear_loss"], found["loss"], rtol=1e-5)
    if task.shape.outputs.kind == "classes":
        np.testing.assert_array_equal(found["linear_accuracy"], found["accuracy"])
    else:
        assert "accuracy" not in found


def test_a_network_that_is_quadratic_in_what_changed_leaves_it_by_the_square_of_the_change(of_model):
    """f(W + D) = f(W) + J·D + f(D): what the linearisation lacks is f(D)."""
    task = ModularTask(p=7, train_fraction=0.5)
    run = of_model(MlpSpec(width=12), task, shifted("layers.0.W"))
    found = analyze.measure(run, "lazy").sel(step=1, split="test")
    before, after = (run.at(step).weights for step in (0, 1))
    inputs = torch.from_numpy(run.split.test.inputs)

    def outputs(W):
        return (
            torch.stack([W[place][inputs[:, place]] for place in range(3)]).sum(dim=0).square() @ after["unembed.W_U"]
        )

    W, moved = before["layers.0.W"], after["layers.0.W"]
    expected = outputs(moved - W).norm() / (outputs(moved) - outputs(W)).norm()
    assert found["nonlinearity"].item() == pytest.approx(expected.item(), rel=1e-4)


def test_sequences_with_answers_that_cannot_be_known_are_measured(of_model):
    task = RepeatedTask(vocabulary=6, length=9, subsequence=2, examples=20, test_examples=9)
    run = of_model(TransformerSpec(**SMALL, n_layers=2), task, shifted("unembed.W_U"))
    found = analyze.measure(run, "lazy", prompts=8)
    assert (found["nonlinearity"].sel(step=1) < 1e-5).all()
    assert np.isfinite(found["label_alignment"]).all()


def test_equal_seeds_give_equal_numbers_and_others_other_examples(tiny):
    run = tiny.select(last=2)
    one, same, other = (analyze.measure(run, "lazy", seed=seed, prompts=20) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one["kernel_distance"], same["kernel_distance"])
    assert (one["kernel_distance"] != other["kernel_distance"]).all()
    np.testing.assert_array_equal(one["linear_loss"], other["linear_loss"])


def test_a_step_without_a_checkpoint_is_a_sentence(tiny):
    with pytest.raises(UserError, match="7"):
        analyze.measure(tiny, "lazy", at=7)
