"""Without wrong labels, is there a first stage in which test error falls to a half by x + y = y + x alone?

    python analyses/commutativity/study.py            # four tables mod 97, half of each trained on, 3 to 5 seeds
    python analyses/commutativity/study.py --small    # the same mod 23 with one seed

x − y has no mirrored pairs. A random table with x ∘ y = y ∘ x has nothing else to be understood.
"""

import math
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import xarray as xr

import interp
from interp import figures
from interp.config import RunConfig
from interp.maths.curves import fall_rise_fall, reached
from interp.models import TransformerSpec
from interp.recipe import TrainConfig
from interp.store import Run
from interp.study import script, spread
from interp.tasks import ModularTask, given

SEEN, UNSEEN = "test, mirror seen", "test, mirror not seen"
LEARNED = 0.99
"""Accuracy that counts as learned."""
FIRST = {"seen": 0.9, "unseen": 0.1}
"""A first stage: a checkpoint with at least the first accuracy where the mirror was seen and at most the second elsewhere."""
BAND, STALL = 0.05, 1 / 3
"""Test error stalls if it spends STALL of the time of its fall within BAND of the share whose mirror was not seen. A straight
fall spends a ninth."""
RISE = {"error": 0.05, "loss": 0.1}
"""By how much test error (a share) or test loss (nats) must fall, rise and fall for three stages."""


class Arm(NamedTuple):
    """What is trained: a table, a decay, and with how many seeds."""

    table: str
    decay: float
    seeds: int


ARMS = (
    Arm("x + y", 1.0, 5),
    Arm("x + y", 0.0, 5),
    Arm("x − y", 1.0, 5),
    Arm("random, symmetric", 1.0, 3),
    Arm("random", 1.0, 3),
)


def configs(small: bool) -> Mapping[str, RunConfig]:
    """Every arm with its seeds; a seed sets split, weights and order of batches."""
    p, lr, steps = (23, 3e-3, 600) if small else (97, 1e-3, 3000)
    model = TransformerSpec(n_heads=2, d_model=64, d_head=32, d_mlp=256) if small else TransformerSpec()
    found: dict[str, RunConfig] = {}
    for arm in ARMS:
        train = TrainConfig(
            steps=steps, batch_size=128 if small else 512, lr=lr, weight_decay=arm.decay,
            log_every=10, checkpoint_every=steps // 20, checkpoints_per_decade=10,
        )  # fmt: skip
        task = ModularTask(p=p, train_fraction=0.5, operation=OPERATIONS[arm.table](p))
        base = RunConfig(name="commutativity", task=task, model=model, train=train)
        name = (
            f"{arm.table}+decay={arm.decay:g}".replace(" + ", "+").replace(", ", "_").replace("−", "-").replace(" ", "")
        )
        found |= {f"{name}+{seed}": config for seed, config in interp.grid(base, 1 if small else arm.seeds).items()}
    return found


def symmetric_table(p: int) -> str:
    """A table of answers drawn at random for x ≤ y, and the same for y ∘ x: to look up by unordered pairs."""
    drawn = np.random.default_rng(0).integers(p, size=(p, p))
    return given.write(np.where(np.tri(p, dtype=bool), drawn, drawn.T))


OPERATIONS = {
    "x + y": lambda p: "add",
    "x − y": lambda p: "subtract",
    "random, symmetric": symmetric_table,
    "random": lambda p: "random",
}
"""Operations of the tables, by p."""


def arm_of(run: Run) -> tuple[str, float]:
    """Table and decay of a run."""
    task = run.config.task
    assert isinstance(task, ModularTask)
    names = {make(task.p): table for table, make in OPERATIONS.items()}
    return names[task.operation], run.config.train.weight_decay


def report(runs: Mapping[str, Run]) -> script.Report:
    """What came of every run, by table and decay, with the curves that it is read from."""
    rows, curves = [], {}
    for run in runs.values():
        table, decay = arm_of(run)
        history = interp.measure(run, "curves")
        kinds = by_kind(run)
        key = {"table": table, "decay": decay, "seed": run.config.seeds.model}
        rows.append(key | of_kinds(run, kinds, history) | of_errors(history, unseen_share(run)))
        curves[tuple(key.values())] = kinds
    table = pd.DataFrame(rows)
    by, steps = ["table", "decay"], ("memorised", "generalised", "seen_learned", "unseen_learned")
    cells = spread(table.drop(columns="seed"), by=by, steps=steps)
    return script.Report(
        {"summary": summary(table), "spread": cells, "runs": table.set_index([*by, "seed"])},
        {"commutativity": draw(curves)},
    )


def by_kind(run: Run) -> pd.DataFrame:
    """Accuracy at every checkpoint on training and test set, and on test pairs by whether the mirrored pair was seen."""
    if run.task.mirrored() is None:
        at = run.history.reindex(run.steps)
        return pd.DataFrame({"train": at["train_accuracy"], "test": at["test_accuracy"]})
    accuracy = interp.measure(run, "breakdown")["accuracy"].sel(operation="all")
    return pd.DataFrame({kind: accuracy.sel(examples=kind).to_series() for kind in accuracy["examples"].values})


def of_kinds(run: Run, kinds: pd.DataFrame, history: xr.Dataset) -> dict[str, Any]:
    """When it memorised and generalised, how good it then was on both kinds of test pair, and the first stage."""
    found: dict[str, Any] = {name: history.attrs[name] for name in ("memorised", "generalised")}
    found |= {f"{name}_until": history.attrs[f"{name}_until"] for name in found}
    found |= {"collapsed": history.attrs["collapsed"], "last_step": int(history["step"][-1])}
    found["final_test_accuracy"] = float(history["test_accuracy"][-1])
    steps = kinds.index.to_numpy()
    knows = steps[steps >= found["memorised"]][:1]
    found["test_at_memorised"] = kinds["test"].loc[knows].mean()
    for name, kind in {"seen": SEEN, "unseen": UNSEEN}.items():
        values = kinds[kind] if kind in kinds else pd.Series(math.nan, kinds.index)
        marks = reached(steps, values.to_numpy(), LEARNED)
        found |= {
            f"{name}_at_memorised": values.loc[knows].mean(),
            f"{name}_learned": marks.step,
            f"{name}_learned_until": marks.until,
            f"{name}_final": values.iloc[-1],
        }
    first = np.zeros(len(steps), dtype=bool)
    if SEEN in kinds:
        first = ((kinds[SEEN] >= FIRST["seen"]) & (kinds[UNSEEN] <= FIRST["unseen"])).to_numpy()
        apart = (kinds[SEEN] - kinds[UNSEEN]).to_numpy()
        found |= {"furthest_apart": apart.max(), "furthest_apart_at": int(steps[apart.argmax()])}
    return found | {"first_stage": float(first.any()), "first_stage_at": first_step(steps, first)}


def of_errors(history: xr.Dataset, half: float) -> dict[str, float]:
    """Whether test error falls, stalls at the share `half` and falls, and for how long; and whether it or the loss ever rises."""
    steps, error = history["step"].to_numpy(), 1 - history["test_accuracy"].to_numpy()
    within = np.abs(error - half) <= BAND
    at_half, down = first_step(steps, within), first_step(steps, error <= BAND)
    begin = float(steps[(error > 1 - BAND) & ~(steps >= at_half)][-1:].max(initial=0))
    spent = float(np.gradient(steps.astype(float))[within].sum())
    lasted = (steps[-1] if math.isnan(down) else down) - begin
    share = spent / lasted if spent else 0.0  # an error that never falls has no time of its fall
    found = {
        "share_not_seen": half,
        "falls_at": begin,
        "at_half_from": at_half,
        "steps_at_half": spent,
        "share_of_the_fall": share,
        "down_at": down,
        "stalls": float(share >= STALL),
        "falls_again": float(share >= STALL and not math.isnan(down)),
    }
    for what, values in {"error": error, "loss": history["test_loss"].to_numpy()}.items():
        found[f"{what}_rises"] = float(fall_rise_fall(values, RISE[what]) is not None)
    return found


def unseen_share(run: Run) -> float:
    """Share of the test set whose mirrored pair is not in the training set, whatever the operation."""
    task = run.config.task
    assert isinstance(task, ModularTask)
    pairs = {tuple(pair) for pair in run.split.train.inputs[:, [1, 0]].tolist()}
    return float(np.mean([tuple(pair) not in pairs for pair in run.split.test.inputs[:, [0, 1]].tolist()]))


def first_step(steps: np.ndarray, there: np.ndarray) -> float:
    """The first step at which something is so; NaN if it never is."""
    return float(steps[there][0]) if there.any() else math.nan


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """By table and decay: in how many seeds what is asked is so, and medians."""
    cells: Any = table.groupby(["table", "decay"], sort=False)
    counts = {"first_stage": "first stage", "stalls": "error stalls at a half", "falls_again": "and falls again"}
    rises = {"error_rises": "error rises in between", "loss_rises": "loss falls, rises, falls"}
    medians = [
        "share_not_seen", "seen_at_memorised", "unseen_at_memorised", "test_at_memorised", "furthest_apart",
        "steps_at_half", "final_test_accuracy",
    ]  # fmt: skip
    return pd.DataFrame(
        {"seeds": cells.size()}
        | {label: cells[name].sum().astype(int) for name, label in (counts | rises).items()}
        | {name.replace("_", " "): cells[name].median() for name in medians}
    )


def draw(curves: Mapping[tuple[str, float, int], pd.DataFrame]) -> go.Figure:
    """Accuracy of each kind of example over steps, a panel an arm: the median of the seeds, and every seed thin."""
    arms = list(dict.fromkeys(key[:2] for key in curves))
    titles = [f"{table}, decay {decay:g}" for table, decay in arms]
    figure = figures.panels(titles, [3.4] * len(arms), "Accuracy by whether the mirrored pair was trained on")
    looks = {
        "train": ("train", figures.TRAIN), "test": ("test", figures.TEST),
        SEEN: ("test, mirror seen", figures.PALETTE[0]), UNSEEN: ("test, mirror not seen", figures.PALETTE[1]),
    }  # fmt: skip
    for row, arm in enumerate(arms, start=1):
        seeds = [table for key, table in curves.items() if key[:2] == arm]
        for kind in seeds[0].columns:
            name, colour = looks[kind]
            values = pd.concat([table[kind] for table in seeds], axis=1)
            for curve in values.T.to_numpy():
                one = over_steps(pd.Series(curve, values.index))
                figures.line(figure, one, name, colour, row, opacity=0.3, showlegend=False)
            figures.line(figure, over_steps(values.median(axis=1)), name, colour, row)
        figure.update_yaxes(title_text="accuracy", tickformat=".0%", range=[-0.02, 1.04], row=row)
    return figure.update_xaxes(type="log", exponentformat="none", dtick=1).update_layout(
        updatemenus=[], margin={"r": 190}
    )


def over_steps(values: pd.Series) -> xr.DataArray:
    """A curve, without step 0, which a logarithmic axis has not."""
    later = values.index.to_numpy() > 0
    steps = values.index.to_numpy()[later]
    return xr.DataArray(values.to_numpy()[later], dims="step", coords={"step": steps})


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report))
