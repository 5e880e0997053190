"""The studies of the loss landscape at their small size, and what they compute beside their runs."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import tiny_config
from study_scripts import load, small

import interp
from interp.models.network import initial_weights, symmetries
from interp.models.symmetry import Seat
from interp.store import RunWriter


@pytest.mark.slow
def test_connectivity(tmp_path):
    tables, results = small("connectivity", tmp_path)
    paths = tables["paths"].set_index(["kind", "pair", "seed", "at", "path"]).sort_index()
    early = paths.loc[("x + y", "fork", slice(None), 0, "line"), :]
    assert (early["train_error"] > 0.3).all()  # forked off untrained, the children share nothing
    aligned = paths.xs("line, all symmetries", level="path")["train_loss"]
    assert (aligned <= paths.xs("line", level="path")["train_loss"] + 0.5).all()
    curves = paths.xs("curve", level="path")["train_loss"]
    assert (curves < paths.xs("line", level="path")["train_loss"]).mean() > 0.8
    late = tables["networks"].set_index(["kind", "pair", "at", "seed"]).sort_index()
    assert late.loc[("x + y", "fork", 600), "distance"].max() < late.loc[("x + y", "fork", 0), "distance"].min()
    generalised: Any = tables["parents"].set_index("kind")["generalised"]
    assert generalised["x + y"].notna().any() and generalised[["wrong labels"]].isna().all()
    assert (results / "connectivity.png").stat().st_size > 10_000


def test_children_are_forked_off_at_every_checkpoint_and_differ_in_the_order_of_batches_alone(tmp_path):
    study, runs = load("connectivity"), {}
    for name, config in study.configs(True).items():
        with RunWriter(tmp_path / name, config) as writer:
            for step in config.train.checkpoint_steps:
                writer.checkpoint(step, initial_weights(config.model, config.task.shape, seed=step))
        runs[name] = interp.open_run(tmp_path / name)
    children = study.further(runs)
    assert len(children) == 2 * 3 * len(runs)
    for parent, at in (("sum+seed=1", 100), ("null+seed=0", 600)):
        one, other = (children[f"{parent}+at={at}+child={child}"] for child in (1, 2))
        assert one.but(name=other.name, seeds=one.seeds.but(order=other.seeds.order)) == other
        assert one.seeds.order != other.seeds.order
        assert one.start == interp.start_from(f"{runs[parent].path}@{at}")
        assert one.corruption == runs[parent].config.corruption and one.task == runs[parent].config.task


def test_when_children_are_connected_is_told_only_where_forks_lie_on_both_sides():
    when = load("connectivity").when
    assert when(-math.inf, 0, 100, 500) == "before memorising"
    assert when(0, 30, 100, 500) == "before memorising"
    assert when(30, 200, 100, 500) == "at a landmark"  # before or after memorising, no fork tells
    assert when(200, 300, 100, 500) == "between"
    assert when(300, 700, 100, 500) == "at a landmark"
    assert when(700, 900, 100, 500) == "after generalising"
    assert when(200, 300, 100, math.nan) == "after memorising"
    assert when(900, math.nan, 100, 500) == "never"


def test_children_are_connected_from_the_fork_after_the_last_that_is_apart():
    study = load("connectivity")
    errors = {"line": [0.9, 0.01, 0.5, 0.0, 0.019], "curve": [0.0] * 5, "x": [0.0, 0.0, 0.0, 0.0, 0.02]}
    forks = pd.DataFrame(
        [
            {"kind": "x + y", "path": path, "seed": 0, "at": at, "train_error": error}
            for path, each in errors.items()
            for at, error in zip((0, 50, 200, 300, 900), each, strict=True)
        ]
    )
    landmarks = pd.DataFrame(
        {"memorised": 100.0, "generalised": 500.0}, index=pd.MultiIndex.from_tuples([("x + y", 0)])
    )
    found = study.connections(forks.sample(frac=1, random_state=0), landmarks).droplevel(["kind", "seed"])
    assert found.loc["line", ["connected_from", "apart_until", "when"]].tolist() == [300, 200, "between"]
    assert found.loc["curve", "when"] == "before memorising"
    assert found.loc["x", "when"] == "never"
    told = study.summarised(study.connections(forks, landmarks)).droplevel("kind")
    assert told.loc["line", ["between", "seeds", "connected_from median"]].tolist() == [1, 1, 300]
    assert np.isnan(told.loc["x", "connected_from median"])


def test_networks_share_the_frequencies_that_both_have_in_whatever_directions():
    shared, p = load("connectivity").frequencies_shared, 11

    def embedding(*frequencies):
        """Waves of these frequencies in random orthogonal directions, and a row of another token."""
        angle = 2 * math.pi / p * torch.arange(p)[:, None] * torch.tensor(frequencies)
        rows = torch.cat([angle.cos(), angle.sin(), torch.zeros(p, 8 - 2 * len(frequencies))], dim=1)
        turn, _ = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(sum(frequencies))))
        return {"embed.W_E": torch.cat([rows @ turn, torch.full((1, 8), 9.0)])}

    assert shared(embedding(2, 3), embedding(2, 3), p) == pytest.approx(1, abs=1e-6)
    assert shared(embedding(2, 3), embedding(3, 5), p) == pytest.approx(0.5, abs=1e-6)
    assert shared(embedding(1), embedding(4), p) == pytest.approx(0, abs=1e-6)


def test_the_line_to_a_copy_with_its_neurons_in_another_order_is_level_once_neurons_may_change_places(tmp_path):
    study = load("connectivity")
    run = interp.train_run(tiny_config(), tmp_path / "one")
    weights = run.final.weights
    neurons = next(each for each in symmetries(run.known_model, run.task.shape) if "neurons" in each.about)
    moved = dict(weights)
    for seat in neurons.units:
        assert isinstance(seat, Seat)
        moved[seat.tensor] = moved[seat.tensor].flip(seat.axis).contiguous()
    with RunWriter(tmp_path / "two", run.config) as writer:
        for step in (0, run.config.train.steps):
            writer.checkpoint(step, moved)
    a, b = run.final, interp.open_run(tmp_path / "two").final
    apart = study.along_line(a, b, ())
    assert apart["train_loss"] > 0.01
    for within in study.LINES.values():
        level = study.along_line(a, b, within)
        assert (level == apart) if not within else all(abs(each) < 1e-5 for each in level.values())
    path = interp.connect_runs(a.run.path, b.run.path, tmp_path / "path", align=True, points=study.POINTS)
    assert study.barriers(path.history) == pytest.approx(study.along_line(a, b, study.LINES["line, all symmetries"]))
    assert study.distance(weights, weights) == 0
    opposite = {name: -tensor for name, tensor in weights.items()}
    assert study.distance(weights, opposite) == pytest.approx(math.sqrt(2))
