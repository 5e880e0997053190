"""Are tasks other than modular arithmetic learned in a phase change, and does finite data delay it?

    python analyses/addition_phase_change/study.py            # 5-digit addition, repeated subsequence, skip trigram; three seeds
    python analyses/addition_phase_change/study.py --small    # 2-digit addition and a short skip trigram, two seeds

With INTERP_REFERENCE_DIR set, the curves that Nanda et al. (2023) released are drawn beside ours.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
from scipy.stats import rankdata

import interp
from interp import figures
from interp.config import RunConfig
from interp.maths.curves import SHARP, exponential, first_below, logistic, nulls, steepest_fall
from interp.models import TransformerSpec
from interp.store import Run
from interp.study import script, spread
from interp.tasks import AdditionTask
from interp.tasks.sequence import SequenceTask

MARKS = (1.0, 0.1, 0.01)
"""Test losses in nats whose first crossing is told."""
DIGIT = 0.5
"""Test loss in nats of a digit that counts as learned, as in the published figures for each digit."""
PUBLISHED = "progress-measures"
FILES = {"addition": "5_digit_addition", "skip_trigram": "skip_trigram"}
ENDLESS = figures.PALETTE[0]
COLUMNS = 3
"""Panels side by side in the figure of the falls."""


class Setting(NamedTuple):
    """What is trained: changes to a preset."""

    preset: str
    examples: int | str
    steps: int
    weight_decay: float = 1.0
    batch_size: int | str = 64


SETTINGS = (
    Setting("addition", "endless", 6000, weight_decay=0.1),
    Setting("addition", "endless", 6000),
    Setting("addition", 750, 6000),
    Setting("addition", 500, 8000),
    Setting("addition", 400, 12_000),
    Setting("repeated", "endless", 4000, batch_size=128),
    Setting("repeated", 2048, 6000, batch_size=128),
    Setting("skip_trigram", "endless", 1000),
    Setting("skip_trigram", 64, 2000),
)
"""Of finite sets, those whose loss falls in steps that can be waited for."""
SMALL = (
    Setting("addition", "endless", 1500),
    Setting("addition", 300, 1500),
    Setting("skip_trigram", "endless", 300),
    Setting("skip_trigram", 64, 300),
)


def configs(small: bool) -> Mapping[str, RunConfig]:
    """Every setting with each seed."""
    found: dict[str, RunConfig] = {}
    for setting in SMALL if small else SETTINGS:
        base = interp.preset(setting.preset).config
        assert isinstance(base.task, SequenceTask)
        task = base.task.but(examples=setting.examples)
        model = base.model
        if small:
            model = TransformerSpec(d_model=64, d_head=16, d_mlp=256, attn_only=setting.preset == "skip_trigram")
            task = task.but(test_examples=300, **({"digits": 2} if setting.preset == "addition" else {"length": 12}))
        train = base.train.but(
            steps=setting.steps, batch_size=setting.batch_size, weight_decay=setting.weight_decay,
            log_every=50, checkpoint_every=500, checkpoints_per_decade=20,
        )  # fmt: skip
        whole = RunConfig(name=setting.preset, task=task, model=model, train=train)
        name = f"{setting.preset}+{setting.examples}+decay={setting.weight_decay:g}"
        found |= {f"{name}+{seed}": each for seed, each in interp.grid(whole, seeds=2 if small else 3).items()}
    return found


KEYS = ["task", "examples", "decay"]
"""What runs of one cell agree in."""
FALLS = ["below_1", "below_0.1", "below_0.01"]
"""Steps."""
SHARPNESS = (
    "fall_at", "until", "down_to", "steepest", "flattest", "noise", "sharpness", "exponential", "logistic", "phase_change",
)  # fmt: skip
"""Columns on the fall, see README.md."""


def report(runs: Mapping[str, Run]) -> script.Report:
    """How sharply each loss falls and when, in which order digits are learned, and what a finite set changes."""
    table = pd.DataFrame([facts(run) for run in runs.values()])
    cells = spread(table.drop(columns=["seed", *SHARPNESS]), by=KEYS, steps=FALLS)
    sums = [run for run in runs.values() if isinstance(run.config.task, AdditionTask)]
    curves = [interp.measure(run, "positions")["loss"].sel(split="test") for run in sums]
    digits = pd.DataFrame(
        [where(run) | {name: below(each.sel(position=name), DIGIT) for name in each["position"].values}
         | {"last_step": run.config.train.steps} for run, each in zip(sums, curves, strict=True)]
    )  # fmt: skip
    names = list(curves[0]["position"].values)
    theirs = published()
    tables = {
        "spread": cells,
        "digits": spread(digits.drop(columns="seed"), by=KEYS, steps=names),
        "order": agreement(digits, names),
        "delay": delay(table),
        "rule": rule(),
        "sharpness": table.set_index([*KEYS, "seed"])[["sharpness", "exponential", "logistic", "phase_change"]],
        "runs": table.set_index([*KEYS, "seed"]),
        **({"published": pd.DataFrame([shape(*each) | {"curve": name} for name, each in theirs.items()])
            .set_index("curve")} if theirs else {}),
    }  # fmt: skip
    drawn = {
        "digits": draw_digits(list(zip(sums, curves, strict=True))),
        "falls": draw_falls(runs, theirs),
        "tasks": draw_tasks(runs, theirs),
    }
    return script.Report(tables, drawn)


def where(run: Run) -> dict[str, Any]:
    """The cell of a run, and its seed."""
    config = run.config
    assert isinstance(config.task, SequenceTask)
    return {
        "task": config.task.kind,
        "examples": str(config.task.examples),
        "decay": config.train.weight_decay,
        "seed": config.seeds.model,
    }


def facts(run: Run) -> dict[str, Any]:
    """When the test loss of a run fell, how steeply, and how high it was before and is in the end."""
    history = run.history
    loss = history["test_loss"]
    return where(run) | shape(loss.index.to_numpy(), loss.to_numpy()) | {"last_step": int(loss.index[-1])}


def shape(steps: np.ndarray, loss: np.ndarray) -> dict[str, Any]:
    """The steps of a curve's marks, how sharply it falls beside an exponential and a logistic, its height and its end."""
    return {
        **{f"below_{mark:g}": first_below(steps, loss, mark) for mark in MARKS},
        **sharpness(steps, loss),
        "highest": float(loss.max()),
        "highest_at": int(steps[loss.argmax()]),
        "final": float(loss[-1]),
    }


def sharpness(steps: np.ndarray, loss: np.ndarray) -> dict[str, float]:
    """Where a curve falls and how sharply, of the two nulls with its ends too, and whether that is a phase change."""
    fall = steepest_fall(steps, loss)
    found = (
        fall.step, fall.until, fall.end, fall.steepest, fall.flattest, fall.noise, fall.sharpness, *nulls(steps, fall),
        float(fall.sharpness >= SHARP),
    )  # fmt: skip
    return dict(zip(SHARPNESS, found, strict=True))


def rule() -> pd.DataFrame:
    """The sharpness of curves that are known in closed form, down to a tenth at step 1,000, and of an exponential in noise."""
    steps, draws = np.arange(2001), np.random.default_rng(0)
    falling = exponential(steps, 1000.0, 0.1)
    curves = {
        "exponential": falling,
        "power law, 1 / (1 + 9 t)": 1 / (1 + 9 * steps / 1000),
        "straight": np.maximum(1 - 0.9 * steps / 1000, 0.05),
        **{
            f"logistic from {share:g} of its height": logistic(steps, 1000.0, 0.1, share)
            for share in (0.95, 0.99, 0.999)
        },
    }
    rows = {name: steepest_fall(steps, curve).sharpness for name, curve in curves.items()}
    for noise in (0.003, 0.03, 0.3):
        noisy = (np.abs(falling + noise * draws.standard_normal(len(steps))) for _ in range(200))
        rows[f"exponential, noise {noise:g}, most of 200"] = np.nanmax(
            [steepest_fall(steps, each).sharpness for each in noisy]
        )
    return pd.DataFrame({"sharpness": rows}).rename_axis("curve")


def below(curve: Any, mark: float) -> float:
    """The first step at which a curve is below a mark."""
    return first_below(curve["step"].values, curve.values, mark)


def agreement(digits: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Of each cell, how far seeds agree on the order of the digits, and their mean ranks; a digit not learned comes last."""
    rows = {
        key: {"seeds": len(cell), "kendall_w": concordance(cell[names].fillna(np.inf).to_numpy())}
        | dict(zip(names, rankdata(cell[names].fillna(np.inf), axis=1).mean(axis=0), strict=True))
        for key, cell in digits.groupby(KEYS)
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(KEYS)


def concordance(scores: np.ndarray) -> float:
    """Kendall's W of the ranks that each row gives to the columns: 1 when all rows agree, 0 when they cancel.

    It is the variance of the columns' mean ranks over what that could be; NaN when all scores of every row are equal.
    """
    ranks = rankdata(scores, axis=1)
    possible = ranks.var(axis=1).mean()
    return float(ranks.mean(axis=0).var() / possible) if possible else float("nan")


def delay(table: pd.DataFrame) -> pd.DataFrame:
    """Of each finite set, the median steps until the test loss is below 1 nat over those of endless data of equal decay."""
    medians = spread(table.drop(columns="seed"), by=KEYS, steps=FALLS).xs("below_1", level="what")["median"]
    endless = medians.xs("endless", level="examples")
    finite = pd.DataFrame({"steps": medians.drop("endless", level="examples")}).reset_index()
    finite["endless"] = [
        endless.get((task, decay), np.nan) for task, decay in zip(finite["task"], finite["decay"], strict=True)
    ]
    finite["times"] = finite["steps"] / finite["endless"]
    return finite.set_index(KEYS)


def published() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Steps and test loss of the released curves by task and data, means over 5 % of steps; empty where not at hand."""
    folder = os.environ.get("INTERP_REFERENCE_DIR")
    if folder is None:
        return {}
    found = {}
    for task, file in FILES.items():
        for data in ("finite", "infinite"):
            path = Path(folder) / PUBLISHED / f"{file}_{data}.pth"
            held = torch.load(path, weights_only=True, map_location="cpu")
            losses = held.get("test_losses", held["train_losses"]) if isinstance(held, dict) else held
            found[f"{task}, {data}"] = averaged(np.array([float(value) for value in losses]))
    return found


def averaged(losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A loss of every step as means over stretches of 5 %: those of single batches are noisy."""
    edges = np.unique(np.append(np.geomspace(1, len(losses), round(np.log(len(losses)) / np.log(1.05))), 0).astype(int))
    starts = edges[:-1]
    return starts, np.add.reduceat(losses, starts) / np.diff(edges)


def draw_digits(found: list[tuple[Run, Any]]) -> go.Figure:
    """The test loss of each digit, every seed a line, a panel for each setting."""
    cells: dict[str, list[Any]] = {}
    for run, curve in found:
        cell = where(run)
        cells.setdefault(f"{cell['examples']} examples, decay {cell['decay']:g}", []).append(curve)
    figure = figures.panels(
        [f"test loss of each digit: {name}" for name in cells], [3.6] * len(cells), "Which digit is learned when"
    )
    for row, curves in enumerate(cells.values(), start=1):
        for curve in curves:
            for number, name in enumerate(curve["position"].values):
                one = curve.sel(position=name).isel(step=slice(1, None))
                first = {"showlegend": row == 1 and curve is curves[0], "legendgroup": name, "opacity": 0.75}
                figures.line(figure, one, name, figures.PALETTE[number % len(figures.PALETTE)], row, **first)
        figure.add_hline(y=DIGIT, line={"color": figures.QUIET, "dash": "dot", "width": 1}, row=row, col=1)  # pyright: ignore
        figure.update_yaxes(title_text="loss (nats)", type="log", exponentformat="power", dtick=1, row=row)
    return figure.update_xaxes(type="log", dtick=1, exponentformat="power")


def draw_falls(runs: Mapping[str, Run], theirs: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> go.Figure:
    """The lowest loss so far of every setting and of the published curves, up to where it is down, beside both nulls."""
    cells: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for run in runs.values():
        cell, loss = where(run), run.history["test_loss"]
        name = f"{cell['task']}, {cell['examples']}, decay {cell['decay']:g}"
        cells.setdefault(name, []).append((loss.index.to_numpy(), loss.to_numpy()))
    cells |= {f"{name}, published": [each] for name, each in theirs.items()}
    rows = -(-len(cells) // COLUMNS)
    titles = [*cells, *[" "] * (COLUMNS * rows - len(cells))]
    figure = figures.panels(titles, [3.4] * rows, "How sharply the loss falls", columns=COLUMNS, over_steps=False)
    named: set[str] = set()
    for number, curves in enumerate(cells.values()):
        place = {"row": number // COLUMNS + 1, "col": number % COLUMNS + 1}
        falls = [(*curve, fall) for curve in curves if (fall := steepest_fall(*curve)).until > 0]
        drawn = [
            ("measured, a line each run", figures.TEST, "solid",
             (steps - steps[0]) / (fall.until - steps[0]), np.minimum.accumulate(loss) / loss[0])
            for steps, loss, fall in falls
        ]  # fmt: skip
        share, end = np.linspace(0, 1, 200), float(np.mean([fall.end for *_, fall in falls]))
        drawn += [
            ("exponential", figures.QUIET, "dot", share, exponential(share, 1.0, end)),
            ("logistic", figures.QUIET, "dash", share, logistic(share, 1.0, end)),
        ]
        for name, colour, dash, x, y in drawn:
            first = name not in named
            named.add(name)
            line = {"color": colour, "dash": dash, "width": 1.5}
            figure.add_scatter(x=x, y=y, name=name, mode="lines", line=line, showlegend=first, **place)
    figure.update_xaxes(range=[0, 1]).update_xaxes(title_text="share of the fall's time", row=rows)
    figure.update_yaxes(range=[0, 1.02]).update_yaxes(title_text="share of the first loss", col=1)
    return figure.update_layout(width=1250, margin={"r": 210})


def draw_tasks(runs: Mapping[str, Run], theirs: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> go.Figure:
    """The losses of each finite set and of endless data of the same decay, every seed a line, and the published ones."""
    cells: dict[tuple[str, str, float], list[Run]] = {}
    for run in runs.values():
        cell = where(run)
        cells.setdefault((cell["task"], cell["examples"], cell["decay"]), []).append(run)
    finite = [key for key in cells if key[1] != "endless"]
    titles = [f"{task}: {examples} examples and endless data, decay {decay:g}" for task, examples, decay in finite]
    figure = figures.panels(titles, [3.6] * len(finite), "A finite set and endless data")
    for row, (task, examples, decay) in enumerate(finite, start=1):
        curves = [
            ((task, examples, decay), "train_loss", "finite, train", figures.TRAIN),
            ((task, examples, decay), "test_loss", "finite, test", figures.TEST),
            ((task, "endless", decay), "test_loss", "endless, test", ENDLESS),
        ]
        for key, column, label, colour in curves:
            for run in cells.get(key, []):
                loss = run.history[column].iloc[1:].to_xarray()
                first = {"showlegend": row == 1 and run is cells[key][0], "legendgroup": label, "opacity": 0.8}
                figures.line(figure, loss, label, colour, row, **first)
        for data, colour in (("finite", figures.TEST), ("infinite", ENDLESS)):
            if f"{task}, {data}" in theirs:
                steps, losses = theirs[f"{task}, {data}"]
                figure.add_scatter(
                    x=steps[1:], y=losses[1:], name=f"published, {data}", line={"color": colour, "dash": "dot"},
                    mode="lines", showlegend=row == 1, legendgroup=f"published, {data}", row=row, col=1,
                )  # fmt: skip
        figure.update_yaxes(title_text="loss (nats)", type="log", exponentformat="power", dtick=2, row=row)
    return figure.update_xaxes(type="log", dtick=1, exponentformat="power")


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report))
