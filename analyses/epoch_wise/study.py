"""Do test error and loss of one run fall, rise and fall again over training, and what shows the third stage?

    python analyses/epoch_wise/study.py            # digits, MNIST and x + y mod 53: 21 arms of 3 or 5 seeds
    python analyses/epoch_wise/study.py --small    # digits and x + y mod 23: five arms of two seeds

Arms differ in wrong labels, augmentation, optimiser and rate. Each group has a null, where nothing can be learned but by heart.
"""

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
from interp.maths.stages import STAGES
from interp.store import Run
from interp.study import ends, means, script
from interp.train.null import null_twin

LEVEL = 0.05
"""p below which a stage counts in a run."""
TOLD = 1.96
"""Standard errors by which the second minimum lies below or above the first."""
WRONG, NULL = 0.2, 0.9
"""Shares of wrong labels: of arms with some, and that at which each of ten classes is equally likely."""
WRONG_SUMS = 0.1
"""Share of wrong answers of x + y."""
EARLY = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 50, 64, 80)
"""Steps that are logged beside the even ones."""
LOGGED = 200
"""Evenly spaced steps that are logged."""
LOSSES = tuple(factor * 10.0**power for power in range(-4, 4) for factor in (1, 2, 5))
"""Marks of the axis of the loss."""
CELL = ["group", "arm"]
CURVES = {"error": "test error", "loss": "test loss, nats"}


class Group(NamedTuple):
    """What arms have in common: data and network."""

    label: str
    preset: str
    seeds: int
    steps: int
    model: Mapping[str, Any] = {}
    small_task: Mapping[str, Any] = {}
    small_model: Mapping[str, Any] = {}
    small_steps: int = 0
    """Steps of the small size, which leaves a group without any out."""

    def config(self, small: bool) -> RunConfig:
        """Configuration that its arms start from."""
        base = interp.preset(self.preset).config
        if small:
            base = base.but(task=base.task.but(**self.small_task), model=base.model.but(**self.small_model))
        else:
            base = base.but(model=base.model.but(**self.model))
        steps = self.small_steps if small else self.steps
        return base.but(
            train=base.train.but(
                steps=steps,
                log_every=max(10, steps // LOGGED),
                checkpoint_every=steps,
                checkpoint_steps=[step for step in EARLY if step < steps],
            )
        )


GROUPS = {
    "digits": Group(
        "digits, MLP", "digits-width", 5, 8_000, {"width": 512}, {"examples": 300}, {"width": 128}, 1_500
    ),
    "mnist": Group("MNIST, MLP", "mnist-width", 3, 16_000, {"width": 100}),
    "digits-cnn": Group(
        "digits, CNN", "digits-convnet", 3, 3_000, {}, {"examples": 300}, {"width": 4}, 300
    ),
    "mnist-cnn": Group("MNIST, CNN", "mnist-convnet", 3, 4_000),
    "sums": Group("x + y, transformer", "quick", 5, 3_000, {}, {"p": 23}, {"d_mlp": 64}, 600),
}  # fmt: skip


class Arm(NamedTuple):
    """How the networks of a group are trained."""

    group: str
    label: str
    share: float
    """Share of wrong labels."""
    train: Mapping[str, Any] = {}
    task: Mapping[str, Any] = {}
    small: bool = False
    """Whether it is part of the small size."""

    @property
    def null(self) -> bool:
        """Whether nothing can be learned but by heart."""
        return self.share == NULL


SGD = {"optimizer": "sgd", "lr": 0.1}
ARMS = {
    "digits-adam": Arm("digits", "Adam, .001", WRONG, small=True),
    "digits-adam-slow": Arm("digits", "Adam, .0003", WRONG, {"lr": 3e-4}),
    "digits-adam-fast": Arm("digits", "Adam, .003", WRONG, {"lr": 3e-3}),
    "digits-sgd": Arm("digits", "SGD, .1", WRONG, SGD),
    "digits-adam-right": Arm("digits", "Adam, .001, all right", 0.0, small=True),
    "digits-sgd-right": Arm("digits", "SGD, .1, all right", 0.0, SGD),
    "digits-null": Arm("digits", "labels by chance", NULL, small=True),
    "mnist": Arm("mnist", "Adam, .001", WRONG),
    "mnist-right": Arm("mnist", "Adam, .001, all right", 0.0),
    "mnist-null": Arm("mnist", "labels by chance", NULL),
    "digits-cnn": Arm("digits-cnn", "not augmented", WRONG),
    "digits-cnn-crop": Arm("digits-cnn", "crop", WRONG, task={"crop": 1}, small=True),
    "digits-cnn-flip": Arm("digits-cnn", "crop and flip", WRONG, task={"crop": 1, "flip": True}),
    "digits-cnn-right": Arm("digits-cnn", "not augmented, all right", 0.0),
    "digits-cnn-null": Arm("digits-cnn", "labels by chance", NULL),
    "mnist-cnn": Arm("mnist-cnn", "not augmented", WRONG),
    "mnist-cnn-crop": Arm("mnist-cnn", "crop", WRONG, task={"crop": 2}),
    "mnist-cnn-null": Arm("mnist-cnn", "labels by chance", NULL),
    "sums": Arm("sums", "AdamW", WRONG_SUMS, small=True),
    "sums-right": Arm("sums", "AdamW, all right", 0.0),
    "sums-null": Arm("sums", "a table by chance", NULL),
}
"""By the word for it in the runs' names."""


def configs(small: bool) -> Mapping[str, RunConfig]:
    """A run for each arm and seed."""
    found: dict[str, RunConfig] = {}
    for word, arm in ARMS.items():
        if small and not arm.small:
            continue
        group = GROUPS[arm.group]
        base = group.config(small)
        base = base.but(name=word, task=base.task.but(**arm.task), train=base.train.but(**arm.train))
        if arm.null and arm.group == "sums":
            base = null_twin(base, "answers")  # labels that are all wrong would make the right one the least likely
        else:
            base = base.but(corruption=base.corruption.but(share=arm.share))
        grid = interp.grid(base, 2 if small else group.seeds)
        found |= {f"{word}+{seed}": config for seed, config in grid.items()}
    return found


def report(runs: Mapping[str, Run]) -> script.Report:
    """In how many seeds of each arm there is which stage, and when, with the curves that it is read from."""
    rows, last, curves = [], [], []
    for name, run in runs.items():
        arm = ARMS[name.split("+")[0]]
        key = {"group": GROUPS[arm.group].label, "arm": arm.label, "seed": run.config.seeds.model}
        found = interp.measure(run, "stages", level=LEVEL)
        rows += [key | {"curve": CURVES[curve]} | told(found.sel(curve=curve)) for curve in CURVES]
        last.append(key | ends(run))
        averages = found["average"].to_pandas().T.rename_axis("step").rename(columns=CURVES)
        curves.append(averages.reset_index().assign(**key))
    table, at_end = pd.DataFrame(rows), pd.DataFrame(last)
    medians = pd.concat(curves).drop(columns="seed").groupby([*CELL, "step"], sort=False).median()
    return script.Report(
        {
            "stages": by_arm(table),
            "early_stopping": means(at_end.drop(columns="seed"), CELL),
            "runs": table.set_index([*CELL, "curve", "seed"]),
            "ends": at_end.set_index([*CELL, "seed"]),
            "curves": medians,
        },
        {"epoch_wise": draw(runs, medians)},
    )


def told(curve: xr.Dataset) -> dict[str, float]:
    """Where each stage of a curve that counts ends, its height and p, and by how much the second minimum is above the first."""
    row: dict[str, float] = {}
    for stage in STAGES:
        one = curve.sel(stage=stage)
        counts = float(one["p_value"]) < LEVEL
        row |= {
            stage: float(counts),
            f"{stage} until": float(one["ends"]) if counts else np.nan,
            f"{stage} height": float(one["height"]) if counts else np.nan,
            f"{stage} p": float(one["p_value"]),
        }
    all_three = all(row[stage] for stage in STAGES)
    by, error = (float(curve[name]) if all_three else np.nan for name in ("second_minimum", "second_minimum_error"))
    return row | {
        "three stages": float(all_three),
        "second minimum": by,
        "second minimum ±": error,
        "second below": float(by < -TOLD * error),
        "second above": float(by > TOLD * error),
    }


def by_arm(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each arm and curve: in how many seeds each stage counts, and medians over those seeds.

    `consolidation beyond null` counts the seeds in which it is higher than in every seed of the null of their group.
    """
    cells: Any = with_null(table).groupby([*CELL, "curve"], sort=False)
    counts = [*STAGES, "three stages", "consolidation beyond null", "second below", "second above"]
    medians = [f"{stage} {what}" for stage in STAGES for what in ("until", "height")]
    return pd.DataFrame(
        {"seeds": cells.size()}
        | {name: cells[name].sum().astype(int) for name in counts}
        | {name: cells[name].median() for name in [*medians, "second minimum", "second minimum ±"]}
    )


def with_null(table: pd.DataFrame) -> pd.DataFrame:
    """The table with whether each run's consolidation is higher than any in the null of its group; never in one without null."""
    null: Any = table[table["arm"].isin([arm.label for arm in ARMS.values() if arm.null])]
    largest = null.groupby(["group", "curve"])["consolidation height"].max().fillna(0)
    levels = largest.reindex(pd.MultiIndex.from_arrays([table["group"], table["curve"]])).to_numpy()
    return table.assign(**{"consolidation beyond null": (table["consolidation height"] > levels).astype(float)})


def draw(runs: Mapping[str, Run], medians: pd.DataFrame) -> go.Figure:
    """Test error and loss over steps, a row a group: the median over seeds of each arm, and every seed faint."""
    groups = list(medians.index.get_level_values("group").unique())
    figure = figures.panels(
        [f"{group}: {title}" for group in groups for title in CURVES.values()],
        heights=[4.5] * len(groups),
        columns=2,
        title="Does it fall, rise and fall again?",
        over_steps=False,
        gap=70,
    )
    for row, group in enumerate(groups, start=1):
        mine = {word: arm for word, arm in ARMS.items() if GROUPS[arm.group].label == group}
        for colour, (word, arm) in zip(figures.PALETTE, mine.items(), strict=False):
            histories = [run.history.loc[1:] for name, run in runs.items() if name.split("+")[0] == word]
            if not histories:
                continue
            look = {"color": colour, "dash": "dot" if arm.null else "solid"}
            median = medians.loc[(group, arm.label)]
            for column, title in enumerate(CURVES.values(), start=1):
                at = {"row": row, "col": column}
                for history in histories:
                    values = 1 - history["test_accuracy"] if column == 1 else history["test_loss"]
                    figure.add_scatter(
                        x=history.index, y=values, mode="lines", line={**look, "width": 1}, opacity=0.25,
                        showlegend=False, hoverinfo="skip", **at,
                    )  # fmt: skip
                figure.add_scatter(
                    x=median.index, y=median[title], mode="lines", line={**look, "width": 2.5}, name=arm.label,
                    legend=figures.legend_of(row), showlegend=column == 1, **at,
                )  # fmt: skip
        figure.update_yaxes(tickformat=".0%", rangemode="tozero", row=row, col=1)
        figure.update_yaxes(type="log", tickvals=LOSSES, ticktext=[f"{loss:g}" for loss in LOSSES], row=row, col=2)
    # ticks without colour keep the 1 of the steps apart from the 0 % beside it
    figure.update_xaxes(type="log", tickformat="~s", dtick=1, ticks="outside", ticklen=8, tickcolor="white")
    for column in (1, 2):
        figure.update_xaxes(title_text="step (optimiser updates)", row=len(groups), col=column)
    return figure.update_layout(margin={"r": 210, "b": 95}, width=1_250)


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report))
