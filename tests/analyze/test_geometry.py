"""Features and examples of toy models in the plane, and the polygons they form: planted, written, read back, measured."""

import json
import math
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
import xarray as xr

from interp import analyze
from interp.base import DoesNotApply, UserError
from interp.config import RunConfig
from interp.maths.polygons import FORMS
from interp.models import ToySpec
from interp.recipe import Seeds, TrainConfig
from interp.report import files as _export
from interp.store import RunWriter, open_run
from interp.tasks import SparseFeaturesTask
from interp.views.seeds import MATCHED_UP_TO, between_seeds, chosen

VERTICES = {form.name: form.vertices.float() for form in FORMS}


@pytest.fixture
def plant(tmp_path):
    """Write a run of a toy model with these weights W [features, hidden numbers] at its checkpoints."""

    def plant(*features, examples=4, name="planted", seed=0):
        n, m = features[0].shape
        config = RunConfig(
            task=SparseFeaturesTask(n_features=n, sparsity=0.5, examples=examples, test_examples=5),
            model=ToySpec(d_hidden=m),
            train=TrainConfig(steps=len(features) - 1),
            seeds=Seeds(split=seed, model=seed),
        )
        with RunWriter(tmp_path / name, config) as writer:
            for step, each in enumerate(features):
                losses = dict.fromkeys(("train_loss", "test_loss", "train_accuracy", "test_accuracy"), 0.5)
                writer.log({"step": step, **losses})
                writer.checkpoint(step, {"W": each.T.contiguous(), "b": torch.zeros(n)})
        return open_run(tmp_path / name)

    return plant


def with_a_short_one(V):
    """A feature more, almost 0, which D does not count as represented."""
    return torch.cat([torch.full((1, V.shape[1]), 1e-3), V])


def test_a_pentagon_is_named_at_its_step_with_its_gaps(plant):
    alone = with_a_short_one(torch.eye(5, 2))
    found = analyze.measure(plant(alone, with_a_short_one(VERTICES["pentagon"])), "geometry")
    at = found["polygons"].to_series().unstack()
    assert dict(at.loc[1][at.loc[1] > 0]) == {"pentagon": 1}
    assert dict(at.loc[0][at.loc[0] > 0]) == {"own dimension": 2}
    last = found.sel(step=1)
    np.testing.assert_allclose(last["feature_gap"], [np.nan, 72, 72, 72, 72, 72], atol=1e-4)
    assert list(last["feature_polygon"]) == [-1, 0, 0, 0, 0, 0]
    np.testing.assert_allclose(last["feature_plane"][1:], VERTICES["pentagon"], atol=1e-6)
    assert list(found["plane_share"]) == [1, 1]
    table = analyze.summarise(found)
    assert list(table["pentagon"]) == [0, 1]
    assert table["feature gaps from"][1] == pytest.approx(72, abs=1e-4)


def test_examples_lie_where_the_model_puts_them(plant):
    W = VERTICES["triangle"]
    run = plant(W, W)
    found = analyze.measure(run, "geometry")
    expected = run.split.train.inputs @ W.numpy()
    np.testing.assert_allclose(found["example_plane"].sel(step=1), expected, atol=1e-5)
    gaps = found["example_gap"].sel(step=1)
    assert float(gaps.sum()) == pytest.approx(360)
    few = analyze.measure(run, "geometry", examples=2, features=2)
    assert few.sizes["example"] == few.sizes["feature"] == 2
    longest = np.sort(np.linalg.norm(expected, axis=1).argsort()[-2:])
    assert list(few["example"]) == list(longest)
    assert "example_gap" not in few, "gaps between some of the examples are none"


def test_forms_of_one_model_are_counted_and_seen_in_one_plane_of_many(plant):
    blocks = [VERTICES[name] for name in ("pentagon", "square antiprism", "digon", "digon")]
    V = torch.block_diag(*blocks)
    V = V @ torch.linalg.qr(torch.randn(7, 7, generator=torch.Generator().manual_seed(0))).Q
    found = analyze.measure(plant(0.5 * V, V), "geometry")
    for step in (0, 1):
        counts = found["polygons"].sel(step=step).to_series()
        assert dict(counts[counts > 0]) == {"digon": 2, "pentagon": 1, "square antiprism": 1}
    # One plane for all steps: half the weights lie half as far out. The antiprism's 8/3 are the largest eigenvalues.
    np.testing.assert_allclose(2 * found["feature_plane"].sel(step=0), found["feature_plane"].sel(step=1), atol=1e-5)
    np.testing.assert_allclose(found["plane_share"], 2 * (8 / 3) / 17, rtol=1e-5)
    assert "feature_gap" not in found
    figure: Any = analyze.draw(found)
    assert "axes of 7" in figure.layout.title.text


def test_a_represented_feature_is_shown_before_a_longer_one_that_is_not(plant):
    # Two that share a direction have D of a half and less; of many along it each has little, however long.
    many = torch.zeros(12, 2)
    many[:11, 0], many[11, 1] = 5.0, 0.5
    found = analyze.measure(plant(many), "geometry", features=1)
    assert list(found["feature"]) == [11]


def test_a_figure_of_steps_has_a_frame_for_each_and_one_of_runs_a_frame_for_each_run(plant):
    runs = [plant(VERTICES["digon"], VERTICES["digon"], examples=n, name=str(n)) for n in (3, 2)]
    found = [analyze.measure(run, "geometry") for run in runs]
    figure: Any = analyze.draw(found[0])
    assert [step.label.split(" · ")[0] for step in figure.layout.sliders[0].steps] == ["step 0", "step 1"]
    assert "1 × digon" in figure.layout.sliders[0].steps[1].label
    over: Any = analyze.draw_runs(found)
    labels = [step.label.split(" · ")[0] for step in over.layout.sliders[0].steps]
    assert labels == ["training examples T = 2", "training examples T = 3"]
    dots = [len(frame.data[3].x) for frame in over.frames]
    assert dots == [2, 3]
    assert isinstance(over, go.Figure)
    table = analyze.compare(found)
    assert list(table["task.examples"]) == [3, 2]
    assert list(table["digon"]) == [1, 1]
    with pytest.raises(UserError, match="differ in seeds alone; a figure over runs needs one field"):
        analyze.draw_runs(found[:1])


def test_a_pentagon_is_five_fold_and_examples_have_the_order_of_their_angles(plant):
    run = plant(with_a_short_one(torch.eye(5, 2)), with_a_short_one(VERTICES["pentagon"]), examples=6)
    found = analyze.measure(run, "geometry", folds=10, examples=2)
    last = found.sel(step=1)
    np.testing.assert_allclose(last["feature_fold_order"], [0, 0, 0, 0, 1, 0, 0, 0, 0, 1], atol=1e-5)
    np.testing.assert_allclose(found["feature_fold_order"].sel(step=0, fold=4), 1)  # two at right angles
    assert float(last["feature_fold_order_null"]) == pytest.approx(math.sqrt(math.pi / 20))
    x, y = (run.split.train.inputs @ with_a_short_one(VERTICES["pentagon"]).numpy()).astype(float).T
    turns = (x + 1j * y) ** 3
    lengths = np.hypot(x, y)
    assert float(last["example_fold_order"].sel(fold=3)) == pytest.approx(abs((turns / lengths**3).mean()), abs=1e-5)
    assert float(last["example_fold_order_by_length"].sel(fold=3)) == pytest.approx(
        abs((turns / lengths**2).sum()) / lengths.sum(), abs=1e-5
    )
    assert float(last["example_fold_order_null"]) == pytest.approx(math.sqrt(math.pi / 24))
    assert list(analyze.summarise(found)["feature order"]) == ["4-fold 1.00 (random 0.63)", "5-fold 1.00 (random 0.40)"]
    assert "feature_fold_order" not in analyze.measure(plant(VERTICES["tetrahedron"], name="solid"), "geometry")


def test_runs_of_other_seeds_are_alike_if_only_order_and_orientation_differ(plant):
    """Three seeds of one setting: a pentagon, the same turned and reordered, and another; and a run of another setting."""
    pentagon, square = with_a_short_one(VERTICES["pentagon"]), with_a_short_one(torch.eye(5, 2))
    turn = torch.tensor([[0.6, 0.8], [0.8, -0.6]])
    planted = [pentagon, pentagon.flip(0) @ turn, square]
    runs = [plant(V, name=str(seed), seed=seed) for seed, V in enumerate(planted)]
    found = [analyze.measure(run, "geometry") for run in (*runs, plant(square, examples=3, name="other"))]
    pairs = between_seeds(found).set_index(["run", "other"])
    assert list(pairs.index) == [(0, 1), (0, 2), (1, 2)]
    assert pairs.loc[(0, 1), "feature"] < 1e-5
    assert pairs.loc[(0, 2), "feature"] == pytest.approx(pairs.loc[(1, 2), "feature"], rel=1e-5)
    assert pairs.loc[(0, 2), "feature distance"] > 0.3
    assert pairs.loc[(0, 1), "represented"] < 1e-5
    assert pairs.loc[(0, 2), "represented distance"] != pytest.approx(pairs.loc[(0, 2), "feature distance"], rel=1e-9)
    table = analyze.compare(found)
    expected = [pairs.loc[(0, 2), "feature"] / 2] * 2 + [pairs.loc[(0, 2), "feature"], math.nan]
    assert list(table["features, of other seeds"]) == pytest.approx(expected, rel=1e-4, nan_ok=True)
    assert table["examples, of other seeds"].notna().tolist() == [True, True, True, False]


def test_of_many_examples_those_are_matched_that_are_evenly_spaced_in_length(plant):
    found = analyze.measure(plant(VERTICES["pentagon"], examples=130), "geometry")
    lengths = chosen(found, "example").norm(dim=1)
    every = np.sort(np.linalg.norm(found["example_plane"].isel(step=0), axis=1))[::-1]
    assert len(lengths) == MATCHED_UP_TO == 64
    assert lengths[0] == pytest.approx(every[0])
    assert lengths[-1] == pytest.approx(every[-1])
    assert lengths[1] == pytest.approx(every[2])  # 129 / 63 places on


def test_runs_of_more_dimensions_than_the_plane_shows_are_not_compared(plant):
    V = VERTICES["tetrahedron"]
    table = analyze.compare([analyze.measure(plant(V, name=str(seed), seed=seed), "geometry") for seed in (0, 1)])
    assert "features, of other seeds" not in table
    assert list(table["tetrahedron"]) == [1, 1]


def test_an_endless_stream_has_features_alone(plant, tmp_path):
    config = RunConfig(
        task=SparseFeaturesTask(n_features=3, sparsity=0.5, examples="endless", test_examples=5),
        model=ToySpec(d_hidden=1),
        train=TrainConfig(steps=0, batch_size=4),
    )
    with RunWriter(tmp_path / "endless", config) as writer:
        writer.log({"step": 0, "train_loss": 1, "test_loss": 1, "train_accuracy": 1, "test_accuracy": 1})
        writer.checkpoint(0, {"W": torch.tensor([[1.0, -1.0, 0.0]]), "b": torch.zeros(3)})
    found = analyze.measure(open_run(tmp_path / "endless"), "geometry")
    assert "example_plane" not in found
    assert list(found["feature_polygon"][0]) == [0, 0, -1]
    assert math.isclose(float(found["polygons"].sel(form="digon")[0]), 1)
    assert not found["feature_plane"].sel(axis="y").any()
    assert len(list(analyze.draw(found).select_traces())) == 2


def test_a_measurement_can_be_saved_and_told(plant, tmp_path):
    found = analyze.measure(plant(VERTICES["digon"]), "geometry")
    _export.write_netcdf(found, tmp_path / "found.nc")
    with xr.open_dataset(tmp_path / "found.nc") as reopened:
        xr.testing.assert_equal(reopened.load(), found)
    json.dumps(_export.as_json(found), allow_nan=False)
    assert len(_export.long_form(found)) == sum(variable.size for variable in found.data_vars.values())
    assert len(analyze.summarise(found)) == 1


def test_a_transformer_has_no_polygons(tiny):
    with pytest.raises(DoesNotApply, match="needs a toy model"):
        analyze.measure(tiny, "geometry")
