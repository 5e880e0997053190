"""Through grokking, is the representation late, or the readout?

    python analyses/lazy_to_rich/study.py            # x + y mod 53: four recipes, ten seeds, and null twins of two, five seeds
    python analyses/lazy_to_rich/study.py --small    # one recipe and its null twin, two seeds

A network that is linear in its weights (lazy) keeps its tangent kernel; one that learns features (rich) changes it. Beside test
accuracy stands here, over the steps, how far the kernel has gone, what the linearised networks answer, and what a readout that is
fitted anew to the same neurons answers.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import xarray as xr

import interp
from interp import figures
from interp.config import RunConfig
from interp.maths.phases import half_way, spacing
from interp.store import Run
from interp.study import compare, script

SEEDS, NULL_SEEDS = 10, 5
STEPS = 2_000
LEVEL = 0.5
"""Test accuracy that a network or a readout has to end with, at least, to have a step half-way."""
KERNELS = (0, 10, 20, 30, 50, 70, 100, 150, 200, 300, 400, 600, 800, 1_200, 1_600, 2_000)
"""Steps at which tangent kernels and linearised networks are measured."""
CHECKPOINTS = tuple(sorted({*KERNELS, *range(250, 1_000, 50), *range(1_000, STEPS, 100)}))
"""Steps at which readouts are fitted."""
PLACE, RIDGE = "neurons", 0.1
"""The layer that is read anew, the last hidden one, and the penalty, in units of its features' mean eigenvalue."""
EXAMPLES, PROBES = 64, 32
"""Examples of a tangent kernel, and random directions in the weights that it is known by."""


class Recipe(NamedTuple):
    """A recipe: fields that it has in place of the preset's, and whether a null twin stands beside it."""

    label: str
    fields: Mapping[str, Mapping[str, Any]]
    null: bool = False


RECIPES = {
    "decay": Recipe("decay", {}, null=True),
    "none": Recipe("no decay", {"train": {"weight_decay": 0.0}}),
    "large": Recipe("initial weights × 2", {"model": {"init_scale": 2.0}}, null=True),
    "squared": Recipe("squared error", {"train": {"loss": "squared_error"}}),
}
"""By the word for it in the runs' names."""
NULL = ", wrong labels"

OWN, REFITTED, HELD_OUT = "the network", "refitted to train", "refitted to half of test"
FIRST, SECOND = "linearised at step 0", "linearised at memorisation"
CURVES = (OWN, REFITTED, HELD_OUT, FIRST, SECOND)
"""Test accuracies over the steps."""
DISTANCE, ALIGNMENT = "kernel distance", "label alignment"
AGAINST = (REFITTED, HELD_OUT, DISTANCE)
"""What is compared with the network's own test accuracy, each by the step at which it is half-way."""


def configs(small: bool) -> Mapping[str, RunConfig]:
    """A run for each recipe and seed, and for some of them with every label wrong."""
    base = interp.preset("quick").config
    base = base.but(train=base.train.but(steps=STEPS, log_every=10, checkpoint_steps=CHECKPOINTS))
    if small:
        steps = tuple(step for step in CHECKPOINTS if step <= 800)
        base = base.but(train=base.train.but(steps=steps[-1], checkpoint_steps=steps))
    found = {}
    for word, recipe in list(RECIPES.items())[: 1 if small else None]:
        sections: dict[str, Any] = {name: getattr(base, name).but(**each) for name, each in recipe.fields.items()}
        config = base.but(**sections)
        for null in (False, True)[: 1 + recipe.null]:
            for seed in range(2 if small else NULL_SEEDS if null else SEEDS):
                name = f"{word}+{'null' if null else 'rule'}+{seed}"
                one = config.but(seeds=base.seeds.but(split=seed, model=seed))
                found[name] = (interp.null_twin(one) if null else one).but(name=name)
    return found


class Measured(NamedTuple):
    """What was measured of a run over its steps: curves over all checkpoints, and over those with kernels."""

    memorised: float
    accuracies: pd.DataFrame
    """Test accuracies by step; NaN where one is not measured."""
    kernels: pd.DataFrame
    """Distance, alignment with the answers, and how far the network is from its linearisation, by step."""
    controls: pd.DataFrame
    """Test accuracy of readouts of shuffled labels by step, and of an untrained network's neurons."""


def measured(run: Run) -> Measured:
    """Readouts at every checkpoint, and kernels and both linearisations at some."""
    memorised = float(interp.measure(run, "curves").attrs["memorised"])
    readout = interp.measure(run, "readout", checkpoints=len(run), ridge=RIDGE).sel(place=PLACE)
    some: Any = run.select(steps=[step for step in KERNELS if step <= run.steps[-1]])
    options: dict[str, Any] = {"checkpoints": len(some), "prompts": EXAMPLES, "probes": PROBES}
    lazy = interp.measure(some, "lazy", **options)
    at = next((step for step in some.steps if step >= memorised), some.steps[-1])
    again = interp.measure(some, "lazy", at=int(at), **options)
    curves = {
        OWN: of(readout["own_accuracy"].sel(rows="test")),
        REFITTED: of(readout["accuracy"].sel(rows="test")),
        HELD_OUT: of(readout["accuracy"].sel(rows="held out")),
        FIRST: of(lazy["linear_accuracy"].sel(split="test")),
        SECOND: of(again["linear_accuracy"].sel(split="test")).loc[at:],
    }
    kernels = {
        DISTANCE: of(lazy["kernel_distance"]),
        ALIGNMENT: of(lazy["label_alignment"]),
        "nonlinearity": of(lazy["nonlinearity"].sel(split="train")),
        "linearised train accuracy": of(lazy["linear_accuracy"].sel(split="train")),
    }
    controls = pd.DataFrame(
        {
            "shuffled": of(readout["shuffled_accuracy"].sel(rows="held out")),
            "untrained": float(readout["untrained_accuracy"].sel(rows="held out")),
        }
    )
    return Measured(memorised, pd.DataFrame(curves), pd.DataFrame(kernels), controls)


def of(values: xr.DataArray) -> pd.Series:
    """A curve over steps."""
    return pd.Series(values.values, index=pd.Index(values["step"].values, name="step"))


def half_ways(found: Measured) -> dict[str, float]:
    """Steps by which each test accuracy has lastingly made half of its way from memorisation on, and the kernel of its own."""
    accuracies, kernels = found.accuracies.dropna(subset=[OWN]), found.kernels
    ways = {name: accuracies[name] for name in (OWN, REFITTED, HELD_OUT) if accuracies[name].iloc[-1] >= LEVEL}
    crossed = {name: half_way(way.index.to_numpy(float), way.to_numpy(), found.memorised) for name, way in ways.items()}
    steps = kernels.index.to_numpy(float)
    kernel = {name: half_way(steps, kernels[name].to_numpy(), 0.0) for name in (DISTANCE, ALIGNMENT)}
    return dict.fromkeys((OWN, REFITTED, HELD_OUT), np.nan) | crossed | kernel


def facts(found: Measured) -> dict[str, float]:
    """The steps half-way; what there is at memorisation and when the network's own accuracy has its half; and at the end."""
    halves, controls = half_ways(found), found.controls
    accuracies: Any = found.accuracies
    kernels: Any = found.kernels
    later = accuracies.loc[accuracies.index >= found.memorised]
    ahead = (later[REFITTED] - later[OWN]).dropna()
    row: dict[str, Any] = {"memorised": found.memorised, **halves, "last_step": float(accuracies.index[-1])}
    row |= {"within": spacing(accuracies[OWN].dropna().index.to_numpy(), halves[OWN])}
    if len(ahead):
        row |= {"furthest ahead": ahead.max(), "furthest ahead at": float(ahead.idxmax())}
        at = int(later.index[0])
        row |= {f"{name}, at memorisation": later[name].iloc[0] for name in (OWN, REFITTED, HELD_OUT)}
        row |= {f"{name}, at memorisation": value for name, value in controls.loc[at].items()}
        near = kernels.loc[kernels.index >= at].iloc[0]
        row |= {f"{name}, at memorisation": value for name, value in near.items()}
        row["share of the kernel's way, at memorisation"] = near[DISTANCE] / kernels[DISTANCE].iloc[-1]
    for name in CURVES:
        row[f"{name}, last"] = accuracies[name].dropna().iloc[-1]
        row[f"{name}, most"] = accuracies[name].max()
    return row | {f"{name}, last": kernels[name].iloc[-1] for name in (DISTANCE, ALIGNMENT)}


def labelled(name: str) -> dict[str, Any]:
    """Recipe and seed of a run, by its name."""
    word, kind, seed = name.split("+")
    return {"recipe": RECIPES[word].label + (NULL if kind == "null" else ""), "seed": int(seed)}


def leads(table: Any) -> pd.DataFrame:
    """Does each come before the network's own test accuracy? By recipe: median factor of the steps, p by signs over the seeds.

    A run counts where it is known which came first, a recipe if a run of it ends with half of its test set; if none does, it is
    empty. `beyond` are runs whose lead is longer than checkpoints lie apart there.
    """
    rule = table[~table["recipe"].str.endswith(NULL)]
    rule = rule[rule.groupby("recipe")[OWN].transform("count") > 0]
    if rule.empty:
        return pd.DataFrame()
    long = pd.concat([rule.assign(what=name, step=rule[name]) for name in (OWN, *AGAINST)])
    tested = compare(
        long.loc[:, ["recipe", "what", "seed", "step", "last_step"]], "what", ["step"], ["seed"], each=["recipe"],
        control=OWN, steps=["step"],
    )  # fmt: skip
    found = tested.droplevel(["what", "against"]).rename_axis(["recipe", "setting"])
    rows = {}
    for recipe, what in found.index:
        mine = rule[rule["recipe"] == recipe]
        lead = mine[OWN] / mine[what]
        rows[recipe, what] = {"factor": lead.median(), "beyond": int(((mine[OWN] - mine[what]) > mine["within"]).sum())}
    return found.join(pd.DataFrame(rows).T.rename_axis(found.index.names))


def beside_null(table: Any) -> pd.DataFrame:
    """What is known at memorisation, by recipe beside its null twin: median, and p over the runs of both."""
    names = [name for name in table if name.endswith("at memorisation") and name != f"{OWN}, at memorisation"]
    twins = [recipe.removesuffix(NULL) for recipe in table["recipe"].unique() if recipe.endswith(NULL)]
    of_twins = table[table["recipe"].str.removesuffix(NULL).isin(twins)]
    of_twins = of_twins.assign(of=of_twins["recipe"].str.removesuffix(NULL))
    of_twins["labels"] = np.where(of_twins["recipe"].str.endswith(NULL), "wrong", "right")
    return compare(of_twins.dropna(subset=names), "labels", names, each=["of"], steps=[])


def report(runs: Mapping[str, Run]) -> script.Report:
    """What comes first by recipe, what is there at memorisation beside null twins, and every curve."""
    each = {name: measured(run) for name, run in runs.items()}
    table = pd.DataFrame(
        [labelled(name) | facts(found) for name, found in each.items()], index=pd.Index(each, name="run")
    )
    parts: dict[Any, pd.DataFrame] = {
        tuple(labelled(name).values()): pd.concat(found[1:], axis=1) for name, found in each.items()
    }
    curves: Any = pd.concat(parts).rename_axis(["recipe", "seed", "step"])
    medians = table.drop(columns="seed").groupby("recipe", sort=False).median()
    return script.Report(
        {"leads": leads(table), "null": beside_null(table), "medians": medians.T, "curves": curves, "runs": table},
        {"lazy_to_rich": draw(curves)},
    )


PANELS: Mapping[str, Sequence[str]] = {
    "test accuracy": CURVES,
    "tangent kernel": (DISTANCE, ALIGNMENT),
    "train set": ("nonlinearity", "linearised train accuracy"),
}
"""Rows of the figure with what is drawn in each."""


def draw(curves: Any) -> go.Figure:
    """Medians over the seeds, with every seed behind them, a column for each recipe; dashed: its null twin."""
    recipes: list[str] = [str(name) for name in curves.index.unique("recipe") if not str(name).endswith(NULL)]
    titles = [recipe if row == 0 else "" for row in range(len(PANELS)) for recipe in recipes]
    title = "Is the representation late, or the readout? (median; thin: seeds; dashed: where every label is wrong)"
    figure = figures.panels(titles, [4.5, 3, 3], title, columns=len(recipes), over_steps=False)
    for column, recipe in enumerate(recipes, start=1):
        for row, names in enumerate(PANELS.values(), start=1):
            for name, colour in zip(names, (figures.INK, *figures.PALETTE), strict=False):
                where: dict[str, Any] = {"row": row, "col": column, "legend": figures.legend_of(row), "mode": "lines"}
                for label, dash in ((recipe, "solid"), (recipe + NULL, "dash")):
                    if label in curves.index.unique("recipe"):
                        here = curves.loc[label, name].dropna().unstack("seed")
                        for seed in here if dash == "solid" else ():
                            thin: dict[str, Any] = {"color": colour, "width": 0.6}
                            figure.add_scatter(
                                x=here.index, y=here[seed], line=thin, opacity=0.4, showlegend=False, **where
                            )
                        line: dict[str, Any] = {"color": colour, "dash": dash, "width": 2}
                        shown = column == 1 and dash == "solid"
                        middle = here.median(axis=1)
                        figure.add_scatter(x=here.index, y=middle, name=name, line=line, showlegend=shown, **where)
    last = np.log10(curves.index.get_level_values("step").max())
    figure.update_xaxes(type="log", tickvals=[10, 30, 100, 300, 1000], range=[0.9, last])
    figure.update_xaxes(title_text="step (optimiser updates)", row=len(PANELS))
    for row, name in enumerate(PANELS, start=1):
        figure.update_yaxes(title_text=name, row=row, col=1)
    return figure.update_yaxes(rangemode="tozero").update_layout(margin={"r": 270}, width=330 * len(recipes) + 400)


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report))
