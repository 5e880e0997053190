"""How runs end, and means over them."""

import math

import numpy as np
import pandas as pd
import pytest
from helpers import tiny_config

from interp.base import UserError
from interp.models.network import initial_weights
from interp.recipe import TrainConfig
from interp.store import RunWriter, open_run
from interp.store.history import Row
from interp.study import ends, means


def logged(directory, accuracies, losses):
    """A run with these test accuracies and losses, and train accuracies that rise by a tenth a row."""
    with RunWriter(directory, tiny_config(train=TrainConfig(steps=10 * len(losses)))) as run:
        for row, (accuracy, loss) in enumerate(zip(accuracies, losses, strict=True)):
            named: Row = {
                "step": 10 * row,
                "train_loss": 1 / (1 + row),
                "test_loss": loss,
                "train_accuracy": row / 10,
                "test_accuracy": accuracy,
            }
            run.log(named)
        run.checkpoint(0, initial_weights(run.config.model, run.config.task.shape, seed=0))
    return open_run(directory)


def test_ends_are_those_of_the_last_and_of_the_best_step(tmp_path):
    found = ends(logged(tmp_path / "run", [0.25, 0.75, 0.75, 0.5], [2.0, 1.0, 0.5, 3.0]))
    assert found == {
        "train_error": pytest.approx(0.7),
        "test_error": 0.5,
        "train_loss": 0.25,
        "test_loss": 3.0,
        "best_test_error": 0.25,
        "best_step": 10,
        "least_test_loss": 0.5,
    }


def test_a_run_without_accuracies_has_no_errors(tmp_path):
    with pytest.raises(UserError, match="has no accuracies in its history, and so no errors"):
        ends(logged(tmp_path / "run", [math.nan, math.nan], [1.0, 0.5]))


def test_means_have_the_standard_error_of_the_mean():
    values = [1.0, 2.0, 4.0]
    table = pd.DataFrame({"width": [4, 4, 4, 8], "error": [*values, 5.0], "name": list("abcd")})
    found = means(table, ["width"])
    assert list(found) == ["error", "error ±", "runs"]
    assert found.loc[4, "error"] == pytest.approx(7 / 3)
    assert found.loc[4, "error ±"] == pytest.approx(np.std(values, ddof=1) / math.sqrt(3))
    assert found.loc[8, "error"] == 5 and math.isnan(found.loc[8, "error ±"])
    assert list(found["runs"]) == [3, 1]
    with pytest.raises(UserError, match='no column "widht"'):
        means(table, ["widht"])
