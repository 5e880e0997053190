"""Bias and variance over runs whose outputs are planted, and over real ones."""

import math
from typing import Any

import numpy as np
import pytest
import torch

import interp
from interp.base import DoesNotApply, UserError
from interp.config import RunConfig
from interp.models import MlpSpec
from interp.models.network import initial_weights
from interp.recipe import Seeds, TrainConfig
from interp.store import RunWriter
from interp.tasks import AdditionTask, ImagesTask

TASK = ImagesTask(examples=1_600, test_examples=150)


def planted(path, bias: torch.Tensor, task=TASK, width: int = 2, steps=(0,), **seeds):
    """A run that answers every image with these ten logits, whatever it is."""
    config = RunConfig(
        task=task, model=MlpSpec(inputs="vectors", width=width, act_fn="relu", biases=True),
        train=TrainConfig(steps=max(steps)), seeds=Seeds(**seeds),
    )  # fmt: skip
    weights = {name: torch.zeros_like(w) for name, w in initial_weights(config.model, config.task.shape, 0).items()}
    with RunWriter(path, config) as writer:
        for step in steps:
            writer.checkpoint(step, weights | {"unembed.b_U": bias})
    return interp.open_run(path)


def sure_of(digit: int, by: float = 1.0) -> torch.Tensor:
    logits = torch.zeros(10)
    logits[digit] = by
    return logits


def test_runs_that_are_sure_of_other_digits_share_nothing(tmp_path):
    """One is all but sure of 3, the other of 5: every image has a variance of 1, Σ(p − p̄)² = ½ and ½, ÷ (2 − 1)."""
    runs = [planted(tmp_path / str(digit), sure_of(digit, 30.0), model=digit) for digit in (3, 5)]
    table = interp.compare([run.measure("variance") for run in runs])
    assert table.index.to_list() == [("seeds", 0)]
    row = table.iloc[0]
    assert row["squared error: variance"] == pytest.approx(1)
    targets = runs[0].split.test.targets
    hit = (np.isin(targets, (3, 5))).mean()
    assert row["squared error"] == pytest.approx(2 - hit, abs=1e-6)  # 2 for a wrong answer, 0 for a right one
    assert row["squared error: bias²"] == pytest.approx(1 - hit, abs=1e-6)
    assert row["squared error: share of variance"] == pytest.approx(1 / (2 - hit), abs=1e-6)
    assert math.isnan(row["squared error: variance ±"])
    assert (row["runs"], row["examples"]) == (2, 150)


def test_seeds_and_samples_are_told_apart_where_both_vary(tmp_path):
    """What a run answers depends on the sample, not on the seed: all of the variance is the sample's."""
    found = [
        planted(tmp_path / f"{labels}-{model}", sure_of(labels, 2.0), labels=labels, model=model).measure("variance")
        for labels in (0, 1, 2)
        for model in (0, 1, 2)
    ]
    table = interp.compare(found).droplevel("step")
    assert table.loc["seeds", "runs"] == table.loc["samples", "runs"] == 9
    assert table.loc["seeds", ["squared error: variance", "cross-entropy: variance"]].tolist() == pytest.approx([0, 0])
    p = math.exp(2) / (math.exp(2) + 9)
    q = (1 - p) / 9
    assert table.loc["samples", "squared error: variance"] == pytest.approx(3 * 2 * (p - q) ** 2 / 3 / 2)
    assert table.loc["samples", "cross-entropy: variance"] > 0.05
    assert table.loc["samples", "squared error ±"] == pytest.approx(0, abs=0.2)


def test_only_images_that_all_runs_test_on_are_compared(tmp_path):
    whole = ImagesTask(examples=1_000, test_examples=797)
    found = [
        planted(tmp_path / str(split), sure_of(split), task=whole, split=split).measure("variance") for split in (0, 1)
    ]
    common = {row.tobytes() for run in (0, 1) for row in interp.open_run(tmp_path / str(run)).split.test.inputs}
    both = 2 * 797 - len(common)
    assert interp.compare(found)["examples"].tolist() == [both]
    assert interp.compare(found).index.get_level_values("over").tolist() == ["samples"]
    few = [run.measure("variance", examples=200) for run in map(interp.open_run, (tmp_path / "0", tmp_path / "1"))]
    assert 20 <= interp.compare(few)["examples"].item() < 200  # of each the same part by content


def test_runs_without_common_images_are_told_which_seed_to_keep(tmp_path):
    task = ImagesTask(examples=1_000, test_examples=60)
    found = [planted(tmp_path / str(split), sure_of(0), task=task, split=split).measure("variance") for split in (0, 1)]
    with pytest.raises(UserError, match=r"have \d+ test examples in common, and 20 are needed: seeds.split decides"):
        interp.compare(found)


def test_all_checkpoints_may_be_compared_and_drawn(tmp_path):
    found = [
        planted(tmp_path / str(seed), sure_of(seed), steps=(0, 10, 100), model=seed).measure("variance", checkpoints=3)
        for seed in range(3)
    ]
    table = interp.compare(found)
    assert table.index.get_level_values("step").tolist() == [0, 10, 100]
    figure: Any = interp.draw_runs(found)
    assert {trace.name for trace in figure.data if trace.name} >= {"bias², seeds", "variance, seeds"}
    with pytest.raises(UserError, match="differ in seeds alone; a figure over runs needs one field"):
        interp.draw_runs([each.isel(step=[-1]) for each in found])


def test_over_widths_a_figure_has_a_point_for_each(tmp_path):
    found = [
        planted(tmp_path / f"{width}-{seed}", sure_of(seed, width), width=width, model=seed).measure("variance")
        for width in (1, 2)
        for seed in range(3)
    ]
    figure: Any = interp.draw_runs(found)
    variance = next(trace for trace in figure.data if trace.name == "variance, seeds")
    assert list(variance.x) == [1, 2]
    assert variance.y[1] > variance.y[0] > 0


def test_several_answers_a_prompt_are_refused(tmp_path):
    config = RunConfig(task=AdditionTask(digits=2, examples=30, test_examples=25), train=TrainConfig(steps=0))
    with RunWriter(tmp_path / "run", config) as writer:
        writer.checkpoint(0, initial_weights(config.model, config.task.shape, 0))
    with pytest.raises(DoesNotApply, match='several answers a prompt; analysis "variance" needs one'):
        interp.open_run(tmp_path / "run").measure("variance")
