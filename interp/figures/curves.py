"""Curves over steps: lines, bands of an error, reference levels, heatmaps, and the transition marked."""

import html
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from interp.figures.panels import INK, QUIET, TEST, TRAIN, domain, legend_of


def line(
    figure: go.Figure, values: xr.DataArray, name: str, colour: str, row: int = 1, dash: str = "solid", **more: Any
) -> None:
    """Draw one curve over steps, named in the legend beside its panel."""
    figure.add_scatter(
        x=values["step"].values,
        y=values.values,
        name=html.escape(name),
        mode="lines",
        line={"color": colour, "dash": dash, "width": 2},
        connectgaps=True,  # over steps at which a value was not logged
        legend=legend_of(row),
        row=row,
        col=1,
        **more,
    )


def error_band(
    figure: go.Figure, values: xr.DataArray, error: xr.DataArray, colour: str, row: int = 1, **more: Any
) -> None:
    """Shade one standard error to either side of a curve over steps; nothing where it is not known."""
    known = np.flatnonzero(error.notnull().values)
    steps, middle, by = (each.values[known] for each in (values["step"], values, error))
    if len(known):
        shade(figure, steps, middle - by, middle + by, colour, row, **more)


def shade(
    figure: go.Figure, steps: np.ndarray, low: np.ndarray, high: np.ndarray, colour: str, row: int, **more: Any
) -> None:
    """Shade what lies between two curves over the same steps."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    figure.add_scatter(
        x=np.concatenate([steps, steps[::-1]]),
        y=np.concatenate([high, low[::-1]]),
        fill="toself",
        fillcolor=f"rgba({red},{green},{blue},0.18)",
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
        showlegend=False,
        row=row,
        col=1,
        **more,
    )


def losses(figure: go.Figure, found: xr.Dataset, row: int = 1) -> None:
    """Draw train and test loss on a logarithmic axis."""
    for split, colour in (("train", TRAIN), ("test", TEST)):
        line(figure, found[f"{split}_loss"], f"{split} loss", colour, row)
    both = found[["train_loss", "test_loss"]].to_array()
    smallest, largest = float(both.min()), float(both.max())
    decades = math.log10(largest / smallest) if 0 < smallest < largest < math.inf else 0.0
    ticks: dict[str, Any] = (
        {"dtick": math.ceil(decades / 6)} if decades >= 2 else {"nticks": 6}
    )  # whole powers of ten where there are
    figure.update_yaxes(
        title_text=f"loss ({found['train_loss'].attrs.get('units', 'nats')})",
        type="log",
        exponentformat="power",
        row=row,
        col=1,
        **ticks,
    )


def relative_losses(figure: go.Figure, found: xr.Dataset, row: int = 1) -> None:
    """Train and test loss beside that of answering 0, which is 1."""
    for split, colour in (("train", TRAIN), ("test", TEST)):
        line(figure, found[f"{split}_relative"], f"{split} loss", colour, row)
    level(figure, 1, row)
    figure.update_yaxes(title_text="loss ÷ zero's", row=row, col=1)


def accuracies(figure: go.Figure, found: xr.Dataset, row: int = 1) -> None:
    """Draw train and test accuracy in per cent."""
    for split, colour in (("train", TRAIN), ("test", TEST)):
        line(figure, found[f"{split}_accuracy"], f"{split} accuracy", colour, row)
    figure.update_yaxes(title_text="accuracy", tickformat=".0%", range=[-0.02, 1.04], row=row, col=1)


def level(figure: go.Figure, y: float, row: int = 1, col: int = 1) -> None:
    """Draw a dotted horizontal line at a reference value."""
    line = {"color": QUIET, "dash": "dot", "width": 1}
    figure.add_shape(type="line", xref="x domain", x0=0, x1=1, y0=y, y1=y, line=line, row=row, col=col)


def stretch(figure: go.Figure, begin: float, end: float, colour: str, row: int = 1) -> None:
    """Shade a range of the horizontal axis in another colour, behind everything."""
    box = {"fillcolor": colour, "line_width": 0, "layer": "below"}
    figure.add_shape(type="rect", yref="y domain", x0=begin, x1=end, y0=0, y1=1, row=row, col=1, **box)


def heatmap(
    figure: go.Figure,
    values: xr.DataArray,
    row: int,
    colorbar: str | None = None,
    zmin: float | None = 0,
    zmax: float | None = None,
    named: Sequence[Any] = (),
) -> None:
    """Draw a heatmap over step (horizontal) and the other dimension (vertical), with names at the end of some of its rows.

    Colours begin at `zmin`, or at the smallest value, and end at `zmax`, or at the largest. More than `NAMED` rows are not named.
    """
    other = next(str(dim) for dim in values.dims if dim != "step")
    bottom, top = domain(figure, "y", row)
    figure.add_heatmap(
        x=values["step"].values,
        y=values[other].values,
        z=values.transpose(other, "step").values,
        colorscale="Viridis",
        zmin=zmin,
        zmax=zmax,
        hovertemplate=f"step %{{x}}<br>{other} %{{y}}<br>%{{z:.3f}}<extra></extra>",
        colorbar={
            "title": {"text": colorbar or "", "side": "right"},
            "x": 1.02, "xanchor": "left", "thickness": 12, "len": top - bottom, "y": (bottom + top) / 2,
        },
        row=row,
        col=1,
    )  # fmt: skip
    name_rows(figure, values[other].values.tolist(), list(named), row)


NAMED = 8
"""Most rows of a heat map that are named: by some rules half of all frequencies of an untrained network are key."""


def name_rows(figure: go.Figure, rows: list[Any], named: list[Any], row: int) -> None:
    """Write names at the right end of rows of a heat map; of two that would overlap one stands further left."""
    bottom, top = domain(figure, "y", row)
    margin = figure.layout.margin
    room = (top - bottom) * (figure.layout.height - margin.t - margin.b) / len(rows)
    before, shift, text = -math.inf, 0, ""
    for place in sorted(map(rows.index, named)) if len(named) <= NAMED else ():
        near = (place - before) * room < 12
        before, shift = place, -7 * (len(text) + 1) if near and not shift else 0
        text = str(rows[place])
        figure.add_annotation(
            x=1, xref="x domain", xshift=shift, y=rows[place], text=text, showarrow=False, xanchor="right", borderpad=0,
            font={"color": INK, "size": 10}, bgcolor="rgba(255,255,255,0.75)", row=row, col=1,
        )  # fmt: skip


def quartiles(figure: go.Figure, values: xr.DataArray, name: str, colour: str, row: int) -> None:
    """Draw the medians [group, quantile] of groups as dots, with bars from quartile to quartile; gaps where one is not known."""
    low, middle, high = values.transpose("quantile", ...).values
    figure.add_scatter(
        x=values[next(str(dim) for dim in values.dims if dim != "quantile")].values,
        y=middle,
        error_y={"array": high - middle, "arrayminus": middle - low, "thickness": 1, "width": 0},
        name=name,
        mode="markers",
        marker={"color": colour, "size": 5},
        legend=legend_of(row),
        row=row,
        col=1,
    )


def field(
    figure: go.Figure, values: np.ndarray, heights: np.ndarray, words: np.ndarray, row: int, colorbar: str
) -> None:
    """Draw a square of heights over pairs of values as colours, x downwards and y to the right, with a word on each cell."""
    bottom, top = domain(figure, "y", row)
    known = heights[np.isfinite(heights)]
    figure.add_heatmap(
        x=values,
        y=values,
        z=heights,
        text=words,
        colorscale="Viridis",
        zmin=float(known.min(initial=math.inf)) if len(known) else 0,
        zmax=float(known.max(initial=-math.inf)) if len(known) else 1,
        hovertemplate="%{y} ∘ %{x}, %{text}<br>%{z}<extra></extra>",
        colorbar={
            "title": {"text": colorbar, "side": "right"},
            "x": 1.02, "xanchor": "left", "thickness": 12, "len": top - bottom, "y": (bottom + top) / 2,
        },
        row=row,
        col=1,
    )  # fmt: skip
    axis = next(iter(figure.select_xaxes(row=row, col=1))).plotly_name.replace("axis", "")
    figure.update_xaxes(constrain="domain", row=row)
    figure.update_yaxes(scaleanchor=axis, constrain="domain", autorange="reversed", row=row)


def mark_transition(figure: go.Figure, found: xr.Dataset, rows: int | None = None) -> go.Figure:
    """The figure with dotted lines at the steps of memorisation, generalisation and collapse, named in the first panel.

    They are in the first `rows` panels, by default in all.
    """
    rows = rows or sum(1 for _ in figure.select_yaxes())
    # A line higher than the other: in a short run they would lie on each other.
    marks = (("memorised", TRAIN, "<br> "), ("generalised", TEST, ""), ("collapsed", INK, "<br> <br> "))
    for name, colour, below in marks:
        step = found.attrs.get(name, math.nan)
        if math.isnan(step):
            continue
        for row in range(1, rows + 1):
            label = {
                "text": f"{name} {step:,.0f}{below}",
                "textposition": "start",
                "textangle": 0,
                "xanchor": "left",
                "yanchor": "bottom",
            }
            font = {"font": {"color": colour, "size": 11}, "padding": 4}
            where: Any = {"row": row, "col": 1}
            figure.add_vline(
                x=step,
                line={"color": colour, "dash": "dot", "width": 1.5},
                label=label | font if row == 1 else {},
                **where,
            )
    return figure
