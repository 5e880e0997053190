"""Which loss does a network reach at each norm of its weights, and is there one at which it generalises without delay?

    python analyses/omnigrok/study.py            # a teacher's answers, digits and x + y mod 59 at clamped norms, five seeds
    python analyses/omnigrok/study.py --small    # the same at fewer norms and steps, two seeds
    python analyses/omnigrok/study.py --size paper    # MNIST of 28 × 28 pixels at 21 norms, x + y mod 113, for a GPU

Liu et al. (2023, "Omnigrok"): at a clamped norm α·‖w₀‖ train loss over α is shaped like an L and test loss like a U.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from jaxtyping import Float

import interp
from interp import figures
from interp.config import RunConfig
from interp.store import Run
from interp.study import compare, ends, script, spread
from interp.train.null import null_twin

ALPHAS = (0.1, 0.158, 0.251, 0.398, 0.631, 1.0, 1.585, 2.512, 3.981, 6.31, 10.0)
"""Norms as multiples of that of the default initial weights: 10^(−1) to 10, evenly in the logarithm."""
OF_NULL = (0.398, 1.0, 2.512)
"""Those at which digits are trained with labels by chance too."""
OF_TRANSFORMER = (0.6, 0.8, 1.0, 1.3)
GOLDILOCKS = 0.8
"""The norm at which the transformer is said to generalise without delay; its null is clamped there too."""
SEEDS = 5
NULL = 0.9
"""Share of wrong labels at which each of ten classes is equally likely."""
PRINTED = 9_800
"""Step of the published figures, the last that was printed of 10,000."""
FACTOR = 2.0
"""Most by which a median may lie beside a published figure to agree with it."""
FITS = 1e-4
"""Mean squared error of the teacher's task below which the training set counts as fitted."""
FITS_ALL = 0.005
"""Train error of digits and sums below which it does."""
DELAY = 150
"""Most steps between memorising and generalising that count as no delay."""
PUBLISHED = Path(__file__).parent / "results/published.csv"
IMAGES = "checkpoints/mnist"
"""Directory with the four idx files of MNIST, for the paper's size; analyses/sample_wise/to_16000.py says where they are had."""
TEACHER, DIGITS, SUMS = "teacher", "digits", "sums"
CLAMPED, CHANCE, DECAYED = "clamped", "labels by chance", "decay"
CELL = ["task", "setting"]
STEPS = ["memorised", "generalised", "delay"]


def configs(small: bool) -> Mapping[str, RunConfig]:
    """A run for each task, arm, norm and seed."""
    return configs_of(arms(small), 2 if small else SEEDS)


def paper() -> Mapping[str, RunConfig]:
    """The source's images, network and moduli, at its 21 norms; with the seeds, nulls and controls that it lacks."""
    found = dict(arms(small=False))
    norms = tuple(float(f"{10**power:.4g}") for power in np.linspace(-1, 1, 21))
    for arm in (CLAMPED, "by-chance"):
        config, alphas = found[f"{DIGITS}+{arm}"]
        config = config.but(
            task=config.task.but(images=IMAGES, test_examples=0),
            train=config.train.but(steps=10_000, batch_size=100),
        )
        found[f"{DIGITS}+{arm}"] = (config, norms if arm == CLAMPED else alphas)
    for arm, steps in {CLAMPED: 4_000, "by-chance": 4_000, DECAYED: 20_000}.items():
        config, alphas = found[f"{SUMS}+{arm}"]
        task, train = config.task.but(p=113, train_fraction=0.3), config.train.but(steps=steps)
        found[f"{SUMS}+{arm}"] = (config.but(task=task, train=train), alphas)
    return configs_of(found, SEEDS)


def configs_of(arms: Mapping[str, tuple[RunConfig, tuple[float, ...]]], seeds: int) -> Mapping[str, RunConfig]:
    """A run for each arm, norm and seed."""
    found: dict[str, RunConfig] = {}
    for word, (base, alphas) in arms.items():
        for alpha in alphas:
            constrained = {"constraint": "clamp", "constraint_scale": alpha} if alpha else {"log_norms": True}
            train = base.train.but(**constrained, checkpoint_steps=(base.train.steps,))
            of_arm = base.but(name=f"{word}+alpha={alpha:g}", train=train)
            for config in interp.grid(of_arm, seeds).values():
                if (
                    config.task.kind == TEACHER
                ):  # another teacher with every seed, so that the spread is over teachers too
                    config = config.but(task=config.task.but(teacher_seed=config.seeds.model))
                found[config.name] = config
    return found


def arms(small: bool) -> Mapping[str, tuple[RunConfig, tuple[float, ...]]]:
    """Recipe and norms of each arm, by task and arm; the norm 0 stands for one that is free."""
    plain: dict[str, Any] = {"optimizer": "adam", "weight_decay": 0.0}
    teacher, digits, nanda = (interp.preset(name).config for name in ("teacher", "digits", "nanda"))
    teacher = teacher.but(
        model=teacher.model.but(init_scale=1.0),
        train=teacher.train.but(**plain, steps=2_000 if small else 10_000, log_every=200),
    )
    digits = digits.but(
        model=digits.model.but(init_scale=1.0),
        train=digits.train.but(**plain, steps=800 if small else 4_000, log_every=100),
    )
    by_chance = digits.but(corruption=digits.corruption.but(share=NULL))
    nanda = nanda.but(task=nanda.task.but(p=59, train_fraction=0.4))
    if small:
        nanda = nanda.but(task=nanda.task.but(p=23, train_fraction=0.6), model=nanda.model.but(d_mlp=128))
    clamped = nanda.but(train=nanda.train.but(**plain, steps=600 if small else 2_000))
    decayed = nanda.but(train=nanda.train.but(steps=1_500 if small else 4_000))
    few = ALPHAS[1::2] if small else ALPHAS
    return {
        f"{TEACHER}+{CLAMPED}": (teacher, few),
        f"{DIGITS}+{CLAMPED}": (digits, few),
        f"{DIGITS}+by-chance": (by_chance, (1.0,) if small else OF_NULL),
        f"{SUMS}+{CLAMPED}": (clamped, (GOLDILOCKS, 1.3) if small else OF_TRANSFORMER),
        f"{SUMS}+by-chance": (null_twin(clamped, "answers"), (GOLDILOCKS,)),
        f"{SUMS}+{DECAYED}": (decayed, (0.0,)),
    }


def report(runs: Mapping[str, Run]) -> script.Report:
    """Losses by norm beside the published ones, the shapes of the curves, errors of digits, and steps of the transformer."""
    by_task = {task: {n: run for n, run in runs.items() if n.split("+")[0] == task} for task in (TEACHER, DIGITS, SUMS)}
    losses: Any = pd.DataFrame([of_teacher(run) for run in by_task[TEACHER].values()])
    errors: Any = pd.DataFrame([of_classes(name, run) for name, run in (by_task[DIGITS] | by_task[SUMS]).items()])
    digits = errors[(errors["task"] == DIGITS) & (errors["arm"] == CLAMPED)]
    shapes = [
        {"task": task, "seed": seed} | shape(*(cell.sort_values("alpha")[name].to_numpy() for name in names), fits=fits)
        for task, table, names, fits in (
            (TEACHER, losses, ("alpha", "train_loss", "test_loss"), FITS),
            (DIGITS, digits, ("alpha", "train_error", "test_error"), FITS_ALL),
        )
        for seed, cell in table.groupby("seed")
    ]
    sums = errors[errors["task"] == SUMS]
    beside = beside_published(losses, pd.read_csv(PUBLISHED, index_col="alpha"))
    return script.Report(
        {
            "teacher": beside,
            "shapes": pd.DataFrame(shapes).set_index(["task", "seed"]),
            "classes": spread(errors.drop(columns="seed"), CELL, steps=STEPS),
            "sums": spread(sums.filter([*CELL, *STEPS, "last_step", "test_error"]), CELL, steps=STEPS),
            "comparisons": compare(as_long(sums), "setting", ["generalised"], control=f"{CLAMPED} {GOLDILOCKS:g}"),
            "teacher_runs": losses.set_index(["alpha", "seed"]),
            "classes_runs": errors.set_index([*CELL, "seed"]),
        },
        {"omnigrok": draw(losses, beside, errors)},
    )


def of_teacher(run: Run) -> dict[str, float]:
    """Mean squared errors of a student where the published ones were printed, or at its end, and of answering the mean."""
    history: Any = run.history
    outputs = run.config.task.shape.outputs.n
    row = history.loc[min(PRINTED, history.index[-1])]
    return {
        "alpha": run.config.train.constraint_scale,
        "seed": run.config.seeds.model,
        "train_loss": row["train_loss"] / outputs,
        "test_loss": row["test_loss"] / outputs,
        "least_test_loss": history["test_loss"].min() / outputs,
        "mean_answer": float(run.split.test.targets.var(axis=0).mean()),
    }


def of_classes(name: str, run: Run) -> dict[str, Any]:
    """How a run of digits or sums ended, and the steps at which it memorised and generalised."""
    task, arm = name.split("+")[:2]
    train, steps = run.config.train, steps_of(run)
    alpha = train.constraint_scale if train.constraint == "clamp" else np.nan
    arm = {"by-chance": CHANCE}.get(arm, arm)
    return {
        "task": task, "arm": arm, "alpha": alpha, "seed": run.config.seeds.model,
        "setting": arm if np.isnan(alpha) else f"{arm} {alpha:g}", **ends(run), **steps,
        "no_delay": float(steps["delay"] <= DELAY), "last_step": train.steps,
    }  # fmt: skip


def steps_of(run: Run, level: float = 0.99) -> dict[str, float]:
    """Steps at which train accuracy reached 99 % and test accuracy `level`, and what lay between; each with how long it is known.

    A run that memorised and did not generalise has a delay that is censored at the steps that lay between; of one that did not
    memorise nothing is known of its delay.
    """
    train, test = (interp.measure(run, "curves", threshold=each).attrs for each in (0.99, level))
    memorised, generalised, until = train["memorised"], test["generalised"], test["generalised_until"]
    return {
        "memorised": memorised, "memorised_until": train["memorised_until"],
        "generalised": generalised, "generalised_until": until,
        "delay": generalised - memorised, "delay_until": 0.0 if np.isnan(memorised) else max(until - memorised, 0.0),
        "collapsed": test["collapsed"],
    }  # fmt: skip


def as_long(table: pd.DataFrame) -> pd.DataFrame:
    """The table as if every run had stopped at the last step of the shortest: what came later is not reached."""
    last = table["last_step"].min()
    return table.assign(
        generalised=table["generalised"].where(table["generalised"] <= last),
        generalised_until=table["generalised_until"].clip(upper=last), last_step=last,
    )  # fmt: skip


def shape(
    alphas: Float[np.ndarray, " n"], train: Float[np.ndarray, " n"], test: Float[np.ndarray, " n"], fits: float
) -> dict[str, float]:
    """Whether train is an L and test a U over ascending norms, and where their corner and their lowest point are.

    `corner`: first norm from which train stays below `fits`; NaN if the last is not. `lowest`: norm of the least test value.
    `falls` and `rises`: test at the first and at the last norm ÷ the least. `L`: there is a corner beyond the first norm.
    `U`: the lowest is neither the first norm nor the last, and both ends are more than twice as high.
    """
    above = np.flatnonzero(train >= fits)
    first = int(above[-1]) + 1 if len(above) else 0
    lowest = int(test.argmin())
    with np.errstate(divide="ignore"):
        falls, rises = test[0] / test[lowest], test[-1] / test[lowest]
    return {
        "corner": float(alphas[first]) if first < len(alphas) else np.nan,
        "lowest": float(alphas[lowest]),
        "falls": float(falls),
        "rises": float(rises),
        "L": float(0 < first < len(alphas)),
        "U": float(0 < lowest < len(alphas) - 1 and min(falls, rises) > 2),
    }


def beside_published(losses: pd.DataFrame, theirs: pd.DataFrame) -> pd.DataFrame:
    """A row for each norm: median, lowest and highest of both losses over seeds, the published ones, and whether they agree.

    `ratio` is our median test loss ÷ theirs; `within` says whether it lies within a factor of 2; `seeds below` is the number of
    seeds whose test loss is less than theirs, which is of one teacher and one student.
    """
    cells: Any = losses.groupby("alpha")
    found = pd.DataFrame(
        {
            f"{name}{suffix}": getattr(cells[name], how)()
            for name in ("train_loss", "test_loss")
            for suffix, how in (("", "median"), (" lowest", "min"), (" highest", "max"))
        }
    ).assign(least_test_loss=cells["least_test_loss"].median(), mean_answer=cells["mean_answer"].median())
    found = found.join(theirs.add_prefix("published "))
    lower = losses["test_loss"] < theirs["test_loss"].reindex(losses["alpha"]).to_numpy()
    ratio = found["test_loss"] / found["published test_loss"]
    within = ((ratio < FACTOR) & (ratio > 1 / FACTOR)).astype(float)
    seeds_below = lower.groupby(losses["alpha"]).sum()
    return found.assign(ratio=ratio, within=within, seeds=cells.size(), **{"seeds below": seeds_below})


def draw(losses: pd.DataFrame, beside: pd.DataFrame, errors: pd.DataFrame) -> go.Figure:
    """Losses of the teacher's task, errors of digits and sums, and steps of the transformer, against the norm."""
    titles = ["a teacher's answers", "digits from 200 images", "x + y: at the end", "x + y: steps"]
    figure = figures.panels(
        titles, heights=[5.5, 5.5], columns=2, title="Losses and errors at clamped norms", over_steps=False, gap=105
    )
    for split, colour in (("train", figures.TRAIN), ("test", figures.TEST)):
        x = beside.index
        add(figure, x, np.maximum(beside[f"{split}_loss"], 1e-9), f"{split}, median", colour, 1, 1)
        add(
            figure, losses["alpha"], np.maximum(losses[f"{split}_loss"], 1e-9), f"{split}, a seed", colour, 1, 1,
            mode="markers", marker={"symbol": "circle-open", "size": 5},
        )  # fmt: skip
        theirs: Any = beside[f"published {split}_loss"]
        add(
            figure, x[theirs > 0], theirs[theirs > 0], f"{split}, published", colour, 1, 1,
            mode="markers", marker={"symbol": "x", "size": 9},
        )  # fmt: skip
        clamped: Any = errors[errors["alpha"].notna()]
        for (task, arm), cell in clamped.groupby(["task", "arm"]):
            row, col = (1, 2) if task == DIGITS else (2, 1)
            medians = cell.groupby("alpha")[f"{split}_error"].median()
            dash, mode = ("dot", "lines+markers") if arm == CHANCE else ("solid", "lines")
            add(figure, medians.index, medians, f"{split}, {arm}", colour, row, col, mode=mode, line_dash=dash)
            add(
                figure, cell["alpha"], cell[f"{split}_error"], "", colour, row, col,
                mode="markers", marker={"symbol": "circle-open", "size": 5}, showlegend=False,
            )  # fmt: skip
    figure.add_hline(y=beside["mean_answer"].median(), line={"color": figures.QUIET, "dash": "dot"}, row=1, col=1)  # pyright: ignore
    sums: Any = errors[(errors["task"] == SUMS) & (errors["arm"] != CHANCE)]
    place = sums["setting"].str.replace(f"{CLAMPED} ", "")
    for what, colour in (("memorised", figures.TRAIN), ("generalised", figures.TEST)):
        for arrived, symbol, label in ((True, "circle-open", ""), (False, "triangle-up-open", ", not by then")):
            here = sums[what].notna() == arrived
            steps = sums.loc[here, what if arrived else "last_step"]
            add(
                figure, place[here], steps, f"{what}{label}", colour, 2, 2,
                mode="markers", marker={"symbol": symbol, "size": 9},
            )  # fmt: skip
    figure.update_xaxes(type="log", title_text="norm ÷ initial norm, α", tickvals=[0.1, 0.3, 0.6, 0.8, 1, 1.3, 3, 10])
    figure.update_xaxes(type="category", title_text="clamped at α, or decay 1 and free", tickvals=None, row=2, col=2)
    figure.update_yaxes(type="log", dtick=1, exponentformat="power", title_text="mean squared error", row=1, col=1)
    for row, col in ((1, 2), (2, 1)):
        figure.update_yaxes(tickformat=".0%", title_text="error", rangemode="tozero", row=row, col=col)
    figure.update_yaxes(type="log", title_text="step", dtick="D1", row=2, col=2)
    return figure.update_layout(margin={"r": 210}, width=1_250)


def add(
    figure: go.Figure, x: Any, y: Any, name: str, colour: str, row: int, col: int, mode: str = "lines", **more: Any
) -> None:
    """Add a curve or points to a panel, named once in the legend of its row."""
    figure.add_scatter(
        x=x, y=y, name=f"{'abcd'[2 * row + col - 3]}: {name}", mode=mode, line_color=colour, marker_color=colour,
        legend=figures.legend_of(row), row=row, col=col, **more,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report, paper=paper))
