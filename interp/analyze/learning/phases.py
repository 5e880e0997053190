"""Phases of grokking: when did it memorise, build the circuit, and clean up, and which measure moves first?"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import xarray as xr
from pydantic import Field

from interp import figures
from interp.maths import phases
from interp.maths.curves import IN_A_ROW, first_below, reached
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
from interp.store import Run
from interp.views.comparison import Steps, over_runs
from interp.views.resampled import of_checkpoints
from interp.views.view import Curves

ACCURATE = 0.99
"""Accuracy from which a run counts as having memorised (train) or generalised (test), as in `curves`."""


FEWEST = 10
"""Checkpoints after memorisation among which a phase can be told at all."""


class Options(AnalysisOptions):
    """Where a phase begins, and how its spread is found."""

    in_a_row: int = Field(default=IN_A_ROW, ge=1)
    """Logged steps one after another with an accuracy of 99 % by which a run has memorised (train) or generalised (test)."""
    edge: float = Field(default=0.1, gt=0, lt=0.5)
    """Share of a fall that counts as its beginning, and that is still to come when it counts as over."""
    loss_threshold: float = Field(default=0.01, gt=0)
    """Loss below which the training set counts as memorised, and that a test loss must reach for a cleanup, in the unit of the
    run's history: nats, or squared error."""
    resamples: int = Field(default=200, ge=20, le=10_000)
    """How often prompts are drawn anew for the 95 % interval of a boundary."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of those draws."""


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

Curve = tuple[np.ndarray, np.ndarray]
"""Steps and values."""


def measure(seen: Curves, options: Options) -> xr.Dataset:
    """Ends of the phases by each rule that applies, with their spread; and for every measure the step of half its way.

    Losses and accuracies stand at every logged step (`step`), what takes weights at the checkpoints in view (`checkpoint`). What
    does not apply to the run is left out: the attribute `left_out` names it, and `left_out_because` says why. If the run
    collapsed, everything is told of the part before, which the attribute `part` names.
    """
    run, history, left_out = seen.settled, before(seen.run.history, seen.collapsed), dict[str, str]()
    weights, resampled, key = of_checkpoints(run, options.resamples, options.seed, seen.asked, left_out)
    curves = all_curves(run, history, weights, left_out)
    if weights and (fault := of_part(curves, options)):
        left_out["rule mechanism, half of the way of what takes weights"] = fault
    rules = boundaries(curves, resampled, options, left_out)
    moved = leads(curves, options)
    by_rule = {name: np.array([ends[name] for ends in rules.values()]) for name in next(iter(rules.values()), {})}
    found = {**weights, **{name: moved[name] for name in OF_MEASURES}, **by_rule}
    return (
        history_of(run, seen.run.history)
        .assign(labelled(run, found, VARIABLES))
        .assign_coords(
            {"measure": moved["measure"]}
            | ({"checkpoint": ("checkpoint", list(run.steps), UPDATES)} if weights else {})
            | ({"rule": list(rules), "phase": list(phases.PHASES)} if rules else {})
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


def together(curves: dict[str, Curve], *names: str) -> tuple[np.ndarray, ...]:
    """The curves at the steps that all of them have."""
    steps = functools.reduce(np.intersect1d, [curves[name][0] for name in names])
    return steps, *[values[np.isin(at, steps)] for at, values in (curves[name] for name in names)]


Boundary = Callable[..., np.ndarray]
"""Where each phase ends, by the curves that a rule takes, with `small` and `edge`."""

RULES: dict[str, tuple[Boundary, tuple[str, ...]]] = {
    "test_loss": (phases.boundaries_by_test_loss, ("train_loss", "test_loss")),
    "mechanism": (
        phases.boundaries_by_mechanism,
        ("train_loss_here", "excluded_loss", "restricted_loss", "sum_of_squares"),
    ),
}
"""Each rule, with the curves that it takes."""


def boundaries(
    curves: dict[str, Curve], resampled: dict[str, np.ndarray], options: Options, left_out: dict[str, str]
) -> dict[str, dict[str, np.ndarray]]:
    """Begin and end of each phase with their spread, [phase] each, by rule that applies."""
    found = {}
    for rule, (boundary, names) in RULES.items():
        absent = [name.removesuffix("_here").replace("_", " ") for name in names if name not in curves]
        if absent:
            left_out[f"rule {rule}"] = f"needs {', '.join(absent)}"
            continue
        if "excluded_loss" in names and of_part(curves, options):
            continue
        bound = functools.partial(boundary, small=options.loss_threshold, edge=options.edge)
        steps, *values = together(curves, *names)
        ends = bound(steps, *values)
        low, high = spread(bound, names, curves, resampled)
        found[rule] = {
            "begins": np.r_[0.0, ends[:-1]],
            "ends": ends,
            "ends_low": ends + low,
            "ends_high": ends + high,
            "ends_within": np.array([spacing(steps, end) for end in ends]),
            "censored_at": np.full(len(ends), float(steps[-1])),
        }
    return found


def spread(
    boundary: Boundary, names: tuple[str, ...], curves: dict[str, Curve], resampled: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """How far below and above the boundaries at checkpoints the 95 % of draws lie; NaN where losses of prompts are not known.

    Draws in which a boundary is not reached lie above all others; where there are more than 2.5 % of them, the upper end is
    not known.
    """
    here = [name if name in resampled else name.removesuffix("_here") for name in names]
    drawn = [name for name in here if name in resampled]
    if not drawn:
        return np.full(len(phases.PHASES), np.nan), np.full(len(phases.PHASES), np.nan)
    steps = curves["sum_of_squares"][0]
    columns = [resampled[name].T if name in resampled else None for name in here]
    ends = np.array(
        [
            boundary(
                steps,
                *(curves[name][1] if each is None else each[draw] for name, each in zip(here, columns, strict=True)),
            )
            for draw in range(resampled[drawn[0]].shape[1])
        ]
    )
    measured, others = ends[0], np.where(np.isnan(ends[1:]), np.inf, ends[1:])
    low, high = np.quantile(others, [0.025, 0.975], axis=0, method="inverted_cdf")
    return deviation(low, measured), deviation(high, measured)


def deviation(end: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """How far the end of an interval lies from what was measured; NaN where that end is not known."""
    return np.where(np.isfinite(end), end, np.nan) - measured


def leads(curves: dict[str, Curve], options: Options) -> dict[str, Any]:
    """Half of the way of each measure and its lead, [measure] each, their names, and the steps of memorisation and
    generalisation."""
    kinds = {name: kind for name, kind in KINDS.items() if kind.variable in curves}
    marks = {
        landmark: reached(*curves[variable], ACCURATE, options.in_a_row).step if variable in curves else math.nan
        for landmark, variable in (("memorised", "train_accuracy"), ("generalised", "test_accuracy"))
    }
    begin, generalised = marks["memorised"], marks["generalised"]
    if "train_accuracy" not in curves and "train_loss" in curves:
        begin = first_below(*curves["train_loss"], options.loss_threshold)
    if "test_accuracy" not in curves and "test_loss" in curves:
        generalised = first_below(*curves["test_loss"], options.loss_threshold)
    rows, part = [], of_part(curves, options) if "sum_of_squares" in curves else ""
    for kind in kinds.values():
        steps, values = curves[kind.variable]
        values = phases.log_loss(values) if kind.log else values
        start = float(steps[0]) if not kind.from_memorisation or math.isnan(begin) else max(begin, float(steps[0]))
        of_weights = "sum_of_squares" in curves and steps is curves["sum_of_squares"][0]
        way_is_known = not math.isnan(generalised) and not (of_weights and part)
        known = not math.isnan(begin) and (way_is_known or not kind.from_memorisation)
        half = phases.half_way(steps, values, start) if known else math.nan
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


def beyond(found: xr.Dataset, beside: Sequence[xr.Dataset], kind: Kind, start: float) -> float:
    """The step at which a measure has lastingly made half of its way beyond that of the runs beside it."""
    steps, values = curve(found, kind)
    theirs = [curve(each, kind) for each in beside if kind.variable in each or f"{kind.variable}_here" in each]
    theirs = [
        (at, heights) for at, heights in theirs if len(at) > 1
    ]  # untrained networks have a level, and no way to go
    if not theirs or math.isnan(start):
        return math.nan
    heights = np.array([np.interp(steps, *each, right=math.nan) for each in theirs])
    here = ~np.isnan(heights).any(axis=0) & (steps >= (start if kind.from_memorisation else 0))
    if here.sum() < 2 or heights[:, here][:, -1].min() <= values[here][-1] <= heights[:, here][:, -1].max():
        return math.nan
    difference = values[here] - np.median(heights[:, here], axis=0)
    return phases.half_way(steps[here], difference, float(steps[here][0]))


def curve(found: xr.Dataset, kind: Kind) -> Curve:
    """Steps and values of a measure, as logged or else from weights; logarithms where it is followed on their scale."""
    values = found[kind.variable] if kind.variable in found else found[f"{kind.variable}_here"]
    if f"{kind.variable}_here" in found and int(values.notnull().sum()) < 2:
        values = found[f"{kind.variable}_here"]
    known = values.dropna(str(values.dims[0]))
    steps = known[str(values.dims[0])].values
    return steps, phases.log_loss(known.values) if kind.log else known.values


def of_part(curves: dict[str, Curve], options: Options) -> str:
    """Why half of a way at checkpoints would be half of another than of what was logged; nothing where it would not."""
    steps, last = curves["sum_of_squares"][0], max(steps[-1] for steps, _ in curves.values())
    memorised = first_below(*curves["train_loss"], options.loss_threshold) if "train_loss" in curves else math.nan
    if steps[0] > memorised:
        return f"the checkpoints in view begin at step {steps[0]}, after memorisation"
    if not reaches(steps, last):
        return f"the checkpoints in view end at step {steps[-1]}, before the run does"
    after = int((steps > memorised).sum())
    few = f"{after} checkpoints in view after memorisation are too few; take {FEWEST} or more"
    return few if not math.isnan(memorised) and after < FEWEST else ""


def reaches(steps: np.ndarray, last: float) -> bool:
    """Whether no further point is due before the last step: the next would lie at it or beyond."""
    return bool(2 * steps[-1] - steps[-2] >= last)


def spacing(steps: np.ndarray, at: float) -> float:
    """How far the two points lie apart between which a step lies; NaN for none."""
    if math.isnan(at):
        return math.nan
    after = min(max(int(np.searchsorted(steps, at)), 1), len(steps) - 1)
    return float(steps[after] - steps[after - 1])


PHASE_COLOURS = dict(zip(phases.PHASES, ("#5b3a9b", "#0f8a6d", "#c2255c"), strict=True))

LINES = {
    "train accuracy": (figures.TRAIN, "solid"),
    "log train loss": (figures.TRAIN, "dot"),
    "test accuracy": (figures.TEST, "solid"),
    "log test loss": (figures.TEST, "dot"),
    "restricted loss": (figures.PALETTE[1], "solid"),
    "log restricted loss": (figures.PALETTE[1], "dot"),
    "excluded loss": (figures.PALETTE[2], "solid"),
    "Gini W_E": (figures.PALETTE[0], "solid"),
    "Gini W_L": (figures.PALETTE[0], "dash"),
    "network IPR W_E": (figures.PALETTE[3], "solid"),
    "network IPR W_L": (figures.PALETTE[3], "dash"),
    "neuron IPR W_E": (figures.PALETTE[5], "solid"),
    "neuron IPR W_L": (figures.PALETTE[5], "dash"),
    "clustered neurons": (figures.PALETTE[4], "solid"),
    "cosines of logits": (figures.PALETTE[4], "dash"),
    "Σw²": (figures.PALETTE[6], "solid"),
}
"""Colour and dash of each measure; those of one thing share a colour."""


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
    reaches = [way(figure, found.sel(measure=name), row=2) for name in found["measure"].values]
    lowest, highest = max(-1.0, min(low for low, _ in reaches)), min(3.0, max(high for _, high in reaches))
    figure.update_yaxes(title_text="share of its way", range=[lowest - 0.1, highest + 0.1], row=2)
    if len(heights) == 3:
        order(figure, known, row=3)
    for row, rule in ((1, "test_loss"), (2, of_measures)):
        if rule in rules:
            bands(figure, found.sel(rule=rule), row)
    figure.update_layout(margin={"l": 160, "r": 290})
    return figures.mark_transition(figure, found)


def way(figure: go.Figure, found: xr.Dataset, row: int) -> tuple[float, float]:
    """One measure over steps, as a share of its way; returns the lowest and highest, and at least 0 and 1."""
    name, kind = found["measure"].item(), KINDS[found["measure"].item()]
    steps, values = curve(found, kind)
    length = float(found["way_to"] - found["way_from"])
    if not length:
        return 0.0, 1.0
    share = xr.DataArray((values - float(found["way_from"])) / length, coords={"step": steps})
    colour, dash = LINES[name]
    figures.line(figure, share, name=name, colour=colour, dash=dash, row=row, meta=figures.OWN_SCALE)
    return min(0.0, float(share.min())), max(1.0, float(share.max()))


def order(figure: go.Figure, known: xr.Dataset, row: int) -> None:
    """A dot for each measure at the step of half its way, earliest on top; its lead in words stands beside the panel.

    A ring stands where half of the way beyond the runs beside is made, if there are some.
    """
    by_step = known.isel(measure=np.argsort(-known["half_way"].values, kind="stable"))
    steps, names = by_step["half_way"].values, by_step["measure"].values
    figure.add_scatter(
        x=steps,
        y=names,
        mode="markers",
        marker={"size": 10, "color": [LINES[name][0] for name in names]},
        hovertemplate="%{y}: step %{x:,.0f}<extra></extra>",
        showlegend=False,
        cliponaxis=False,
        row=row,
        col=1,
    )
    if "half_way_beyond" in by_step:
        ring = {"size": 14, "symbol": "circle-open", "color": [LINES[name][0] for name in names]}
        steps = by_step["half_way_beyond"].values
        figure.add_scatter(
            x=steps, y=names, mode="markers", marker=ring, hovertemplate="beyond the runs beside: step %{x:,.0f}<extra></extra>",
            showlegend=False, cliponaxis=False, row=row, col=1,
        )  # fmt: skip
    figure.update_yaxes(type="category", row=row)
    for name in names:
        figure.add_annotation(
            text=lead_in_words(known, name), x=1.02, xref="paper", xanchor="left", y=name, yref=f"y{row}",
            showarrow=False, font={"size": 11, "color": LINES[name][0]},
        )  # fmt: skip
    if REFERENCE in names:
        at = float(steps[list(names).index(REFERENCE)])
        figure.add_vline(x=at, line={"color": figures.TEST, "width": 1}, row=row, col=1)  # pyright: ignore[reportArgumentType]


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


def bands(figure: go.Figure, found: xr.Dataset, row: int) -> None:
    """A band for each phase that begins, to the last step where its end is not reached, named in the legend of the panel."""
    first = float(found["step"].values[found["step"].values > 0][:1].sum()) or 1.0  # a logarithmic axis has no 0
    for name in found["phase"].values:
        phase, colour = found.sel(phase=name), PHASE_COLOURS[name]
        begin, end = float(phase["begins"]), float(phase["ends"])
        if math.isnan(begin):
            continue
        to = float(phase["censored_at"]) if math.isnan(end) else end
        where: Any = {"row": row, "col": 1}
        edges = {"x0": max(begin, first), "x1": max(to, first)}
        figure.add_vrect(**edges, fillcolor=colour, opacity=0.13, line_width=0, layer="below", **where)
        figure.add_scatter(
            x=[None], y=[None], mode="markers", marker={"symbol": "square", "size": 11, "color": colour, "opacity": 0.4},
            name=f"{name} {begin:,.0f} – {end:,.0f}" if not math.isnan(end) else f"{name} {begin:,.0f} – not reached",
            legend=figures.legend_of(row), row=row, col=1,
        )  # fmt: skip


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


def compare(found: list[xr.Dataset]) -> pd.DataFrame:
    """Over runs, a row for the end of each phase by each rule, and for the step and the lead of each measure, earliest first.

    A lead is told in steps before test accuracy, so that below 0 a measure lags; one that is smaller than `within`, the
    largest spacing of the steps at which it was measured, tells nothing. If the measure got half-way and test accuracy did not,
    the lead is right-censored at (last step − half-way step). Where neither is known the run does not count. Of a run that
    collapsed only the part before counts; those that had arrived are counted apart.
    """
    rows: dict[str, Steps] = {}
    lost: dict[str, list[bool]] = {}
    within: dict[str, float] = {}

    def count(each: xr.Dataset, what: str, step: float, last: float, apart: float) -> None:
        """Take one run into one row."""
        steps, until = rows.setdefault(what, ([], []))
        steps.append(step)
        until.append(last)
        lost.setdefault(what, []).append(not math.isnan(each.attrs["collapsed"]))
        within[what] = np.fmax(within.get(what, math.nan), apart)

    for rule in ("test_loss", "mechanism"):
        for each in found:
            if "rule" in each.coords and rule in each["rule"].values:
                for phase in each["phase"].values:
                    here = each.sel(rule=rule, phase=phase)
                    what = f"{phase} ends by {rule.replace('_', ' ')}"
                    count(each, what, float(here["ends"]), float(here["censored_at"]), float(here["ends_within"]))
    in_order = sorted(KINDS, key=lambda name: usual_step(found, name))
    for name in in_order:
        for each in found:
            if name in each["measure"].values:
                here = each.sel(measure=name)
                apart = float(here["half_way_within"])
                count(each, f"half way, {name}", float(here["half_way"]), float(here["measured_until"]), apart)
    for name in in_order:
        for each in found:
            if "half_way_beyond" in each and name in each["measure"].values:
                here, apart = each.sel(measure=name), float(each["half_way_within"].sel(measure=name))
                if here["half_way_beyond"].notnull():
                    count(
                        each,
                        f"half way beyond the runs beside, {name}",
                        float(here["half_way_beyond"]),
                        math.nan,
                        apart,
                    )
    for name in in_order:
        for each in found:
            if name != REFERENCE and {name, REFERENCE} <= {*each["measure"].values}:
                here, last = each.sel(measure=name), each["measured_until"].sel(measure=REFERENCE)
                if here["half_way"].notnull():
                    apart = float(each["half_way_within"].sel(measure=[name, REFERENCE]).max())
                    count(each, f"lead, {name}", float(here["lead"]), float(last - here["half_way"]), apart)
    return over_runs(rows, lost).assign(within=within)


def usual_step(found: list[xr.Dataset], name: str) -> float:
    """Median over the runs that know it of the step of half the way, to put measures in order; infinity where none does."""
    steps = [float(each["half_way"].sel(measure=name)) for each in found if name in each["measure"].values]
    known = [step for step in steps if not math.isnan(step)]
    return float(np.median(known)) if known else math.inf
