"""Leads and lags of a run: its measures as curves, when each has lastingly made half of its way, and what came first."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from interp.maths.curves import IN_A_ROW, first_below, reached
from interp.maths.phases import half_way, log_loss, reaches, spacing
from interp.measurement import LEARNING
from interp.store import Run

ACCURATE = 0.99
"""Accuracy from which a run counts as having memorised (train) or generalised (test), as in `curves`."""

SMALL = 0.01
"""Loss below which a training set counts as memorised, if no other is given."""

FEWEST = 10
"""Checkpoints after memorisation among which a phase can be told at all."""

Curve = tuple[np.ndarray, np.ndarray]
"""Steps and values."""


class Kind(NamedTuple):
    """A measure whose way is followed: which variable, on which scale, and from when."""

    variable: str
    log: bool = False
    from_memorisation: bool = True
    """Its way begins where memorisation does its own: at the first step for what is about the training set."""


KINDS = {
    "train accuracy": Kind("train_accuracy", from_memorisation=False),
    "log train loss": Kind("train_loss", log=True, from_memorisation=False),
    "test accuracy": Kind("test_accuracy"),
    "log test loss": Kind("test_loss", log=True),
    "restricted loss": Kind("restricted_loss"),
    "log restricted loss": Kind("restricted_loss", log=True),
    "excluded loss": Kind("excluded_loss"),
    "Gini W_E": Kind("gini_W_E"),
    "Gini W_L": Kind("gini_W_L"),
    "network IPR W_E": Kind("ipr_network_W_E"),
    "network IPR W_L": Kind("ipr_network_W_L"),
    "neuron IPR W_E": Kind("ipr_neuron_W_E"),
    "neuron IPR W_L": Kind("ipr_neuron_W_L"),
    "clustered neurons": Kind("clustered_neurons"),
    "cosines of logits": Kind("cosine_share"),
    "Σw²": Kind("sum_of_squares"),
}
"""Every measure by the name it has in tables; a run has those that apply to it."""

REFERENCE = "test accuracy"
"""What the others lead or lag behind."""


def all_curves(
    run: Run, history: pd.DataFrame, weights: dict[str, np.ndarray], left_out: dict[str, str]
) -> dict[str, Curve]:
    """Every variable as a curve: what was logged where it was logged, otherwise what the weights gave at checkpoints."""
    checkpoints = np.array(run.steps)
    found = {name: (checkpoints, values) for name, values in weights.items()}
    for name, var in LEARNING.items():
        logged = history[name].dropna()
        if len(logged) > 1:
            found[name] = (logged.index.to_numpy(), logged.to_numpy())
        elif f"{name}_here" in weights:
            found[name] = found[f"{name}_here"]
        else:
            left_out[var.long_name] = "not logged at two steps, and not known from weights"
    return found


def leads(curves: dict[str, Curve], in_a_row: int = IN_A_ROW, small: float = SMALL) -> dict[str, Any]:
    """Half of the way of each measure and its lead, [measure] each, their names, and the steps of memorisation and
    generalisation.

    These are steps of `in_a_row` accuracies one after another, and where no accuracy is logged of a loss below `small`.
    """
    kinds = {name: kind for name, kind in KINDS.items() if kind.variable in curves}
    marks = {
        landmark: reached(*curves[variable], ACCURATE, in_a_row).step if variable in curves else math.nan
        for landmark, variable in (("memorised", "train_accuracy"), ("generalised", "test_accuracy"))
    }
    begin, generalised = marks["memorised"], marks["generalised"]
    if "train_accuracy" not in curves and "train_loss" in curves:
        begin = first_below(*curves["train_loss"], small)
    if "test_accuracy" not in curves and "test_loss" in curves:
        generalised = first_below(*curves["test_loss"], small)
    rows, part = [], of_part(curves, small) if "sum_of_squares" in curves else ""
    for kind in kinds.values():
        steps, values = curves[kind.variable]
        values = log_loss(values) if kind.log else values
        start = float(steps[0]) if not kind.from_memorisation or math.isnan(begin) else max(begin, float(steps[0]))
        of_weights = "sum_of_squares" in curves and steps is curves["sum_of_squares"][0]
        way_is_known = not math.isnan(generalised) and not (of_weights and part)
        known = not math.isnan(begin) and (way_is_known or not kind.from_memorisation)
        half = half_way(steps, values, start) if known else math.nan
        rows.append((half, spacing(steps, half), np.interp(start, steps, values), values[-1], steps[-1]))
    half, apart, way_from, way_to, until = np.array(rows, dtype=float).T
    reference = half[list(kinds).index(REFERENCE)] if REFERENCE in kinds else math.nan
    return {
        **marks,
        "measure": list(kinds),
        "half_way": half,
        "half_way_within": apart,
        "lead": reference - half,
        "lead_ratio": reference / np.where(half > 0, half, np.nan),
        "way_from": way_from,
        "way_to": way_to,
        "measured_until": until,
    }


def of_part(curves: dict[str, Curve], small: float = SMALL) -> str:
    """Why half of a way at checkpoints would be half of another than of what was logged; nothing where it would not."""
    steps, last = curves["sum_of_squares"][0], float(max(steps[-1] for steps, _ in curves.values()))
    memorised = first_below(*curves["train_loss"], small) if "train_loss" in curves else math.nan
    if steps[0] > memorised:
        return f"the checkpoints in view begin at step {steps[0]}, after memorisation"
    if not reaches(steps, last):
        return f"the checkpoints in view end at step {steps[-1]}, before the run does"
    after = int((steps > memorised).sum())
    few = f"{after} checkpoints in view after memorisation are too few; take {FEWEST} or more"
    return few if not math.isnan(memorised) and after < FEWEST else ""


def beyond(found: xr.Dataset, beside: Sequence[xr.Dataset], kind: Kind, start: float) -> float:
    """The step at which a measure has lastingly made half of its way beyond that of the runs beside it."""
    steps, values = curve(found, kind)
    theirs = [curve(each, kind) for each in beside if kind.variable in each or f"{kind.variable}_here" in each]
    # Untrained networks have a level, and no way to go.
    theirs = [(at, heights) for at, heights in theirs if len(at) > 1]
    if not theirs or math.isnan(start):
        return math.nan
    heights = np.array([np.interp(steps, *each, right=math.nan) for each in theirs])
    here = ~np.isnan(heights).any(axis=0) & (steps >= (start if kind.from_memorisation else 0))
    if here.sum() < 2 or heights[:, here][:, -1].min() <= values[here][-1] <= heights[:, here][:, -1].max():
        return math.nan
    difference = values[here] - np.median(heights[:, here], axis=0)
    return half_way(steps[here], difference, float(steps[here][0]))


def curve(found: xr.Dataset, kind: Kind) -> Curve:
    """Steps and values of a measure, as logged or else from weights; logarithms where it is followed on their scale."""
    values = found[kind.variable] if kind.variable in found else found[f"{kind.variable}_here"]
    if f"{kind.variable}_here" in found and int(values.notnull().sum()) < 2:
        values = found[f"{kind.variable}_here"]
    known = values.dropna(str(values.dims[0]))
    steps = known[str(values.dims[0])].values
    return steps, log_loss(known.values) if kind.log else known.values


def shares_of_ways(found: xr.Dataset) -> dict[str, xr.DataArray]:
    """Each measure over steps as a share of its way, 0 where that begins and 1 where it ends; without those that have none."""
    shares = {}
    for name in found["measure"].values:
        here, (steps, values) = found.sel(measure=name), curve(found, KINDS[name])
        if length := float(here["way_to"] - here["way_from"]):
            shares[name] = xr.DataArray((values - float(here["way_from"])) / length, coords={"step": steps})
    return shares


def lead_in_words(found: xr.Dataset, name: str) -> str:
    """Steps before or after test accuracy; nothing for that itself and where it is not known.

    A lead that is less than the spacing of the steps at which either was measured is told as within it.
    """
    lead = float(found["lead"].sel(measure=name))
    if math.isnan(lead) or lead == 0:
        return ""
    apart = float(found["half_way_within"].sel(measure=[name, REFERENCE]).max())
    if abs(lead) < apart:
        return f"within {apart:,.0f}"
    return steps_of_lead(lead)


def steps_of_lead(lead: float) -> str:
    """A lead in words."""
    return f"{abs(lead):,.0f} {'before' if lead > 0 else 'after'}"
