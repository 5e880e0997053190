"""Double descent: does it keep the examples, lose its way, or find the features, against the number of examples or any field?"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import xarray as xr
from pydantic import Field
from torch import Tensor

from interp import figures
from interp.maths import superposition
from interp.measurement import AnalysisOptions, Var, Variables, by_step, dataset
from interp.models.network import Weights
from interp.views.features import RELATIVE, SOURCE, Features
from interp.views.swept import AXES, swept, the_number
from interp.views.walk import over_checkpoints

REGIMES = ("memorising", "between", "generalising")
COLLAPSED = 0.1
"""‖W‖_F below which nothing of the input comes through: a stationary point of the tied model."""
UNLEARNED = 0.99
"""Train loss ÷ that of answering 0 above which nothing was learned, where a set is small enough to be memorised whole."""
EASY = 3
"""Training examples for each hidden number up to which they can be: six stand in a hexagon in the plane."""

BY_CHECKPOINT = True


class Options(AnalysisOptions):
    """What counts as represented."""

    represented_above: float = Field(default=0.1, gt=0, lt=1)
    """Feature dimensionality D from which a feature counts as represented."""


VARIABLES: Variables = {
    **RELATIVE,
    "weight_norm": Var("step", "‖W‖_F of the weights, in and out"),
    "bias_norm": Var("step", "‖b‖"),
    "largest_feature_dimensionality": Var("step", "largest dimensionality D of a feature"),
    "median_feature_dimensionality": Var("step", "median dimensionality D of the features"),
    "features_represented": Var("step", "features with D above the threshold"),
    "total_dimensionality": Var("step", "ΣD over features, at most the number of hidden numbers"),
    "dimensions_per_feature": Var("step", "D* = d_hidden ÷ ‖W‖²"),
    "median_example_dimensionality": Var("step", "median dimensionality D of the training examples"),
    "regime": Var("step", "0 memorising, 1 between, 2 generalising"),
    "collapsed": Var("step", "whether nothing of the input comes through"),
}


def measure(seen: Features, options: Options) -> xr.Dataset:
    """Losses beside that of answering 0, sizes of weights and bias, and dimensionalities, at every checkpoint of a toy model.

    `regime` is 0 (memorising) where the median training example has more dimensionality than any feature; else 2 (generalising)
    where the test loss is below that of answering 0 and more features than there are hidden numbers are represented; else 1
    (between). It is not there without a set of examples. `collapsed` is 1 where nothing comes through: ‖W‖_F below 0.1,
    or a train loss above 0.99 of that of answering 0 to at most 3·d_hidden examples, which can be memorised.
    """

    def measures(weights: Weights) -> dict[str, Tensor]:
        """Every variable for a stack of checkpoints: [step]."""
        return of_weights(seen, weights, options.represented_above)

    found = over_checkpoints(seen.run, measures, each=6 * seen.bytes, beside=seen.beside)
    relative, d_hidden = seen.relative(), seen.d_hidden
    found |= {"regime": regimes(found, relative["test_relative"], d_hidden)} if seen.n_examples else {}
    small = 0 < seen.n_examples <= EASY * d_hidden
    nothing = (found["weight_norm"] < COLLAPSED) | (small & (relative["train_relative"] > UNLEARNED))
    return dataset(
        seen.run,
        options,
        {**relative, **found, "collapsed": nothing.astype(float)},
        VARIABLES,
        definition=f"{' '.join((measure.__doc__ or '').split())} Represented: D > {options.represented_above:g}.",
        source=SOURCE,
    )


def of_weights(seen: Features, weights: Weights, represented_above: float) -> dict[str, Tensor]:
    """Sizes of weights and bias, and dimensionalities, for a stack of checkpoints: [step]."""
    directions = seen.directions(weights)
    D = superposition.feature_dimensionality(directions["features"]).nan_to_num()
    found = {
        "weight_norm": seen.norm(weights, seen.passed_by),
        "bias_norm": seen.norm(weights, seen.shifted_by),
        "largest_feature_dimensionality": D.amax(dim=1),
        "median_feature_dimensionality": D.median(dim=1).values,
        "features_represented": (represented_above < D).sum(dim=1).double(),
        "total_dimensionality": D.sum(dim=1),
        "dimensions_per_feature": seen.d_hidden / directions["features"].square().sum(dim=(1, 2)),
    }
    if seen.n_examples:
        each = superposition.feature_dimensionality(directions["examples"])
        found["median_example_dimensionality"] = each.nanmedian(dim=1).values
    return found


def regimes(found: dict[str, np.ndarray], test: np.ndarray, d_hidden: int) -> np.ndarray:
    """The regime at each step, by number."""
    generalises = (test < 1) & (found["features_represented"] > d_hidden)
    memorises = found["median_example_dimensionality"] > found["largest_feature_dimensionality"]
    return np.where(memorises, 0.0, np.where(generalises, 2.0, 1.0))


def draw(found: xr.Dataset) -> go.Figure:
    """Losses above norms and dimensionalities, over steps."""
    titles = ["loss ÷ that of answering 0", "size of weights and bias", "dimensionality D"]
    figure = figures.panels(titles, heights=[4, 4, 4], title="From examples to features")
    figures.relative_losses(figure, found)
    for name, label, colour in (("weight_norm", "‖W‖", 0), ("bias_norm", "‖b‖", 1)):
        figures.line(figure, found[name], label, figures.PALETTE[colour], row=2)
    figures.line(figure, found["largest_feature_dimensionality"], "largest of a feature", figures.PALETTE[0], row=3)
    if "median_example_dimensionality" in found:
        figures.line(
            figure, found["median_example_dimensionality"], "median of the examples", figures.PALETTE[2], row=3
        )
    figure.update_yaxes(title_text="norm", rangemode="tozero", row=2)
    figure.update_yaxes(title_text="D", rangemode="tozero", row=3)
    return figures.mark_transition(figure, found)


def summarise(found: xr.Dataset) -> pd.DataFrame:
    """Losses, norms, and how many features and examples have how much, at each step."""
    table = by_step(found)
    for name, label in COLUMNS.items():
        if name in found:
            table[label] = found[name].values
    if "regime" in found:
        table["regime"] = [REGIMES[int(value)] for value in found["regime"].values]
    table["collapsed"] = np.where(found["collapsed"].values > 0, "yes", "no")
    return table


def headline(found: xr.Dataset) -> dict[str, str]:
    """The regime at the last step, and a collapse of the model."""
    last = found.isel(step=-1)
    told = {"regime": REGIMES[int(last["regime"])]} if "regime" in found else {}
    return told | ({"collapsed": "the model answers 0 to everything"} if last["collapsed"] > 0 else {})


COLUMNS = {
    "train_relative": "train ÷ zero",
    "test_relative": "test ÷ zero",
    "weight_norm": "‖W‖",
    "bias_norm": "‖b‖",
    "largest_feature_dimensionality": "largest D",
    "features_represented": "features",
    "median_example_dimensionality": "median D_x",
    "total_dimensionality": "ΣD",
    "dimensions_per_feature": "D*",
}


def compare(found: list[xr.Dataset]) -> pd.DataFrame:
    """At the last step of every run: median, lowest and highest over the runs that differ in seeds alone."""
    last = at_the_end(found)
    fields = [name for name in last.columns if name not in (*COLUMNS, "regime", "collapsed")]
    rows = {}
    for key, cell in last.groupby(fields, sort=True) if fields else [("", last)]:
        row: dict[str, Any] = {"runs": len(cell)}
        for name, label in COLUMNS.items():
            if name in cell:
                values = cell[name]
                row[label] = values.median()
                if name == "test_relative":
                    row |= {"lowest": values.min(), "highest": values.max()}
        if "regime" in cell:
            names = cell["regime"].map(lambda value: REGIMES[round(value)] if value == value else "–")
            row["regime"] = "/".join(sorted(set(names), key=(*REGIMES, "–").index))
        row["collapsed"] = cell["collapsed"].sum()
        rows[key] = row
    index = pd.MultiIndex.from_tuples(list(rows), names=fields) if fields else pd.Index(["all"], name="runs of")
    return pd.DataFrame(
        list(rows.values()), index=index if len(fields) != 1 else pd.Index([key[0] for key in rows], name=fields[0])
    )


def at_the_end(found: Sequence[xr.Dataset]) -> pd.DataFrame:
    """A row for each run: the fields other than seeds in which the runs differ, and what is measured at its last step."""
    rows = []
    for each in found:
        last = each.isel(step=-1)
        rows.append({name: float(last[name]) for name in (*COLUMNS, "regime", "collapsed") if name in each})
    return pd.concat([swept(found), pd.DataFrame(rows)], axis=1)


def draw_runs(found: list[xr.Dataset]) -> go.Figure:
    """Losses, norms and dimensionalities at the last step against the field in which the runs differ, every seed and the median.

    Raises:
        UserError: they differ in no number, or in several fields.
    """
    return over_field(at_the_end(found), the_number(found))


def over_field(last: pd.DataFrame, field: str) -> go.Figure:
    """The figure, from the table of `at_the_end` with one field."""
    titles = [
        "test loss ÷ that of answering 0",
        "train loss ÷ that of answering 0",
        "size of weights and bias",
        "dimensionality D",
    ]
    figure = figures.panels(titles, heights=[4, 3, 3, 3], title="From examples to features", over_steps=False)
    curves = [
        (1, "test_relative", "test loss", figures.TEST),
        (2, "train_relative", "train loss", figures.TRAIN),
        (3, "weight_norm", "‖W‖", figures.PALETTE[0]),
        (3, "bias_norm", "‖b‖", figures.PALETTE[1]),
        (4, "largest_feature_dimensionality", "largest of a feature", figures.PALETTE[0]),
        (4, "median_example_dimensionality", "median of the examples", figures.PALETTE[2]),
    ]
    for row, name, label, colour in curves:
        if name not in last:
            continue
        medians = last.groupby(field)[name].median()
        here = {"legend": figures.legend_of(row), "legendgroup": name, "row": row, "col": 1}
        figure.add_scatter(x=medians.index, y=medians, name=label, mode="lines", line={"color": colour}, **here)
        points = {"color": colour, "symbol": "circle-open", "size": 7}
        figure.add_scatter(x=last[field], y=last[name], mode="markers", marker=points, showlegend=False, **here)
    figures.level(figure, 1)
    values = last[field].to_numpy(dtype=float)
    wide = bool(values.min() > 0 and values.max() > 10 * values.min())
    scale: dict[str, Any] = {"type": "log", "dtick": 1} if wide else {"type": "linear"}
    figure.update_xaxes(exponentformat="none", **scale)
    shade(figure, last, field, wide)
    figure.update_xaxes(title_text=AXES.get(field, field), row=4)
    figure.update_yaxes(title_text="loss ÷ zero's", row=1).update_yaxes(title_text="loss ÷ zero's", row=2)
    figure.update_yaxes(title_text="norm", type="log", exponentformat="none", dtick=1, row=3)
    return figure.update_yaxes(title_text="D", type="log", exponentformat="none", dtick=1, row=4)


SHADES = ("#e7f0fa", "#fbeee0", "#e5f4ec")
"""Colour behind each regime."""


def shade(figure: go.Figure, last: pd.DataFrame, field: str, wide: bool) -> None:
    """Each regime's stretches of the field in a colour of their own, bounded half-way (of the logarithms) between values."""
    if "regime" not in last:
        return
    by_value = last.groupby(field)["regime"].median().round()
    values, regimes_of = by_value.index.to_numpy(dtype=float), by_value.to_numpy(dtype=int)
    middle = np.sqrt(values[:-1] * values[1:]) if values.min() > 0 else (values[:-1] + values[1:]) / 2
    edges = np.concatenate([values[:1], middle, values[-1:]])
    places = np.log10(edges) if wide else edges
    changes = np.flatnonzero(np.diff(regimes_of)) + 1
    widest: dict[int, tuple[float, float]] = {}
    for begin, end in zip([0, *changes], [*changes, len(values)], strict=True):
        regime, width = int(regimes_of[begin]), float(places[end] - places[begin])
        for row in (1, 2, 3, 4):
            figures.stretch(figure, edges[begin], edges[end], SHADES[regime], row)
        widest[regime] = max(widest.get(regime, (0.0, 0.0)), (width, float(places[begin])))
    for regime, (_, place) in widest.items():  # a narrow one has no room for its name
        figure.add_annotation(
            x=place, y=1, yref="y domain", text=REGIMES[regime], showarrow=False, xanchor="left", yanchor="top",
            font={"size": 11, "color": figures.QUIET}, row=1, col=1,
        )  # fmt: skip
