"""What the live page shows of a run: its figure with the step marked, and its numbers there."""

import re
from typing import Any

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from interp import analyze
from interp.figures.panels import PALETTE, STEPS
from interp.report.files import cell

ACROSS = "marked step"
"""Name of the lines that mark the step, by which they are known among others."""


def plain(figure: go.Figure) -> dict[str, Any]:
    """A figure as the page draws it: as wide as there is room, and without a slider and play buttons, since the page has one."""
    shown: Any = figure.to_dict()
    layout = {name: value for name, value in shown["layout"].items() if name != "width"}
    if figure.frames:
        layout = {name: value for name, value in layout.items() if name not in ("sliders", "updatemenus")}
    return {"data": shown["data"], "layout": {**layout, "autosize": True}}


def height_of(figure: go.Figure) -> int:
    """Height of a figure in pixels."""
    layout: Any = figure.layout
    return int(layout.height or 450)


def labels(found: xr.Dataset) -> list[int]:
    """Steps of the slider: those at which something was measured."""
    return [int(step) for step in found["step"].values]


def marked(figure: go.Figure, step: int) -> list[dict[str, Any]]:
    """Shapes of the figure with a line at the step across each panel over steps."""
    layout: Any = figure.layout
    axes: Any = list(figure.select_xaxes())
    shapes = [shape.to_plotly_json() for shape in layout.shapes if shape.name != ACROSS]
    titled = {axis.plotly_name for axis in axes if axis.title.text == STEPS}
    over_steps = titled | {axis.plotly_name for axis in axes if (axis.matches or "").replace("x", "xaxis") in titled}
    for axis in sorted(over_steps):
        number = axis.removeprefix("xaxis")
        shapes.append(
            {
                "type": "line", "name": ACROSS, "x0": step, "x1": step, "xref": f"x{number}", "y0": 0, "y1": 1,
                "yref": f"y{number} domain", "line": {"color": PALETTE[2], "width": 2},
            }
        )  # fmt: skip
    return shapes


def frame_at(figure: go.Figure, step: int) -> int | None:
    """Number of the frame of a step: the last whose caption names one up to it; None of a figure without frames."""
    layout: Any = figure.layout
    captions = [each.label for each in layout.sliders[0].steps] if layout.sliders else []
    steps = [
        int(found[1].replace(",", "")) if (found := re.search(r"step ([\d,]+)", text)) else -1 for text in captions
    ]
    fitting = [number for number, at in enumerate(steps) if 0 <= at <= step]
    return fitting[-1] if fitting else None


def numbers(found: xr.Dataset, step: int) -> list[tuple[str, str]]:
    """Numbers at a step, or the last before it, by name: of variables with one number a step, or else of the printed table."""
    steps = found["step"].values
    place = int(np.searchsorted(steps, step, side="right")) - 1
    if place < 0:
        return []
    plain = {str(name): each for name, each in found.data_vars.items() if each.dims == ("step",)}
    if plain:
        return [
            (f"{each.attrs.get('long_name', name)}", cell(each.values[place].item())) for name, each in plain.items()
        ]
    table = analyze.summarise(found)
    index = np.asarray(table.index.get_level_values(0))
    rows = table[index == steps[place]]
    return [(str(name), cell(value)) for name, value in (rows.iloc[0].items() if len(rows) else ())]
