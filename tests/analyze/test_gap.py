"""The gap between train and test against HookedTransformer's own logits, closed forms, and planted jumps."""

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import tiny_config
from scipy.special import erf

from interp import analyze
from interp.maths.losses import cross_entropy
from interp.models import MlpSpec, ToySpec
from interp.models.network import initial_weights
from interp.store import Run, RunWriter, open_run
from interp.tasks import ModularTask, SparseFeaturesTask


@pytest.fixture
def of_model(tmp_path):
    """A run with one checkpoint: initial weights of a model."""

    def of_model(model, task=None):
        config = tiny_config(task=task or ModularTask(p=7, train_fraction=0.5), model=model)
        with RunWriter(tmp_path / "run", config) as writer:
            writer.checkpoint(0, initial_weights(model, config.task.shape, seed=0))
        return open_run(tmp_path / "run")

    return of_model


def test_losses_margins_and_outputs_are_those_of_hookedtransformer(tiny):
    found, split = analyze.measure(tiny, "gap"), tiny.split
    for step in (tiny.steps[0], tiny.steps[-1]):
        network, losses = tiny.at(step).model, {}
        for half, part in {"train": split.train, "test": split.test}.items():
            with torch.inference_mode():
                logits = network(torch.from_numpy(part.inputs))[:, -1]
            targets, here = torch.from_numpy(part.targets), found.sel(step=step, split=half)
            losses[half] = cross_entropy(logits, targets).item()
            assert here["loss"].item() == pytest.approx(losses[half], rel=1e-5)
            accuracy = (logits.argmax(dim=1) == targets).double().mean().item()
            assert here["accuracy"].item() == pytest.approx(accuracy)
            z = logits.double().numpy()
            assert here["output_sd"].item() == pytest.approx(z.std(axis=1).mean(), rel=1e-4)
            lead = (z.max(axis=1) - z.mean(axis=1)).mean()
            assert here["output_lead"].item() == pytest.approx(lead, rel=1e-4)
            right = z[np.arange(len(z)), targets]
            z[np.arange(len(z)), targets] = -np.inf
            margins = right - z.max(axis=1)
            assert here["margin_mean"].item() == pytest.approx(margins.mean(), abs=1e-4)
            assert here["margin_min"].item() == pytest.approx(margins.min(), abs=1e-4)
            assert here["margin_median"].item() == pytest.approx(np.median(margins), abs=1e-4)
            ratio = margins.mean() / here["output_sd"].item()
            assert here["margin_ratio"].item() == pytest.approx(ratio, abs=1e-4)
        gap = found["loss_gap"].sel(step=step).item()
        assert gap == pytest.approx(losses["test"] - losses["train"], abs=1e-5)


def test_losses_are_those_that_were_logged(tiny):
    found = analyze.measure(tiny, "gap")
    for half in ("train", "test"):
        np.testing.assert_allclose(found["loss"].sel(split=half), found[f"{half}_loss"], rtol=1e-4)
        np.testing.assert_allclose(found["accuracy"].sel(split=half), found[f"{half}_accuracy"])


@pytest.mark.parametrize(
    ("model", "degree"),
    [
        (MlpSpec(width=9), 3),  # W_U·(W·x)²
        (MlpSpec(width=9, act_fn="relu", n_hidden=3), 4),
        (MlpSpec(width=9, act_fn="quadratic", n_hidden=2), 7),  # W_U·(W·(W·x)²)²
        (MlpSpec(width=9, act_fn="relu", inputs="embedded", d_model=6), 3),
        (MlpSpec(width=9, act_fn="relu", normalization="LNPre", inputs="summed", d_model=6, frozen_readout=10), 0),
    ],
    ids=lambda value: str(value)[:80],
)
def test_homogeneous_networks_have_the_degree_of_their_formula_and_a_margin_that_scale_leaves_alone(
    of_model, model, degree
):
    run = of_model(model)
    found = analyze.measure(run, "gap").isel(step=0)
    assert found.attrs["degree"] == degree
    norm = sum(run.final.weights[name].double().square().sum() for name in run.config.model.learned(run.task.shape))
    expected = found["margin_min"] / float(norm) ** (degree / 2)
    np.testing.assert_allclose(found["normalised_margin"], expected, rtol=1e-6)


@pytest.mark.parametrize("model", [MlpSpec(width=9, act_fn="tanh"), MlpSpec(width=9, act_fn="gelu")])
def test_networks_that_are_not_homogeneous_have_no_normalised_margin_and_say_so(of_model, model):
    found = analyze.measure(of_model(model), "gap")
    assert "normalised_margin" not in found
    assert "is not homogeneous" in found.attrs["definition"]
    assert np.isfinite(found["margin_ratio"]).all()


def test_the_margin_ratio_is_the_same_whatever_the_scale_of_the_outputs(tiny_copy, monkeypatch):
    from interp.views.halves import Halves

    before = analyze.measure(tiny_copy, "gap")
    outputs = Halves.outputs
    monkeypatch.setattr(Halves, "outputs", lambda seen, half, weights: 8 * outputs(seen, half, weights))
    after = analyze.measure(tiny_copy, "gap")
    np.testing.assert_allclose(after["margin_ratio"], before["margin_ratio"], rtol=1e-12)
    np.testing.assert_allclose(after["margin_mean"], 8 * before["margin_mean"], rtol=1e-12)


def test_planted_jumps_and_their_gap_come_back(tiny, monkeypatch):
    steps = np.unique(np.geomspace(1, 5000, 80).round().astype(int))
    history = pd.DataFrame({"train_loss": 1.0, "test_loss": 1.0}, index=pd.Index([0, *steps], name="step"))
    for half, at in {"train": 50, "test": 800}.items():
        history[f"{half}_accuracy"] = [0.0, *(0.5 * erf(3 * (np.log(steps) - np.log(at))) + 0.5)]
    monkeypatch.setattr(Run, "history", property(lambda run: history))
    found = analyze.measure(tiny, "gap")
    np.testing.assert_allclose(found["jump"], [50, 800], rtol=1e-5)
    np.testing.assert_allclose(found["relative_gap"], [0, 15], rtol=1e-4)
    assert {"train fit", "test fit"} <= {trace["name"] for trace in analyze.draw(found).to_dict()["data"]}


def test_without_answers_there_are_losses_and_outputs_alone(of_model):
    task = SparseFeaturesTask(n_features=12, sparsity=0.7, examples=5, test_examples=9)
    found = analyze.measure(of_model(ToySpec(d_hidden=2), task), "gap")
    assert {"loss", "loss_gap", "output_sd", "norm"} <= set(found.data_vars)
    assert not {"accuracy", "margin_mean", "jump"} & set(found.data_vars)
    assert analyze.draw(found) is not None
    assert "test loss" in analyze.summarise(found)
