"""Learning curves: the generalisation gap, of the history as it was logged."""

import numpy as np
import plotly.graph_objects as go
import pytest
from helpers import tiny_config

from interp import analyze
from interp.models.network import initial_weights
from interp.store import RunWriter, open_run

LOGGED = {"train_loss": [2.0, 0.5, 1e-6], "test_loss": [1.5, 4.0, 0.25]}
ACCURACIES = {"train_accuracy": [0.1, 1.0, 1.0], "test_accuracy": [0.2, 0.25, 1.0]}


def logged(path, columns):
    """A run that logged these values at steps 0, 10 and 20."""
    columns, config = dict.fromkeys(ACCURACIES, [np.nan] * 3) | columns, tiny_config()
    with RunWriter(path, config) as writer:
        for step, *row in zip((0, 10, 20), *columns.values(), strict=True):
            writer.log({"step": step} | dict(zip(columns, row, strict=True)))
        writer.checkpoint(0, initial_weights(config.model, config.task.shape, seed=0))
    return open_run(path)


def titles(figure: go.Figure) -> list[str]:
    """Titles of the panels."""
    return [each.text for each in figure.layout.annotations]


def test_the_gap_is_what_is_known_better_of_the_training_set_and_negative_where_that_is_the_test_set(tmp_path):
    found = analyze.measure(logged(tmp_path / "run", LOGGED | ACCURACIES), "curves")
    assert found["loss_gap"].values == pytest.approx([-0.5, 3.5, 0.25 - 1e-6])
    assert found["accuracy_gap"].values == pytest.approx([-0.1, 0.75, 0])
    assert found["loss_gap"].attrs["units"] == found["test_loss"].attrs["units"]
    figure = analyze.find("curves").draw(found)
    assert titles(figure) == ["loss", "accuracy", "generalisation gap, loss", "generalisation gap, accuracy"]
    drawn = {trace.name: list(trace.y) for trace in figure.data}
    assert drawn["test − train"] == found["loss_gap"].values.tolist()
    assert drawn["train − test"] == found["accuracy_gap"].values.tolist()


def test_where_no_accuracy_was_logged_there_is_a_gap_of_the_losses_alone(tmp_path):
    found = analyze.measure(logged(tmp_path / "run", LOGGED), "curves")
    assert np.isnan(found["accuracy_gap"]).all()
    assert titles(analyze.find("curves").draw(found)) == ["loss", "generalisation gap, loss"]


def test_early_stopping_keeps_the_lowest_error_and_loss_each_at_its_own_step(tmp_path):
    found = analyze.measure(
        logged(tmp_path / "run", LOGGED | ACCURACIES | {"test_accuracy": [0.2, 0.75, 0.75]}), "curves"
    )
    row = analyze.find("curves").summarise(found).iloc[0]
    assert row["least test error"] == 0.25 and row["least test error at step"] == 10  # the first of two
    assert row["least test loss"] == 0.25 and row["least test loss at step"] == 20
    without = analyze.measure(logged(tmp_path / "other", LOGGED), "curves")
    assert np.isnan(without.attrs["least_test_error"]) and np.isnan(without.attrs["least_test_error_step"])
    row = analyze.find("curves").summarise(without).iloc[0]
    assert "least test error" not in row and row["least test loss at step"] == 20
