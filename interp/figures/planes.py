"""Point clouds in square panels, at one step or with a slider through the steps."""

import math
from typing import Any

import plotly.graph_objects as go
import xarray as xr

from interp.figures.moving import player
from interp.figures.panels import QUIET, panels

LABELLED_UP_TO = 64
"""Most points in a plane that are labelled with their numbers. More would overlap; they show their number under the mouse."""


def planes(
    clouds: list[xr.DataArray], names: list[str], columns: int, colour: xr.DataArray, title: str,
    labels: xr.DataArray | None = None,
) -> go.Figure:  # fmt: skip
    """A figure with a square panel for each cloud of points [step, point, axis] at its last step, coloured by `colour`.

    Points are named by `labels`, or else by their colour's number.
    """
    labels = colour if labels is None else labels
    rows = math.ceil(len(clouds) / columns)
    figure = panels(names, heights=[4.4] * rows, title=title, columns=columns, over_steps=False)
    for number, cloud in enumerate(clouds):
        row, col = divmod(number, columns)
        figure.add_scatter(
            x=cloud[-1, :, 0].values,
            y=cloud[-1, :, 1].values,
            mode="markers+text" if cloud.shape[1] <= LABELLED_UP_TO else "markers",
            text=[str(label) for label in labels.values],
            textposition="top center",
            textfont={"size": 8, "color": QUIET},
            marker={
                "size": 8,
                "color": colour.values,
                "colorscale": "HSV",
                "cmin": 0,
                "cmax": float(colour.max()) + 1,  # a circle: the colour after the last residue is that of 0
                "showscale": number == 0,
                "colorbar": {"title": {"text": str(colour.name), "side": "right"}, "thickness": 12, "x": 1.02},
            },
            hovertemplate=f"{labels.name} %{{text}}<extra></extra>",
            showlegend=False,
            row=row + 1,
            col=col + 1,
        )
        figure.update_xaxes(showticklabels=False, row=row + 1, col=col + 1)
        figure.update_yaxes(showticklabels=False, row=row + 1, col=col + 1)
    return figure.update_layout(ranges(clouds, step=-1))


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
