"""Toy models with planted weights: what `superposition` and `regimes` say of polygons, of nothing, and of sweeps."""

import json
import math
from typing import Any

import numpy as np
import pytest
import torch

import interp
from interp.base import DoesNotApply, UserError
from interp.config import RunConfig
from interp.models import ToySpec
from interp.recipe import Seeds, TrainConfig
from interp.store import RunWriter
from interp.store.record import Session
from interp.tasks import SparseFeaturesTask


def planted(path, W: torch.Tensor, b: torch.Tensor | None = None, train_loss: float = 0.5, seed: int = 0, **task):
    """A run whose only checkpoint has these weights."""
    d_hidden, n = W.shape
    config = RunConfig(
        name="planted",
        task=SparseFeaturesTask(
            **{"n_features": n, "sparsity": 0.5, "normalised": True, "examples": 4, "test_examples": 3, **task}
        ),
        model=ToySpec(d_hidden=d_hidden),
        train=TrainConfig(steps=0, batch_size="full" if task.get("examples") != "endless" else 4),
        seeds=Seeds(split=seed, model=seed),
    )
    row = {"step": 0, "train_loss": train_loss, "test_loss": 0.9, "train_accuracy": math.nan, "test_accuracy": math.nan}
    with RunWriter(path, config) as writer:
        writer.begin(Session.begin(0, "cpu", 1))
        writer.log(row)
        writer.checkpoint(0, {"W": W.float(), "b": torch.zeros(n) if b is None else b})
        writer.save_resume(0, {"model/W": W.float(), "model/b": torch.zeros(n)})
    return interp.open_run(path)


def polygon(k: int, radius: float = 1.0, n: int | None = None) -> torch.Tensor:
    """k of n features at equal angles in the plane, the others 0: [2, n]."""
    angles = 2 * math.pi * torch.arange(k) / k
    W = torch.zeros(2, n or k)
    W[:, :k] = radius * torch.stack([angles.cos(), angles.sin()])
    return W


def test_a_pentagon_has_two_fifths_of_a_dimension_for_each_feature(tmp_path):
    run = planted(tmp_path / "run", polygon(5, radius=1.3, n=8))
    found = run.measure("superposition").isel(step=0)
    np.testing.assert_allclose(found["feature_dimensionality"][:5], 0.4, rtol=1e-6)
    assert np.isnan(found["feature_dimensionality"][5:]).all()
    features = found.sel(features="features")
    assert float(features["ratio"]) == pytest.approx(2.5, rel=1e-6)
    assert float(features["represented_count"]) == 5
    assert float(features["total_dimensionality"]) == pytest.approx(2, rel=1e-6)
    assert float(features["features_per_dimension"]) == pytest.approx(5 * 1.3**2 / 2, rel=1e-6)


def test_examples_that_are_kept_as_a_polygon_share_the_plane_evenly(tmp_path):
    """W is chosen so that the four training examples, which are independent, are kept as a square."""
    x = torch.from_numpy(planted(tmp_path / "first", torch.zeros(2, 9)).split.train.inputs)
    W = polygon(4) @ torch.linalg.pinv(x).mT
    run = planted(tmp_path / "run", W)
    found = run.measure("superposition").isel(step=0)
    np.testing.assert_allclose(found["example_dimensionality"], 0.5, rtol=1e-5)
    np.testing.assert_allclose(found["example_leverage"], 0.5, rtol=1e-5)
    whole = run.measure("regimes").isel(step=0)
    assert float(whole["median_example_dimensionality"]) == pytest.approx(0.5, rel=1e-5)


def test_dimensionality_is_at_most_leverage_which_adds_up_to_the_rank(tmp_path):
    generator = torch.Generator().manual_seed(0)
    run = planted(tmp_path / "run", torch.randn(3, 20, generator=generator), examples=50)
    found = run.measure("superposition").isel(step=0)
    assert (found["example_dimensionality"] <= found["example_leverage"] + 1e-9).all()
    assert float(found["example_leverage"].sum()) == pytest.approx(3, rel=1e-6)
    assert float(found["total_dimensionality"].sel(features="features")) <= 3 + 1e-9


def test_losses_stand_beside_that_of_answering_0(tmp_path):
    run = planted(tmp_path / "run", polygon(5), train_loss=0.5, normalised=False)
    found = run.measure("regimes").isel(step=0)
    zero = (run.split.train.inputs.astype(float) ** 2).sum(axis=1).mean()
    assert float(found["train_relative"]) == pytest.approx(0.5 / zero, rel=1e-6)


def test_an_endless_stream_has_no_examples_to_keep(tmp_path):
    found = planted(tmp_path / "run", polygon(5), examples="endless").measure("regimes")
    assert "regime" not in found
    assert "median_example_dimensionality" not in found


@pytest.mark.parametrize(
    "W, examples, train_loss, regime, collapsed",
    [
        (polygon(5, n=40), 30, 0.5, "generalising", 0),
        (1e-3 * polygon(5, n=40), 30, 0.99, "generalising", 1),  # D does not see the size, ‖W‖ does
        (polygon(5, n=40), 6, 0.995, "generalising", 1),  # six examples can be memorised in the plane
        (polygon(5, n=40), 7, 0.995, "generalising", 0),  # seven need not be
        (polygon(2, n=40), 30, 0.5, "between", 0),
    ],
)
def test_regimes_and_collapse(tmp_path, W, examples, train_loss, regime, collapsed):
    run = planted(tmp_path / "run", W, examples=examples, train_loss=train_loss)
    table = interp.summarise(run.measure("regimes"))
    assert table["regime"].item() == regime
    assert table["collapsed"].item() == ("yes" if collapsed else "no")


def test_a_sweep_ends_in_one_table_and_one_figure(tmp_path):
    runs = [
        planted(tmp_path / f"{size}-{seed}", polygon(5, radius=size, n=12), examples=size, seed=seed)
        for size in (4, 40)
        for seed in (0, 1)
    ]
    found = [run.measure("regimes") for run in runs]
    table = interp.compare(found)
    assert table.index.name == "task.examples"
    assert table["runs"].tolist() == [2, 2]
    np.testing.assert_allclose(table["‖W‖"], [4 * math.sqrt(5), 40 * math.sqrt(5)], rtol=1e-6)
    figure: Any = interp.draw_runs(found)
    norm = next(trace for trace in figure.data if trace.name == "‖W‖")
    assert list(norm.x) == [4, 40]


def test_runs_that_differ_in_seeds_alone_are_one_row_and_no_figure(tmp_path):
    found = [planted(tmp_path / str(seed), polygon(5), seed=seed).measure("regimes") for seed in (0, 1)]
    assert interp.compare(found)["runs"].tolist() == [2]
    with pytest.raises(UserError, match="differ in seeds alone; a figure over runs needs one field"):
        interp.draw_runs(found)


def test_every_analysis_fits_a_toy_model_or_says_why_not(tmp_path):
    run = planted(tmp_path / "run", polygon(5, n=8))
    fits = set()
    for name in interp.analyses():
        try:
            interp.draw(run.measure(name))
            fits.add(name)
        except DoesNotApply as error:
            assert str(run.path) in str(error)
    assert fits >= {"curves", "norms", "regimes", "superposition"}


def test_analyses_of_toy_models_say_why_a_transformer_is_none(tmp_path):
    config = interp.preset("quick").config
    run = interp.train_run(config.but(task=config.task.but(p=11), train=config.train.but(steps=1)), tmp_path / "run")
    with pytest.raises(DoesNotApply, match='was trained on "modular"; analysis "regimes" needs a toy model'):
        run.measure("regimes")


def test_what_has_no_directions_is_told_of_both_kinds_of_run_that_have_some(tmp_path):
    config = interp.preset("quick").config
    config = config.but(
        task=config.task.but(p=11), model=config.model.but(attn_only=True), train=config.train.but(steps=1)
    )
    run = interp.train_run(config, tmp_path / "run")
    with pytest.raises(
        DoesNotApply, match=r"is a model without neurons .* needs an MLP, or a toy model of sparse feat"
    ):
        run.measure("superposition")


def test_the_history_has_no_accuracy_and_no_nats(tmp_path):
    run = planted(tmp_path / "run", polygon(5))
    assert "squared error" in repr(run)
    assert "accuracy" not in repr(run)
    found = run.measure("curves")
    assert found["train_loss"].attrs["units"] == "squared error"
    assert json.loads(found.attrs["config"])["model"]["kind"] == "toy"


@pytest.mark.parametrize("name", ["curves", "phases", "norms"])
def test_losses_of_a_toy_model_are_squared_errors_in_units_and_in_words(tmp_path, name):
    config = interp.preset("toy-superposition").config
    run = interp.train_run(config.but(train=config.train.but(steps=20, log_every=5)), tmp_path / "run")
    found = run.measure(name)
    losses = [variable for variable in found.data_vars if "loss" in str(variable)]
    assert {found[loss].attrs["units"] for loss in losses} == {"squared error"}
    assert not [variable for variable in found.data_vars if found[variable].attrs.get("units") == "nats"]
    assert "nats" not in found.attrs["definition"]
    if name in ("curves", "phases"):
        assert "0.01 squared error" in found.attrs["definition"]
    assert "squared error" in interp.draw(found).layout.yaxis.title.text


@pytest.mark.usefixtures("no_browser")
def test_a_directory_of_runs_ends_in_a_table_and_a_figure_where_one_number_differs(tmp_path, capsys):
    from interp.cli.analyze import main

    for size in (4, 40):
        planted(tmp_path / "sizes" / str(size), polygon(5, radius=size, n=12), examples=size)
        for d_hidden in (2, 3):
            W = torch.nn.functional.pad(polygon(5, n=12), (0, 0, 0, d_hidden - 2))
            planted(tmp_path / "both" / f"{size}-{d_hidden}", W, examples=size)
    assert main(["regimes", str(tmp_path / "sizes")]) == 0
    assert (tmp_path / "sizes/analysis/regimes-comparison.html").exists()
    assert (tmp_path / "sizes/4/analysis/regimes.nc").exists()
    capsys.readouterr()
    assert main(["regimes", str(tmp_path / "both")]) == 0
    said = capsys.readouterr()
    assert "no figure over the runs: the runs differ in task.examples, model.d_hidden" in said.err
    assert "regimes over 4 runs:" in said.out
    assert (tmp_path / "both/analysis/regimes-comparison.csv").exists()
    assert not (tmp_path / "both/analysis/regimes-comparison.html").exists()
