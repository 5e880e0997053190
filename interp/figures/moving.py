"""Figures that move: frames with a slider and buttons, curves that grow, and the still of one frame."""

import html
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from interp.figures.panels import INK, buttons


def animated(figure: go.Figure, steps: Sequence[int]) -> go.Figure:
    """The figure with its curves drawn up to each of these steps in turn, with a slider, a play and a stop button.

    Every trace must have its steps in ascending order. Axes without a range get one that holds all curves, so that they do
    not move.
    """
    curves: Any = figure.data
    for axis in (*figure.select_xaxes(), *figure.select_yaxes()):
        if axis.range is None:
            axis.range = reach(figure, axis)
    frames = [
        go.Frame(
            data=[go.Scatter(y=curve.y[: np.searchsorted(curve.x, step, side="right")]) for curve in curves],
            traces=list(range(len(curves))),
        )
        for step in steps
    ]
    return player(figure, frames, [f"step {step:,}" for step in steps])


def reach(figure: go.Figure, axis: Any) -> list[float] | None:
    """Range of the curves on an axis, with a margin; as powers of ten on a logarithmic axis. None without curves."""
    letter, name = axis.plotly_name[0], axis.plotly_name.replace("axis", "")
    curves: Any = figure.data
    parts = [curve[letter] for curve in curves if (curve[f"{letter}axis"] or letter) == name]
    values = np.concatenate([np.array([]), *parts]).astype(float)
    values = np.log10(values[values > 0]) if axis.type == "log" else values
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    room = 0.04 * (values.max() - values.min()) or 0.5
    return [values.min() - room, values.max() + room]


def player(figure: go.Figure, frames: Sequence[go.Frame], captions: Sequence[str]) -> go.Figure:
    """The figure with a slider through these frames, a play and a stop button; it shows the last frame.

    The buttons replace any others.
    """
    at_once = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}, "transition": {"duration": 0}}
    playing = {"fromcurrent": True, "frame": {"duration": 180, "redraw": True}, "transition": {"duration": 0}}
    for index, frame in enumerate(frames):
        frame.name = str(index)
    figure.frames = frames
    choices = [
        {"label": "▶ play", "method": "animate", "args": [None, playing]},
        {"label": "❚❚ stop", "method": "animate", "args": [[None], at_once]},
    ]
    figure.layout.updatemenus = [buttons(choices, above=30)]
    return figure.update_layout(
        height=figure.layout.height + 40,
        margin={"b": 110, "t": 110},
        sliders=[
            {
                "active": len(captions) - 1,
                "currentvalue": {"prefix": "", "xanchor": "left", "font": {"size": 13, "color": INK}},
                "font": {"size": 1, "color": "rgba(0,0,0,0)"},
                "ticklen": 3,
                "pad": {"t": 25},
                "steps": [
                    {"label": html.escape(text), "method": "animate", "args": [[str(index)], at_once]}
                    for index, text in enumerate(captions)
                ],
            }
        ],
    )


def still(figure: go.Figure, index: int) -> go.Figure:
    """A copy of a figure with a slider, shown at one of its frames."""
    frame: Any = figure.frames[index]
    shown: Any = go.Figure(figure.data, figure.layout)
    for trace, change in zip(frame.traces, frame.data, strict=True):
        shown.data[trace].update(change.to_plotly_json())
    shown.update_layout(frame.layout)
    shown.layout.sliders[0].active = index
    return shown
