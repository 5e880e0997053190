"""Do networks become flatter and simpler where they come to understand, beyond what decay does where nothing is understood?

    python analyses/flatness/study.py            # an MLP on x + y mod 31, two losses, four ways to train, five seeds
    python analyses/flatness/study.py --small    # one seed, 700 steps

Curvature, sharpness, learning coefficient, complexity and margin at eight steps of each run: with decay, without, at a constant
norm, and with decay on wrong labels. Which of them orders runs by test accuracy at equal train loss, `ordering.py` asks.
"""

import itertools
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
import plotly.graph_objects as go

import interp
from interp import figures
from interp.config import RunConfig
from interp.models import MlpSpec
from interp.store import Run
from interp.study import script
from interp.tasks import ModularTask

STEPS = (0, 100, 200, 400, 700, 1000, 1500, 2000)
"""Checkpoints that are measured."""
SMALL_STEPS = (0, 200, 700)
SEEDS = 5
LOSSES = {"cross_entropy": "cross-entropy", "squared_error": "squared error"}
CLAMP = {"cross_entropy": 2.5, "squared_error": 1.25}
"""Norm of clamped runs, in those of the initial weights."""
DECAY, FREE, CLAMPED, NULL = "decay", "no decay", "clamped", "decay, wrong labels"
WAYS: Mapping[str, float] = {DECAY: 2.0, FREE: 0.0, CLAMPED: 0.0, NULL: 2.0}
"""Weight decay of each way to train."""
CHAINS: Mapping[str, Any] = {"epsilon": 5e-4, "gamma": 300, "draws": 300}
"""Langevin chains of all runs and steps: λ̂ is compared at one step size and localisation. They forget in some 13 draws."""


class Measure(NamedTuple):
    """A measure of flatness or simplicity: where it is found, and what it is called."""

    analysis: str
    label: str
    better: int
    """Sign of its rank correlation with test accuracy if flat, simple networks and those with wide margins generalise."""


MEASURES: Mapping[str, Measure] = {
    "largest_eigenvalue": Measure("curvature", "λmax", -1),
    "trace": Measure("curvature", "trace", -1),
    "scaled_largest": Measure("curvature", "λmax·‖θ‖²", -1),
    "scaled_trace": Measure("curvature", "trace·‖θ‖² ÷ weights", -1),
    "phi": Measure("sharpness", "φ, %", -1),
    "phi_relative": Measure("sharpness", "φ, relative box, %", -1),
    "sam": Measure("sharpness", "SAM's rise", -1),
    "asam": Measure("sharpness", "ASAM's rise", -1),
    "llc": Measure("llc", "λ̂", -1),
    "local_complexity": Measure("complexity", "local complexity, neurons", -1),
    "bits": Measure("complexity", "description length, bits", -1),
    "normalised_margin": Measure("gap", "smallest margin ÷ ‖θ‖³", 1),
    "margin_ratio": Measure("gap", "mean margin ÷ deviation", 1),
    "norm": Measure("gap", "‖θ‖", -1),
}
"""What is followed. The norm is among them as what others may only repeat."""
TOLD = (
    "train_loss",
    "test_loss",
    "train_accuracy",
    "test_accuracy",
    "trace_error",
    "llc_error",
    "llc_r_hat",
    "llc_state",
)
"""Further columns of each checkpoint."""


def base() -> RunConfig:
    """An MLP without biases, which is homogeneous, on x + y mod 31; operands have tokens of their own, so that order tells."""
    quick = interp.preset("quick").config
    return quick.but(
        task=ModularTask(p=31, prompt="ab", operands="separate", train_fraction=0.6),
        model=MlpSpec(inputs="summed", d_model=64, width=128, act_fn="relu"),
        train=quick.train.but(log_every=25),
    )


def configs(small: bool) -> Mapping[str, RunConfig]:
    """A run for each loss, way to train and seed."""
    start, steps = base(), SMALL_STEPS if small else STEPS
    found: dict[str, RunConfig] = {}
    for loss, (way, decay) in itertools.product(LOSSES, WAYS.items()):
        clamp = {"constraint": "clamp", "constraint_scale": CLAMP[loss]} if way == CLAMPED else {}
        train = start.train.but(steps=steps[-1], checkpoint_steps=steps, loss=loss, weight_decay=decay, **clamp)
        named = start.but(name=f"{loss}+{way.replace(', ', '+').replace(' ', '_')}", train=train)
        for config in interp.grid(named, 1 if small else SEEDS).values():
            found[config.name] = interp.null_twin(config).but(name=config.name) if way == NULL else config
    return found


def told(run: Run) -> dict[str, Any]:
    """Loss, way to train and seed of a run."""
    train = run.config.train
    way = (
        NULL
        if run.config.corruption
        else CLAMPED
        if train.constraint == "clamp"
        else DECAY
        if train.weight_decay
        else FREE
    )
    return {"loss": train.loss, "way": way, "seed": run.config.seeds.model}


def measured(run: Run, steps: Sequence[int]) -> pd.DataFrame:
    """Every measure of a run at these checkpoints, a row for each step."""
    view, n = run.select(steps=steps), len(steps)
    curvature = interp.measure(view, "curvature", eigenvalues=1, probes=8, checkpoints=n).isel(matrix=0)
    sharpness = interp.measure(view, "sharpness", epsilons=(0.001,), subspaces=0, checkpoints=n).isel(epsilon=0)
    chains = interp.measure(view, "llc", checkpoints=n, **CHAINS)
    complexity = interp.measure(view, "complexity", checkpoints=n)
    gap = interp.measure(view, "gap")
    on_train = gap.sel(split="train")
    found = {
        "largest_eigenvalue": curvature["eigenvalue"].isel(rank=0),
        **{name: curvature[name] for name in ("trace", "trace_error", "scaled_largest", "scaled_trace")},
        "phi": sharpness["phi"].sel(scale="absolute"),
        "phi_relative": sharpness["phi"].sel(scale="relative"),
        **{name: sharpness[name] for name in ("sam", "asam")},
        **{name: chains[name] for name in ("llc", "llc_error")},
        **{f"llc_{name}": chains[name] for name in ("r_hat", "state")},
        "local_complexity": complexity["local_complexity"].sel(split="train"),
        "bits": complexity["bits"],
        **{name: on_train[name] for name in ("normalised_margin", "margin_ratio")},
        "norm": gap["norm"],
        **{
            f"{split}_{what}": gap[what].sel(split=split)
            for what in ("loss", "accuracy")
            for split in ("train", "test")
        },
    }
    table: Any = pd.DataFrame(
        {name: each.to_numpy() for name, each in found.items()}, index=pd.Index(steps, name="step")
    )
    return table[[*MEASURES, *TOLD]]


def report(runs: Mapping[str, Run]) -> script.Report:
    """Every measure through training, and how it changes from memorising to the end, beside runs on wrong labels."""
    found = {run.path: measured(run, run.steps) for run in runs.values()}
    keys = {run.path: told(run) for run in runs.values()}
    table: Any = pd.concat([each.reset_index().assign(**keys[path]) for path, each in found.items()])
    table = table.set_index(["loss", "way", "seed", "step"]).sort_index()
    landmarks: Any = pd.DataFrame(
        [
            {**told(run), **{name: interp.measure(run, "curves").attrs[name] for name in ("memorised", "generalised")}}
            for run in runs.values()
        ]
    ).set_index(["loss", "way", "seed"])
    changes = changed(table, landmarks["memorised"])
    summary = summarised(changes)
    return script.Report(
        {
            "changes": summary,
            "changes_told": changes_told(summary),
            "runs": changes.set_index(["loss", "way", "seed", "measure"]),
            "landmarks": landmarks,
            "steps": table,
            "step_sizes": step_sizes(runs),
        },
        {"flatness": draw(table)},
    )


def changes_told(summary: pd.DataFrame) -> pd.DataFrame:
    """What the README tells: a row for each loss and measure, with the ratio late ÷ early of each way, and beyond the twin."""
    each: Any = summary["ratio"].unstack("way")
    ratios = each.reindex(columns=list(WAYS))
    beyond = summary.xs("decay", level="way")[["beyond", "beyond below 1"]]
    order = summary.index.droplevel("way").unique()
    return ratios.join(beyond).reindex(order)


def step_sizes(runs: Mapping[str, Run]) -> pd.DataFrame:
    """What the sweep over step sizes would take for the first seed with decay, beside λ̂ at the step size of all."""
    rows = []
    for run in runs.values():
        if told(run)["way"] == DECAY and run.config.seeds.model == 0:
            last = run.select(last=1)
            swept, used = (interp.measure(last, "llc", **{**CHAINS, **step}) for step in ({"epsilon": 0}, {}))
            rows.append(
                {
                    **told(run), "epsilon": swept.attrs["epsilon"], "plateau": swept.attrs["plateau"],
                    "llc": float(swept["llc"][-1]), "llc_error": float(swept["llc_error"][-1]),
                    "llc_r_hat": float(swept["r_hat"][-1]),
                    "llc_as_all": float(used["llc"][-1]),
                }
            )  # fmt: skip
    return pd.DataFrame(rows).set_index(["loss", "way", "seed"])


def changed(table: pd.DataFrame, memorised: pd.Series) -> pd.DataFrame:
    """Each measure of each run early, at the first measured step at which it has memorised, and at its last; and their ratio.

    `beyond` is the ratio ÷ that of the run on wrong labels with the same loss, seed, decay and steps: 1 if the change is what
    decay does anyway. A run that does not memorise has no row.
    """
    rows: list[dict[str, Any]] = []
    for (loss, way, seed), arrived in memorised.items():  # pyright: ignore[reportGeneralTypeIssues, reportAssignmentType]
        run: Any = table.loc[(loss, way, seed)]
        later = [step for step in run.index if step >= arrived]
        if not later or later[0] == run.index[-1]:
            continue
        early, late = later[0], run.index[-1]
        twin: Any = table.loc[(loss, NULL, seed)] if way == DECAY and (loss, NULL, seed) in memorised.index else None
        for name in MEASURES:
            ratio = quotient(run.loc[late, name], run.loc[early, name])
            beside = math.nan if twin is None else quotient(twin.loc[late, name], twin.loc[early, name])
            rows.append(
                {
                    "loss": loss, "way": way, "seed": seed, "measure": name, "early_step": early, "late_step": late,
                    "early": run.loc[early, name], "late": run.loc[late, name], "ratio": ratio,
                    "beyond": quotient(ratio, beside), "test_accuracy": run.loc[late, "test_accuracy"],
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def quotient(one: float, other: float) -> float:
    """one ÷ other where both are positive; else NaN, as of margins below 0 and of λ̂ that failed."""
    return float(one / other) if one > 0 and other > 0 else math.nan


def summarised(changes: pd.DataFrame) -> pd.DataFrame:
    """Medians and ranges over seeds of each measure early and late, and in how many seeds it falls, also beyond wrong labels."""
    cells: Any = changes.groupby(["loss", "way", "measure"], sort=False)
    found: Any = cells[["early", "late", "ratio", "beyond", "test_accuracy"]].median()
    for name in ("ratio", "beyond"):
        found[f"{name} min"], found[f"{name} max"] = cells[name].min(), cells[name].max()
        found[f"{name} known"] = cells[name].count()
        found[f"{name} below 1"] = cells[name].apply(lambda each: int((each < 1).sum()))
    return found.assign(seeds=cells.size())


SHOWN = (
    "test_accuracy", "train_loss", "largest_eigenvalue", "scaled_largest", "trace", "phi", "phi_relative", "sam", "llc",
    "local_complexity", "bits", "normalised_margin", "norm",
)  # fmt: skip
LINEAR = ("test_accuracy", "llc", "local_complexity", "bits", "norm")
COLOURS = dict(zip(WAYS, (figures.PALETTE[0], figures.PALETTE[1], figures.PALETTE[2], figures.QUIET), strict=True))


def draw(table: pd.DataFrame) -> go.Figure:
    """Every measure over the steps, a column for each loss and a line for each way to train: median, and range of the seeds."""
    names = {"test_accuracy": "test accuracy", "train_loss": "train loss"}
    labels = [names.get(name) or MEASURES[name].label for name in SHOWN]
    titles = [f"{label}: {loss}" for label in labels for loss in LOSSES.values()]
    title = "Flatness and simplicity through training"
    figure = figures.panels(titles, [2.6] * len(SHOWN), title, columns=len(LOSSES), over_steps=False)
    for (row, name), (column, loss), way in itertools.product(
        enumerate(SHOWN, start=1), enumerate(LOSSES, start=1), WAYS
    ):
        if (loss, way) not in table.index.droplevel(["seed", "step"]):
            continue
        cells: Any = table.loc[(loss, way), name].groupby(level="step")
        middle, low, high = cells.median(), cells.min(), cells.max()
        positive = middle.where(middle > 0) if name not in LINEAR else middle
        figure.add_scatter(
            x=[max(step, 10) for step in middle.index], y=positive, mode="lines+markers", name=way, legendgroup=way,
            error_y={"array": high - middle, "arrayminus": middle - low, "width": 2}, marker={"size": 4},
            line={"color": COLOURS[way], "dash": "dot" if way == NULL else "solid"},
            showlegend=row == column == 1, row=row, col=column,
        )  # fmt: skip
        log: dict[str, Any] = {} if name in LINEAR else {"type": "log", "exponentformat": "power"}
        figure.update_yaxes(title_text=labels[row - 1] if column == 1 else "", **log, row=row, col=column)
    steps = sorted(set(table.index.get_level_values("step")))
    figure.update_xaxes(
        type="log", tickvals=[max(step, 10) for step in steps], ticktext=[f"{step:,}" for step in steps]
    )
    figure.update_xaxes(title_text="step", row=len(SHOWN))
    return figure.update_layout(margin={"r": 200}, width=1_150)


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report))
