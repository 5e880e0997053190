"""How does the time to generalise depend on weight decay?

    python analyses/weight_decay/study.py            # x + y at p = 59 and p = 113, decay 0 to 10, three seeds
    python analyses/weight_decay/study.py --small    # x + y mod 53, three decays, two seeds

Nanda et al. (2023) say in one place that more decay generalises sooner, and give figures that say the contrary.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go

import interp
from interp import figures
from interp.config import RunConfig
from interp.store import Run
from interp.study import script, spread, tabulate, trend

DECAY = "train.weight_decay"
STEPS = {
    "p59": {0: 20_000, 0.1: 30_000, 0.3: 14_000, 1: 4_000, 3: 2_000, 10: 1_000},
    "p113": {0.3: 24_000, 3: 3_000},
}
"""By size and decay: less decay takes longer."""
RATE = 0.001
"""Learning rate: a weight without gradient shrinks by rate × decay a step."""
REPORTED = {0.1: 10_794, 0.3: 3_100, 1: 815, 3: 344}
"""Steps of the independent report at p = 59, by decay."""
PRESET = Path(__file__).parents[1] / "progress_measures/results/seeds.csv"
"""Steps of the nanda preset itself, p = 113 with decay 1, five seeds to step 25,000: not trained once more."""


def configs(small: bool) -> Mapping[str, RunConfig]:
    """Decays at p = 59 from half the table, as in an independent report, and at p = 113 from 30 % as in the paper."""
    if small:
        return interp.grid(interp.preset("quick").config, seeds=2, vary={DECAY: [0, 1, 3]})
    nanda = interp.preset("nanda").config
    half = nanda.but(task=nanda.task.but(p=59, train_fraction=0.5))
    return {
        f"{size}+{name}": config
        for size, base in {"p59": half, "p113": nanda}.items()
        for decay, steps in STEPS[size].items()
        for name, config in interp.grid(
            base.but(train=base.train.but(steps=steps, checkpoint_every=1_000)), 3, {DECAY: [decay]}
        ).items()
    }


def report(runs: Mapping[str, Run]) -> script.Report:
    """Steps to memorise and to generalise by modulus and decay."""
    chosen = {name: run.config.model_dump() for name, run in runs.items()}
    table = tabulate(runs).assign(
        p=[each["task"]["p"] for each in chosen.values()],
        decay=[each["train"]["weight_decay"] for each in chosen.values()],
    )
    table = table.loc[:, ["p", "decay", "memorised", "generalised", "final_test_accuracy", "last_step"]]
    if (table["p"] == 113).any():
        preset = pd.read_csv(PRESET).assign(p=113, decay=1.0, last_step=25_000)
        preset.index = pd.Index([f"progress_measures, seed {seed}" for seed in preset["seed"]], name="run")
        table = pd.concat([table, preset.reindex(columns=table.columns)])
    cells = spread(table, by=["p", "decay"])
    tables = {"spread": cells, "trend": trended(table), "products": products(cells), "runs": table}
    return script.Report(tables, {"weight_decay": draw(cells, table)})


def trended(table: pd.DataFrame) -> pd.DataFrame:
    """Whether more decay generalises sooner, at each modulus."""
    return trend(table, "decay", ["generalised"], each=["p"])


def products(cells: pd.DataFrame) -> pd.DataFrame:
    """By modulus and decay: decay × median steps, in e-foldings too, and the median over that of the largest decay up to 3
    and over that of the independent report."""
    median = cells.xs("generalised", level="what")["median"]
    p, decay = (median.index.get_level_values(name).to_numpy(dtype=float) for name in ("p", "decay"))
    found = pd.DataFrame({"median": median, "decay × steps": decay * median, "e-foldings": decay * median * RATE})
    steady = pd.Series(median.to_numpy()[decay <= 3], p[decay <= 3]).groupby(level=0).last()
    reported = [REPORTED.get(each, np.nan) if modulus == 59 else np.nan for modulus, each in zip(p, decay, strict=True)]
    return found.assign(**{"÷ that of decay 3": median / steady.reindex(p).to_numpy(), "÷ reported": median / reported})


def draw(cells: pd.DataFrame, table: pd.DataFrame) -> go.Figure:
    """Every seed's steps against the decay; one that did not arrive stands as a triangle where it was stopped."""
    figure = figures.panels(
        ["steps until test accuracy reaches 99 %"],
        heights=[7],
        title="Weight decay and the time to generalise",
        over_steps=False,
    )
    for (p, rows), colour in zip(table.groupby("p"), figures.PALETTE, strict=False):
        medians = cells.loc[p].xs("generalised", level="what")["median"]
        figure.add_scatter(
            x=[f"{decay:g}" for decay in medians.index], y=medians, name=f"p = {p}, median", line={"color": colour}
        )
        for reached, symbol, label in (
            (True, "circle-open", "a seed"),
            (False, "triangle-up-open", "a seed, not by then"),
        ):
            here = rows[rows["generalised"].notna() == reached]
            figure.add_scatter(
                x=[f"{decay:g}" for decay in here["decay"]],
                y=here["generalised" if reached else "last_step"],
                name=f"p = {p}, {label}",
                mode="markers",
                marker={"color": colour, "symbol": symbol, "size": 9},
            )
    order = [f"{decay:g}" for decay in sorted(table["decay"].unique())]
    figure.update_xaxes(title_text="weight decay (AdamW)", type="category", categoryorder="array", categoryarray=order)
    figure.update_yaxes(type="log", title_text="step (optimiser updates)", exponentformat="none", dtick=1)
    return figure.update_layout(margin={"r": 250})


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report))
