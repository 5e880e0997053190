"""interp/figures: curves that grow, a frame at a time."""

from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
import xarray as xr

from interp import figures
from interp.report.picture import Picture

STEPS = np.array([1, 10, 100, 1000])


@pytest.fixture
def growing():
    figure = figures.panels(["loss"], heights=[3], title="t")
    figure.add_scatter(x=STEPS, y=np.array([4.0, 2.0, 1.0, 0.5]))
    figure.add_scatter(x=STEPS[:2], y=np.array([3.0, 0.25]))
    figure.update_xaxes(type="log")
    return figures.animated(figure, [1, 50, 1000])


def test_a_frame_has_the_curves_up_to_its_step(growing):
    assert [[list(curve.y) for curve in frame.data] for frame in growing.frames] == [
        [[4.0], [3.0]],
        [[4.0, 2.0], [3.0, 0.25]],
        [[4.0, 2.0, 1.0, 0.5], [3.0, 0.25]],
    ]


def test_the_axes_hold_every_curve_and_stay(growing):
    low, high = growing.layout.xaxis.range  # in powers of ten
    assert low < 0 < 3 < high
    low, high = growing.layout.yaxis.range
    assert low < 0.25 < 4 < high
    assert all(not frame.layout.to_plotly_json() for frame in growing.frames)


def test_a_range_that_was_chosen_is_kept():
    figure = figures.panels(["accuracy"], heights=[3], title="t").update_yaxes(range=[0, 1])
    figure.add_scatter(x=STEPS, y=np.array([0.1, 0.2, 0.3, 0.4]))
    assert figures.animated(figure, [1000]).layout.yaxis.range == (0, 1)


def test_every_frame_can_be_reached_by_the_slider_and_is_named_by_its_step(growing):
    slider = growing.layout.sliders[0]
    assert [step.label for step in slider.steps] == ["step 1", "step 50", "step 1,000"]
    assert [step.args[0][0] for step in slider.steps] == [frame.name for frame in growing.frames]
    assert slider.active == 2
    assert [button.label for button in growing.layout.updatemenus[0].buttons] == ["▶ play", "❚❚ stop"]


def test_a_still_shows_its_frame_and_leaves_the_figure_alone(growing):
    before = growing.to_json()
    first: Any = figures.still(growing, 0)
    assert [list(curve.y) for curve in first.data] == [[4.0], [3.0]]
    assert first.layout.sliders[0].active == 0
    assert first.layout.xaxis.range == growing.layout.xaxis.range
    assert isinstance(first, go.Figure)
    assert growing.to_json() == before
    assert figures.still(growing, 2).data == growing.data


def curve(heights, name="ratio", row=1):
    figure = figures.panels(["a", "b"], heights=[2, 2], title="t")
    values = xr.DataArray(np.array(heights, dtype=float), coords={"step": np.arange(len(heights))})
    figures.line(figure, values, name, figures.TRAIN, row=row)
    return figure


def drawn(figure: go.Figure) -> Any:
    """What is drawn in a figure, in order."""
    return figure.data


def test_a_band_reaches_from_the_lowest_to_the_highest_of_the_same_curve():
    whole = figures.behind(curve([1, 2, 3]), [curve([0, 5, 1]), curve([2, 3])], "two seeds")
    band, line = drawn(whole)
    np.testing.assert_array_equal(band.x, [0, 1, 1, 0])  # to where the shorter ends
    np.testing.assert_array_equal(band.y, [2, 5, 3, 0])
    np.testing.assert_array_equal(line.y, [1, 2, 3])
    assert (band.yaxis, band.fillcolor) == (line.yaxis, line.line.color)
    assert "two seeds" in whole.layout.title.text


def test_curves_of_one_step_have_a_band_of_their_own_at_one_height():
    whole = figures.behind(curve([1, 2, 3]), [curve([5]), curve([4]), curve([0, 1, 2])], "two untrained and one seed")
    level, over_steps, _ = drawn(whole)
    np.testing.assert_array_equal(level.x, [0, 1, 2, 2, 1, 0])
    np.testing.assert_array_equal(level.y, [5, 5, 5, 4, 4, 4])
    np.testing.assert_array_equal(over_steps.y, [0, 1, 2, 2, 1, 0])
    assert (level.line.dash, over_steps.line.dash) == ("dot", None)


def test_a_band_is_drawn_for_the_same_name_in_the_same_panel_only():
    for other in (curve([0, 1, 2], name="else"), curve([0, 1, 2], row=2)):
        assert len(drawn(figures.behind(curve([1, 2, 3]), [other], "others"))) == 1
    scaled = curve([1, 2, 3])
    drawn(scaled)[0].meta = figures.OWN_SCALE
    assert len(drawn(figures.behind(scaled, [curve([0, 1, 2])], "others"))) == 1


def test_step_axes_end_where_the_data_end_and_on_a_logarithmic_axis_begin_above_0():
    figure = figures.panels(["loss", "dots"], heights=[3, 3], title="t")
    figure.add_scatter(x=np.array([0, 5, 40]), y=np.ones(3), row=1, col=1)
    figure.add_scatter(x=np.array([5.0, np.nan]), y=np.ones(2), mode="markers", row=2, col=1)
    figures.to_the_ends(figure)
    for axis in figure.select_xaxes():
        assert (axis.autorangeoptions.minallowed, axis.autorangeoptions.maxallowed) == (0, 40)
    linear, log = figure.layout.updatemenus[0].buttons
    assert linear.args[0]["xaxis2.autorangeoptions.minallowed"] == 0
    assert log.args[0]["xaxis2.autorangeoptions.minallowed"] == 5
    other = figures.panels(["plane"], heights=[3], title="t", over_steps=False)
    assert figures.to_the_ends(other).layout.xaxis.autorangeoptions.maxallowed is None


def test_an_axis_of_something_else_keeps_its_ends_and_gives_none_to_the_steps():
    figure = figures.panels(["loss", "dots", "plane"], heights=[3, 3, 3], title="t", gap=70)
    for row, x in enumerate(([5, 40], [5, 30], [-7, 90]), start=1):
        figure.add_scatter(x=np.array(x), y=np.ones(2), row=row, col=1)
    figures.own_axes(figure, {3: "component 1"})
    figures.to_the_ends(figure)
    ends = [(each.autorangeoptions.minallowed, each.autorangeoptions.maxallowed) for each in figure.select_xaxes()]
    assert ends == [(5, 40), (5, 40), (None, None)]


def two(first, second, **axis):
    """Two curves in one panel."""
    figure = figures.panels(["loss"], heights=[3], title="t").update_yaxes(**axis)
    for heights, colour in ((first, figures.TRAIN), (second, figures.TEST)):
        figures.line(figure, xr.DataArray(np.array(heights), coords={"step": STEPS}), "a", colour)
    return [each.line.dash for each in drawn(figures.apart(figure))]


def test_a_curve_that_lies_on_another_is_dashed_and_one_that_parts_from_it_is_not():
    assert two([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 9.0]) == ["solid", "dash"]
    assert two([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 8.0, 9.0]) == ["solid", "solid"]
    far_apart_as_logarithms_alone = ([1e-9, 1e-7, 1e-5, 1.0], [1e-8, 1e-6, 1e-4, 1.0])
    assert two(*far_apart_as_logarithms_alone) == ["solid", "dash"]
    assert two(*far_apart_as_logarithms_alone, type="log") == ["solid", "solid"]


def test_a_heat_map_names_rows_at_its_end_and_one_of_two_neighbours_further_left():
    figure = figures.panels(["power"], heights=[4], title="t")
    values = xr.DataArray(np.zeros((4, 60)), coords={"step": STEPS, "freq": np.arange(1, 61)})
    figures.heatmap(figure, values, row=1, named=[7, 8, 30])
    names = {note.text: note.xshift for note in figure.layout.annotations if note.xref == "x domain"}
    assert names == {"7": 0, "8": -14, "30": 0}
    figures.heatmap(other := figures.panels(["power"], heights=[4], title="t"), values, row=1, named=range(1, 60))
    assert not [note for note in other.layout.annotations if note.xref == "x domain"]


def test_a_figure_with_a_slider_does_not_play_by_itself(growing, tmp_path):
    Picture(growing, tmp_path / "shown.html").write_html(tmp_path / "growing.html", include_plotlyjs="cdn")
    page = (tmp_path / "growing.html").read_text()
    assert "Plotly.addFrames" in page
    assert "Plotly.animate(" not in page
