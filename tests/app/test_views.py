"""What the live page shows at a step: numbers of the measurement, and the step marked in its figure."""

import numpy as np
import plotly.graph_objects as go
import pytest
import xarray as xr

from interp import figures
from interp.app.views import ACROSS, frame_at, marked, numbers, plain


def test_a_step_is_marked_in_every_panel_over_steps_and_in_no_other():
    over = figures.panels(["one", "two"], [2, 2], "Over steps")
    over.add_scatter(x=[0, 40], y=[1, 2], row=1, col=1)
    over.add_vline(x=3, row=1, col=1)  # pyright: ignore
    lines = [shape for shape in marked(over, 20) if shape.get("name") == ACROSS]
    assert [(each["x0"], each["xref"], each["yref"]) for each in lines] == [
        (20, "x", "y domain"),
        (20, "x2", "y2 domain"),
    ]
    assert len(marked(over, 20)) == 3
    over.layout.shapes = marked(over, 20)
    assert len(marked(over, 30)) == 3  # the mark has moved
    assert marked(figures.panels(["one"], [2], "Over widths", over_steps=False), 20) == []


def test_the_frame_of_a_step_is_the_last_that_was_there_by_then():
    figure = figures.panels(["one"], [2], "Curves that grow")
    figure.add_scatter(x=[0, 1_000, 2_000], y=[1, 2, 3])
    assert frame_at(figure, 0) is None and "updatemenus" in plain(figure)["layout"]
    moving = figures.animated(figure, [0, 1_000, 2_000])
    assert [frame_at(moving, step) for step in (0, 999, 1_000, 5_000)] == [0, 0, 1, 2]
    assert not {"sliders", "updatemenus"} & {*plain(moving)["layout"]}


@pytest.mark.parametrize(("step", "expected"), [(0, "1"), (15, "2"), (20, "3"), (99, "3")])
def test_numbers_are_those_of_the_last_step_until_then(step, expected):
    found = xr.Dataset(
        {"norm": ("step", [1.0, 2.0, 3.0], {"long_name": "norm ‖w‖"}), "power": (("step", "freq"), np.zeros((3, 2)))},
        {"step": [0, 10, 20]},
    )
    assert numbers(found, step) == [("norm ‖w‖", expected)]
    assert numbers(found, -1) == []


def test_a_figure_keeps_its_height_and_takes_the_width_that_there_is():
    shown = plain(go.Figure(layout={"width": 900, "height": 300}))
    assert "width" not in shown["layout"] and shown["layout"]["height"] == 300 and shown["layout"]["autosize"]
