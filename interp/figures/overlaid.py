"""Runs over each other: a thin line a run, coloured by its setting, and the median of each setting."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from interp.figures.panels import PALETTE, panels

SPREAD = 100
"""Largest number over smallest from which an axis is logarithmic, if all are above 0."""


def overlaid(tables: Mapping[str, pd.DataFrame], settings: Mapping[str, str], title: str) -> go.Figure:
    """A panel for each column, with a thin line over steps for each run and a thick one for the median of its setting.

    Args:
        tables: numbers by step (index) of each run.
        settings: setting of each run, in words; those of seeds of one setting are alike.
        title: of the figure.
    """
    columns = list(dict.fromkeys(str(column) for table in tables.values() for column in table))
    figure = panels(columns, heights=[3.4] * len(columns), title=title)
    names = list(dict.fromkeys(settings[run] for run in tables))
    for row, column in enumerate(columns, start=1):
        here = {
            run: pd.Series(table[column]).dropna().astype(float) for run, table in tables.items() if column in table
        }
        for name, colour in zip(names, colours_of(len(names)), strict=True):
            of_setting = {run: values for run, values in here.items() if settings[run] == name}
            draw_setting(figure, of_setting, name, colour, row)
        every = np.concatenate([values.to_numpy() for values in here.values()] or [np.zeros(1)])
        if every.min() > 0 and every.max() > SPREAD * every.min():
            figure.update_yaxes(type="log", exponentformat="power", nticks=6, row=row, col=1)
    return figure


def draw_setting(figure: go.Figure, runs: Mapping[str, pd.Series], name: str, colour: str, row: int) -> None:
    """Draw the runs of a setting as thin lines and their median as a thick one; in the first panel it is named."""
    place: dict[str, Any] = {"legendgroup": name, "mode": "lines", "row": row, "col": 1}
    for run, values in runs.items():
        figure.add_scatter(
            x=values.index, y=values, line={"color": colour, "width": 1}, opacity=0.5, showlegend=False,
            hovertemplate=f"{html.escape(run)}: %{{y:.4g}}<extra></extra>", **place,
        )  # fmt: skip
    if runs:
        middle = median(list(runs.values()))
        words = f"{name or 'median'} ({len(runs)})"
        figure.add_scatter(
            x=middle.index, y=middle, line={"color": colour, "width": 3}, name=html.escape(words), showlegend=row == 1,
            hovertemplate=f"{html.escape(words)}: %{{y:.4g}}<extra></extra>", **place,
        )  # fmt: skip


def median(curves: Sequence[pd.Series]) -> pd.Series:
    """The median over curves at every step of any; between its steps a curve is straight, and beyond them it does not count."""
    steps = np.unique(np.concatenate([curve.index.to_numpy() for curve in curves]))
    heights = [
        np.interp(steps, curve.index.to_numpy(), curve.to_numpy(), left=np.nan, right=np.nan)
        for curve in curves
        if len(curve)
    ]
    return pd.DataFrame(np.array(heights).reshape(-1, len(steps)).T, index=steps).median(axis=1)


def colours_of(count: int) -> list[str]:
    """A colour for each setting: those of the palette, or where they are more a scale from dark to light."""
    if count <= len(PALETTE):
        return list(PALETTE[:count])
    return [str(each) for each in sample_colorscale("Viridis", np.linspace(0, 0.9, count).tolist())]
