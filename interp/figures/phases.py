"""Phases as bands, measures as shares of their way, and the order in which they make half of it."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from interp.figures.behind import OWN_SCALE
from interp.figures.curves import line
from interp.figures.panels import PALETTE, TEST, TRAIN, legend_of

PHASE_COLOURS = PALETTE[:3]
"""Colours of the phases, in order."""
LINES = {
    "train accuracy": (TRAIN, "solid"),
    "log train loss": (TRAIN, "dot"),
    "test accuracy": (TEST, "solid"),
    "log test loss": (TEST, "dot"),
    "restricted loss": (PALETTE[1], "solid"),
    "log restricted loss": (PALETTE[1], "dot"),
    "excluded loss": (PALETTE[2], "solid"),
    "Gini W_E": (PALETTE[0], "solid"),
    "Gini W_L": (PALETTE[0], "dash"),
    "network IPR W_E": (PALETTE[3], "solid"),
    "network IPR W_L": (PALETTE[3], "dash"),
    "neuron IPR W_E": (PALETTE[5], "solid"),
    "neuron IPR W_L": (PALETTE[5], "dash"),
    "clustered neurons": (PALETTE[4], "solid"),
    "cosines of logits": (PALETTE[4], "dash"),
    "Σw²": (PALETTE[6], "solid"),
}
"""Colour and dash of each measure; those of one thing share a colour."""


def ways(figure: go.Figure, shares: Mapping[str, xr.DataArray], row: int) -> None:
    """Each measure over steps, as a share of its way."""
    for name, share in shares.items():
        colour, dash = LINES[name]
        line(figure, share, name=name, colour=colour, dash=dash, row=row, meta=OWN_SCALE)
    lowest = max(-1.0, min([0.0, *(float(share.min()) for share in shares.values())]))
    highest = min(3.0, max([1.0, *(float(share.max()) for share in shares.values())]))
    figure.update_yaxes(title_text="share of its way", range=[lowest - 0.1, highest + 0.1], row=row)


def order(figure: go.Figure, known: xr.Dataset, words: Mapping[str, str], reference: str, row: int) -> None:
    """A dot for each measure at the step of half its way, earliest on top; its name and its lead in words stand beside the panel.

    A ring stands where half of the way beyond the runs beside is made, if there are some. A line is drawn at the reference.
    """
    by_step = known.isel(measure=np.argsort(-known["half_way"].values, kind="stable"))
    steps, names = by_step["half_way"].values, by_step["measure"].values
    colours = [LINES[name][0] for name in names]
    dots(figure, steps, names, {"size": 10, "color": colours}, "%{y}: step %{x:,.0f}", row)
    if "half_way_beyond" in by_step:
        beyond = by_step["half_way_beyond"].values
        ring = {"size": 14, "symbol": "circle-open", "color": colours}
        dots(figure, beyond, names, ring, "beyond the runs beside: step %{x:,.0f}", row)
    figure.update_yaxes(type="category", showticklabels=False, row=row)
    for name, colour in zip(names, colours, strict=True):
        figure.add_annotation(
            text=f"{name}: {words[name]}" if words[name] else name, x=1.02, xref="paper", xanchor="left", y=name, yref=f"y{row}",
            showarrow=False, font={"size": 11, "color": colour},
        )  # fmt: skip
    if reference in names:
        at = float(steps[list(names).index(reference)])
        figure.add_vline(x=at, line={"color": TEST, "width": 1}, row=row, col=1)  # pyright: ignore[reportArgumentType]


def dots(figure: go.Figure, steps: np.ndarray, names: np.ndarray, marker: dict[str, Any], told: str, row: int) -> None:
    """A mark at a step for each name, of which `told` is shown under the mouse."""
    figure.add_scatter(
        x=steps, y=names, mode="markers", marker=marker, hovertemplate=f"{told}<extra></extra>", showlegend=False,
        cliponaxis=False, row=row, col=1,
    )  # fmt: skip


def bands(figure: go.Figure, found: xr.Dataset, row: int) -> None:
    """A band for each phase that begins, to the last step where its end is not reached, named in the legend of the panel."""
    first = float(found["step"].values[found["step"].values > 0][:1].sum()) or 1.0  # a logarithmic axis has no 0
    for name, colour in zip(found["phase"].values, PHASE_COLOURS, strict=True):
        phase = found.sel(phase=name)
        begin, end = float(phase["begins"]), float(phase["ends"])
        if math.isnan(begin):
            continue
        to = float(phase["censored_at"]) if math.isnan(end) else end
        where: Any = {"row": row, "col": 1}
        edges = {"x0": max(begin, first), "x1": max(to, first)}
        figure.add_vrect(**edges, fillcolor=colour, opacity=0.13, line_width=0, layer="below", **where)
        figure.add_scatter(
            x=[None], y=[None], mode="markers", marker={"symbol": "square", "size": 11, "color": colour, "opacity": 0.4},
            name=f"{name} {begin:,.0f} – {end:,.0f}" if not math.isnan(end) else f"{name} {begin:,.0f} – not reached",
            legend=legend_of(row), row=row, col=1,
        )  # fmt: skip
