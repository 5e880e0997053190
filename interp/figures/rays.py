"""Vectors in the plane: a ray from the origin to each and a dot at its end, with a slider through scenes."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from jaxtyping import Float

from interp.figures.moving import player
from interp.figures.panels import PALETTE, QUIET, panels
from interp.figures.planes import LABELLED_UP_TO


def in_planes(
    scenes: Sequence[xr.Dataset], kinds: Mapping[str, str], axes: tuple[str, str], title: str, captions: Sequence[str]
) -> go.Figure:
    """The figure of the last of these scenes, a plane with a title for each kind of vectors, with a slider through all.

    `axes` are the names of the two directions of the plane.
    """
    figure = panels(list(kinds.values()), heights=[7], columns=len(kinds), title=title, over_steps=False)
    for col, kind in enumerate(kinds, start=1):
        for trace in traces(scenes[-1], kind):
            figure.add_trace(trace, row=1, col=col)
        figure.update_xaxes(title_text=axes[0], title_standoff=4, row=1, col=col)
        figure.update_yaxes(title_text=axes[1], scaleanchor="x" if col == 1 else f"x{col}", row=1, col=col)
    figure.update_layout(ranges(scenes[-1], list(kinds)))
    frames = [
        go.Frame(
            data=[trace for kind in kinds for trace in traces(each, kind)],
            traces=list(range(2 * len(kinds))),
            layout=ranges(each, list(kinds)),
        )
        for each in scenes
    ]
    return player(figure, frames, captions)


def points(scene: xr.Dataset, kind: str) -> Float[np.ndarray, "n 2"]:
    """Points of a kind of vectors in the plane; none of a kind that this run has not."""
    return scene[f"{kind}_plane"].values if f"{kind}_plane" in scene else np.zeros((0, 2))


def traces(scene: xr.Dataset, kind: str) -> list[go.Scatter]:
    """Rays from the origin to vectors of a kind, and dots at their ends: grey for features of no polygon, numbered −1."""
    here = points(scene, kind)
    rays = np.stack([np.zeros_like(here), here, np.full_like(here, np.nan)], axis=1).reshape(-1, 2)
    number = scene["feature_polygon"].values if kind == "feature" else np.zeros(len(here), dtype=int)
    names = [str(each) for each in scene[kind].values] if len(here) else []
    labelled = np.where(number < 0, "", names) if len(here) <= LABELLED_UP_TO else np.full(len(here), "")
    colours = [QUIET if each < 0 else PALETTE[each % len(PALETTE)] for each in number]
    return [
        go.Scatter(
            x=rays[:, 0], y=rays[:, 1], mode="lines", line={"color": "#cfd5db", "width": 1}, hoverinfo="skip", showlegend=False
        ),
        go.Scatter(
            x=here[:, 0], y=here[:, 1], mode="markers+text", text=labelled, textposition="top center",
            textfont={"size": 10, "color": QUIET}, marker={"size": 8, "color": colours}, hovertext=names,
            hovertemplate=f"{kind} %{{hovertext}}<br>%{{x:.3f}}, %{{y:.3f}}<extra></extra>", showlegend=False,
        ),
    ]  # fmt: skip


def ranges(scene: xr.Dataset, kinds: list[str]) -> dict[str, dict[str, list[float]]]:
    """Axes around the points of each kind, the origin in the middle."""
    axes = {}
    for col, kind in enumerate(kinds):
        reach = 1.2 * float(abs(points(scene, kind)).max(initial=0)) or 1.0
        axes |= {f"{axis}axis{col + 1 if col else ''}": {"range": [-reach, reach]} for axis in "xy"}
    return axes
