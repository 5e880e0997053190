"""Under SGD, with how many wrong labels does test error rise between two falls? Eight seeds each, and as many without any.

python analyses/outliers/closely.py            # 0, 200, 300, 500 and 1,000 of 4,704 labels wrong, 40 runs
python analyses/outliers/closely.py --small    # none and 60 of 672, mod 31, two seeds
"""

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import xarray as xr
from study import LABELS, WAYS, base, of_curves, over_steps, without_jumps

import interp
from interp import figures
from interp.config import RunConfig
from interp.maths.curves import fall_rise_fall
from interp.store import Run
from interp.study import compare, script, spread

COUNTS = (0, 200, 300, 500, 1000)
"""Wrong labels: about those with which the first look, at three seeds, saw error rise."""
SHOWN_FROM = 1_000
"""Step from which error is drawn; before, it is at chance."""


def configs(small: bool) -> Mapping[str, RunConfig]:
    """The SGD of `study.py` with each count and seed."""
    start = base(small)
    start = start.but(train=start.train.but(**WAYS["SGD"]))
    grid = interp.grid(start, 2 if small else 8, {LABELS: [0, 60] if small else list(COUNTS)})
    return {f"SGD+{name}": config for name, config in grid.items()}


def report(runs: Mapping[str, Run]) -> script.Report:
    """How far error rises between two falls, how often by the rule, and whether that is more than without wrong labels."""
    rows, curves = [], {}
    for run in runs.values():
        found = interp.measure(run, "curves")
        key = run.config.corruption.labels, run.config.seeds.model
        rows.append(
            dict(zip(("labels", "seed"), key, strict=True)) | of_curves(found) | rise(found) | seen_through(run)
        )
        curves["SGD", *key] = 1 - found["test_accuracy"].to_series()
    table: Any = pd.DataFrame(rows).sort_values(["labels", "seed"])
    cells = spread(table.drop(columns="seed"), by=["labels"])
    by_count = table.groupby("labels")
    how_often = pd.DataFrame(
        {
            "seeds": by_count.size(),
            "error falls, rises, falls": by_count["error_rises"].sum().astype(int),
            "loss falls, rises, falls": by_count["loss_rises"].sum().astype(int),
            "error rises by, median": by_count["error_rise"].median(),
            "lowest": by_count["error_rise"].min(),
            "highest": by_count["error_rise"].max(),
        }
    )
    return script.Report(
        {
            "closely": how_often,
            "closely_comparisons": compare(table, "labels", ["error_rise", "error_rises"], control=0),
            "closely_spread": cells,
            "closely_runs": table.set_index(["labels", "seed"]),
        },
        {"closely": drawn(pd.DataFrame(curves))},
    )


def rise(found: xr.Dataset) -> dict[str, float]:
    """By how much test error rises between two falls: the smaller side of its largest rise, whatever the bound."""
    error = 1 - found["test_accuracy"].to_numpy()[without_jumps(found)]
    stages = fall_rise_fall(error, np.finfo(float).eps)
    if stages is None:
        return {"error_rise": 0.0}
    low, high, last = error[list(stages)]
    return {"error_rise": float(min(high - low, high - last))}


def seen_through(run: Run) -> dict[str, float]:
    """The largest share of wrong labels that is answered right in spite of them, when, and how they are answered at the end."""
    if not run.config.corruption.labels:
        return {}
    kinds = interp.measure(run, "breakdown")["accuracy"].sel(operation="all")
    right, wrong, clean = (kinds.sel(examples=f"train {kind}") for kind in ("recovered", "corrupted", "clean"))
    most = int(right.argmax("step"))
    return {
        "most_recovered": float(right[most]),
        "most_recovered_step": int(kinds["step"][most]),
        "clean_right_then": float(clean[most]),
        "final_recovered": float(right[-1]),
        "final_wrong_learned": float(wrong[-1]),
    }


def drawn(errors: pd.DataFrame) -> go.Figure:
    """Test error from where it falls on, a panel for each number of wrong labels: every seed, and their median."""
    of_way: Any = errors["SGD"]
    counts = sorted(dict.fromkeys(of_way.columns.get_level_values(0)))
    titles = [f"{count:,} wrong labels" for count in counts]
    figure = figures.panels(titles, heights=[2.6] * len(counts), title="Test error under SGD")
    for row, count in enumerate(counts, start=1):
        seeds = of_way[count][of_way.index >= SHOWN_FROM].dropna()
        for seed in seeds:
            figures.line(figure, over_steps(seeds[seed]), "a seed", figures.TEST, row, showlegend=False, opacity=0.35)
        figures.line(figure, over_steps(seeds.median(axis=1)), "median", figures.INK, row, showlegend=row == 1)
        figure.update_yaxes(title_text="1 − accuracy", tickformat=".0%", row=row)
    return figure.update_layout(updatemenus=[])


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report))
