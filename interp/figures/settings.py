"""A measure of several runs over the settings of a field: its mean, standard error, and every run."""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from interp.figures.curves import shade
from interp.figures.panels import legend_of


def over_settings(
    figure: go.Figure, table: pd.DataFrame, runs: pd.DataFrame, name: str, colour: str, row: int, dash: str = "solid"
) -> None:
    """Draw the mean of a measure over settings, its standard error shaded, and a ring for each run unless the line is dotted.

    Args:
        figure: the figure.
        table: means in the column of that name and standard errors in "… ±", by setting.
        runs: a row for each run; its column named as the table's index has the settings.
        name: the measure.
        colour: of the line.
        row: of the panel.
        dash: of the line.
    """
    here: dict[str, Any] = {"legend": legend_of(row), "legendgroup": name, "row": row, "col": 1}
    settings, means, errors = (
        np.asarray(values, dtype=float) for values in (table.index, table[name], table[f"{name} ±"])
    )
    figure.add_scatter(x=settings, y=means, name=name, mode="lines", line={"color": colour, "dash": dash}, **here)
    if dash == "solid":
        ring = {"color": colour, "symbol": "circle-open", "size": 5}
        figure.add_scatter(
            x=runs[table.index.name], y=runs[name], mode="markers", marker=ring, showlegend=False, **here
        )
    if not np.isnan(errors).any():
        shade(figure, settings, means - errors, means + errors, colour, row)


def scale_of_settings(figure: go.Figure, table: pd.DataFrame, title: str, row: int) -> None:
    """Set the axes of all panels: logarithmic if settings span more than a factor of ten, with the title below that row."""
    settings = np.unique(table.index.to_numpy(dtype=float))
    wide = bool(settings.min() > 0 and settings.max() > 10 * settings.min())
    ticks: dict[str, Any] = {"tickvals": settings[:: max(1, len(settings) // 12)]} if wide else {}
    figure.update_xaxes(type="log" if wide else "linear", exponentformat="none", matches="x", **ticks)
    figure.update_xaxes(title_text=title, row=row)
