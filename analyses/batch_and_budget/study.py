"""Steps or examples: what does half the batch cost, on five operations?

    python analyses/batch_and_budget/study.py            # batch 512 and 256, decay 1 and none, three seeds; one to 30,000 steps
    python analyses/batch_and_budget/study.py --small    # mod 23 and S4, batch 128 and 64, two seeds

Besides tables and a figure it makes the learning curves as a moving picture and as a page with a play button.
"""

import itertools
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import xarray as xr

import interp
from interp import figures
from interp.config import RunConfig
from interp.models import TransformerSpec
from interp.recipe import TrainConfig
from interp.store import Run
from interp.study import compare, script, spread, tabulate
from interp.tasks import GroupTask, ModularTask, Task

BATCH = "train.batch_size"
DECAY = "train.weight_decay"
SIZES, DECAYS, STEPS = (512, 256), (1.0, 0.0), 4_000
"""3e5 steps in batches of 512, or 3e4 of 256, and no decay, in the experiments that this follows."""
LONG = 30_000
"""Steps of the first seed where 4,000 are too few: on S5, and without decay."""
SAID = (1_000, 4_000, 10_000, 20_000, 30_000)
"""Steps at which the accuracy of those is tabulated."""
FIRST, MOMENTS, FRAMES = 5, 160, 48
"""From this step on, evenly spaced in their logarithm, the moving curves have so many points, and stand so many times."""
MARKS = (100, 200, 500, 1000, 2000, 5000, 10_000, 20_000)
DASHES = ("solid", "dot")
"""Of the larger and of the smaller batch."""


def configs(small: bool) -> Mapping[str, RunConfig]:
    """A run for each operation, batch size, decay and seed; half of each table is trained on."""
    modular = ModularTask(p=23 if small else 97, train_fraction=0.7 if small else 0.5)
    permutations = GroupTask(group="S4" if small else "S5", train_fraction=0.7 if small else 0.5)
    operations = ((modular, ["divide", "add", "multiply"]), (permutations, ["conjugate", "compose"]))
    learning = TrainConfig(lr=2e-3, log_every=20) if small else TrainConfig(log_every=50)
    model = TransformerSpec(d_mlp=256) if small else TransformerSpec()
    found: dict[str, RunConfig] = {}
    for (task, names), decay in itertools.product(operations, DECAYS[:1] if small else DECAYS):
        vary = {"task.operation": names, BATCH: [128, 64] if small else list(SIZES), DECAY: [decay]}

        def grid(steps: int, seeds: int, task: Task = task, vary: dict[str, Any] = vary) -> dict[str, RunConfig]:
            train = learning.but(steps=steps, checkpoint_every=steps, checkpoints_per_decade=5)
            return interp.grid(RunConfig(name="batch", task=task, model=model, train=train), seeds, vary)

        found |= grid(1000, 2) if small else grid(STEPS, 3)
        if not small and (task is permutations or decay == 0):
            long = grid(LONG, 3)  # the first seed of them, in place of its shorter run
            found |= {name: config for name, config in long.items() if config.seeds.model == 0}
    return found


def formula(run: Run) -> str:
    """What is learned, in a few signs."""
    task = run.config.task
    assert isinstance(task, ModularTask | GroupTask)
    return f"{task.rule.formula} {f'mod {task.p}' if isinstance(task, ModularTask) else f'on {task.group}'}"


def report(runs: Mapping[str, Run]) -> script.Report:
    """First steps with 99 % train and test accuracy by operation and batch size, and what half the batch costs.

    Batches of one table differ in size, and accuracy jumps now and then to the end: `collapsed` counts the runs in which it fell
    more than half-way back.
    """
    table = tabulate(runs).assign(
        operation=[formula(run) for run in runs.values()],
        decay=[run.config.train.weight_decay for run in runs.values()],
        batch_size=[run.config.train.batch_size for run in runs.values()],
        seed=[run.config.seeds.model for run in runs.values()],
    )
    steps = ["memorised", "generalised"]
    facts = [
        *steps,
        *(f"{step}_until" for step in steps),
        "collapsed",
        "best_test_accuracy",
        "final_test_accuracy",
        "last_step",
    ]
    cells = spread(table.loc[:, [*KEY, *facts]], by=KEY, steps=steps)
    tables = {
        "spread": cells,
        "ratios": ratios(cells),
        "comparisons": compared(table),
        "runs": table.set_index([*KEY, "seed"])[facts],
    }
    long = to_the_end(runs)
    return script.Report(
        tables if long.empty else tables | {"to_the_end": long},
        {"steps": draw(table, cells)},
        {"learning": figures.animated(*learning(runs))},
    )


KEY = ["operation", "decay", "batch_size"]
"""What runs of one cell agree in."""


def to_the_end(runs: Mapping[str, Run]) -> pd.DataFrame:
    """Train and test accuracy of the long runs at a few steps: the mean of the evaluations in the hundred steps up to each."""
    rows = {}
    for run in runs.values():
        if run.config.train.steps == LONG:
            accuracy = run.history[["train_accuracy", "test_accuracy"]]
            means = {step: accuracy.loc[step - 99 : step].mean() for step in SAID}
            key = (formula(run), run.config.train.weight_decay, run.config.train.batch_size)
            rows[key] = {
                f"{what} at {step}": mean[f"{what}_accuracy"]
                for what in ("train", "test")
                for step, mean in means.items()
            }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(KEY if rows else None)


def compared(table: pd.DataFrame) -> pd.DataFrame:
    """Whether batch sizes differ in steps to generalise, and in prompts seen, over the operations that every run learns."""
    each = [name for name in ("decay",) if name in table]
    learned = table.groupby(["operation", *each])["generalised"].transform(lambda steps: steps.notna().all())
    rows = table.loc[learned.to_numpy(dtype=bool)] if learned.to_numpy().any() else table
    prompts = rows["generalised"] * rows["batch_size"]
    rows = rows.assign(prompts=prompts, prompts_until=rows["last_step"] * rows["batch_size"])
    return compare(rows, "batch_size", ["memorised", "generalised", "prompts"], ["operation"], each=each)


def ratios(cells: pd.DataFrame) -> pd.DataFrame:
    """Median steps with the smaller batch over those with the larger: 2 if examples count, 1 if steps do."""
    smaller, larger = sorted(cells.index.unique("batch_size"))
    found = {}
    for fact in ("memorised", "generalised"):
        medians = cells.xs(fact, level="what")["median"]
        found[fact] = medians.xs(smaller, level="batch_size") / medians.xs(larger, level="batch_size")
    return pd.DataFrame(found).assign(batches=f"{smaller} over {larger}")


def draw(table: pd.DataFrame, cells: pd.DataFrame) -> go.Figure:
    """Steps to memorise and to generalise: every seed, and their median; what was not reached is a triangle."""
    decays = list(dict.fromkeys(table["decay"]))
    figure = figures.panels(
        [f"steps until accuracy is 99 %, decay {decay:g}" for decay in decays],
        heights=[6] * len(decays),
        title="Half the batch",
        over_steps=False,
        gap=110,  # an axis of two levels
    )
    for row, decay in enumerate(decays, start=1):
        of_decay = table.loc[table["decay"] == decay, :]
        add_steps(figure, row, of_decay, cells.xs(decay, level="decay"))
    figure.update_xaxes(title_text="batch size, by operation", row=len(decays))
    figure.update_yaxes(
        type="log", title_text="step (optimiser updates)", tickvals=MARKS, ticktext=[f"{mark:,}" for mark in MARKS]
    )
    return figure.update_layout(margin={"r": 170, "b": 100})


def add_steps(figure: go.Figure, row: int, table: pd.DataFrame, cells: pd.DataFrame) -> None:
    """The panel of one decay."""
    places = list(dict.fromkeys(zip(table["operation"], table["batch_size"], strict=True)))
    for fact, split, colour in (("memorised", "train", figures.TRAIN), ("generalised", "test", figures.TEST)):
        medians = cells.xs(fact, level="what")["median"].reindex(places)
        marker = {"color": colour, "symbol": "line-ew-open", "size": 30, "line": {"color": colour, "width": 3}}
        where: Any = {"mode": "markers", "row": row, "col": 1, "showlegend": row == 1}
        figure.add_scatter(x=across(places), y=medians, name=f"{split}, median", marker=marker, **where)
        for reached, symbol, label in ((True, "circle-open", "a seed"), (False, "triangle-up-open", "not by then")):
            here = table[table[fact].notna() == reached]
            figure.add_scatter(
                x=across(zip(here["operation"], here["batch_size"], strict=True)),
                y=here[fact if reached else "last_step"],
                name=f"{split}, {label}",
                marker={"color": colour, "symbol": symbol, "size": 9},
                **where,
            )


def across(places: Iterable[tuple[str, int]]) -> list[list[str]]:
    """Places on an axis of two levels: operations, and batch sizes within them."""
    chosen = list(places)
    return [[operation for operation, _ in chosen], [str(size) for _, size in chosen]]


def learning(runs: Mapping[str, Run]) -> tuple[go.Figure, list[int]]:
    """Accuracy and loss of every operation over steps with decay, the median over seeds, and the steps to stand at."""
    runs = {name: run for name, run in runs.items() if run.config.train.weight_decay}
    operations = list(dict.fromkeys(map(formula, runs.values())))
    sizes = sorted({run.config.train.batch_size for run in runs.values()}, reverse=True)
    figure = figures.panels(
        [f"{what}, {operation}" for operation in operations for what in ("accuracy", "loss")],
        heights=[2.6] * len(operations),
        title="Learning curves of five operations, the median over seeds",
        columns=2,
        over_steps=False,
    )
    for row, operation in enumerate(operations, start=1):
        for size, dash in zip(sizes, DASHES, strict=True):
            found = median_curves(
                [run for run in runs.values() if (formula(run), run.config.train.batch_size) == (operation, size)]
            )
            for col, what in enumerate(("accuracy", "loss"), start=1):
                for split, colour in (("train", figures.TRAIN), ("test", figures.TEST)):
                    figure.add_scatter(
                        x=found["step"].values, y=found[f"{split}_{what}"].values.astype("float32"), mode="lines",
                        name=f"{split}, batch {size}", line={"color": colour, "dash": dash, "width": 2},
                        showlegend=row == col == 1, row=row, col=col,
                    )  # fmt: skip
        figure.update_yaxes(tickformat=".0%", range=[-0.04, 1.06], row=row, col=1)
        figure.update_yaxes(type="log", exponentformat="power", title_text="nats", dtick=2, row=row, col=2)
    figure.update_xaxes(type="log", dtick=1, exponentformat="power", showticklabels=False)
    figure.update_xaxes(title_text="step (optimiser updates)", showticklabels=True, row=len(operations))
    last = min(run.config.train.steps for run in runs.values())
    return figure, [int(step) for step in np.unique(np.geomspace(2 * FIRST, last, FRAMES).round())]


def median_curves(runs: list[Run]) -> xr.Dataset:
    """The middle value over seeds at steps evenly spaced in their logarithm, of those that were logged in every run."""
    curves = [interp.measure(run, "curves") for run in runs]
    steps = min((each["step"].values for each in curves), key=len)
    kept = np.unique(np.searchsorted(steps, np.geomspace(FIRST, steps[-1], MOMENTS)).clip(max=len(steps) - 1))
    return xr.concat([each.isel(step=kept).drop_attrs() for each in curves], "seed").median("seed")


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report))
