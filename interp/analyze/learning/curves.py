"""Learning curves: when did the network memorise, when did it generalise, and how long lay between?"""

import json
import math

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import xarray as xr
from pydantic import Field

from interp import figures
from interp.maths.curves import IN_A_ROW, first_below, least
from interp.measurement import LEARNING, AnalysisOptions, Var, Variables, history_of, labelled, landmarks, provenance
from interp.views.comparison import Steps, for_each_setting, over_runs
from interp.views.view import History


class Options(AnalysisOptions):
    """What counts as reached."""

    threshold: float = Field(default=0.99, gt=0, le=1)
    """Accuracy that counts as having memorised (train) or generalised (test)."""
    in_a_row: int = Field(default=IN_A_ROW, ge=1)
    """Logged steps one after another that must have it. What comes later is told apart: every fall, and a collapse."""
    loss_threshold: float = Field(default=0.01, gt=0)
    """Loss whose first crossing is told beside it, in the unit of the run's history: nats in the curves that Nanda et al. (2023)
    released, for which it is."""


GAPS: Variables = {
    "loss_gap": Var("step", "generalisation gap: test loss − train loss", "{loss_units}"),
    "accuracy_gap": Var("step", "generalisation gap: train accuracy − test accuracy", "1"),
}
NORMS_OF: Variables = {
    "norm": Var("step", "norm ‖w‖ of all that learns"),
    "effective_rate": Var("step", "effective rate lr/‖w‖² of the next update"),
    "effective_gradient": Var("step", "effective gradient ‖g‖·‖w‖ of the last update"),
}
"""Norms, of runs that log them."""
VARIABLES: Variables = {**LEARNING, **GAPS, **NORMS_OF}


def measure(seen: History, options: Options) -> xr.Dataset:
    """Losses, accuracies and generalisation gaps at every logged step, whatever is in view, and the steps of the transition.

    A step that was not reached is NaN: censored at the last step, not equal to it. Where no accuracy was logged, as in
    curves of others, its steps are NaN as well. What is said of the steps so far stays true when the run goes on.
    """
    run, history = seen.run, seen.run.history
    reached = landmarks(history, options.threshold, options.in_a_row, learns=run.between is None)
    steps = history.index.to_numpy()
    below = {
        f"{name}_below": first_below(steps, history[name].to_numpy(), options.loss_threshold)
        for name in ("train_loss", "test_loss")
    }
    best = {
        "least_test_error": least(steps, 1 - history["test_accuracy"].to_numpy()),
        "least_test_loss": least(steps, history["test_loss"].to_numpy()),
    }
    gaps = {
        "loss_gap": (history["test_loss"] - history["train_loss"]).to_numpy(),
        "accuracy_gap": (history["train_accuracy"] - history["test_accuracy"]).to_numpy(),
    }
    norms = {name: history[name].to_numpy() for name in NORMS_OF if name in history}
    whole = history_of(run, history).assign(labelled(run, gaps | norms, VARIABLES))
    return whole.assign_attrs(
        provenance(run, options),
        definition=f"first of {options.in_a_row} logged steps in a row with an accuracy of {options.threshold:.4g} or more; NaN: "
        "not reached; collapsed: from where the accuracy fell nearer to its first value than to that; delay "
        "is their difference, ratio their quotient; and the first logged step at which the loss is below "
        f"{options.loss_threshold:.4g} {run.config.loss_units}; least test error (1 − accuracy) and loss: of all logged steps, "
        "chosen on the test set itself and so a little too low",
        source="Power et al. 2022 (arXiv 2201.02177)",
        **reached,
        **below,
        **{name: found.value for name, found in best.items()},
        **{f"{name}_step": found.step for name, found in best.items()},
        delay=reached["generalised"] - reached["memorised"],
        ratio=reached["generalised"] / max(reached["memorised"], 1),
    )


def draw(found: xr.Dataset) -> go.Figure:
    """Losses, below them accuracies, where those were logged, the generalisation gap of each, and norms."""
    known = ["loss", "accuracy"] if logged(found, "train_accuracy", "test_accuracy") else ["loss"]
    gaps = [name for name in known if logged(found, f"{name}_gap")]
    norms = [name for name in NORMS_OF if name in found and changes(found[name])]
    titles = [
        *known,
        *(f"generalisation gap, {name}" for name in gaps),
        *(found[name].attrs["long_name"] for name in norms),
    ]
    small = [2.4] * (len(gaps) + len(norms))
    figure = figures.panels(titles, heights=[4] * len(known) + small, title="Learning curves")
    figures.losses(figure, found, row=1)
    if len(known) == 2:
        figures.accuracies(figure, found, row=2)
    differences, units = {"loss": "test − train", "accuracy": "train − test"}, found["train_loss"].attrs["units"]
    for row, name in enumerate(gaps, start=len(known) + 1):
        figures.line(figure, found[f"{name}_gap"], differences[name], figures.INK, row)
        figures.level(figure, 0, row)
        axis = {"loss": {"title_text": f"gap ({units})"}, "accuracy": {"title_text": "gap", "tickformat": ".0%"}}[name]
        figure.update_yaxes(axis, row=row, col=1)
    for row, name in enumerate(norms, start=len(known) + len(gaps) + 1):
        figures.line(figure, found[name], name.replace("_", " "), figures.INK, row)
        figure.update_yaxes(title_text=name.replace("_", " "), row=row, col=1)
        if name != "norm":
            figure.update_yaxes(type="log", dtick=1, exponentformat="power", row=row, col=1)
    return figures.mark_transition(figure, found)


def summarise(found: xr.Dataset) -> pd.DataFrame:
    """Memorisation, generalisation and the delay between them, when the losses fell below their threshold, and early stopping."""
    needs = {
        "memorised": ("train_accuracy",),
        "generalised": ("test_accuracy",),
        "delay": ("train_accuracy", "test_accuracy"),
    }
    labels = {"memorised": "memorised at step", "generalised": "generalised at step", "delay": "delay in steps"}
    for name in ("train_loss", "test_loss"):
        needs[f"{name}_below"], labels[f"{name}_below"] = (
            (name,),
            f"{name.replace('_', ' ')} below {threshold(found)} at step",
        )
    last = found.isel(step=-1)
    row = {
        label: in_words(found, name) if logged(found, *needs[name]) else "not known" for name, label in labels.items()
    }
    if not math.isnan(found.attrs["collapsed"]):
        row["collapsed at step"] = f"{found.attrs['collapsed']:,.0f}"
    for name, column in {"least_test_error": "test_accuracy", "least_test_loss": "test_loss"}.items():
        if logged(found, column):
            words = name.replace("_", " ")
            row |= {words: found.attrs[name], f"{words} at step": int(found.attrs[f"{name}_step"])}
    row |= {f"final {name.replace('_', ' ')}": last[name].item() for name in (*LEARNING, *NORMS_OF) if name in last}
    return pd.DataFrame([row], index=pd.Index([int(last["step"])], name="step"))


def headline(found: xr.Dataset) -> dict[str, str]:
    """When it memorised, generalised and collapsed, and how far it is from what it has not reached."""
    last = found.isel(step=-1)
    at = f"at step {int(last['step']):,}"
    if found["step"].attrs["units"] == "points":  # on a path between two networks nothing is learned
        return {}
    if not logged(found, "train_accuracy", "test_accuracy"):
        return {"loss": f"train {last['train_loss'].item():.3g}, test {last['test_loss'].item():.3g} {at}"}
    told: dict[str, str] = {}
    for name, split in (("memorised", "train"), ("generalised", "test")):
        step, short = found.attrs[name], f"{split} accuracy {last[f'{split}_accuracy'].item():.0%} {at}"
        told[name] = f"not yet: {short}" if math.isnan(step) else f"at step {step:,.0f}"
    if not math.isnan(found.attrs["delay"]):
        told["generalised"] += f", {found.attrs['delay']:,.0f} steps later"
    if has_collapsed(found):
        told["collapsed"] = (
            f"at step {found.attrs['collapsed']:,.0f}; test accuracy {last['test_accuracy'].item():.0%} {at}"
        )
    return told


@for_each_setting
def compare(found: list[xr.Dataset]) -> pd.DataFrame:
    """Over runs, a row for memorisation, generalisation, the delay between them, and each loss below its threshold.

    A run that memorised and did not generalise has a delay that is censored at the steps that lay between; one that did
    neither has none. What a run did not log is not counted. A run that collapsed is censored there, and counted apart where it
    had arrived before.
    """
    rows: dict[str, Steps] = {}
    lost: dict[str, list[bool]] = {}
    for name, column in {
        "memorised": "train_accuracy",
        "generalised": "test_accuracy",
        "train_loss_below": "train_loss",
        "test_loss_below": "test_loss",
    }.items():
        known = [each for each in found if logged(each, column)]
        label = name.replace("_below", f" below {threshold(found[0])}").replace("_", " ")
        rows[label] = ([each.attrs[name] for each in known], [until(each, name) for each in known])
        lost[label] = [has_collapsed(each) for each in known]
    memorised = [each for each in found if logged(each, "test_accuracy") and not math.isnan(each.attrs["memorised"])]
    rows["delay"] = (
        [each.attrs["delay"] for each in memorised],
        [until(each, "generalised") - each.attrs["memorised"] for each in memorised],
    )
    lost["delay"] = [has_collapsed(each) for each in memorised]
    return over_runs(rows, lost)


def until(found: xr.Dataset, name: str) -> float:
    """The step by which a landmark is known not to be reached, if it is not: at most that of a collapse."""
    known = found.attrs.get(f"{name}_until", float(found["step"][-1]))
    return float(np.fmin(known, found.attrs["collapsed"]))


def has_collapsed(found: xr.Dataset) -> bool:
    """Whether the run lost what it had reached."""
    return not math.isnan(found.attrs["collapsed"])


def threshold(found: xr.Dataset) -> str:
    """The loss that counts, as it was chosen."""
    return f"{json.loads(found.attrs['options'])['loss_threshold']:g}"


def logged(found: xr.Dataset, *names: str) -> bool:
    """Whether each of these was logged at any step."""
    return all(bool(found[name].notnull().any()) for name in names)


def changes(values: xr.DataArray) -> bool:
    """Whether a curve changes by more than rounding: a norm that is kept is told, not drawn."""
    return float(values.max() - values.min()) > 1e-5 * float(abs(values).max())


def in_words(found: xr.Dataset, name: str) -> int | str:
    """The step of a landmark, with when it first fell again and how often; or the words for its absence."""
    step, falls = found.attrs[name], found.attrs.get(f"{name}_fell", "never")
    if math.isnan(step):
        return "not reached"
    if falls == "never":
        return int(step)
    first, *others = falls.split()
    again = f" and {len(others)} more time{'s' * (len(others) > 1)}" if others else ""
    return f"{step:,.0f} (below again at {int(first):,}{again})"
