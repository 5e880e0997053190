"""Toy models of superposition as notebooks save them, made from known weights and read back."""

import math

import numpy as np
import pytest
import torch
from helpers import origin

from interp import analyze
from interp.base import DoesNotApply, UserError
from interp.models import ToySpec
from interp.store import CheckpointError
from interp.store.foreign.convert import convert


def polygon(n):
    """W [2, n] and b of n features as a regular polygon."""
    angle = 2 * math.pi * torch.arange(n) / n
    return torch.stack([angle.cos(), angle.sin()]), -torch.full((n,), math.cos(2 * math.pi / n))


def written(path, found):
    torch.save(found, path)
    return path


@pytest.mark.parametrize("turned", [False, True])
def test_one_model_computes_what_it_computed_whichever_way_round_its_matrix_lies(tmp_path, turned):
    W, b = polygon(5)
    state = {"W": W.T.contiguous() if turned else W, "b_final": b}
    (run,) = convert(written(tmp_path / "toy.pt", state), tmp_path / "x")
    x = torch.rand(7, 5, generator=torch.Generator().manual_seed(0))
    assert run.known_model == ToySpec(d_hidden=2)
    torch.testing.assert_close(run.final.model(x), torch.relu(x @ W.T @ W + b))


def test_every_instance_is_a_run_of_its_own(tmp_path):
    generator = torch.Generator().manual_seed(0)
    state = {"W": torch.randn(3, 2, 6, generator=generator), "b_final": torch.randn(3, 6, generator=generator)}
    runs = convert(written(tmp_path / "toy.pt", state), tmp_path / "x")
    assert [run.path.name for run in runs] == ["toy-0", "toy-1", "toy-2"]
    for i, run in enumerate(runs):
        assert torch.equal(run.final.weights["W"], state["W"][i])
        assert torch.equal(run.final.weights["b"], state["b_final"][i])
        assert f"{i + 1} of 3 instances" in origin(run).notes[0]


def test_checkpoints_of_instances_are_the_checkpoints_of_each(tmp_path):
    generator = torch.Generator().manual_seed(0)
    found = {step: {"W": torch.randn(2, 6, 3, generator=generator), "b_final": torch.zeros(2, 6)} for step in (0, 100)}
    runs = convert(written(tmp_path / "toy.pt", found), tmp_path / "x")
    assert [run.steps for run in runs] == [(0, 100), (0, 100)]
    assert torch.equal(runs[1].at(100).weights["W"], found[100]["W"][1].mT)


def test_a_pentagon_is_found_and_what_is_not_known_is_said(tmp_path):
    """Five features in two hidden numbers: each takes 2/5 of a dimension."""
    W, b = polygon(5)
    (run,) = convert(written(tmp_path / "toy.pt", {"W": W, "b_final": b}), tmp_path / "x")
    found = analyze.measure(run, "superposition")
    assert np.allclose(found["feature_dimensionality"].values, 0.4, atol=1e-6)
    assert {"task.sparsity", "task.importance", "seeds"} <= set(origin(run).unknown)
    assert "of a sparsity that is not known" in repr(run)
    assert any("relu(WᵀWx + b_final)" in note for note in origin(run).notes)
    assert np.isnan(found["train_relative"]).all()


def test_what_is_given_of_the_task_is_taken(tmp_path):
    W, b = polygon(5)
    (run,) = convert(
        written(tmp_path / "toy.pt", {"W": W, "b_final": b}),
        tmp_path / "x",
        task={"sparsity": 0.9},
        model={"output": "none"},
    )
    assert "0.9 of them 0" in run.task.about
    assert "task.sparsity" not in origin(run).unknown
    assert "linear output" in run.known_model.about


def test_every_analysis_fits_or_says_why_not(tmp_path):
    W, b = polygon(6)
    (run,) = convert(written(tmp_path / "toy.pt", {"W": W, "b_final": b}), tmp_path / "x")
    fitted = []
    for analysis in analyze.analyses():
        try:
            analyze.draw(analyze.measure(run, analysis))
            fitted.append(analysis)
        except DoesNotApply as error:
            assert str(run.path) in str(error)
    assert {"geometry", "superposition", "norms"} <= set(fitted)


@pytest.mark.parametrize(
    ("W", "b", "says"),
    [((5, 5), (5,), "one axis of features"), ((2, 4), (5,), "one axis of features"), ((2, 5, 2, 2), (5,), "one axis")],
)
def test_shapes_that_are_no_toy_model_s_are_named(tmp_path, W, b, says):
    source = written(tmp_path / "toy.pt", {"W": torch.zeros(W), "b_final": torch.zeros(b)})
    with pytest.raises(CheckpointError, match=says):
        convert(source, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_more_hidden_numbers_than_features_are_refused(tmp_path):
    source = written(tmp_path / "toy.pt", {"W": torch.zeros(7, 5), "b_final": torch.zeros(5)})
    with pytest.raises(UserError, match="fewer hidden numbers"):
        convert(source, tmp_path / "x")
