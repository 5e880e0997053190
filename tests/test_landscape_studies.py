"""The studies of the loss landscape at their small size, and what they compute beside their runs."""

import math
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import tiny_config
from scipy.stats import spearmanr
from study_scripts import load, small

import interp
from interp.models.network import initial_weights, symmetries
from interp.models.symmetry import Seat
from interp.store import RunWriter
from interp.study import script


@pytest.mark.slow
def test_connectivity(tmp_path):
    tables, results = small("connectivity", tmp_path)
    paths = tables["paths"].set_index(["kind", "pair", "seed", "at", "path"]).sort_index()
    lines = paths.loc[("x + y", "fork", slice(None), slice(None), "line"), "train_loss"].unstack("at")
    assert (lines[0] > lines[600]).all()  # the earlier the fork, the higher the barrier
    seeds = paths.loc[("x + y", "two seeds, late"), "train_loss"].droplevel(["seed", "at"])
    assert seeds["curve"] < 0.1 < seeds["line, all symmetries"] < seeds["line"]
    late = tables["networks"].set_index(["kind", "pair", "at", "seed"]).sort_index()
    assert late.loc[("x + y", "fork", 600), "distance"].max() < late.loc[("x + y", "fork", 0), "distance"].min()
    assert late.loc[("x + y", "two seeds, late"), ["test_accuracy_a", "test_accuracy_b"]].min(axis=None) > 0.8
    assert late.loc[("wrong labels", "fork"), ["test_accuracy_a", "test_accuracy_b"]].max(axis=None) < 0.1
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
    for parent, at in (("sum+seed=1", 200), ("null+seed=0", 600)):
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


@pytest.mark.slow
def test_flatness(tmp_path):
    tables, results = small("flatness", tmp_path)
    steps: Any = tables["steps"].set_index(["loss", "way", "step"]).sort_index()
    clamped: Any = steps.xs("clamped", level="way")["norm"].groupby(level="loss")
    assert ((clamped.max() / clamped.min() - 1) < 1e-4).all()
    assert steps.loc[("squared_error", "clamped", 700), "test_accuracy"] > 0.95
    assert (steps.xs("decay, wrong labels", level="way")["test_accuracy"] < 0.1).all()
    for loss in ("cross_entropy", "squared_error"):  # one start for all ways but the clamped
        at_start = steps.loc[[(loss, way, 0) for way in ("decay", "no decay")]]
        assert at_start["phi"].nunique() == at_start["bits"].nunique() == 1
    changes: Any = tables["runs"].set_index(["loss", "way", "measure"])
    assert changes.loc[("squared_error", "clamped", "norm"), "ratio"] == pytest.approx(1, abs=1e-4)
    assert changes["beyond"].notna().groupby(level="way").any().to_dict() == {
        "decay": True, "no decay": False, "clamped": False, "decay, wrong labels": False,
    }  # fmt: skip
    assert (results / "flatness.png").stat().st_size > 10_000


@pytest.fixture
def ordering(monkeypatch):
    """The second script, which imports the first by its name."""
    monkeypatch.setitem(sys.modules, "study", load("flatness"))
    return load("flatness", "ordering")


def test_a_change_is_told_beyond_that_of_the_run_on_wrong_labels_from_the_first_step_that_is_memorised():
    study, steps = load("flatness"), (0, 100, 200, 400)
    curves = {("decay", 0): [9, 8, 6, 3], ("decay, wrong labels", 0): [9, 8, 6, 4.5], ("no decay", 0): [1, 2, -1, 4]}
    table = pd.concat(
        pd.DataFrame(
            {"loss": "cross_entropy", "way": way, "seed": seed, "step": steps, "test_accuracy": 0.5}
            | dict.fromkeys(study.MEASURES, values)
        )
        for (way, seed), values in curves.items()
    ).set_index(["loss", "way", "seed", "step"])
    arrived = {"decay": 150.0, "decay, wrong labels": math.nan, "no decay": 130.0}
    memorised = pd.Series({("cross_entropy", way, 0): step for way, step in arrived.items()})
    found = study.changed(table.sort_index(), memorised).set_index(["way", "measure"])
    assert set(found.index.get_level_values("way")) == {"decay", "no decay"}
    row = found.loc[("decay", "trace")]
    assert row[["early_step", "late_step", "early", "late", "ratio"]].tolist() == [200, 400, 6, 3, 0.5]
    assert row["beyond"] == pytest.approx(0.5 / 0.75)
    assert found.loc["no decay", ["ratio", "beyond"]].isna().all(axis=None)  # from below 0, and without a twin
    told = study.summarised(study.changed(table.sort_index(), memorised)).loc[("cross_entropy", "decay", "trace")]
    assert told[["ratio below 1", "beyond below 1", "seeds"]].tolist() == [1, 1, 1]


def test_runs_are_compared_where_their_loss_is_nearest_to_the_level_when_first_down_to_it(ordering):
    losses = pd.Series([4.0, 1.0, 0.11, 0.04, 0.5, 0.01], index=[0, 25, 50, 75, 100, 125])
    assert ordering.at_level(losses, 0.1) == 50  # the one before, a tenth above
    assert ordering.at_level(losses, 0.05) == 75
    assert ordering.at_level(losses, 8.0) == 0
    assert ordering.at_level(losses, 0.001) is None


def test_a_partial_rank_correlation_is_that_of_the_formula_and_leaves_nothing_of_what_only_repeats_the_norm(ordering):
    draw = np.random.default_rng(0)
    norm, noise = draw.normal(size=(2, 40))
    x, y = norm + 0.5 * noise, norm + draw.normal(size=40)
    xy, xz, yz = (float(np.asarray(spearmanr(*pair))[0]) for pair in ((x, y), (x, norm), (y, norm)))
    assert ordering.partial(x, y, np.empty((0, 40))) == pytest.approx(xy)
    assert ordering.partial(x, y, norm[None]) == pytest.approx((xy - xz * yz) / math.sqrt((1 - xz**2) * (1 - yz**2)))
    assert ordering.partial(np.exp(x), y**3, norm[None]) == pytest.approx(ordering.partial(x, y, norm[None]))
    assert math.isnan(ordering.partial(np.exp(norm), y, norm[None]))
    assert math.isnan(ordering.partial(np.ones(40), y, norm[None]))
    both = ordering.partial(np.stack([x, norm, y]), np.stack([y, y, x]), np.stack([norm] * 3)[None])  # side by side
    one = float(ordering.partial(x, y, norm[None]))
    np.testing.assert_allclose(both, [one, math.nan, one], rtol=1e-9)


def test_intervals_hold_what_was_planted_and_tell_what_the_norm_does_from_what_goes_beyond_it(ordering):
    draw, n = np.random.default_rng(1), 60
    norm, of_its_own = draw.normal(size=(2, n))
    accuracy = -norm - of_its_own + 0.3 * draw.normal(size=n)
    runs = pd.DataFrame(dict.fromkeys(ordering.MEASURES, draw.normal(size=n)))
    runs = runs.assign(norm=norm, test_accuracy=accuracy, train_loss=draw.normal(size=n))
    runs["trace"], runs["phi"] = norm + 0.05 * draw.normal(size=n), of_its_own
    runs["normalised_margin"] = of_its_own  # of the sign that is not claimed
    found = ordering.correlations(runs, draws=200)
    for what in ("rho", "given_norm", "given_loss", "given_both"):
        known = found.dropna(subset=[what])
        assert (known[f"{what} low"] <= known[what]).all() and (known[what] <= known[f"{what} high"]).all()
    assert found.loc["trace", "says"] == "orders as claimed, not shown given the norm"
    assert found.loc["φ, %", "says"] == "orders as claimed, also given the norm"
    assert found.loc["smallest margin ÷ ‖θ‖³", "says"] == "orders against what is claimed, also given the norm"
    assert found.loc["‖θ‖", "says"] == "orders as claimed" and np.isnan(found.loc["‖θ‖", "given_norm"])
    assert found.loc["φ, %", "rho"] == pytest.approx(float(np.asarray(spearmanr(of_its_own, accuracy))[0]))


@pytest.mark.slow
def test_ordering(tmp_path, ordering):
    words = ["--small", "--work", str(tmp_path)]
    assert script.main(ordering.__file__, ordering.__doc__, ordering.configs, ordering.report, words) == 0
    table: Any = pd.read_csv(tmp_path / "small/at_level.csv")
    assert np.log(table["train_loss"] / ordering.LEVEL["cross_entropy"]).abs().max() < math.log(1.5)
    by_decay: Any = table[table["seed"] < 2].groupby("decay")["test_accuracy"].mean()
    assert by_decay.is_monotonic_increasing and by_decay.iloc[-1] > 0.5
    found = pd.read_csv(tmp_path / "small/ordering.csv").set_index(["loss", "runs", "measure"])
    assert found["rho"].between(-1, 1).all()
    assert (tmp_path / "small/ordering.png").stat().st_size > 10_000
