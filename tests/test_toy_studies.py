"""Studies of toy models at their small size, and the closed forms that they lay beside it."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, ImageSequence
from study_scripts import ROOT, load, small

import interp
from interp import SparseFeaturesTask
from interp.report.files import browser
from interp.store import RunWriter


@pytest.mark.slow
def test_toy_double_descent(tmp_path):
    tables, directory = small("toy_double_descent", tmp_path)
    sweep, coupled = (tables[name].set_index("task.examples") for name in ("sweep", "coupled"))
    assert sweep.loc[5, "regime"] == "memorising"
    assert sweep.loc[5, "median_example_dimensionality"] == pytest.approx(2 / 5, rel=0.1)
    assert sweep.loc[600, "regime"] == "generalising"
    assert sweep.loc[600, "features_represented"] == 5
    assert sweep.loc[600, "highest_test"] < 1 < sweep.loc[100, "lowest_test"]
    assert (sweep["total_dimensionality"] <= 2 + 1e-9).all()
    assert sweep["collapsed"].sum() == 0
    assert (coupled["collapsed"] == 2).all()  # both seeds
    shape = tables["geometry"].set_index("task.examples")
    assert shape.loc[5, "order at T"] > 0.9  # on its way to a regular polygon, which has 1, after so few steps
    assert shape.loc[600, "features at 5"] == pytest.approx(1, abs=0.05)
    assert shape.loc[600, "features apart"] < 0.5 < shape.loc[100, "features apart"]
    ways = tables["ways"].set_index(["way", "task.examples"])
    again = ways.loc["mini-batches of 100, mean divided by T once more"]
    np.testing.assert_allclose(again["‖b‖"], again["‖b‖ at rest"], rtol=0.05)
    for name in ("sweep", "coupled", "planes", "geometry", "ways"):
        assert (directory / f"{name}.png").stat().st_size > 10_000


@pytest.mark.slow
def test_the_paper_s_size_is_a_script_of_its_own(tmp_path):
    script = ROOT / "analyses" / "toy_double_descent" / "paper.py"
    command = [sys.executable, str(script), "--small", "--work", str(tmp_path), "--processes", "1"]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert list(pd.read_csv(tmp_path / "small" / "paper.csv")["replication"]) == [1.133, 1.047]


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_a_bias_at_rest_is_where_loss_and_decay_have_no_slope(tmp_path, reduction):
    study = load("toy_double_descent")
    base = interp.preset("toy-double-descent").config
    train = base.train.but(steps=0, optimizer="adam", weight_decay=0.3, loss_reduction=reduction)
    config = base.but(task=base.task.but(n_features=50, sparsity=0.8, examples=7, test_examples=2), train=train)
    with RunWriter(tmp_path / "run", config) as writer:
        writer.checkpoint(0, {"W": torch.zeros(2, 50), "b": torch.zeros(50)})
    run = interp.open_run(tmp_path / "run")
    x = torch.from_numpy(run.split.train.inputs).double()
    b = (x.mean(dim=0) * study.resting_bias(run) / x.mean(dim=0).norm()).requires_grad_()
    squares = (x - b.relu()).square().mean(dim=0)
    loss = squares.sum() if reduction == "sum" else squares.mean()
    (loss + 0.3 / 2 * b.square().sum()).backward()
    assert b.grad is not None
    seen = x.mean(dim=0) > 0  # where a feature was never there, b is 0, and so is its slope from above
    torch.testing.assert_close(b.grad[seen], torch.zeros_like(b.grad[seen]), rtol=0, atol=1e-12)
    assert seen.sum() > 20


@pytest.mark.slow
def test_hump(tmp_path):
    tables, _ = small("hump", tmp_path)
    ways = tables["ways"].set_index("way")
    assert ways.loc["weight decay 1", "highest seed"] < ways.loc["base", "lowest seed"]
    assert ways.loc["base", "highest test loss"] > 1
    copies = tables["repeated"].set_index("copies")
    assert copies.loc[10, "D of all copies"] > 5 * copies.loc[1, "D of all copies"]
    assert copies.loc[10, "share of others with less"] > 0.99


@pytest.mark.slow
def test_toy_geometry(tmp_path):
    tables, results = small("toy_geometry", tmp_path)
    plane = tables["plane"].set_index("density")
    assert plane.loc[0.1, "polygons"] == "1 × pentagon"
    assert plane.loc[0.1, ["gaps from", "gaps to"]].tolist() == pytest.approx([72, 72], abs=3)
    assert plane.loc[0.1, "D"] == pytest.approx(2 / 5, abs=0.01)
    assert plane.loc[0.5, "polygons"] == "2 × digon"
    packing = tables["packing"].set_index("density")
    assert packing.loc[1, "D*"] == pytest.approx(1, abs=0.03)
    assert packing.loc[0.3, "D*"] == pytest.approx(1 / 2, abs=0.05)
    assert packing.loc[0.3, "on 1/2"] > 0.6
    assert packing["ΣD"].tolist() == pytest.approx([10] * 3, rel=0.01)
    assert packing.loc[1, "vulnerability"] == pytest.approx(1, abs=0.1)
    assert packing.loc[0.3, "vulnerability"] > 2
    phase = tables["phase"].set_index(["importance", "density"])
    for cell, expected in {(0.2, 1): "not learned", (7, 1): "dedicated", (0.2, 0.03): "antipodal"}.items():
        assert phase.loc[cell, "closed form"] == phase.loc[cell, "best"] == expected
    assert (phase["best loss"] > 0.95 * phase["closed-form loss"]).all()
    pairs = tables["pairs"].set_index("sets")
    assert pairs.loc["together", "partners to"] < 90 < 120 < pairs.loc["apart", "partners from"]
    if browser() is not None:
        assert (results / "phase.png").stat().st_size > 10_000
        with Image.open(results / "densities.gif") as moving:
            assert sum(1 for _ in ImageSequence.Iterator(moving)) == 2


@pytest.mark.parametrize("density", [0.2, 0.6, 1.0])
def test_on_a_border_of_the_phase_diagram_two_closed_forms_cost_the_same(density):
    study, found = load("toy_geometry"), []
    for border in study.borders(1 / 0.2):
        nearest = np.abs(border["x"] - 1 / density).argmin()
        chance, importance = 1 / border["x"][nearest], border["y"][nearest]
        if abs(chance - density) < 0.01:
            losses = sorted(study.phases(float(chance), (1.0, float(importance))))
            assert losses[0] == pytest.approx(losses[1], rel=1e-9)
            found.append(importance)
    assert found == ([1] if density > 0.7 else [pytest.approx(1 / found[1]), found[1]])


def test_an_attack_on_a_model_with_a_dimension_for_each_feature_raises_the_loss_by_its_square(tmp_path):
    study = load("toy_geometry")
    config = next(iter(study.configs(True).values()))
    assert config.task == SparseFeaturesTask(n_features=100, sparsity=0, examples="endless", test_examples=2000)
    config = config.but(train=config.train.but(steps=0))
    weights = {"W": torch.eye(10, 100), "b": torch.cat([torch.zeros(10), torch.full((90,), 0.5)])}
    with RunWriter(tmp_path / "run", config) as writer:
        writer.checkpoint(0, weights)
    assert study.vulnerability(interp.open_run(tmp_path / "run")) == pytest.approx(1, abs=1e-3)
