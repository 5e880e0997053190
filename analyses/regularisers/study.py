"""Which optimiser or regulariser brings generalisation soonest, if each is tuned as much and pays for its own steps?

    python analyses/regularisers/study.py            # fifteen methods on x · y mod 47 at two shares, two seeds and three
    python analyses/regularisers/study.py --small    # four of them on x² + y² mod 23, four seeds

The left half of figure 2 of Power et al. (2022), and beside it what was proposed since. Every value of a method's grid is
trained with the tuning seeds, which choose one; that one is trained with other seeds, which say how good it is.
"""

import math
import sys
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch

import interp
from interp import figures
from interp.config import RunConfig
from interp.recipe import TrainConfig
from interp.store import Run
from interp.study import compare, script, spread, tabulate
from interp.tasks import ModularTask
from interp.train.learner import Learner

TUNING_SEEDS, REPORTED_SEEDS = 2, 3
"""The first so many choose a method's setting, with which the next so many are trained and reported."""
REACHED = "generalised"
"""Step at which test accuracy reached 99 %; what became of it later stands under `collapsed`."""
STEPS = [REACHED]
CELL = ["fraction", "method"]
BASELINE = "adamw"


class Method(NamedTuple):
    """What is compared: fields of train that are fixed, and a grid over its own."""

    label: str
    knobs: Mapping[str, tuple[float, ...]]
    fixed: Mapping[str, Any] = {}
    """Over Adam without decay, learning rate 0.003, on mini-batches."""
    of_power: bool = True
    """Whether figure 2 of Power et al. (2022) has it."""


RATES, DECAYS = {"lr": (3e-4, 1e-3, 3e-3, 1e-2)}, {"weight_decay": (0.3, 1, 3)}
ADAMW, FULL = {"optimizer": "adamw"}, {"batch_size": "full"}
GROKFAST_EMA, GROKFAST_MA = {"grokfast": "ema"}, {"grokfast": "ma", "grokfast_window": 40, "weight_decay": 0.01}

METHODS = {
    BASELINE: Method("AdamW", DECAYS, ADAMW),
    "to-initial": Method("AdamW, decay to initial weights", DECAYS, {**ADAMW, "decay_to": "initial"}),
    "adam": Method("Adam", RATES),
    "full": Method("Adam, full batch", RATES, FULL),
    "update-noise": Method(
        "Adam, full batch, noise on updates", {"noise_scale": (0.3, 1, 3)}, {**FULL, "noise": "updates"}
    ),
    "weight-noise": Method("Adam, noise on weights", {"noise_scale": (0.003, 0.01, 0.03)}, {"noise": "weights"}),
    "dropout": Method("Adam, dropout", {"dropout": (0.03, 0.1, 0.3)}),
    "sam": Method("Adam, SAM", {"sam": (0.02, 0.1, 0.5)}, of_power=False),
    "smoothing": Method("Adam, label smoothing", {"label_smoothing": (0.03, 0.1, 0.3)}, of_power=False),
    "l1": Method("Adam, L1", {"l1": (1e-6, 1e-5, 1e-4)}, of_power=False),
    "grokfast-ma": Method("Adam, L2 0.01, Grokfast-MA", {"grokfast_gain": (2, 5, 10)}, GROKFAST_MA, of_power=False),
    "grokfast-ema": Method(
        "Adam, L2 0.005, Grokfast-EMA",
        {"grokfast_gain": (2, 5), "grokfast_momentum": (0.9, 0.98)},
        {**GROKFAST_EMA, "weight_decay": 0.005},
        of_power=False,
    ),
    "adamw-grokfast-ema": Method(
        "AdamW, Grokfast-EMA",
        {"weight_decay": (0.3, 1), "grokfast_gain": (0.5, 2)},
        {**ADAMW, **GROKFAST_EMA},
        of_power=False,
    ),
    "orthograd": Method("Adam, ⊥Grad", RATES, {"orthogonal_gradients": True}, of_power=False),
    "stablemax": Method("Adam, StableMax", RATES, {"loss": "stablemax"}, of_power=False),
}
"""By the word for it in the runs' names."""


def configs(small: bool) -> Mapping[str, RunConfig]:
    """A run for each share, method, setting and tuning seed."""
    steps = 1000 if small else 2000
    whole = ModularTask(operation="x2_y2", p=23) if small else ModularTask(operation="multiply", p=47)
    base = TrainConfig(
        optimizer="adam",
        lr=3e-3,
        weight_decay=0.0,
        steps=steps,
        log_every=20,
        checkpoint_every=steps,
        checkpoints_per_decade=1,
    )
    found: dict[str, RunConfig] = {}
    for fraction in (0.8,) if small else (0.5, 0.7):
        task = whole.but(train_fraction=fraction)
        # About 256 prompts, and all batches of one size: a last one of the few that are left would be very noisy.
        batch_size = math.ceil(task.n_train / round(task.n_train / 256))
        for name in (BASELINE, "adam", "sam", "full") if small else METHODS:
            method = METHODS[name]
            knobs = {knob: values[:2] if small else values for knob, values in method.knobs.items()}
            first = {knob: values[0] for knob, values in knobs.items()}  # noise has no scale of 0
            train = base.but(**{"batch_size": batch_size, **method.fixed, **first})
            of_method = RunConfig(name=f"{fraction:g}+{name}", task=task, train=train)
            vary = {f"train.{knob}": values for knob, values in knobs.items()}
            grid = interp.grid(of_method, seeds=TUNING_SEEDS, vary=vary)
            found |= {config.name: config for config in grid.values()}
    return found


def further(runs: Mapping[str, Run]) -> Mapping[str, RunConfig]:
    """The best setting of each method at each share, with the seeds that are reported."""
    found: dict[str, RunConfig] = {}
    for rows in (rows.loc[rows["setting"] == best_setting(rows)] for _, rows in results(runs).groupby(CELL)):
        tuned = runs[str(rows.index[0])].config
        first, seed = tuned.name.removesuffix(f"+seed={tuned.seeds.model}"), tuned.seeds.model
        for more in range(TUNING_SEEDS - seed, TUNING_SEEDS - seed + REPORTED_SEEDS):
            seeds = {kind: value + more for kind, value in tuned.seeds}
            config = tuned.but(name=f"{first}+seed={seed + more}", seeds=tuned.seeds.but(**seeds))
            found[config.name] = config
    return found


def report(runs: Mapping[str, Run]) -> script.Report:
    """Of each method at its best setting, how soon and at what cost it generalises; and what every setting gives."""
    table = results(runs)
    tuning = table.loc[table["seed"] < TUNING_SEEDS]
    chosen = table.loc[table["seed"] >= TUNING_SEEDS]
    costs = milliseconds({cell: runs[str(rows.index[0])].config for cell, rows in chosen.groupby(CELL)})
    chosen = chosen.join(costs, on=CELL)
    chosen = chosen.assign(seconds=chosen[REACHED] * chosen["ms_a_step"] / 1000)
    return script.Report(
        {
            "methods": summarise(chosen),
            "comparisons": compared(chosen),
            "settings": spread(tuning.drop(columns="seed"), by=[*CELL, "setting"], steps=STEPS),
            "runs": table,
        },
        {"regularisers": draw(chosen)},
    )


def compared(chosen: pd.DataFrame, reached: str = REACHED) -> pd.DataFrame:
    """Whether each method differs from AdamW, over both shares, with the seeds that did not tune."""
    return compare(chosen, "method", [reached], ["fraction"], control=METHODS[BASELINE].label, steps=[reached])


def results(runs: Mapping[str, Run]) -> pd.DataFrame:
    """A row for each run: share, method, setting and seed, and what came of it."""
    names = ["memorised", REACHED, f"{REACHED}_until", "collapsed", "best_test_accuracy", "last_step"]
    facts = tabulate(runs).loc[:, names]
    words = [run.config.name.split("+") for run in runs.values()]
    return facts.assign(
        fraction=[float(word[0]) for word in words],
        method=[METHODS[word[1]].label for word in words],
        setting=[" ".join(word[2:-1]) for word in words],
        seed=[run.config.seeds.model for run in runs.values()],
    )


def best_setting(rows: pd.DataFrame) -> str:
    """The setting with which most of these seeds arrive; of such, soonest; of such, with the best accuracy."""

    def merit(setting: str) -> tuple[int, float, float]:
        mine = rows.loc[rows["setting"] == setting]
        steps = mine[REACHED].dropna()
        return len(mine) - len(steps), steps.sum(), -mine["best_test_accuracy"].mean()

    return min(rows["setting"].unique(), key=merit)


def milliseconds(configs: Mapping[Any, RunConfig], rounds: int = 15, updates: int = 40) -> pd.DataFrame:
    """What an update of each run costs when it trains alone, in ms of one core, and as a multiple of AdamW's at its share.

    All take their updates in turn in one process, so that a busy machine is as busy for each: the median over rounds, the
    first of which warms up (and fills the window of a moving average) and does not count.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    learners = {cell: Learner.make([config], "cpu") for cell, config in configs.items()}
    spent: dict[Any, list[float]] = {cell: [] for cell in configs}
    for turn in range(rounds + 1):
        for cell, learner in learners.items():
            began = time.process_time()
            for step in range(turn * updates, (turn + 1) * updates):
                learner.update(step)
            spent[cell].append(1000 * (time.process_time() - began) / updates)
    torch.set_num_threads(threads)
    table = pd.DataFrame(spent).iloc[1:]
    times = {cell: (table[cell] / table[cell[0], METHODS[BASELINE].label]).median() for cell in configs}
    return pd.DataFrame({"ms_a_step": table.median(), "times_adamw": pd.Series(times)}).rename_axis(CELL)


def summarise(chosen: pd.DataFrame) -> pd.DataFrame:
    """A row for each share and method, the soonest first: steps and seconds to 99 %, over the seeds that did not tune."""
    names = [
        *CELL,
        REACHED,
        f"{REACHED}_until",
        "collapsed",
        "best_test_accuracy",
        "ms_a_step",
        "times_adamw",
        "last_step",
    ]
    cells = spread(chosen.loc[:, names], by=CELL, steps=STEPS)
    soonest = cells.xs(REACHED, level="what")
    median = cells["median"].unstack("what")
    table = soonest.assign(
        setting=chosen.groupby(CELL)["setting"].first(),
        best_test_accuracy=median["best_test_accuracy"],
        ms_a_step=median["ms_a_step"],
        times_adamw=median["times_adamw"],
        seconds=soonest["median"] * median["ms_a_step"] / 1000,
    )
    return table.sort_values(["fraction", "median", "runs", "best_test_accuracy"], ascending=[True, True, False, False])


def draw(chosen: pd.DataFrame) -> go.Figure:
    """Every seed's steps, and beside them its seconds, at each share; methods in the order of the harder share's steps."""
    cells = summarise(chosen)
    shares = sorted(chosen["fraction"].unique())
    order = list(cells.loc[shares[0]].index)[::-1]  # the first category is the lowest
    titles = [f"{what}, {share:.0%} of the table" for share in shares for what in ("steps", "seconds")]
    figure = figures.panels(
        titles, heights=[0.4 * len(order) + 0.6] * len(shares), columns=2, over_steps=False,
        title="Until test accuracy is 99 %: every method at its best setting (dotted: AdamW)",
    )  # fmt: skip
    of_power = {method.label: method.of_power for method in METHODS.values()}
    groups = {
        "in Power et al., figure 2": (True, figures.PALETTE[0]),
        "proposed elsewhere": (False, figures.PALETTE[5]),
    }
    for row, share in enumerate(shares, start=1):
        here, medians = chosen[chosen["fraction"] == share].set_index("method"), cells.loc[share]
        columns = [
            (here[REACHED], here["last_step"], medians["median"]),
            (here["seconds"], here["last_step"] * here["ms_a_step"] / 1000, medians["seconds"]),
        ]
        for column, (reached, last, median) in enumerate(columns, start=1):
            where: Any = {"row": row, "col": column}
            for name, (old, colour) in groups.items():
                marks = {
                    "a seed": (reached.dropna(), "circle-open", 8),
                    "median": (median.dropna(), "line-ns", 14),
                    "a seed, not by then": (last[reached.isna()], "triangle-right-open", 9),
                }
                for label, (every, symbol, size) in marks.items():
                    mine = every[every.index.map(of_power) == old]
                    figure.add_scatter(
                        x=mine if len(mine) else [None],  # or the legend would lack it
                        y=mine.index if len(mine) else [None],
                        name=f"{name}: {label}",
                        legendgroup=f"{name}: {label}",
                        showlegend=row == column == 1,
                        mode="markers",
                        marker={"color": colour, "symbol": symbol, "size": size, "line": {"width": 2, "color": colour}},
                        **where,
                    )
            if median.notna()[METHODS[BASELINE].label]:
                line = {"color": figures.QUIET, "dash": "dot", "width": 1.5}
                figure.add_vline(x=median[METHODS[BASELINE].label], line=line, **where)
            ends = np.log10([np.nanmin([reached.min(), last.min()]) / 1.3, last.max() * 1.3])
            figure.update_xaxes(type="log", range=list(ends), **where)
    round_numbers = [digit * 10.0**power for power in range(-2, 6) for digit in (1, 2, 5)]
    figure.update_xaxes(tickvals=round_numbers, ticktext=[f"{number:,g}" for number in round_numbers])
    for column, unit in enumerate(("step (optimiser updates)", "seconds of one core"), start=1):
        figure.update_xaxes(title_text=unit, row=len(shares), col=column)
    ends = [-0.6, len(order) - 0.4]
    figure.update_yaxes(type="category", categoryorder="array", categoryarray=order, automargin=True, range=ends)
    return figure.update_yaxes(showticklabels=False, col=2).update_layout(margin={"r": 290})


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report, further=further))
