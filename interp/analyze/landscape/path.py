"""A path between two networks: is there a barrier of loss or error between them, how high, and where?"""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import xarray as xr

from interp import figures
from interp.maths.paths import Barrier, barrier, excess
from interp.measurement import AnalysisOptions, Var, Variables, dataset
from interp.store.between import Between
from interp.views.path import Path

SPLITS = ("train", "test")


class Options(AnalysisOptions):
    """There is nothing to choose."""


VARIABLES: Variables = {
    "excess": Var("step split", "loss above the line between the losses of the ends", "{loss_units}"),
    "distance": Var("step", "distance of the weights from A"),
    "length": Var("step", "length of the path in weights, up to here"),
    "barrier": Var("split", "largest loss on the path − larger loss of the ends", "{loss_units}"),
    "barrier_over_line": Var("split", "largest loss above the line between the losses of the ends", "{loss_units}"),
    "error_barrier": Var("split", "largest error on the path − larger error of the ends", "1"),
    "highest": Var("split", "place t of the largest loss: 0 is A, 1 is B"),
}


def measure(seen: Path, options: Options) -> xr.Dataset:
    """Barriers of loss and error over all points of the path; excess, distance and length at those in view.

    A split without examples, or without an accuracy, has NaN.
    """
    history, between = seen.run.history, seen.between
    losses = {split: history[f"{split}_loss"].to_numpy() for split in SPLITS}
    of_loss = [barrier(losses[split]) for split in SPLITS]
    of_error = [barrier(1 - history[f"{split}_accuracy"].to_numpy()) for split in SPLITS]
    above = pd.DataFrame({split: excess(losses[split]) for split in SPLITS}, index=history.index)
    found = {
        "excess": above.reindex(seen.run.steps).to_numpy(),
        "distance": np.sqrt(seen.squares["from_a"]),
        "length": np.sqrt(seen.squares["from_last"]).cumsum(),
        "barrier": [each.above_ends for each in of_loss],
        "barrier_over_line": [each.above_line for each in of_loss],
        "error_barrier": [each.above_ends for each in of_error],
        "highest": [place(each, between) for each in of_loss],
    }
    return dataset(
        seen.run,
        options,
        found,
        VARIABLES,
        coords={"split": list(SPLITS), "t": ("step", seen.t, {"long_name": "0: A, 1: B"})},
        definition="barrier: largest value over all points of the path − the larger of the two ends, 0 if an end is the largest; "
        "over the line: largest of L(t) − ((1 − t)·L(A) + t·L(B)); error: 1 − accuracy; length: sum of the distances of "
        "neighbouring points in view, over all weights",
        source="Garipov et al. 2018 (arXiv 1802.10026); over the line: Entezari et al. 2022 (arXiv 2110.06296)",
    ).assign_attrs(curve=between.curve.about, A=named(between, 0), B=named(between, 1))


def place(found: Barrier, between: Between) -> float:
    """The t of the largest value; NaN if there is none."""
    return np.nan if np.isnan(found.above_ends) else found.at / (between.curve.points - 1)


def named(between: Between, end: int) -> str:
    """An end of the path, as it is typed."""
    return f"{between.ends[end].path}@{between.ends[end].step}"


def draw(found: xr.Dataset) -> go.Figure:
    """Losses, their excess over the line between the ends, accuracies where there are, and distances along the path."""
    accurate = bool(found["train_accuracy"].notnull().any())
    titles = ["loss", "loss above the line between the ends", *(["accuracy"] * accurate), "weights"]
    heights = [4, 3, *([3] * accurate), 2.6]
    figure = figures.panels(titles, heights=heights, title=f"From A to B: {found.attrs['curve']}")
    figures.losses(figure, found, row=1)
    for split, colour in (("train", figures.TRAIN), ("test", figures.TEST)):
        figures.line(figure, found["excess"].sel(split=split), split, colour, row=2)
    figures.level(figure, 0, row=2)
    figure.update_yaxes(title_text=f"excess ({found['excess'].attrs['units']})", row=2)
    if accurate:
        figures.accuracies(figure, found, row=3)
    for name, label, dash in (("length", "length so far", "solid"), ("distance", "distance from A", "dash")):
        figures.line(figure, found[name], label, figures.INK, row=len(titles), dash=dash)
    figure.update_yaxes(title_text="L2", rangemode="tozero", row=len(titles))
    return figures.mark_transition(figure, found)


def summarise(found: xr.Dataset) -> pd.DataFrame:
    """Curve and ends, losses there, barriers by both definitions, where the loss is largest, distance and length."""
    steps = found["step"].values
    largest = int(np.nanargmax(found["train_loss"])) if found["train_loss"].notnull().any() else 0
    row: dict[str, float | str] = {"curve": found.attrs["curve"], "A": found.attrs["A"], "B": found.attrs["B"]}
    for split in SPLITS:
        here = found.sel(split=split)
        row |= {
            f"{split} loss at the first and last point": f"{found[f'{split}_loss'].values[0]:.3g}, "
            f"{found[f'{split}_loss'].values[-1]:.3g}",
            f"{split} loss barrier": float(here["barrier"]),
            f"{split} loss barrier over the line": float(here["barrier_over_line"]),
            f"{split} loss largest at t": float(here["highest"]),
            f"{split} error barrier": float(here["error_barrier"]),
        }
    row |= {"distance of the ends": float(found["distance"][-1]), "length": float(found["length"][-1])}
    return pd.DataFrame([row], index=pd.Index([steps[largest]], name="step"))


def compare(found: list[xr.Dataset]) -> pd.DataFrame:
    """Over paths, a row each: curve, barriers of loss and error by split, distance of the ends and length."""
    rows = []
    for each in found:
        row: dict[str, float | str] = {"path": each.attrs["path"], "curve": each.attrs["curve"]}
        for split in SPLITS:
            here = each.sel(split=split)
            row |= {
                f"{split} barrier": float(here["barrier"]),
                f"{split} over the line": float(here["barrier_over_line"]),
                f"{split} error barrier": float(here["error_barrier"]),
            }
        rows.append(row | {"distance": float(each["distance"][-1]), "length": float(each["length"][-1])})
    return pd.DataFrame(rows).set_index("path")


def draw_runs(found: list[xr.Dataset]) -> go.Figure:
    """Train and test loss of several paths over t, side by side."""
    names = [f"{each.attrs['path'].rsplit('/', 1)[-1]}: {each.attrs['curve']}" for each in found]
    figure = figures.panels(["train loss", "test loss"], heights=[4, 4], title="Paths between two networks")
    for row, split in enumerate(SPLITS, start=1):
        for number, (each, name) in enumerate(zip(found, names, strict=True)):
            values = each[f"{split}_loss"].assign_coords(step=each["t"].values)
            figures.line(figure, values, name, figures.PALETTE[number % len(figures.PALETTE)], row)
        units = found[0]["train_loss"].attrs["units"]
        figure.update_yaxes(title_text=f"loss ({units})", type="log", exponentformat="power", row=row)
    figure.update_layout(margin={"r": 300})
    return figures.over_points(figure, "t (0: A, 1: B)")
