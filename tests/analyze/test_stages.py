"""Stages of runs with planted histories, and of a real one."""

import math
from typing import Any

import numpy as np
import pytest
from helpers import tiny_config

import interp
from interp.base import DoesNotApply
from interp.config import RunConfig
from interp.models.network import initial_weights
from interp.recipe import TrainConfig
from interp.store import RunWriter
from interp.store.record import Session

STEPS = np.arange(0, 8001, 100)


def planted(path, error, loss, steps=STEPS):
    """A run with these curves on the test set."""
    config: RunConfig = tiny_config(train=TrainConfig(steps=int(steps[-1]), log_every=100))
    with RunWriter(path, config) as writer:
        writer.begin(Session.begin(0, "cpu", 1))
        for step, each, of in zip(steps, error, loss, strict=True):
            row = {
                "step": int(step),
                "train_loss": 1.0,
                "test_loss": float(of),
                "train_accuracy": 0.5,
                "test_accuracy": 1 - float(each),
            }
            writer.log(row)
        writer.checkpoint(0, initial_weights(config.model, config.task.shape, 0))
    return interp.open_run(path)


def bumped(second: float) -> np.ndarray:
    t = np.log(np.maximum(STEPS, 1))
    noise = 0.002 * np.random.default_rng(0).standard_normal(len(STEPS))
    bump = 0.1 * np.exp(-(((t - np.log(1500)) / 0.6) ** 2))
    return 0.2 + 0.7 * np.exp(-STEPS / 60) + bump + second / (1 + np.exp(-(t - np.log(3000)) / 0.2)) + noise


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A run whose test error has three stages, the second minimum the lower one, and whose test loss only falls."""
    falling = 2 * np.exp(-STEPS / 500) + 0.2 + 0.01 * np.random.default_rng(1).standard_normal(len(STEPS))
    return planted(tmp_path_factory.mktemp("runs") / "run", bumped(-0.08), falling).measure("stages", draws=500)


def test_each_curve_has_its_own_stages(found):
    error, loss = (found["p_value"].sel(curve=curve).values for curve in ("error", "loss"))
    assert (error < 0.01).all()
    assert loss[0] < 0.01 <= 0.05 <= loss[1]
    assert math.isnan(loss[2])
    table = interp.summarise(found)
    assert table["stage"].tolist() == [
        "simple generalisation",
        "memorisation",
        "consolidation",
        "simple generalisation",
    ]
    assert table["second minimum"].iloc[2].startswith("below the first by 0.07")
    assert float(found["second_minimum"].sel(curve="error")) == pytest.approx(-0.08, abs=0.01)


def test_the_figure_shades_each_stage_that_counts(found):
    figure: Any = interp.draw(found)
    assert [note.text for note in figure.layout.annotations][:2] == [
        "test error: simple generalisation, memorisation, consolidation",
        "test loss: simple generalisation",
    ]
    assert sum(shape.type == "rect" for shape in figure.layout.shapes) == 4


def test_over_runs_a_stage_that_a_run_lacks_is_censored(found, tmp_path):
    only_falls = planted(tmp_path / "run", 0.9 * np.exp(-STEPS / 500) + 0.1, 2 * np.exp(-STEPS / 500))
    table = interp.compare([found, only_falls.measure("stages", draws=500)])
    assert table.loc["peak of test error", ["reached", "censored"]].tolist() == [1, 1]
    assert 1200 < table.loc["peak of test error", "lowest"] < 1900
    assert table.loc["valley of test error", "reached"] == 2


def test_a_history_that_is_too_short_is_told_so(tmp_path):
    run = planted(tmp_path / "run", bumped(0)[:9], bumped(0)[:9], STEPS[:9])
    with pytest.raises(
        DoesNotApply, match=r'has 8 logged test losses from step 1 on; analysis "stages" needs 10: take a smaller train'
    ):
        run.measure("stages")
