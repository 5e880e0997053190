"""Is a bigger table harder to understand: by its modulus at one share, by the share at one modulus, at one number of examples?

    python analyses/dataset_size/study.py            # x + y mod 31 to 79, seven training sets each, three seeds
    python analyses/dataset_size/study.py --small    # mod 23 and 31, three training sets each, two seeds

"The bigger the dataset, the harder" may mean any of the three.
"""

import sys
from collections.abc import Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go

import interp
from interp import figures
from interp.config import RunConfig
from interp.store import Run
from interp.study import script, spread, tabulate, trend

MODULI = (31, 43, 59, 79)
SHARES = (0.3, 0.4, 0.5, 0.6)
EXAMPLES = (550, 800, 1_300)
"""Sizes of the training set at which moduli are compared too, where the table has more."""
LARGEST = 0.9
"""Share of the table beyond which too few prompts are left to test on."""
NULL = 0.5
"""Share at which a random table is trained on: the recipe where nothing can be understood."""


def configs(small: bool) -> Mapping[str, RunConfig]:
    """A run for each modulus, training set and seed, by the recipe of the quick preset."""
    quick = interp.preset("quick").config
    moduli, shares, sizes, seeds = ((23, 31), (0.5, 0.7), (370,), 2) if small else (MODULI, SHARES, EXAMPLES, 3)
    steps = 1_000 if small else 3_000
    train = quick.train.but(steps=steps, checkpoint_every=steps, checkpoints_per_decade=1)
    found: dict[str, RunConfig] = {}
    for p in moduli:
        of_size = [size / p**2 for size in sizes if size / p**2 <= LARGEST]
        for operation, parts in {"add": [*shares, *of_size], "random": [NULL]}.items():
            task = quick.task.but(p=p, operation=operation)
            base = quick.but(name=f"{operation}+p={p}", task=task, train=train)
            grid = interp.grid(base, seeds, {"task.train_fraction": parts})
            found |= {f"{base.name}+{name}": config for name, config in grid.items()}
    return found


KEY = ["formula", "p", "examples"]
"""What runs of one cell agree in."""


def report(runs: Mapping[str, Run]) -> script.Report:
    """Steps to understand by modulus and training set, and the same at equal shares and at equal numbers of examples."""
    table = tabulate(runs).assign(
        **{name: [told(run)[name] for run in runs.values()] for name in (*KEY, "share", "seed")}
    )
    facts = [
        "memorised",
        "memorised_until",
        "generalised",
        "generalised_until",
        "collapsed",
        "best_test_accuracy",
        "last_step",
    ]
    table = table.loc[:, [*KEY, "share", "seed", *facts]]
    cells = spread(table.drop(columns="seed"), by=KEY)
    sums: Any = table[table["formula"] == "x + y"]
    by_share = sums["share"].isin(shares_of(sums))
    return script.Report(
        {
            "equal_shares": crossed(sums[by_share], "share"),
            "equal_examples": crossed(sums[~by_share], "examples"),
            "trend_at_equal_shares": trend(sums[by_share], "p", ["generalised"], each=["share"]),
            "trend_at_equal_examples": trend(sums[~by_share], "p", ["generalised"], each=["examples"]),
            "spread": cells,
            "runs": table.set_index([*KEY, "seed"]),
        },
        {"dataset_size": draw(table)},
    )


def told(run: Run) -> dict[str, Any]:
    """What a run learns, modulo what, from how much of its table, with which seed."""
    task: Any = run.config.task
    return {
        "formula": task.rule.formula,
        "p": task.p,
        "examples": len(run.split.train),
        "share": task.train_fraction,
        "seed": run.config.seeds.model,
    }


def shares_of(sums: Any) -> list[float]:
    """Shares that every modulus is trained on; the others are numbers of examples."""
    of_each = [set(of_p["share"]) for _, of_p in sums.groupby("p")]
    return sorted(set.intersection(*of_each))


def crossed(sums: Any, by: str) -> pd.DataFrame:
    """Kaplan–Meier medians of the step to generalise: a row for each share or number of examples, by modulus."""
    cells = spread(sums.drop(columns="seed"), by=[by, "p"]).xs("generalised", level="what")
    found = {f"p = {p}": cells.xs(p, level="p") for p in sorted(sums["p"].unique())}
    columns = {f"{name}, {what}": of[what] for name, of in found.items() for what in ("median", "runs", "missing")}
    return pd.DataFrame(columns).rename_axis(by)


def draw(table: pd.DataFrame) -> go.Figure:
    """Steps to generalise of every seed against the share, and against the number of examples; a triangle: not by the end."""
    sums: Any = table[table["formula"] == "x + y"]
    figure = figures.panels(
        ["against the share of the table", "against the number of examples"],
        heights=[6],
        columns=2,
        title="Steps until test accuracy is 99 %, by modulus",
        over_steps=False,
    )
    for colour, (p, of_p) in zip(figures.PALETTE, sums.groupby("p"), strict=False):
        for column, across in enumerate(("share", "examples"), start=1):
            for reached, symbol in ((True, "circle-open"), (False, "triangle-up-open")):
                here: Any = of_p[of_p["generalised"].notna() == reached]
                figure.add_scatter(
                    x=here[across], y=here["generalised" if reached else "last_step"], mode="markers", name=f"p = {p}",
                    marker={"color": colour, "symbol": symbol, "size": 9}, legendgroup=str(p),
                    showlegend=reached and column == 1, row=1, col=column,
                )  # fmt: skip
    figure.update_xaxes(title_text="share of the table that is trained on", tickformat=".0%", row=1, col=1)
    sizes = [300, 500, 1_000, 2_000, 4_000]
    figure.update_xaxes(title_text="prompts that are trained on", type="log", tickvals=sizes, row=1, col=2)
    figure.update_yaxes(type="log", tickvals=[200, 500, 1_000, 2_000, 3_000], tickformat=",")
    return figure.update_yaxes(title_text="step (optimiser updates)", row=1, col=1)


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report))
