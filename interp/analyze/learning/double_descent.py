"""Double descent: does test error fall, rise and fall again over width, examples, steps or noise, and where do runs fit?"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
import xarray as xr
from pydantic import Field
from torch import Tensor

from interp import figures
from interp.maths import norms
from interp.measurement import LEARNING, AnalysisOptions, Var, Variables, history_of, labelled, landmarks, provenance
from interp.models.network import Weights
from interp.views.fits import Fits
from interp.views.settings import Runs, marks, only_curve, runs_of, settings_of
from interp.views.swept import AXES
from interp.views.walk import each_checkpoint, evenly

SURE = 0.05
"""p of a rise below which it is drawn as a peak."""
MAPPED = 60
"""Steps of the map, at most, evenly spread in logarithms."""
LINES = {
    "train error": figures.TRAIN,
    "test error": figures.TEST,
    "best test error": figures.TEST,
    "train loss": figures.TRAIN,
    "test loss": figures.TEST,
    "best test loss": figures.TEST,
    "fitted clean": figures.TRAIN,
    "fitted corrupted": figures.PALETTE[2],
}
"""Colours of measures over settings."""


class Options(AnalysisOptions):
    """What runs are compared over, what counts as fitted, and how many checkpoints are measured."""

    over: str = ""
    """Field over which several runs are compared, such as model.width, or "parameters", their number. Empty: the one number in
    which they differ."""
    level: float = Field(default=0.01, gt=0, lt=1)
    """Train error below which a setting fits, in the median over its runs: the first that does is the interpolation threshold."""
    draws: int = Field(default=10_000, ge=100, le=1_000_000)
    """Curves that never rise, drawn for the p of a peak."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of those draws, and of the runs drawn anew for intervals."""
    checkpoints: int = Field(default=10, ge=1)
    """Checkpoints of which norm, rank and fit are measured, at most, evenly chosen among those in view."""


VARIABLES: Variables = {
    **LEARNING,
    "train_error": Var("step", "error on the training set as it is trained on", "1"),
    "test_error": Var("step", "error on the test set", "1"),
    "best": Var("curve", "lowest logged value on the test set, by early stopping"),
    "best_step": Var("curve", "step of that value", "optimiser updates"),
    "train_at_best": Var("curve", "value on the training set at that step"),
    "norm": Var("checkpoint", "norm ‖w‖ of all that learns"),
    "effective_rank": Var("checkpoint", "effective rank of the last hidden layer over test examples"),
    "fitted": Var("checkpoint examples", "share of the training examples answered as trained", "1"),
}


def measure(seen: Fits, options: Options) -> xr.Dataset:
    """Error and loss at every logged step, and at the best one; norm, rank and fit of each kind of label at checkpoints."""
    history, run = seen.run.history, evenly(seen.run, options.checkpoints)

    def at_checkpoint(weights: Weights) -> dict[str, Tensor]:
        """Norm, rank and fits of one checkpoint."""
        found = {"norm": seen.flat(weights).double().norm()}
        if seen.hidden is not None:
            singular = norms.singular_values(seen.activations(seen.hidden, weights))
            found["effective_rank"] = norms.effective_rank(singular).nan_to_num()
        fits = seen.fitted(weights)
        return found | ({"fitted": torch.stack(list(fits.values()))} if fits else {})

    found: dict[str, Any] = each_checkpoint(run, at_checkpoint, needs=seen.bytes_at_work)
    logged = {"error": bool(np.isfinite(history["test_accuracy"].to_numpy()).any()), "loss": True}
    if logged["error"]:
        found |= {f"{part}_error": 1 - history[f"{part}_accuracy"].to_numpy() for part in ("train", "test")}
    columns = {name: (found if name == "error" else history) for name in ("error", "loss") if logged[name]}
    curves = {name: [np.asarray(at[f"{part}_{name}"]) for part in ("train", "test")] for name, at in columns.items()}
    places = {name: int(np.nanargmin(test)) for name, (_, test) in curves.items()}
    found |= {
        "best": [curves[name][1][place] for name, place in places.items()],
        "best_step": history.index.to_numpy()[list(places.values())].astype(float),
        "train_at_best": [curves[name][0][place] for name, place in places.items()],
    }
    coords = {"curve": list(places), "checkpoint": list(run.steps)} | (
        {"examples": list(seen.kinds)} if seen.kinds else {}
    )
    whole = history_of(seen.run, history).assign(labelled(seen.run, found, VARIABLES)).assign_coords(coords)
    return whole.assign_attrs(
        provenance(seen.run, options),
        parameters=seen.n_weights,
        definition="error: 1 − accuracy; best: lowest over the logged steps, chosen on the test set itself and so a little "
        "too low; effective rank: exp of the entropy of σ/Σσ, σ the singular values of the last hidden layer's activations, not "
        "centred, over at most 1,000 test examples, 0 of a layer that is 0; fitted: against the labels as trained; over runs: "
        "interpolation threshold, first setting whose median train error is below the level; peak: largest sure rise of the "
        "mean over settings, p against the nearest curve that never rises, intervals of runs drawn anew",
        source="double descent, threshold: Nakkiran et al. 2019 (arXiv 1912.02292); effective rank: Roy & Vetterli 2007; "
        "peak, its null: interp.maths.peaks",
        **landmarks(history, learns=seen.run.between is None),
    )  # fmt: skip


def draw(found: xr.Dataset) -> go.Figure:
    """Error above loss, norm, effective rank and fit of each kind of label, over steps; the best step is marked."""
    rows = [name for name in ("error", "loss") if name in found["curve"].values]
    rows += [name for name in ("norm", "effective_rank", "fitted") if name in found]
    heights = [3.6 if name in ("error", "loss") else 2.4 for name in rows]
    figure = figures.panels(
        [TITLES.get(name, name) for name in rows], heights, title="Does the error rise before it falls?"
    )
    for row, name in enumerate(rows, start=1):
        if name in ("error", "loss"):
            for part, colour in (("train", figures.TRAIN), ("test", figures.TEST)):
                figures.line(figure, found[f"{part}_{name}"], f"{part} {name}", colour, row)
            best = found.sel(curve=name)
            figure.add_scatter(
                x=[float(best["best_step"])], y=[float(best["best"])], mode="markers", name="best by early stopping",
                marker={"color": figures.TEST, "symbol": "circle-open", "size": 11}, legend=figures.legend_of(row),
                row=row, col=1,
            )  # fmt: skip
            continue
        for line, label, colour in lines_of(found, name):
            figures.line(figure, line.rename(checkpoint="step"), label, colour, row)
        figure.update_yaxes(PANELS[TITLES[name]].axis, row=row)
    if "error" in rows:
        figure.update_yaxes(title_text="error", tickformat=".0%", rangemode="tozero", row=1)
    loss = rows.index("loss") + 1
    units = found["train_loss"].attrs["units"]
    figure.update_yaxes(title_text=f"loss ({units})", type="log", exponentformat="power", nticks=6, row=loss)
    return figures.mark_transition(figure, found)


def lines_of(found: xr.Dataset, name: str) -> list[tuple[xr.DataArray, str, str]]:
    """The curves over checkpoints of one panel, each with its name and colour."""
    if name == "fitted":
        return [
            (found[name].sel(examples=kind), f"{kind} labels", LINES[f"fitted {kind}"])
            for kind in found["examples"].values.tolist()
        ]
    return [(found[name], name.replace("_", " "), figures.INK)]


def summarise(found: xr.Dataset) -> pd.DataFrame:
    """Errors and losses at the last step and at the best one of each, with norm, rank and fits at the last checkpoint."""
    last = int(found["step"][-1])
    names = {last: ["last"]}
    for curve in found["curve"].values.tolist():
        names.setdefault(int(found["best_step"].sel(curve=curve)), []).append(f"best test {curve}")
    rows = {
        step: {"is": ", ".join(names[step]), **learned(found.sel(step=step))}
        | (of_last_checkpoint(found) if step == last else {})
        for step in sorted(names)
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("step")


def learned(at: xr.Dataset) -> dict[str, float]:
    """Errors, where there are some, and losses of one step."""
    names = ("train_error", "test_error", "train_loss", "test_loss")
    return {name.replace("_", " "): float(at[name]) for name in names if name in at}


def of_last_checkpoint(found: xr.Dataset) -> dict[str, float]:
    """Norm, effective rank and fits at the last checkpoint in view."""
    last = found.isel(checkpoint=-1)
    values = {name.replace("_", " "): float(last[name]) for name in ("norm", "effective_rank") if name in last}
    kinds = found["examples"].values.tolist() if "fitted" in found else []
    return values | {f"fitted {kind}": float(last["fitted"].sel(examples=kind)) for kind in kinds}


def at_the_end(found: list[xr.Dataset]) -> pd.DataFrame:
    """A row for each run: errors and losses at the last and at the best step, and what its last checkpoint has."""
    rows = []
    for each in found:
        best = each["best"].to_series().rename(lambda curve: f"best test {curve}")
        rows.append(learned(each.isel(step=-1)) | best.to_dict() | of_last_checkpoint(each))
    return pd.DataFrame(rows)


def compare(found: list[xr.Dataset]) -> pd.DataFrame:
    """A row for each setting: means over its runs with standard errors, median of the train error; threshold and peak.

    The threshold and the peak, with its height, p and interval, stand in the rows of their settings. Runs that differ in further
    fields are looked at apart, in the order of the table.
    """
    options, runs = compared(found)
    table = settings_of(runs)
    return table if runs.over is None else marks(table, runs, options.level, options.draws, options.seed)


def compared(found: list[xr.Dataset]) -> tuple[Options, Runs]:
    """The options of the measurements, and the runs by what they differ in."""
    options = Options.model_validate_json(found[0].attrs["options"])
    return options, runs_of(found, at_the_end(found), options.over)


def draw_runs(found: list[xr.Dataset]) -> go.Figure:
    """Error, loss, fit, norm and rank over the field in which the runs differ, and a map of the test error over field and step.

    Raises:
        UserError: they differ in no number, or in several fields.
    """
    options, runs = compared(found)
    table = marks(settings_of(only_curve(runs)), runs, options.level, options.draws, options.seed)
    named = {title: [name for name in panel.measures if name in runs.measures] for title, panel in PANELS.items()}
    panels = {panel: names for panel, names in named.items() if names}
    what = runs.peaks
    titles = [*panels, f"{what}, mean over runs"]
    heights = [*(3.6 if panel in ("error", "loss") else 2.4 for panel in panels), 4]
    title = f"Does the error rise before it falls? Over {runs.over}"
    figure = figures.panels(titles, heights, title=title, over_steps=False)
    for row, names in enumerate(panels.values(), start=1):
        for name in names:
            dash = "dot" if name.startswith("best") else "solid"
            figures.over_settings(figure, table, runs.table, name, LINES.get(name, figures.INK), row, dash)
    map_over_steps(figure, runs, [each[what.replace(" ", "_")] for each in found], len(titles), what)
    mark_settings(figure, table, len(panels))
    figures.scale_of_settings(figure, table, AXES.get(str(runs.over), str(runs.over)), len(titles))
    figure.update_yaxes(rangemode="tozero")
    for row, panel in enumerate(panels, start=1):
        figure.update_yaxes(PANELS[panel].axis, row=row)
    units, least = found[0]["train_loss"].attrs["units"], float(table[["train loss", "test loss"]].min(axis=None))
    ticks: dict[str, Any] = {
        "dtick": 1 if least * 100 < float(table[["train loss", "test loss"]].max(axis=None)) else "D2"
    }
    return figure.update_yaxes(title_text=f"loss ({units})", row=list(panels).index("loss") + 1, **ticks)


class Panel(NamedTuple):
    """Measures of runs that are drawn together, and their axis."""

    measures: tuple[str, ...]
    axis: dict[str, Any]


PANELS = {
    "error": Panel(("train error", "test error", "best test error"), {"title_text": "error", "tickformat": ".0%"}),
    "loss": Panel(("train loss", "test loss", "best test loss"), {"type": "log", "exponentformat": "power"}),
    "training examples answered as trained": Panel(
        ("fitted clean", "fitted corrupted"), {"title_text": "share", "tickformat": ".0%"}
    ),
    "norm of all that learns": Panel(("norm",), {"title_text": "‖w‖"}),
    "effective rank of the last hidden layer": Panel(("effective rank",), {"title_text": "rank"}),
}
"""Panels by their titles."""

TITLES = {
    "norm": "norm of all that learns",
    "effective_rank": "effective rank of the last hidden layer",
    "fitted": "training examples answered as trained",
}
"""Titles of the panels over the checkpoints of one run."""


def map_over_steps(figure: go.Figure, runs: Runs, curves: list[xr.DataArray], row: int, what: str) -> None:
    """The test error as colours over the field and the steps, which are logarithmic; a mean over the runs of each setting."""
    whole = pd.concat([curve.to_series() for curve in curves], axis=1, keys=range(len(curves)))
    whole = whole.loc[whole.index > 0].T.groupby(runs.table[runs.over].to_numpy()).mean()
    steps = whole.columns.to_numpy(dtype=float)
    shown = np.unique(np.searchsorted(steps, np.geomspace(steps[0], steps[-1], MAPPED)).clip(max=len(steps) - 1))
    steps, settings = steps[shown], whole.index.to_numpy(dtype=float)
    bottom, top = next(iter(figure.select_yaxes(row=row, col=1))).domain
    figure.add_heatmap(
        x=settings, y=steps, z=whole.to_numpy()[:, shown].T, colorscale="Viridis",
        hovertemplate=f"{runs.over} %{{x}}<br>step %{{y}}<br>%{{z:.3f}}<extra></extra>",
        colorbar={"title": {"text": what, "side": "right"}, "x": 1.02, "xanchor": "left", "thickness": 12,
                  "len": top - bottom, "y": (bottom + top) / 2},
        row=row, col=1,
    )  # fmt: skip
    figure.update_yaxes(title_text="step", type="log", exponentformat="power", dtick=1, row=row)


def mark_settings(figure: go.Figure, table: pd.DataFrame, panels: int) -> None:
    """Dotted lines at threshold and peak, which are named in the first panel; "no peak" where p is .05 or more."""
    middle = float(table.index[len(table) // 2])
    for name, colour, below in (("threshold", figures.INK, ""), ("peak", figures.TEST, "<br> ")):
        marked: pd.DataFrame = table.loc[[name in found.split(", ") for found in table["is"]]]
        for setting, row in marked.to_dict("index").items():
            is_none, here = name == "peak" and float(row["p"]) >= SURE, float(str(setting))
            told = f", p = {row['p']:.2g}" if name == "peak" else ""
            label = {
                "text": f"{'no ' * is_none}{name} {here:g}{told}{below}", "textposition": "end", "textangle": 0,
                "xanchor": "left" if here <= middle else "right", "yanchor": "top",
                "font": {"color": figures.QUIET if is_none else colour, "size": 11}, "padding": 4,
            }  # fmt: skip
            for place in range(1, panels + 1):
                line, shown = (
                    {"color": figures.QUIET if is_none else colour, "dash": "dot", "width": 1.5},
                    label if place == 1 else {},
                )
                at: Any = {"row": place, "col": 1}
                figure.add_vline(x=here, line=line, label=shown, **at)
