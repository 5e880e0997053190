"""Phases of grokking: when did it memorise, build the circuit, and clean up, and which measure moves first?"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import xarray as xr
from pydantic import Field

from interp import figures
from interp.figures.phases import bands, order, ways
from interp.maths.curves import IN_A_ROW
from interp.maths.phases import PHASES
from interp.measurement import (
    LEARNING,
    UPDATES,
    AnalysisOptions,
    Var,
    Variables,
    history_of,
    labelled,
    landmarks,
    provenance,
)
from interp.views.boundaries import boundaries
from interp.views.comparison import for_each_setting, over_runs
from interp.views.leads import (
    ACCURATE,
    KINDS,
    REFERENCE,
    SMALL,
    all_curves,
    beyond,
    lead_in_words,
    leads,
    of_part,
    shares_of_ways,
    steps_of_lead,
)
from interp.views.resampled import of_checkpoints
from interp.views.view import Curves


class Options(AnalysisOptions):
    """Where a phase begins, and how its spread is found."""

    in_a_row: int = Field(default=IN_A_ROW, ge=1)
    """Logged steps one after another with an accuracy of 99 % by which a run has memorised (train) or generalised (test)."""
    edge: float = Field(default=0.1, gt=0, lt=0.5)
    """Share of a fall that counts as its beginning, and that is still to come when it counts as over."""
    loss_threshold: float = Field(default=SMALL, gt=0)
    """Loss below which the training set counts as memorised, and that a test loss must reach for a cleanup, in the unit of the
    run's history: nats, or squared error."""
    resamples: int = Field(default=200, ge=20, le=10_000)
    """How often prompts are drawn anew for the 95 % interval of a boundary."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of those draws."""


VARIABLES: Variables = {
    **LEARNING,
    "sum_of_squares": Var("checkpoint", "sum of squares of all parameters", "1"),
    "gini_W_E": Var("checkpoint", "Gini coefficient of the component norms of W_E", "1"),
    "ipr_network_W_E": Var("checkpoint", "inverse participation ratio of the power of W_E by frequency", "1"),
    "ipr_neuron_W_E": Var("checkpoint", "inverse participation ratio of a neuron's column of W_E, mean", "1"),
    "gini_W_L": Var("checkpoint", "Gini coefficient of the component norms of W_L", "1"),
    "ipr_network_W_L": Var("checkpoint", "inverse participation ratio of the power of W_L by frequency", "1"),
    "ipr_neuron_W_L": Var("checkpoint", "inverse participation ratio of a neuron's column of W_L, mean", "1"),
    "cosine_share": Var("checkpoint", "share of the logits' variance by cos(w(a + b − c)) of key frequencies", "1"),
    "clustered_neurons": Var(
        "checkpoint", "share of neurons with more than 85 % of their variance at one frequency", "1"
    ),
    "train_loss_here": Var("checkpoint", "loss on the training set, from the weights", "{loss_units}"),
    "train_accuracy_here": Var("checkpoint", "accuracy on the training set, from the weights", "1"),
    "test_loss_here": Var("checkpoint", "loss on the test set, from the weights", "{loss_units}"),
    "test_accuracy_here": Var("checkpoint", "accuracy on the test set, from the weights", "1"),
    "restricted_loss": Var(
        "checkpoint", "loss on all pairs from the key waves of a + b and each answer's mean", "{loss_units}"
    ),
    "excluded_loss": Var("checkpoint", "loss on the training set without the key waves of a + b", "{loss_units}"),
    "half_way": Var("measure", "step at which half of the way is lastingly made; NaN: not known", "optimiser updates"),
    "half_way_within": Var("measure", "spacing of the measured steps around it", "optimiser updates"),
    "lead": Var("measure", "steps before test accuracy", "optimiser updates"),
    "lead_ratio": Var("measure", "step of test accuracy over its own", "1"),
    "half_way_beyond": Var(
        "measure",
        "half of the way beyond the runs beside it; NaN: not known, or it ends among them",
        "optimiser updates",
    ),
    "lead_beyond": Var("measure", "steps before test accuracy, both beyond the runs beside it", "optimiser updates"),
    "way_from": Var("measure", "value at which its way begins"),
    "way_to": Var("measure", "value at which its way ends"),
    "measured_until": Var("measure", "last step at which it was measured", "optimiser updates"),
    "begins": Var("rule phase", "step at which the phase begins; NaN: not reached", "optimiser updates"),
    "ends": Var("rule phase", "step at which the phase ends; NaN: not reached", "optimiser updates"),
    "ends_low": Var("rule phase", "its 95 % interval over prompts: lower end", "optimiser updates"),
    "ends_high": Var("rule phase", "its 95 % interval over prompts: upper end", "optimiser updates"),
    "ends_within": Var("rule phase", "spacing of the steps of the rule's curves around its end", "optimiser updates"),
    "censored_at": Var("rule phase", "last step of the curves in which it was looked for", "optimiser updates"),
}
"""What is logged, what is measured at checkpoints, and what is told of each measure, and of each phase by each rule."""

OF_MEASURES = tuple(name for name, var in VARIABLES.items() if var.dims == "measure" and not name.endswith("_beyond"))
"""Variables of a measure that a run has by itself."""


def measure(seen: Curves, options: Options) -> xr.Dataset:
    """Ends of the phases by each rule that applies, with their spread; and for every measure the step of half its way.

    Losses and accuracies stand at every logged step (`step`), what takes weights at the checkpoints in view (`checkpoint`). What
    does not apply to the run is left out: the attribute `left_out` names it, and `left_out_because` says why. If the run
    collapsed, everything is told of the part before, which the attribute `part` names.
    """
    run, history, left_out = seen.settled, before(seen.run.history, seen.collapsed), dict[str, str]()
    weights, resampled, key = of_checkpoints(run, options.resamples, options.seed, seen.asked, left_out)
    curves = all_curves(run, history, weights, left_out)
    if weights and (fault := of_part(curves, options.loss_threshold)):
        left_out["rule mechanism, half of the way of what takes weights"] = fault
    rules = boundaries(curves, resampled, options.loss_threshold, options.edge, left_out)
    moved = leads(curves, options.in_a_row, options.loss_threshold)
    by_rule = {name: np.array([ends[name] for ends in rules.values()]) for name in next(iter(rules.values()), {})}
    found = {**weights, **{name: moved[name] for name in OF_MEASURES}, **by_rule}
    return (
        history_of(run, seen.run.history)
        .assign(labelled(run, found, VARIABLES))
        .assign_coords(
            {"measure": moved["measure"]}
            | ({"checkpoint": ("checkpoint", list(run.steps), UPDATES)} if weights else {})
            | ({"rule": list(rules), "phase": list(PHASES)} if rules else {})
        )
        .assign_attrs(
            provenance(run, options) | landmarks(history, ACCURATE, options.in_a_row),
            collapsed=seen.collapsed,
            part=part(seen.collapsed, history),
            definition=definition(options, run.config.loss_units),
            source="Nanda et al. 2023 (arXiv 2301.05217), section 5.2; edges: rise time, IEEE 181; bootstrap: Efron 1979",
            memorised=moved["memorised"],
            generalised=moved["generalised"],
            key_frequencies=key,
            left_out="; ".join(left_out) or "nothing",
            left_out_because="; ".join(f"{what}: {why}" for what, why in left_out.items()) or "nothing",
        )
    )


def before(history: pd.DataFrame, step: float) -> pd.DataFrame:
    """The history before a step; all of it for NaN."""
    return history if math.isnan(step) else history.loc[history.index < step]


def part(collapsed: float, history: pd.DataFrame) -> str:
    """The part of a run that is told of, in words."""
    if math.isnan(collapsed):
        return "the whole run"
    return f"up to step {history.index[-1]:,}: at {collapsed:,.0f} the run lost what it had reached"


def definition(options: Options, loss_units: str) -> str:
    """Both rules, the way of a measure, and the spread, in words."""
    small, near, far = f"{options.loss_threshold:.4g}", f"{options.edge:.3g}", f"{1 - options.edge:.3g}"
    return (
        f"test_loss: memorisation ends at the highest test loss from where the train loss is below {small} {loss_units} (there "
        f"itself when it falls already), circuit formation at {near} and cleanup at {far} of the fall of ln test loss to its "
        f"lowest, if that is below {small}. mechanism: memorisation ends at the lowest excluded loss, circuit formation at "
        f"{far} of its rise to the highest, cleanup when both Σw² and ln restricted loss have made {far} of their fall. Not "
        "reached, NaN: also what comes no earlier than on a straight line to the last step. Half way: lastingly half of the way "
        "from the value at memorisation (of train measures: at the first step) to the last, in runs that generalised; lead: "
        "steps before test accuracy. Key waves: frequencies of neuron clusters (85 % of variance) at the last checkpoint, else "
        "above the largest gap of W_E's power; restricted: they and each answer's mean, all pairs; excluded: without them, "
        "training set. "
        f"Interval: {options.resamples} bootstrap draws of training and test prompts at checkpoints, as deviations"
    )


def against(found: xr.Dataset, beside: Sequence[xr.Dataset]) -> xr.Dataset:
    """The measurement with half of the way, and the lead, of what each measure does beyond the runs beside it.

    That is the measure less the median of theirs at the same steps: what null twins do alike, such as the decay of weights, leads
    nothing. It is NaN where the last value that is compared lies among theirs, and where the run did not generalise.
    """
    names = found["measure"].values
    start, arrives = found.attrs["memorised"], not math.isnan(found.attrs["generalised"])
    half = np.array([beyond(found, beside, KINDS[name], start) if arrives else math.nan for name in names])
    reference = half[names.tolist().index(REFERENCE)] if REFERENCE in names else math.nan
    values = {"half_way_beyond": half, "lead_beyond": reference - half}
    told = {name: VARIABLES[name].labelled(each, {}) for name, each in values.items()}
    return found.assign(told).assign_attrs(beside=" ".join(sorted({each.attrs["run"] for each in beside})))


def draw(found: xr.Dataset) -> go.Figure:
    """Losses over the phases by the test loss, every measure's way over those by mechanism, and who makes half of it when."""
    rules = list(found["rule"].values) if "rule" in found.coords else []
    of_measures = "mechanism" if "mechanism" in rules else "test_loss"
    known = found.isel(measure=np.flatnonzero(found["half_way"].notnull()))
    titles = [
        "loss, with the phases by the test loss",
        "each measure's way, from 0 at memorisation (train measures: at the first step) to 1 at the end, with the phases by "
        + of_measures.replace("_", " "),
        "step at which half of the way is lastingly made; beside it, how many steps before or after test accuracy"
        + ("; ring: beyond the runs beside" if "half_way_beyond" in found else ""),
    ]
    heights = [4.0, 6.0, *([0.42 * known.sizes["measure"] + 0.6] if known.sizes["measure"] else [])]
    figure = figures.panels(titles[: len(heights)], heights, title="Phases of learning, leads and lags")
    figures.losses(figure, found, row=1)
    ways(figure, shares_of_ways(found), row=2)
    if len(heights) == 3:
        words = {name: lead_in_words(known, name) for name in known["measure"].values}
        order(figure, known, words, REFERENCE, row=3)
    for row, rule in ((1, "test_loss"), (2, of_measures)):
        if rule in rules:
            bands(figure, found.sel(rule=rule), row)
    figure.update_layout(margin={"r": 290})
    return figures.mark_transition(figure, found)


def summarise(found: xr.Dataset) -> pd.DataFrame:
    """Where each phase lies by each rule, with its interval, and when each measure had made half of its way."""
    row: dict[str, str] = {}
    for rule in found["rule"].values if "rule" in found.coords else []:
        for name in found["phase"].values:
            row[f"{name} by {str(rule).replace('_', ' ')}"] = interval(found.sel(rule=rule, phase=name))
    for name in sorted(found["measure"].values, key=lambda name: or_last(found["half_way"].sel(measure=name))):
        half = float(found["half_way"].sel(measure=name))
        words = "" if math.isnan(half) else lead_in_words(found, name)
        row[f"half way, {name}"] = "not known" if math.isnan(half) else f"{half:,.0f}{f' ({words})' if words else ''}"
    for name in found["measure"].values if "half_way_beyond" in found else []:
        half, lead = (float(found[what].sel(measure=name)) for what in ("half_way_beyond", "lead_beyond"))
        words = "" if name == REFERENCE or math.isnan(lead) else f" ({steps_of_lead(lead)})"
        row[f"half way beyond the runs beside, {name}"] = "not known" if math.isnan(half) else f"{half:,.0f}{words}"
    if found.attrs["key_frequencies"]:
        row["key frequencies"] = found.attrs["key_frequencies"]
    if found.attrs["part"] != "the whole run":
        row["told of the part"] = found.attrs["part"]
    if found.attrs["left_out"] != "nothing":
        row["left out"] = found.attrs["left_out"]
    return pd.DataFrame([row], index=pd.Index([int(found["step"].values[-1])], name="step"))


def or_last(step: xr.DataArray) -> float:
    """The step, or infinity where it is not known."""
    return math.inf if math.isnan(float(step)) else float(step)


def interval(phase: xr.Dataset) -> str:
    """From where to where one phase lies, and the 95 % interval of its end where that is known."""
    begin, end, low, high = (float(phase[name]) for name in ("begins", "ends", "ends_low", "ends_high"))
    apart = float(phase["ends_within"])
    if math.isnan(end):
        last = f"not reached by {float(phase['censored_at']):,.0f}"
        return last if math.isnan(begin) else f"{begin:,.0f} – {last}"
    spread = "" if math.isnan(low) else f" [{low:,.0f}, {'not reached' if math.isnan(high) else f'{high:,.0f}'}]"
    coarse = f" (steps {apart:,.0f} apart)" if not apart <= high - low else ""
    return f"{begin:,.0f} – {end:,.0f}{spread}{coarse}"


@for_each_setting
def compare(found: list[xr.Dataset]) -> pd.DataFrame:
    """Over runs, a row for the end of each phase by each rule, and for the step and the lead of each measure, earliest first.

    A lead is told in steps before test accuracy, so that below 0 a measure lags; one that is smaller than `within`, the
    largest spacing of the steps at which it was measured, tells nothing. If the measure got half-way and test accuracy did not,
    the lead is right-censored at (last step − half-way step). Where neither is known the run does not count. Of a run that
    collapsed only the part before counts; those that had arrived are counted apart.
    """
    in_order = sorted(KINDS, key=lambda name: usual_step(found, name))
    entries = [entry for each in found for entry in ends_of(each)]
    for of_measure in (half_way_of, beyond_of, lead_of):
        measured = [(each, name) for name in in_order for each in found if name in each["measure"].values]
        entries += [entry for each, name in measured for entry in of_measure(each, name)]
    by_row = pd.DataFrame(entries).groupby("what", sort=False)
    rows = {str(what): (list(some["step"]), list(some["last"])) for what, some in by_row}
    lost = {str(what): list(some["lost"]) for what, some in by_row}
    return over_runs(rows, lost).assign(within=by_row["within"].max())


class Entry(NamedTuple):
    """One run in one row of a comparison."""

    what: str
    """The row."""
    step: float
    """The step; NaN: not reached."""
    last: float
    """Where the run is censored then."""
    within: float
    """Spacing of the steps around it."""
    lost: bool
    """Whether the run collapsed."""


def entry(each: xr.Dataset, what: str, *numbers: xr.DataArray) -> Entry:
    """A run in a row, by the step, where it is censored, and the spacing."""
    step, last, within = map(float, numbers)
    return Entry(what, step, last, within, not math.isnan(each.attrs["collapsed"]))


def ends_of(each: xr.Dataset) -> list[Entry]:
    """The end of each phase by each rule."""
    found = []
    for rule in each["rule"].values if "rule" in each.coords else []:
        for phase in each["phase"].values:
            here, what = each.sel(rule=rule, phase=phase), f"{phase} ends by {str(rule).replace('_', ' ')}"
            found.append(entry(each, what, here["ends"], here["censored_at"], here["ends_within"]))
    return found


def half_way_of(each: xr.Dataset, name: str) -> list[Entry]:
    """Half of the way of a measure."""
    here = each.sel(measure=name)
    return [entry(each, f"half way, {name}", here["half_way"], here["measured_until"], here["half_way_within"])]


def beyond_of(each: xr.Dataset, name: str) -> list[Entry]:
    """Half of the way of a measure beyond the runs beside; nothing where it is not known."""
    here = each.sel(measure=name)
    if "half_way_beyond" not in each or here["half_way_beyond"].isnull():
        return []
    never = xr.DataArray(math.nan)
    what = f"half way beyond the runs beside, {name}"
    return [entry(each, what, here["half_way_beyond"], never, here["half_way_within"])]


def lead_of(each: xr.Dataset, name: str) -> list[Entry]:
    """The lead of a measure, censored where test accuracy did not arrive; nothing where it had no half of its way."""
    here = each.sel(measure=name)
    if name == REFERENCE or REFERENCE not in each["measure"].values or here["half_way"].isnull():
        return []
    both = each.sel(measure=[name, REFERENCE])
    last = both["measured_until"].sel(measure=REFERENCE) - here["half_way"]
    return [entry(each, f"lead, {name}", here["lead"], last, both["half_way_within"].max())]


def usual_step(found: list[xr.Dataset], name: str) -> float:
    """Median over the runs that know it of the step of half the way, to put measures in order; infinity where none does."""
    steps = [float(each["half_way"].sel(measure=name)) for each in found if name in each["measure"].values]
    known = [step for step in steps if not math.isnan(step)]
    return float(np.median(known)) if known else math.inf
