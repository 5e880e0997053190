"""Curves that lie on each other, told apart: a dash on the upper one shows the lower through its gaps."""

import math
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

DASHES = ("dash", "dot", "dashdot", "longdash")
"""Dashes that a curve may be given, in order."""
PIXEL = 1.0
"""Distance below which two curves of two pixels' width hide each other."""
SHARE = 0.5
"""Share of the points at which a curve hides another, from which it is dashed."""

Heights = Float[np.ndarray, " step"]


def apart(figure: go.Figure) -> go.Figure:
    """The figure with a dash on every solid curve that would hide one drawn before it; a figure that moves stays as it is.

    Colours stay. Only a curve that lies on another at more than half of its points is dashed: a run in which the two part
    keeps both solid.
    """
    if figure.frames:
        return figure
    for axis in figure.select_yaxes():
        name = axis.plotly_name.replace("axis", "")
        traces: Any = figure.data
        curves = [trace for trace in traces if (trace.yaxis or "y") == name and is_curve(trace)]
        drawn: list[tuple[Any, Heights]] = []
        for curve, heights in zip(curves, in_pixels(figure, axis, curves), strict=True):
            under = {other.line.dash or "solid" for other, theirs in drawn if hides(curve, heights, other, theirs)}
            if under and (curve.line.dash or "solid") == "solid":
                curve.line.dash = next((dash for dash in DASHES if dash not in under), DASHES[-1])
            drawn.append((curve, heights))
    return figure


def is_curve(trace: Any) -> bool:
    """Whether a trace is a line over several numbers, and no band."""
    lined = trace.type == "scatter" and "lines" in (trace.mode or "") and trace.fill != "toself"
    return lined and trace.x is not None and len(trace.x) > 1 and np.asarray(trace.y).dtype.kind in "iuf"


def in_pixels(figure: go.Figure, axis: Any, curves: list[Any]) -> list[Heights]:
    """Heights of the curves of a panel in pixels, NaN where one is not drawn."""
    values = [np.asarray(curve.y, dtype=float) for curve in curves]
    if axis.type == "log":
        values = [np.log10(each, out=np.full(len(each), np.nan), where=each > 0) for each in values]
    known = np.concatenate([np.zeros(0), *values])
    known = known[np.isfinite(known)]
    low, high = axis.range or (known.min(initial=math.inf), known.max(initial=-math.inf))
    bottom, top = axis.domain
    room = (top - bottom) * (figure.layout.height - figure.layout.margin.t - figure.layout.margin.b)
    # Of curves that are flat on one height plotly shows a range of two.
    return [each * room / ((high - low) or 2.0) if len(known) else each for each in values]


def hides(curve: Any, heights: Heights, other: Any, theirs: Heights) -> bool:
    """Whether a curve lies on another of the same steps, in another colour, at more than half of the points of both."""
    if len(heights) != len(theirs) or curve.line.color == other.line.color or not np.array_equal(curve.x, other.x):
        return False
    both = np.isfinite(heights) & np.isfinite(theirs)
    return bool(both.any()) and float((np.abs(heights - theirs)[both] < PIXEL).mean()) > SHARE
