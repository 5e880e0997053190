"""What do wrong labels do to understanding: is each memorised, and does test error fall, rise and fall again?

    python analyses/outliers/study.py            # x + y mod 97, 0 to 3,000 of 4,704 labels wrong, three ways, three seeds
    python analyses/outliers/study.py --small    # x + y mod 31, none and 60 wrong of 672, two ways, one seed

closely.py looks with more seeds at the counts of SGD at which test error may rise.

Power et al. (2022, figure 6) train with so many wrong labels.
"""

import math
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import xarray as xr
from jaxtyping import Bool

import interp
from interp import figures
from interp.config import RunConfig
from interp.maths.curves import fall_rise_fall, reached
from interp.models import TransformerSpec
from interp.recipe import TrainConfig
from interp.store import Run
from interp.study import script, spread
from interp.tasks import ModularTask

LABELS = "corruption.labels"
COUNTS: tuple[int, ...] = (0, 10, 100, 1000, 2000, 3000)
SHOWN = (1000, 60)
"""The count whose three kinds of training example are drawn: the first that there is."""
WAYS = {
    "AdamW": {"optimizer": "adamw", "lr": 1e-3, "weight_decay": 1.0, "steps": 12_000},
    "AdamW, no decay": {"optimizer": "adamw", "lr": 1e-3, "weight_decay": 0.0, "steps": 3_000},
    "SGD": {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3, "max_gradient_norm": 3.0},
}
"""Decay takes 0.1 % of a weight an update under AdamW (lr·decay), and as much under SGD (lr·decay/(1 − momentum))."""
RISE = {"error": 0.05, "loss": 0.1}
"""By how much test error (a share) or test loss (nats) must fall, rise and fall; see README.md for the noise."""
FORGOTTEN = 0.01
"""Logged steps at which train accuracy is so far below what it was are left out: a jump of the optimiser, not memorising."""
ACCURACY = 0.99


def configs(small: bool) -> Mapping[str, RunConfig]:
    """Every way to train with every count of wrong labels, which are more of the same as the count rises."""
    ways, counts, seeds = WAYS, COUNTS, 3
    if small:
        ways = {"AdamW": WAYS["AdamW"] | {"lr": 3e-3, "steps": 1000}, "SGD": WAYS["SGD"]}
        counts, seeds = (0, 60), 1
    start = base(small)
    return {
        f"{way}+{name}".replace(", ", "_").replace(" ", "_"): config
        for way, how in ways.items()
        for name, config in interp.grid(start.but(train=start.train.but(**how)), seeds, {LABELS: counts}).items()
    }


def base(small: bool) -> RunConfig:
    """x + y mod 97 from half of the table, and mod 31 from 70 % for the small size."""
    if small:
        quick = interp.preset("quick").config
        return quick.but(
            task=quick.task.but(p=31, train_fraction=0.7), train=quick.train.but(steps=1000, checkpoint_every=100)
        )
    return RunConfig(
        name="outliers",
        task=ModularTask(p=97, train_fraction=0.5),
        model=TransformerSpec(),
        train=TrainConfig(steps=6_000, batch_size=512, log_every=50, checkpoint_every=500),
    )


def report(runs: Mapping[str, Run]) -> script.Report:
    """What came of every run, by way and count, with the curves that it is read from."""
    rows, curves, kinds = [], {}, {}
    for run in runs.values():
        key = way_of(run), run.config.corruption.labels, run.config.seeds.model
        found = interp.measure(run, "curves")
        row = dict(zip(("way", "labels", "seed"), key, strict=True)) | of_curves(found)
        row["share"] = key[1] / len(run.split.train)
        if key[1]:
            parts = interp.measure(run, "breakdown")["accuracy"].sel(operation="all")
            row |= of_kinds(parts)
            kinds[key] = parts.drop_sel(examples="test").to_pandas()
        rows.append(row)
        curves[key] = 1 - found["test_accuracy"].to_series()
    table = pd.DataFrame(rows).set_index(["way", "labels", "seed"])
    errors = pd.DataFrame(curves)
    steps = ("memorised", "generalised", "wrong_memorised")
    cells = spread(table.reset_index().drop(columns="seed"), by=["way", "labels"], steps=steps)
    return script.Report(
        {"summary": summary(table), "spread": cells, "runs": table},
        {"test_error": draw_errors(errors), "wrong_labels": draw_kinds(kinds)},
    )


def way_of(run: Run) -> str:
    """How it was trained, in words."""
    train = run.config.train
    return {"sgd": "SGD", "adamw": "AdamW" if train.weight_decay else "AdamW, no decay"}[train.optimizer]


def of_curves(found: xr.Dataset) -> dict[str, float]:
    """When it memorised and generalised, how good it was, and the three stages in test error and in test loss."""
    step, accuracy = found["step"].to_numpy(), found["test_accuracy"].to_numpy()
    train, steady = found["train_accuracy"].to_numpy(), without_jumps(found)
    row = {
        "memorised": found.attrs["memorised"],
        "generalised": found.attrs["generalised"],
        **{name: found.attrs[name] for name in ("memorised_until", "generalised_until", "collapsed")},
        "best_test_accuracy": float(accuracy.max()),
        "final_test_accuracy": float(accuracy[-1]),
        "final_train_accuracy": float(train[-1]),
        "largest_test_loss": float(found["test_loss"].max()),
        "left_out": float(1 - steady.mean()),
        "last_step": int(step[-1]),
    }
    for what, values in {"error": 1 - accuracy, "loss": found["test_loss"].to_numpy()}.items():
        stages = fall_rise_fall(values[steady], RISE[what])
        names = ("first_low", "high", "last_low")
        row[f"{what}_rises"] = float(stages is not None)
        for name, place in zip(names, stages or (None,) * 3, strict=True):
            row[f"{what}_{name}"] = math.nan if place is None else float(values[steady][place])
            row[f"{what}_{name}_step"] = math.nan if place is None else int(step[steady][place])
    return row


def without_jumps(found: xr.Dataset) -> Bool[np.ndarray, " step"]:
    """Logged steps at which what is trained on has not been forgotten."""
    train = found["train_accuracy"].to_numpy()
    return np.maximum.accumulate(train) - train < FORGOTTEN


def of_kinds(accuracy: xr.DataArray) -> dict[str, float]:
    """What became of the wrong labels: learned as given, seen through, or neither."""
    wrong, right = (accuracy.sel(examples=f"train {kind}").to_numpy() for kind in ("corrupted", "recovered"))
    return {
        "wrong_memorised": reached(accuracy["step"].to_numpy(), wrong, ACCURACY).step,
        "most_wrong_learned": float(wrong.max()),
        "final_wrong_learned": float(wrong[-1]),
        "most_recovered": float(right.max()),
        "final_recovered": float(right[-1]),
    }


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """By way and count: in how many seeds what is asked is so, and medians."""
    cells: Any = table.groupby(level=["way", "labels"], sort=False)
    medians = [
        "best_test_accuracy",
        "final_test_accuracy",
        "most_wrong_learned",
        "final_wrong_learned",
        "final_recovered",
    ]
    return pd.DataFrame(
        {
            "share": cells["share"].first(),
            "seeds": cells.size(),
            "ever at 99 %": cells["best_test_accuracy"].agg(lambda best: int((best >= ACCURACY).sum())),
            "generalise and keep it": (table["generalised"].where(table["collapsed"].isna()))
            .groupby(level=["way", "labels"], sort=False)
            .count(),
            "every wrong label learned": cells["most_wrong_learned"].agg(lambda most: int((most == 1).sum())),
            "error falls, rises, falls": cells["error_rises"].sum().astype(int),
            "loss falls, rises, falls": cells["loss_rises"].sum().astype(int),
            **{name.replace("_", " "): cells[name].median() for name in medians},
        }
    )


def draw_errors(errors: pd.DataFrame) -> go.Figure:
    """Test error over steps, a panel a way, a colour a count: the median of the seeds, and every seed thin."""
    ways = list(dict.fromkeys(errors.columns.get_level_values(0)))
    counts = sorted(dict.fromkeys(errors.columns.get_level_values(1)))
    figure = figures.panels(
        [f"test error, {way}" for way in ways], heights=[4.5] * len(ways), title="Test error by number of wrong labels"
    )
    for row, way in enumerate(ways, start=1):
        for count, colour in zip(counts, (figures.INK, *figures.PALETTE), strict=False):
            of_way: Any = errors[way]
            if count not in of_way:
                continue  # all its runs diverged
            seeds = of_way[count].dropna()
            for values in [*(seeds[seed] for seed in seeds), seeds.median(axis=1)]:
                figures.line(figure, over_steps(values), f"{count:,}", colour, row)
            drawn: Any = figure.data
            for trace in drawn[-1 - len(seeds.columns) : -1]:
                trace.update(showlegend=False, opacity=0.3, line={"width": 1})
        figure.update_yaxes(title_text="1 − accuracy", tickformat=".0%", range=[-0.02, 1.02], row=row)
    figure.update_layout({figures.legend_of(row): {"title": "wrong labels"} for row in range(1, len(ways) + 1)})
    return on_a_logarithmic_axis(figure)


def draw_kinds(kinds: Mapping[tuple[str, int, int], pd.DataFrame]) -> go.Figure:
    """For one count, what is answered to the training examples: clean, wrong as given, and wrong seen through."""
    count = next(each for each in SHOWN if any(each == labels for _, labels, _ in kinds))
    ways = list(dict.fromkeys(way for way, labels, _ in kinds if labels == count))
    figure = figures.panels(
        [f"training examples, {way}" for way in ways],
        heights=[4] * len(ways),
        title=f"What becomes of {count:,} wrong labels?",
    )
    colours = {"clean": figures.TRAIN, "corrupted": figures.PALETTE[2], "recovered": figures.PALETTE[1]}
    labels = {"clean": "clean, right", "corrupted": "wrong, as labelled", "recovered": "wrong, right in spite"}
    for row, way in enumerate(ways, start=1):
        seeds = [table for (each, labelled, _), table in kinds.items() if (each, labelled) == (way, count)]
        for kind, colour in colours.items():
            values = pd.concat([table[f"train {kind}"] for table in seeds], axis=1)
            for number, curve in enumerate([*(values.iloc[:, i] for i in range(len(seeds))), values.median(axis=1)]):
                figures.line(figure, over_steps(curve), labels[kind], colour, row)
                if number < len(seeds):
                    drawn: Any = figure.data
                    drawn[-1].update(showlegend=False, opacity=0.3, line={"width": 1})
        figure.update_yaxes(title_text="share answered so", tickformat=".0%", range=[-0.02, 1.04], row=row)
    return on_a_logarithmic_axis(figure)


def over_steps(values: pd.Series) -> xr.DataArray:
    """A curve, without step 0, which a logarithmic axis has not."""
    steps = values.index.to_numpy()
    return xr.DataArray(values.to_numpy()[steps > 0], dims="step", coords={"step": steps[steps > 0]})


def on_a_logarithmic_axis(figure: go.Figure) -> go.Figure:
    """The same over the logarithm of the step, for print."""
    return figure.update_xaxes(type="log", exponentformat="none", dtick=1).update_layout(
        updatemenus=[], margin={"r": 190}
    )


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report))
