"""Phases, leads and lags through the whole way: runs written, read back, measured, compared."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from helpers import needs_published, published, tiny_config

from interp import analyze
from interp.analyze.learning.phases import against
from interp.base import DoesNotApply, UserError
from interp.cli.analyze import main as command
from interp.maths.losses import prompt_losses
from interp.models.network import initial_weights
from interp.recipe import TrainConfig
from interp.store import RunWriter, open_run
from interp.tasks import ModularTask
from interp.train.loop import train
from interp.views.boundaries import RULES, spread
from interp.views.leads import leads, of_part


@pytest.fixture
def grown(tmp_path):
    """Write a run whose history is that of a grokker: test loss highest at 100 and down in a straight ln from there to 500."""

    def grown(name="run", last=1000, slow=1, checkpoints=(0, 100, 200), lost_after=math.inf, **parts):
        config = tiny_config(name=name, train=TrainConfig(steps=2000), **parts)
        with RunWriter(tmp_path / name, config) as writer:
            for step in range(0, last + 1, 10):
                at = step / slow
                test = 10 * math.exp(np.interp(at, [0, 100, 500], [-0.1, 0, -13]))
                accuracy = float(np.interp(at, [200, 400], [0, 1]))
                train_loss = 4.0 if at < 60 else 1e-4
                row = {
                    "train_loss": train_loss,
                    "test_loss": test,
                    "train_accuracy": float(at >= 60),
                    "test_accuracy": accuracy,
                }
                lost = {"train_loss": 20.0, "test_loss": 20.0, "train_accuracy": 0.1, "test_accuracy": 0.1}
                writer.log({"step": step, **(row if step <= lost_after else lost)})
            for step in checkpoints:
                writer.checkpoint(step, initial_weights(config.model, config.task.shape, seed=step))
        return open_run(tmp_path / name)

    return grown


def test_phases_of_a_logged_run_lie_where_they_were_planted(grown):
    found = analyze.measure(grown(checkpoints=tuple(range(0, 1001, 50))), "phases")
    ends = found["ends"].sel(rule="test_loss")
    np.testing.assert_allclose(ends, [100, 140, 460])
    np.testing.assert_allclose(found["begins"].sel(rule="test_loss"), [0, 100, 140])
    assert found["ends"].sel(rule="mechanism").isnull().all()  # whose weights are noise
    half = found["half_way"].to_series()
    assert half["train accuracy"] == 55
    assert half["test accuracy"] == 300
    assert found["lead"].sel(measure="train accuracy").item() == 245
    assert found["lead_ratio"].sel(measure="train accuracy").item() == pytest.approx(300 / 55)


def test_what_a_run_did_not_reach_is_nan_and_never_its_last_step(grown):
    found = analyze.measure(grown(last=300), "phases")
    ends = found["ends"].sel(rule="test_loss").values
    assert ends[0] == 100
    assert math.isnan(ends[2])
    assert (found["censored_at"].sel(rule="test_loss") == 300).all()
    half = found["half_way"].to_series()
    assert np.isnan(half["test accuracy"])  # it did not generalise, so the end of its way is not known
    assert half["train accuracy"] == 55
    assert found["lead"].isnull().all()


def test_losses_from_the_weights_are_those_that_were_logged(tiny):
    found = analyze.measure(tiny, "phases", resamples=20)
    logged = tiny.history.loc[[step for step in tiny.steps if step in tiny.history.index]]
    here = found.sel(checkpoint=logged.index.to_numpy())
    for name in ("train_loss", "test_loss", "train_accuracy", "test_accuracy"):
        np.testing.assert_allclose(here[f"{name}_here"], logged[name], rtol=1e-4)


def test_restricted_and_excluded_losses_are_those_of_a_least_squares_fit(tiny):
    """Against HookedTransformer's logits, with the constant and the waves of a + b fitted to each answer."""
    found = analyze.measure(tiny, "phases", resamples=20).sel(checkpoint=tiny.steps[-1])
    key, table = [int(k) for k in found.attrs["key_frequencies"].split()], tiny.task.table()
    with torch.inference_mode():
        logits = tiny.final.model(torch.from_numpy(table.inputs))[:, -1].double()
    angle = 2 * math.pi / 11 * torch.from_numpy(table.targets).double()
    columns = [torch.ones(121, dtype=torch.float64), *(wave(k * angle) for k in key for wave in (torch.cos, torch.sin))]
    design = torch.stack(columns, dim=-1)
    coefficients = torch.linalg.lstsq(design, logits).solution
    answers, members = torch.from_numpy(table.targets), torch.from_numpy(tiny.split.train_index)
    kept = prompt_losses(design @ coefficients, answers).mean()
    lost = prompt_losses(logits - design[:, 1:] @ coefficients[1:], answers)[members].mean()
    assert found["restricted_loss"].item() == pytest.approx(kept.item(), rel=1e-5)
    assert found["excluded_loss"].item() == pytest.approx(lost.item(), rel=1e-5)


def test_products_are_measured_by_their_logarithm_and_losses_over_all_their_prompts(tmp_path):
    task = ModularTask(p=11, operation="multiply", train_fraction=0.5)
    run = train(tiny_config(task=task), tmp_path / "run")
    found = analyze.measure(run, "phases", resamples=20)
    assert {"restricted_loss", "excluded_loss"} <= set(found.data_vars)
    steps = [step for step in run.steps if step in run.history.index]
    np.testing.assert_allclose(
        found["test_loss_here"].sel(checkpoint=steps), run.history.loc[steps, "test_loss"], rtol=1e-4
    )


def test_a_task_that_is_no_sum_keeps_what_applies_and_says_what_does_not(tmp_path):
    task = ModularTask(p=11, operation="x2_xy_y2", train_fraction=0.5)
    found = analyze.measure(train(tiny_config(task=task), tmp_path / "run"), "phases", resamples=20)
    assert list(found["rule"].values) == ["test_loss"]
    assert "restricted_loss" not in found
    assert {"gini_W_E", "sum_of_squares", "test_loss_here"} <= set(found.data_vars)
    assert "is a sum in no order of its residues" in found.attrs["left_out_because"]
    assert "rule mechanism: needs excluded loss, restricted loss" in found.attrs["left_out_because"]
    assert "rule mechanism" in analyze.summarise(found)["left out"].item()


def test_one_checkpoint_is_no_curve(grown):
    found = analyze.measure(grown().select(last=1), "phases")
    assert "checkpoint" not in found.dims
    assert "1 checkpoint in view, and a curve has two" in found.attrs["left_out_because"]
    np.testing.assert_allclose(found["ends"].sel(rule="test_loss"), [100, 140, 460])
    assert found["ends_low"].isnull().all()


def test_a_run_without_a_history_has_no_phases(tmp_path):
    config = tiny_config()
    with RunWriter(tmp_path / "run", config) as writer:
        writer.checkpoint(0, initial_weights(config.model, config.task.shape, seed=0))
    with pytest.raises(DoesNotApply, match="needs logged losses"):
        analyze.measure(open_run(tmp_path / "run"), "phases")


def test_prompts_that_are_all_alike_leave_an_interval_of_no_width():
    steps = np.arange(0, 1001, 10)
    losses = {
        "train_loss": np.where(steps < 60, 4.0, 1e-4),
        "test_loss": np.exp(np.interp(steps, [0, 100, 500], [2.2, 2.3, -11])),
    }
    curves = {**{name: (steps, values) for name, values in losses.items()}, "sum_of_squares": (steps, steps)}
    boundary, names = RULES["test_loss"]
    alike = {name: np.repeat(values[:, None], 21, axis=1) for name, values in losses.items()}
    np.testing.assert_array_equal(spread(boundary, names, curves, alike), np.zeros((2, 3)))
    low, high = spread(boundary, names, curves, alike | {"test_loss": alike["test_loss"] * np.linspace(0.5, 2, 21)})
    assert low[0] == high[0] == 0  # a factor moves no peak
    noisy = alike["test_loss"] * np.exp(np.random.default_rng(0).normal(size=(101, 21)) / 9)
    low, high = spread(boundary, names, curves, alike | {"test_loss": noisy})
    assert (high > low).all()


def test_draws_that_do_not_reach_a_boundary_leave_its_upper_end_open():
    steps = np.arange(0, 101, 10)
    peaks = [np.where(steps == at, 9.0, 1.0) for at in (50, 40, 60, *[100] * 2)]
    resampled = {
        "train_loss": np.full((11, 5), 1e-4),
        "test_loss": np.stack(peaks, axis=1),
    }
    boundary, names = RULES["test_loss"]
    low, high = spread(boundary, names, {"sum_of_squares": (steps, steps)}, resampled)
    assert low[0] == -10
    assert math.isnan(high[0])


def test_runs_that_did_not_arrive_are_censored_in_the_comparison(grown):
    runs = [grown("a"), grown("b", slow=2), grown("c", last=300)]
    table = analyze.compare([analyze.measure(run, "phases", resamples=20) for run in runs])
    row = table.loc["cleanup ends by test loss"]
    assert (row["reached"], row["censored"]) == (1, 2)  # b ends while its test loss still falls
    row = table.loc["half way, test accuracy"]
    assert (row["reached"], row["censored"], row["lowest"], row["highest"]) == (2, 1, 300, 600)
    assert row["median"] == 600  # of 300, 300+ and 600
    row = table.loc["lead, train accuracy"]
    assert (row["reached"], row["censored"], row["highest"]) == (2, 1, 485)
    curves = analyze.compare([analyze.measure(run, "curves") for run in runs])
    assert curves.loc["memorised", "reached"] == 3
    row = curves.loc["delay"]
    assert (row["reached"], row["censored"], row["lowest"]) == (2, 1, 340)


def test_a_run_that_collapses_has_the_phases_that_it_had_before(grown):
    steps = tuple(range(0, 1001, 50))
    kept = analyze.measure(grown("kept", checkpoints=steps), "phases", resamples=20)
    lost = analyze.measure(
        grown("lost", 1500, checkpoints=(*steps, 1200, 1500), lost_after=1000), "phases", resamples=20
    )
    assert lost.attrs["part"] == "up to step 1,000: at 1,010 the run lost what it had reached"
    assert kept.attrs["part"] == "the whole run"
    for name in ("ends", "censored_at", "half_way", "lead", "checkpoint"):
        np.testing.assert_array_equal(lost[name], kept[name])
    assert lost["step"][-1] == 1500  # what was logged is shown to the end
    table = analyze.compare([kept, lost])
    row = table.loc["half way, test accuracy"]
    assert (row["reached"], row["collapsed"], row["censored"]) == (1, 1, 0)


def test_what_a_null_does_alike_leads_nothing():
    steps = np.arange(0, 1001, 10)
    decay, own = 100 * np.exp(-steps / 200), 10 * np.interp(steps, [500, 600], [0, 1])

    def weights(values):
        """A measurement of Σw² alone."""
        attrs = {"memorised": 100.0, "generalised": 600.0, "run": "one"}
        found = xr.Dataset({"sum_of_squares": ("checkpoint", values)}, {"checkpoint": steps, "measure": ["Σw²"]}, attrs)
        return found.assign(half_way=("measure", [math.nan]))

    nulls = [weights(decay * factor) for factor in (0.98, 1.0, 1.02)]
    assert against(weights(decay - own), nulls)["half_way_beyond"] == 550
    assert against(weights(decay), nulls)["half_way_beyond"].isnull().all()


def test_measurements_of_different_analyses_are_not_compared(tiny):
    with pytest.raises(UserError, match="are of curves, norms; compare those of one analysis"):
        analyze.compare([analyze.measure(tiny, "curves"), analyze.measure(tiny, "norms")])
    with pytest.raises(UserError, match="are of no run"):
        analyze.compare([])


@pytest.mark.usefixtures("no_browser")
def test_the_command_compares_several_runs_and_writes_the_table(grown, tmp_path, capsys):
    runs = [str(grown(name).path) for name in "ab"]
    assert command(["curves", *runs, "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert said.index("files:") < said.index("curves over 2 runs; medians of Kaplan and Meier:")
    table = pd.read_csv(tmp_path / "out/curves-comparison.csv", index_col="what")
    assert table.loc["memorised", "median"] == 60
    assert command(["curves", runs[0]]) == 0
    assert "Kaplan" not in capsys.readouterr().out


def test_with_json_the_comparison_is_written_and_not_printed(grown, tmp_path, capsys):
    runs = [str(grown(name).path) for name in "ab"]
    assert command(["curves", *runs, "--json", "--out", str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert [json.loads(line)["run"] for line in lines] == runs
    assert (tmp_path / "out/curves-comparison.csv").exists()


@needs_published
def test_the_published_run_of_weight_decay_a_tenth_memorises_until_step_1550(tmp_path):
    from interp.convert import main as convert

    source = published("progress-measures/wd_10-1_mod_addition_loss_curve.pth")
    assert convert([str(source), "--out", str(tmp_path / "run")]) == 0
    found = analyze.measure(open_run(tmp_path / "run"), "phases")
    ends = found["ends"].sel(rule="test_loss").values
    assert ends[0] == pytest.approx(1550, abs=2)
    assert ends[0] < ends[1] < 90_890  # where the test loss falls below 1


def test_a_run_of_one_step_has_no_curves(tmp_path):
    run = train(tiny_config(train=TrainConfig(steps=0)), tmp_path / "run")
    with pytest.raises(DoesNotApply, match="was logged at one step"):
        analyze.measure(run, "phases")


def test_no_lead_is_told_of_checkpoints_that_leave_out_the_end_or_memorisation():
    early, late = np.arange(0, 600, 100), np.arange(500, 1100, 100)
    logged = np.arange(0, 1010, 10)
    curves = {
        "train_loss": (logged, np.where(logged < 100, 1.0, 1e-4)),
        "train_accuracy": (logged, (logged >= 100).astype(float)),
        "test_accuracy": (logged, (logged >= 700).astype(float)),
    }
    coarse = np.array([0, 500, 1000])
    for steps, why in (
        (early, "end at step 500"),
        (late, "begin at step 500"),
        (coarse, "2 checkpoints in view after"),
    ):
        here = curves | {"sum_of_squares": (steps, np.linspace(2, 1, len(steps)))}
        assert why in of_part(here)
        found = leads(here)
        half = dict(zip(found["measure"], found["half_way"], strict=True))
        assert np.isnan(half["Σw²"])
        assert 690 <= half["test accuracy"] <= 700
    whole = np.arange(0, 1050, 50)
    here = curves | {"sum_of_squares": (whole, np.linspace(2, 1, len(whole)))}
    assert of_part(here) == ""
    found = leads(here)
    assert dict(zip(found["measure"], found["half_way_within"], strict=True))["Σw²"] == 50
