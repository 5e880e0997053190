"""Point clouds in square panels, at one step or with a slider through the steps."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from interp.figures.moving import player
from interp.figures.overlaid import colours_of
from interp.figures.panels import QUIET, panels

LABELLED_UP_TO = 64
"""Most points in a plane that are labelled with their numbers. More would overlap; they show their number under the mouse."""


def planes(
    clouds: list[xr.DataArray], names: list[str], axes: Sequence[tuple[str, str]], columns: int, colour: xr.DataArray, title: str,
    labels: xr.DataArray | None = None,
) -> go.Figure:  # fmt: skip
    """A figure with a square panel for each cloud of points [step, point, axis] at its last step, coloured by `colour`.

    Numbers are places on a circle, and their colours go round it; words have a colour each, and a legend.

    Args:
        clouds: the points of each panel.
        names: of the panels.
        axes: names of the two axes of each panel.
        columns: panels side by side.
        colour: a number or a word for each point.
        title: of the figure.
        labels: names of the points, where they are not their colours' numbers.
    """
    labels = colour if labels is None else labels
    rows = math.ceil(len(clouds) / columns)
    figure = panels(names, heights=[4.4] * rows, title=title, columns=columns, over_steps=False, gap=70)
    in_words = colour.dtype.kind not in "iuf"
    kinds = list(dict.fromkeys(map(str, colour.values))) if in_words else []
    of_kind = dict(zip(kinds, colours_of(len(kinds)), strict=True))
    dots = {"color": [of_kind[str(each)] for each in colour.values]} if in_words else {}
    for number, cloud in enumerate(clouds):
        row, col = divmod(number, columns)
        figure.add_scatter(
            x=cloud[-1, :, 0].values,
            y=cloud[-1, :, 1].values,
            mode="markers+text" if cloud.shape[1] <= LABELLED_UP_TO else "markers",
            text=[str(label) for label in labels.values],
            textposition="top center",
            textfont={"size": 8, "color": QUIET},
            marker=dots | {"size": 8, **({} if in_words else around(colour, with_bar=number == 0))},
            customdata=colour.values if in_words else None,
            hovertemplate=f"{labels.name} %{{text}}{', %{customdata}' if in_words else ''}<extra></extra>",
            showlegend=False,
            row=row + 1,
            col=col + 1,
        )
        x, y = axes[number]
        how: dict[str, Any] = {"showticklabels": False, "title_standoff": 4, "row": row + 1, "col": col + 1}
        figure.update_xaxes(title_text=x, **how).update_yaxes(title_text=y, **how)
    for kind, hue in of_kind.items():  # after the clouds, which frames find by their number
        count = int((colour == kind).sum())
        dot = {"size": 8, "color": hue}
        figure.add_scatter(x=[None], y=[None], mode="markers", marker=dot, name=f"{kind} ({count})", row=1, col=1)
    return figure.update_layout(ranges(clouds, step=-1))


def around(colour: xr.DataArray, with_bar: bool) -> dict[str, Any]:
    """Colours of places on a circle, as a marker has them: the colour after the last is that of 0."""
    bar = {"title": {"text": str(colour.name), "side": "right"}, "thickness": 12, "x": 1.02}
    ends = {"cmin": 0, "cmax": float(np.max(colour)) + 1}
    return {"color": colour.values, "colorscale": "HSV", **ends, "showscale": with_bar, "colorbar": bar}


def ranges(clouds: list[xr.DataArray], step: int) -> dict[str, Any]:
    """Ranges of square axes around the points of one step. Each step has its own: t-SNE has no scale, and norms shrink."""
    axes = {}
    for number, cloud in enumerate(clouds):
        reach = 1.15 * float(abs(cloud[step]).max()) or 1.0
        axes |= {f"{axis}axis{number + 1 if number else ''}": {"range": [-reach, reach]} for axis in "xy"}
    return axes


def step_slider(figure: go.Figure, clouds: list[xr.DataArray], captions: list[str]) -> go.Figure:
    """The figure of `planes` with a slider through the steps, a caption for each step, a play and a stop button."""
    frames = [
        go.Frame(
            data=[go.Scatter(x=cloud[index, :, 0].values, y=cloud[index, :, 1].values) for cloud in clouds],
            traces=list(range(len(clouds))),
            layout=ranges(clouds, index),
        )
        for index in range(len(captions))
    ]
    return player(figure, frames, captions)
