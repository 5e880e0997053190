"""Bands behind curves: from the lowest to the highest of the same curve in the figures of other runs."""

import html
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

OWN_SCALE = "its own scale"
"""Mark of a curve whose heights are shares of what its own run did, and not those of another."""
SHADE = {"opacity": 0.2, "mode": "lines", "line_width": 1}
"""Look of a band over steps."""
LEVEL = {"opacity": 0.35, "mode": "lines", "line_dash": "dot", "line_width": 1}
"""Look of a band at one height."""


def behind(figure: go.Figure, others: Sequence[go.Figure], about: str) -> go.Figure:
    """The figure with a band behind each of its curves: from the lowest to the highest of the same curve in other figures.

    A curve is known again by its panel and its name. Between the steps of another figure it is taken to be straight, and the
    band ends where one of them does. Curves of a single step, such as those of untrained networks, have a band of their own,
    with dotted edges, at one height throughout. `about` is what the others are, and is told in the title. A figure that moves
    stays as it is.
    """
    if figure.frames or not others:
        return figure
    known = [curves_of(other, at_least=1) for other in others]
    bands = []
    for key, trace in curves_of(figure).items():
        theirs = [points(each[key]) for each in known if key in each]
        steps = np.asarray(trace.x, dtype=float)
        lasting = [np.interp(steps, x, y, np.nan, np.nan) for x, y in theirs if len(x) > 1]
        level = [np.full(len(steps), y[0]) for x, y in theirs if len(x) == 1]
        kinds = ((level, LEVEL), (lasting, SHADE))
        bands += [band(trace, np.array(heights), about, look) for heights, look in kinds if heights]
    whole = go.Figure([*bands, *figure.data], figure.layout)
    title = figure.layout.title.text or ""
    return whole.update_layout(title_text=f"{title}<br><sup>shaded: {html.escape(about)}</sup>" if bands else title)


def band(trace: Any, heights: Float[np.ndarray, "other step"], about: str, look: dict[str, Any]) -> go.Scatter:
    """From the lowest to the highest at the steps of a curve, in its colour; where one is NaN, there is none."""
    here = ~np.isnan(heights).any(axis=0)
    x, low, high = np.asarray(trace.x)[here], heights.min(axis=0)[here], heights.max(axis=0)[here]
    return go.Scatter(
        x=np.r_[x, x[::-1]], y=np.r_[high, low[::-1]], xaxis=trace.xaxis, yaxis=trace.yaxis, legendgroup=trace.legendgroup,
        fill="toself", fillcolor=trace.line.color, line_color=trace.line.color, hoverinfo="skip", showlegend=False,
        name=f"{about}: {trace.name}", **look,
    )  # fmt: skip


Key = tuple[str, str, int]
"""A curve in a figure: the axis of its panel, its name, and how many of that name came before."""


def curves_of(figure: go.Figure, at_least: int = 2) -> dict[Key, Any]:
    """Curves of a figure over numbers, of at least so many points, by panel and name."""
    found: dict[Key, Any] = {}
    traces: Any = figure.data
    for trace in traces:
        if trace.type != "scatter" or trace.mode != "lines" or trace.x is None or len(trace.x) < at_least:
            continue
        if trace.meta == OWN_SCALE:
            continue
        if not np.issubdtype(np.asarray(trace.x).dtype, np.number) or trace.fill == "toself":
            continue
        number = sum(key[:2] == (trace.yaxis, trace.name) for key in found)
        found[trace.yaxis, trace.name, number] = trace
    return found


def points(trace: Any) -> tuple[np.ndarray, np.ndarray]:
    """Where a curve is known."""
    x, y = np.asarray(trace.x, dtype=float), np.asarray(trace.y, dtype=float)
    known = ~np.isnan(y)
    return (x[known], y[known]) if known.any() else (np.zeros(1), np.full(1, np.nan))
