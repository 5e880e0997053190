"""Rows of the list of runs on the live page."""

import math
from typing import Any
from urllib.parse import quote

from dash import dcc, html

from interp.app.listing import Listed


def rows_of(runs: list[Listed]) -> list[Any]:
    """A row for each run."""
    if not runs:
        return [html.Tr(html.Td("no run yet; train one with: python -m interp.train quick", colSpan=7))]
    return [
        html.Tr(
            [
                html.Td(dcc.Link(run.name, href=f"/run/{quote(run.name, safe='')}")),
                html.Td(run.about, className="quiet"),
                html.Td(f"{run.last.step:,}", className="number"),
                html.Td(f"{run.steps:,}", className="number"),
                *(html.Td(share(run.last.columns.get(f"{part}_accuracy", math.nan)), className="number")
                  for part in ("train", "test")),
                html.Td(state(run)),
            ]
        )
        for run in runs
    ]  # fmt: skip


def share(value: float) -> str:
    """An accuracy in percent; a dash where there is none."""
    return "–" if math.isnan(value) else f"{value:.1%}"


def state(run: Listed) -> str:
    """Whether a run is training, finished or stopped."""
    if run.training:
        return "training" if math.isnan(run.left) else f"training, {time_left(run.left)} left"
    return "finished" if run.last.step >= run.steps else "stopped"


def time_left(seconds: float) -> str:
    """A time in words."""
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5_400
        else f"{seconds / 3600:.1f} h"
    )
