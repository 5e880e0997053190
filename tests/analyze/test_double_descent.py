"""Double descent over planted sweeps: threshold, peak, second descent, and what each run's network has."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import interp
from interp.analyze.learning.double_descent import Options
from interp.base import DoesNotApply, UserError
from interp.config import RunConfig
from interp.models import MlpSpec
from interp.models.network import initial_weights
from interp.recipe import Seeds, TrainConfig
from interp.store import RunWriter
from interp.store.record import Session
from interp.tasks import Corruption, ImagesTask

WIDTHS = (2, 4, 8, 16, 32, 64)
TRAIN = (0.4, 0.3, 0.1, 0.005, 0.0, 0.0)
TEST = (0.4, 0.2, 0.25, 0.35, 0.2, 0.1)


def config(width: int = 4, seed: int = 0, **parts) -> RunConfig:
    """64-h-10 on thirty digits, a third of the labels wrong."""
    whole: dict[str, Any] = {
        "name": "planted",
        "task": ImagesTask(examples=30, test_examples=40),
        "model": MlpSpec(inputs="vectors", width=width, act_fn="relu", biases=True),
        "train": TrainConfig(steps=100, log_every=50, checkpoint_every=100),
        "corruption": Corruption(labels=10),
        "seeds": Seeds(model=seed),
    }
    return RunConfig(**(whole | parts))


def planted(
    path, config: RunConfig, rows=((0, 0.9, 0.9), (50, 0.5, 0.1), (100, 0.4, 0.2)), change=lambda weights: None
):
    """A run with these rows (step, train error, test error) and initial weights, changed; a loss is ten times an error."""
    weights = initial_weights(config.model, config.task.shape, config.seeds.model)
    change(weights)
    with RunWriter(path, config) as writer:
        writer.begin(Session.begin(0, "cpu", 1))
        for step, train, test in rows:
            losses = {"train_loss": 10 * train, "test_loss": 10 * test}
            writer.log({"step": step, **losses, "train_accuracy": 1 - train, "test_accuracy": 1 - test})
        writer.checkpoint(rows[-1][0], weights)
    return interp.open_run(path)


def hidden(run, inputs: np.ndarray) -> np.ndarray:
    """The hidden layer of the last checkpoint, by hand; biases of the answers are 0."""
    W, b = (run.final.weights[f"layers.0.{name}"].double().numpy() for name in ("W", "b"))
    return np.maximum(inputs.astype(float) @ W + b, 0)


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """A measurement of a planted run."""
    return planted(tmp_path_factory.mktemp("runs") / "one", config()).measure("double_descent")


@pytest.fixture
def sweep(one):
    """Measurements over widths with these errors at the end: the planted run's with other errors and another configuration."""

    def sweep(test=TEST, seeds: int = 3, noise: float = 0.005, over: str = "", **parts) -> list[xr.Dataset]:
        found, draws = [], np.random.default_rng(0)
        for width, train, error in zip(WIDTHS, TRAIN, test, strict=True):
            for seed in range(seeds):
                each = one.copy(deep=True)
                each["train_error"][1:], each["test_error"][1:] = train, [0.09, error + noise * draws.standard_normal()]
                for part in ("train", "test"):
                    each[f"{part}_loss"][:] = 10 * each[f"{part}_error"].values
                attrs = {"config": config(width, seed, **parts).model_dump_json(), "parameters": 75 * width}
                found.append(each.assign_attrs(attrs, options=Options(over=over).model_dump_json()))
        return found

    return sweep


def test_a_planted_threshold_peak_and_second_descent_are_found(sweep):
    table = interp.compare(sweep())
    assert table.index.name == "model.width"
    assert table["runs"].tolist() == [3] * 6
    assert table["is"].to_dict() == {2: "", 4: "valley", 8: "", 16: "threshold, peak", 32: "", 64: "second valley"}
    peak, second = table.loc[16], table.loc[64]
    assert abs(peak["rise"] - 0.15) < 5 * peak["rise ±"] < 0.05
    assert abs(second["fall"] - 0.25) < 5 * second["fall ±"] < 0.05
    assert max(peak["p"], second["fall p"]) < 0.001
    assert peak[["peak from", "peak to", "threshold from", "threshold to"]].tolist() == [16] * 4
    np.testing.assert_allclose(table["test error"], TEST, atol=0.015)  # five standard errors of .005/√3
    assert (table["test loss ±"] > 0).all()


def test_a_sweep_that_only_falls_has_no_peak_below_05_and_one_that_only_rises_is_not_one(sweep):
    falling = interp.compare(sweep(TRAIN))
    p = falling["p"] if "p" in falling else pd.Series([1.0])
    assert p.min() >= 0.05
    rising = interp.compare(sweep(TRAIN[::-1]))
    assert rising.loc[64, "is"] == "still rising"
    assert rising.loc[64, "p"] < 0.001
    assert "peak" not in " ".join(rising["is"])


def test_the_figure_marks_threshold_and_peak_and_maps_the_test_error(sweep):
    found = sweep()
    figure: Any = interp.draw_runs(found)
    labels = {shape.label.text for shape in figure.layout.shapes if shape.label.text}
    assert labels == {"threshold 16", "peak 16, p = 0.0001<br> "}
    (colours,) = figure.select_traces(selector={"type": "heatmap"})
    assert list(colours.x) == list(WIDTHS)
    assert list(colours.y) == [50, 100]
    np.testing.assert_allclose(colours.z[1], interp.compare(found)["test error"])


def test_one_run_a_setting_tells_the_threshold_and_no_peak(sweep):
    table = interp.compare(sweep(seeds=1))
    assert table["is"].tolist() == ["", "", "", "threshold", "", ""]
    assert "p" not in table
    assert table["test error ±"].isna().all()


def test_further_fields_are_looked_at_apart_and_a_figure_needs_one(sweep):
    fewer = Corruption(labels=5)
    found = sweep() + sweep(TRAIN, corruption=fewer)
    with pytest.raises(
        UserError, match=r"differ in model.width, corruption.labels; a figure over runs needs one field"
    ):
        interp.draw_runs(found)
    assert "is" not in interp.compare(found)
    table = interp.compare(sweep(over="model.width") + sweep(TRAIN, over="model.width", corruption=fewer))
    assert table.index.names == ["corruption.labels", "model.width"]
    assert table.loc[(10, 16), "is"] == "threshold, peak"
    assert table.loc[(5, 16), "is"] == "threshold"
    assert table.loc[(10, 16), "holm"] == pytest.approx(table["p"].count() * table.loc[(10, 16), "p"])


def test_parameters_stand_for_all_that_is_told_of_the_model(sweep):
    assert interp.compare(sweep(over="parameters")).index.tolist() == [75 * width for width in WIDTHS]
    with pytest.raises(UserError, match=r'do not differ in "model\.with"; did you mean "model\.width"'):
        interp.compare(sweep(over="model.with"))
    names = [each.assign_attrs(config=each.attrs["config"].replace('"wrong_class"', f'"{number}"'))
             for number, each in enumerate(sweep(over="corruption.drawn"))]  # fmt: skip
    with pytest.raises(
        UserError, match=r'"corruption\.drawn" is no number; compare over one that is, or over "parameters"'
    ):
        interp.compare(names)


def test_the_best_step_is_the_lowest_on_the_test_set(tmp_path):
    found = planted(tmp_path / "run", config()).measure("double_descent")
    assert found.attrs["parameters"] == 64 * 4 + 4 + 4 * 10 + 10
    best = found.sel(curve="error")
    assert (float(best["best"]), float(best["best_step"]), float(best["train_at_best"])) == pytest.approx(
        (0.1, 50, 0.5)
    )
    table = interp.summarise(found)
    assert table.loc[50, "is"] == "best test error, best test loss"
    assert table.loc[100, "is"] == "last"
    assert table.loc[100, "test loss"] == pytest.approx(2)


def test_a_layer_that_is_one_number_has_rank_1_and_any_other_that_of_its_singular_values(tmp_path):
    def constant(weights):
        weights["layers.0.W"].zero_()
        weights["layers.0.b"].fill_(2.0)

    one = planted(tmp_path / "one", config(7), change=constant).measure("double_descent")
    np.testing.assert_allclose(one["effective_rank"], 1, atol=1e-6)
    run = planted(tmp_path / "any", config(7))
    found = run.measure("double_descent")
    singular = np.linalg.svd(hidden(run, run.split.test.inputs), compute_uv=False)
    shares = singular / singular.sum()
    assert float(found["effective_rank"][-1]) == pytest.approx(math.exp(-(shares * np.log(shares)).sum()))
    assert 1 < float(found["effective_rank"][-1]) < 7


def test_fits_are_of_clean_and_of_wrong_labels_as_trained(tmp_path):
    run = planted(tmp_path / "run", config())
    found = run.measure("double_descent").isel(checkpoint=-1)
    answers = (hidden(run, run.split.train.inputs) @ run.final.weights["unembed.W_U"].double().numpy()).argmax(axis=1)
    right, wrong = answers == run.split.train.targets, run.split.corrupted
    assert wrong.sum() == 10
    assert float(found["fitted"].sel(examples="clean")) == pytest.approx(right[~wrong].mean())
    assert float(found["fitted"].sel(examples="corrupted")) == pytest.approx(right[wrong].mean())
    norm = math.sqrt(sum(float(w.double().square().sum()) for w in run.final.weights.values()))
    assert float(found["norm"]) == pytest.approx(norm)


def test_a_run_without_logged_losses_is_told_so(tmp_path):
    with RunWriter(tmp_path / "run", config()) as writer:
        writer.checkpoint(0, initial_weights(config().model, config().task.shape, 0))
    with pytest.raises(
        DoesNotApply, match='no test loss in its history; analysis "double_descent" needs logged losses'
    ):
        interp.open_run(tmp_path / "run").measure("double_descent")


@pytest.mark.usefixtures("no_browser")
def test_a_real_sweep_ends_in_a_table_and_a_figure(tmp_path, capsys):
    from interp.cli.analyze import main

    base = config(train=TrainConfig(steps=60, lr=1e-2, log_every=10, checkpoint_every=30))
    configs = interp.grid(base, vary={"model.width": [2, 32]})
    interp.train_runs(configs, tmp_path / "sizes")
    assert main(["double_descent", str(tmp_path / "sizes"), "--draws", "200"]) == 0
    assert "double_descent over 2 runs:" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "sizes/analysis/double_descent-comparison.csv", index_col=0)
    assert table.index.tolist() == [2, 32]
    assert table.loc[32, "fitted corrupted"] > table.loc[2, "fitted corrupted"]
    assert (tmp_path / "sizes/analysis/double_descent-comparison.html").exists()
