"""How much of its table does a network need to see, operation by operation, to work out the rest?

    python analyses/operations/study.py            # eleven operations mod 47 and three on S5, three seeds
    python analyses/operations/study.py --small    # four operations mod 23 at two shares, two seeds

The right half of figure 2 of Power et al. (2022).
"""

import itertools
import math
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

import interp
from interp import figures
from interp.config import RunConfig
from interp.recipe import TrainConfig
from interp.store import Run
from interp.study import compare, script, spread, tabulate
from interp.tasks import GroupTask, ModularTask
from interp.tasks.group import GROUP_OPERATIONS
from interp.tasks.modular import OPERATIONS

MODULAR = tuple(name for name in OPERATIONS if name != "random")
FRACTIONS = (0.42, 0.5, 0.7, 0.95)
FRACTIONS_OF_GROUPS = (0.6, 0.95)
LOW = (0.25, 0.3, 0.36)
"""Lower shares, for the operations that are learned from the lowest of FRACTIONS."""
NEED_LITTLE = ("add", "multiply", "divide", "add_mod_p_minus_1")
OPERATION = ["domain", "formula", "symmetric"]
LEARNED = 0.99
"""Best test accuracy that counts as learned."""


def configs(small: bool) -> Mapping[str, RunConfig]:
    """A run for each operation, share and seed."""
    if small:
        return over(ModularTask(p=23), ("add", "x2_y2", "subtract", "x3_xy2_y"), (0.6, 0.95), 1e-3, 1500, seeds=2)
    return {
        **over(ModularTask(p=47), MODULAR, FRACTIONS, 3e-3, 2_500, seeds=3),
        **over(ModularTask(p=47), NEED_LITTLE, LOW, 3e-3, 2_500, seeds=3),
        **over(ModularTask(p=47), ("random",), FRACTIONS[-1:], 3e-3, 2_500, seeds=3),
        **over(GroupTask(group="S5"), tuple(GROUP_OPERATIONS), FRACTIONS_OF_GROUPS, 1e-3, 7_000, seeds=3),
    }


def over(
    task: ModularTask | GroupTask,
    operations: tuple[str, ...],
    fractions: tuple[float, ...],
    lr: float,
    steps: int,
    seeds: int,
) -> dict[str, RunConfig]:
    """AdamW with decay 1, at least two batches an epoch and each of 512 prompts at most, as in the paper.

    All batches of an epoch are of one size, to a prompt: a last one of the few that are left would be so noisy that it
    decides what is learned.
    """
    found: dict[str, RunConfig] = {}
    for fraction, operation in itertools.product(fractions, operations):
        part = task.but(operation=operation, train_fraction=fraction)
        batches = max(2, math.ceil(part.n_train / 512))
        train = TrainConfig(
            lr=lr,
            steps=steps,
            batch_size=math.ceil(part.n_train / batches),
            log_every=steps // 100,
            checkpoint_every=steps,
            checkpoints_per_decade=1,
        )
        base = RunConfig(name=f"{task.kind}+{operation}+{fraction:g}", task=part, train=train)
        found |= {config.name: config for config in interp.grid(base, seeds).values()}
    return found


def report(runs: Mapping[str, Run]) -> script.Report:
    """Best test accuracy by operation and share, and the least share from which each operation is learned."""
    facts = tabulate(runs)[["best_test_accuracy", "final_test_accuracy", "memorised", "generalised", "last_step"]]
    table = pd.DataFrame([named(run) for run in runs.values()], index=facts.index).join(facts)
    cells = spread(table.drop(columns="seed"), by=[*OPERATION, "fraction"])
    asked = table.loc[table["formula"] != OPERATIONS["random"].formula, :]
    need = least_shares(asked)
    on_rings = rings(runs)
    tables = {
        "least_share": need,
        "spread": cells,
        "comparisons": compared(table),
        "runs": table.set_index([*OPERATION, "fraction", "seed"]),
    }
    return script.Report(
        tables | {"rings": of_seeds(on_rings), "rings_runs": on_rings.set_index([*RINGS, "seed"])},
        {"operations": draw(asked, need)},
    )


RINGS = ["formula", "matrix", "naming", "space"]


def rings(runs: Mapping[str, Run]) -> pd.DataFrame:
    """In how far residues lie on a ring at the end, of the runs that see most of their table: by value and by logarithm."""
    facts = [(named(run), run) for run in runs.values() if isinstance(run.config.task, ModularTask)]
    most = max(key["fraction"] for key, _ in facts)
    tables = []
    for key, run in facts:
        if key["fraction"] == most:
            found = interp.measure(run.select(last=1), "tsne").isel(step=0)
            names = ["ring", "ring_stride", "ring_by_chance", "ring_p"]
            table = found[names].to_dataframe()[names].reset_index()
            tables.append(table.assign(formula=key["formula"], seed=key["seed"]))
    return pd.concat(tables)


def of_seeds(found: pd.DataFrame) -> pd.DataFrame:
    """The same over seeds: median, range, what chance gives, and how many have p ≤ .005, the least of 200 namings."""
    cells = found.groupby(RINGS, sort=False)
    return pd.DataFrame(
        {
            "seeds": cells.size(),
            "median": cells["ring"].median(),
            "lowest": cells["ring"].min(),
            "highest": cells["ring"].max(),
            "by chance": cells["ring_by_chance"].median(),
            "beyond chance": cells["ring_p"].agg(lambda p: int((p <= 0.005).sum())),
        }
    )


def compared(table: pd.DataFrame) -> pd.DataFrame:
    """Whether operations, not the random table, differ in the step from which they are known, over the shares of both."""
    asked = table.loc[table["formula"] != OPERATIONS["random"].formula, :]
    return compare(asked, "formula", ["generalised"], ["fraction"], each=["domain"])


def named(run: Run) -> dict[str, Any]:
    """Which operation a run learns, from how much, with which seed."""
    task = run.config.task
    assert isinstance(task, ModularTask | GroupTask)
    return {
        "domain": f"p = {task.p}" if isinstance(task, ModularTask) else task.group_name,
        "formula": task.rule.formula,
        "symmetric": is_symmetric(task),
        "fraction": task.train_fraction,
        "seed": run.config.seeds.model,
    }


def is_symmetric(task: ModularTask | GroupTask) -> bool:
    """Whether x ∘ y = y ∘ x wherever both are defined."""
    return task.mirrored() is not None


def least_shares(table: pd.DataFrame) -> pd.DataFrame:
    """For each operation the least share at which the median seed learns it, the least and most over seeds (NaN: at no share,
    or some seed at none), and how good it is; those that need least first, of these the better first."""
    rows = {}
    for operation, runs in table.groupby(OPERATION):
        best = runs.pivot(index="seed", columns="fraction", values="best_test_accuracy")
        each = [least_share(of_seed) for _, of_seed in best.iterrows()]
        rows[operation] = {
            "least share": least_share(best.median()),
            "of the seeds, least": np.fmin.reduce(each),
            "of the seeds, most": np.max(each),
            "seeds": len(each),
            "seeds that learn it": np.count_nonzero(~np.isnan(each)),
            "mean of the medians": best.median().mean(),
            "median at the largest share": best.median().iloc[-1],
        }
    found = pd.DataFrame.from_dict(rows, orient="index").rename_axis(OPERATION)
    order = {"domain": False, "least share": True, "mean of the medians": False}
    return found.sort_values(list(order), ascending=list(order.values()))


def least_share(best: pd.Series) -> float:
    """The least share at which an accuracy counts as learned; NaN: at none."""
    return min((float(str(share)) for share, accuracy in best.items() if accuracy >= LEARNED), default=np.nan)


def draw(table: pd.DataFrame, need: pd.DataFrame) -> go.Figure:
    """Median best test accuracy by operation and share, the hungriest operations lowest, and beside it the least shares."""
    order = need.index[::-1]  # the first row of a map is the lowest
    labels = [f"{formula} ({where}) {'●' if symmetric else '○'}" for where, formula, symmetric in order]
    best = table.pivot_table("best_test_accuracy", index=OPERATION, columns="fraction", aggfunc="median")
    median = best.loc[order]
    shares = [f"{fraction:.0%}" for fraction in median.columns]
    figure = figures.panels(
        [
            f"best test accuracy, median of seeds, in %; {LEARNED:.0%} or more is framed",
            f"least share for {LEARNED:.0%}",
        ],
        heights=[0.45 * len(order) + 0.5],
        columns=2,
        title="What must be seen to know the rest: symmetric operations (●) and others (○)",
        over_steps=False,
    )
    percent = 100 * median.to_numpy()
    figure.add_heatmap(
        x=shares, y=labels, z=percent, colorscale="Viridis", zmin=0, zmax=100, xgap=1, ygap=1,
        text=[["" if np.isnan(value) else f"{value:.0f}" for value in row] for row in np.floor(percent)],
        texttemplate="%{text}", showscale=False, row=1, col=1,
    )  # fmt: skip
    for row, column in np.argwhere(percent >= 100 * LEARNED):
        at = {"x0": column - 0.46, "x1": column + 0.46, "y0": row - 0.44, "y1": row + 0.44}
        figure.add_shape(type="rect", line={"color": "#e8730c", "width": 2}, **at, row=1, col=1)
    shown = need.loc[order]
    low, most = shown["of the seeds, least"].to_numpy(), shown["of the seeds, most"].to_numpy()
    for index, label in enumerate(labels):
        to = 1.0 if np.isnan(most[index]) else most[index]
        if not np.isnan(low[index]):
            figure.add_scatter(
                x=[low[index], to], y=[label, label], mode="lines", row=1, col=2, showlegend=False,
                line={"color": figures.QUIET, "width": 2},
            )  # fmt: skip
    symmetric = shown.index.get_level_values("symmetric").to_numpy()
    never = shown["least share"].isna().to_numpy()
    kinds = {"symmetric": (symmetric & ~never, "circle"), "not symmetric": (~symmetric & ~never, "circle-open")}
    for name, (here, symbol) in kinds.items():
        figure.add_scatter(
            x=shown["least share"][here], y=np.array(labels)[here], name=f"median seed, {name}", mode="markers",
            marker={"color": figures.TEST, "size": 11, "symbol": symbol, "line": {"width": 2}}, row=1, col=2,
        )  # fmt: skip
    figure.add_scatter(
        x=np.ones(never.sum()), y=np.array(labels)[never], name="at no share", mode="markers",
        marker={"color": figures.TEST, "size": 11, "symbol": "triangle-right-open", "line": {"width": 2}}, row=1, col=2,
    )  # fmt: skip
    figure.update_xaxes(title_text="share of the table that is trained on")
    figure.update_xaxes(type="category", row=1, col=1).update_xaxes(tickformat=".0%", range=[0, 1.05], row=1, col=2)
    figure.update_yaxes(showticklabels=False, matches="y", row=1, col=2)
    figure.update_yaxes(type="category", categoryorder="array", categoryarray=labels, automargin=True)
    return figure.update_layout(margin={"r": 210})


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report))
