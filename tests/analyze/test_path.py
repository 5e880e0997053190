"""The analysis of paths: barriers of planted losses, lengths in closed form, and what is no path."""

import numpy as np
import pytest

from interp import analyze
from interp.base import DoesNotApply
from interp.store.between import Curve
from interp.train.connect import connect


@pytest.fixture(scope="module")
def paths(tiny, tmp_path_factory):
    place = tmp_path_factory.mktemp("paths")
    bent = Curve(curve="bezier", points=7, steps=30)
    return [
        connect(tiny.first.run.path, f"{tiny.path}@10", place / "line", Curve(points=7)),
        connect(tiny.first.run.path, f"{tiny.path}@10", place / "bent", bent),
    ]


@pytest.fixture(scope="module")
def measured(paths):
    return [analyze.measure(path, "path") for path in paths]


def test_barriers_are_those_of_the_history(paths, measured):
    for path, found in zip(paths, measured, strict=True):
        for split in ("train", "test"):
            losses, t = path.history[f"{split}_loss"].to_numpy(), np.linspace(0, 1, 7)
            here = found.sel(split=split)
            above = losses - (1 - t) * losses[0] - t * losses[-1]
            assert float(here["barrier"]) == pytest.approx(losses.max() - max(losses[0], losses[-1]))
            assert float(here["barrier_over_line"]) == pytest.approx(above.max())
            np.testing.assert_allclose(here["excess"], above)
            assert float(here["highest"]) == t[losses.argmax()]
            errors = 1 - path.history[f"{split}_accuracy"].to_numpy()
            assert float(here["error_barrier"]) == pytest.approx(errors.max() - max(errors[0], errors[-1]))


def test_a_line_is_as_long_as_its_ends_are_apart_and_a_curve_longer(paths, measured):
    line, bent = measured
    A, B = (paths[0].at(step).weights for step in (0, 6))
    apart = np.sqrt(sum(float((A[name].double() - B[name].double()).square().sum()) for name in A))
    np.testing.assert_allclose(line["length"], np.linspace(0, apart, 7), rtol=1e-5)
    np.testing.assert_allclose(line["distance"], line["length"], rtol=1e-5)
    assert float(bent["distance"][-1]) == pytest.approx(apart, rel=1e-5)
    assert float(bent["length"][-1]) > apart * 1.0001


def test_barriers_are_over_all_points_whatever_is_in_view(paths, measured):
    part = analyze.measure(paths[0].select(steps=(1, 2)), "path")
    assert part["step"].values.tolist() == [1, 2]
    np.testing.assert_array_equal(part["barrier"], measured[0]["barrier"])
    np.testing.assert_allclose(part["distance"], measured[0]["distance"][1:3])
    assert float(part["length"][0]) == 0


def test_paths_stand_side_by_side(measured):
    table = analyze.compare(measured)
    assert table["curve"].tolist() == ["straight line", "Bézier curve with a bend trained by 30 updates"]
    assert table["train barrier"].tolist() == [float(each["barrier"][0]) for each in measured]
    figure = analyze.draw_runs(measured)
    assert len(list(figure.select_traces())) == 4
    assert [axis.title.text for axis in figure.select_xaxes(row=2)] == ["t (0: A, 1: B)"]


def test_a_run_that_was_trained_is_no_path(tiny):
    with pytest.raises(
        DoesNotApply, match="is no path between two networks; make one of two checkpoints with python -m"
    ):
        analyze.measure(tiny, "path")
