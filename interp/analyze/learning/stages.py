"""Stages of one run: does its test error or loss fall, rise and fall again on logarithmic steps, beyond noise?"""

import math

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import xarray as xr
from pydantic import Field

from interp import figures
from interp.maths import stages as maths
from interp.measurement import (
    LEARNING,
    AnalysisOptions,
    Var,
    Variables,
    history_of,
    labelled,
    landmarks,
    provenance,
)
from interp.views.comparison import Steps, for_each_setting, over_runs
from interp.views.long import LongCurves

ENDS = ("valley", "peak", "second minimum")
"""Where each stage ends."""


class Options(AnalysisOptions):
    """What counts as a stage."""

    level: float = Field(default=0.05, gt=0, lt=0.5)
    """p below which a rise counts, so that a fall after it is looked for; and below which a stage is named in tables."""
    draws: int = Field(default=2_000, ge=100, le=100_000)
    """Curves that are drawn under each null."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of these."""


VARIABLES: Variables = {
    **LEARNING,
    "begins": Var("curve stage", "step at which the stage begins", "optimiser updates"),
    "ends": Var("curve stage", "step at which the stage ends", "optimiser updates"),
    "height": Var("curve stage", "how far the curve falls or rises"),
    "height_error": Var("curve stage", "standard error of the height by the noise of the curve"),
    "p_value": Var("curve stage", "chance of so large a fall or rise in the nearest curve without one", "1"),
    "second_minimum": Var("curve", "second minimum less the first"),
    "second_minimum_error": Var("curve", "standard error of that difference by the noise of the curve"),
    "lasting": Var("curve", "correlation of the noise from one logged step to the next", "1"),
    "average": Var("curve stretch", "mean of the curve over stretches of equal ratio of steps"),
    "average_error": Var("curve stretch", "standard error of that mean by the noise of the curve"),
}


def measure(seen: LongCurves, options: Options) -> xr.Dataset:
    """Begin, end, height and p of each stage of test error and test loss, and whether the second minimum is the lower one."""
    run, history = seen.run, seen.run.history
    curves = {"error": 1 - history["test_accuracy"].to_numpy(), "loss": history["test_loss"].to_numpy()}
    steps = history.index.to_numpy()
    found: dict[str, maths.Stages] = {}
    for name, values in curves.items():
        if np.isfinite(values[steps >= 1]).sum() >= maths.FEWEST:  # there may be no accuracy
            found[name] = maths.stages(steps, values, options.level, options.draws, options.seed)
    each = {
        name: np.array([[getattr(stage, field) for stage in of[:3]] for of in found.values()])
        for name, field in {
            "begins": "begin", "ends": "end", "height": "height", "height_error": "height_error", "p_value": "p",
        }.items()
    }  # fmt: skip
    middles = np.unique(np.concatenate([of.steps for of in found.values()]))
    averages = {
        name: np.array([filled(middles, of.steps, getattr(of, field)) for of in found.values()])
        for name, field in {"average": "averages", "average_error": "errors"}.items()
    }
    single = {
        "second_minimum": [of.lower for of in found.values()],
        "second_minimum_error": [of.lower_error for of in found.values()],
        "lasting": [of.lasting for of in found.values()],
    }
    coords = {
        "curve": list(found),
        "stage": list(maths.STAGES),
        "stretch": ("stretch", middles, {"units": "optimiser updates"}),
    }
    whole = history_of(run, history).assign(labelled(run, each | averages | single, VARIABLES)).assign_coords(coords)
    return whole.assign_attrs(
        provenance(run, options),
        definition=f"the curve is averaged over {maths.PER_DECADE} stretches in a factor of ten of the steps; memorisation is "
        "its largest rise, p against the nearest curve that never rises; simple generalisation the fall before, against the "
        "nearest that never falls; consolidation the fall from the top to the lowest value after it, against the nearest that "
        "never falls from the valley on; noise: autoregressive, its size and correlation from second differences of the logged "
        "values; without a rise, one fall is simple generalisation",
        source="epoch-wise double descent: Nakkiran et al. 2019 (arXiv 1912.02292), section 6; the rule and its null are ours",
        **landmarks(history),
    )


def filled(middles: np.ndarray, steps: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values at all stretches; NaN where a curve has none."""
    found = np.full(len(middles), np.nan)
    found[np.searchsorted(middles, steps)] = values
    return found


def draw(found: xr.Dataset) -> go.Figure:
    """Test error above test loss over steps, with their averages and an arrow for each stage that counts."""
    names = found["curve"].values.tolist()
    titles = [f"test {name}: {', '.join(here) or 'no stage'}" for name, here in named(found).items()]
    figure = figures.panels(titles, heights=[4] * len(names), title="Does it fall, rise and fall again?")
    level = Options.model_validate_json(found.attrs["options"]).level
    logged = {"error": 1 - found["test_accuracy"], "loss": found["test_loss"]}
    for row, name in enumerate(names, start=1):
        here = found.sel(curve=name)
        figures.line(figure, logged[name], "logged", figures.TEST, row, opacity=0.35)
        average = here["average"].dropna("stretch").rename(stretch="step")
        figures.error_band(
            figure, average, here["average_error"].dropna("stretch").rename(stretch="step"), figures.INK, row
        )
        figures.line(figure, average, "average", figures.INK, row)
        for stage, colour in zip(
            maths.STAGES, (figures.PALETTE[1], figures.PALETTE[2], figures.PALETTE[0]), strict=True
        ):
            one = here.sel(stage=stage)
            if float(one["p_value"]) < level:
                figures.stretch(figure, float(one["begins"]), float(one["ends"]), faint(colour), row)
                figure.add_scatter(
                    x=[None], y=[None], mode="markers", name=stage, legend=figures.legend_of(row), row=row, col=1,
                    marker={"color": faint(colour), "symbol": "square", "size": 12, "line": {"color": colour, "width": 1}},
                )  # fmt: skip
    figure.update_xaxes(type="log", dtick=1, exponentformat="power")
    if "error" in names:
        figure.update_yaxes(title_text="error", tickformat=".0%", rangemode="tozero", row=1)
    units = found["test_loss"].attrs["units"]
    figure.update_yaxes(title_text=f"loss ({units})", type="log", exponentformat="power", nticks=6, row=len(names))
    return figures.mark_transition(figure, found)


def faint(colour: str) -> str:
    """The colour, three quarters white."""
    return "#" + "".join(f"{(int(colour[i : i + 2], 16) + 3 * 255) // 4:02x}" for i in (1, 3, 5))


def named(found: xr.Dataset) -> dict[str, list[str]]:
    """Names of the stages of each curve whose p is below the level."""
    level = Options.model_validate_json(found.attrs["options"]).level
    return {
        name: [stage for stage in maths.STAGES if float(found["p_value"].sel(curve=name, stage=stage)) < level]
        for name in found["curve"].values.tolist()
    }


def summarise(found: xr.Dataset) -> pd.DataFrame:
    """A row for the end of each stage that counts, with its height and p; in that of the last, which minimum is lower."""
    rows, steps = [], []
    for curve, stages in named(found).items():
        for stage in stages:
            one = found.sel(curve=curve, stage=stage)
            steps.append(round(float(one["ends"])))
            rows.append(
                {"curve": f"test {curve}", "stage": stage, "from step": round(float(one["begins"]))}
                | {"height": float(one["height"]), "±": float(one["height_error"]), "p": float(one["p_value"])}
                | {"second minimum": lower(found, curve) if stage == maths.STAGES[2] else ""}
            )
        if not stages:
            steps.append(int(found["step"][-1]))
            rows.append({"curve": f"test {curve}", "stage": "none"})
    return pd.DataFrame(rows, index=pd.Index(steps, name="step"))


def lower(found: xr.Dataset, curve: str) -> str:
    """Whether the second minimum is below the first, in words."""
    by, error = (float(found[name].sel(curve=curve)) for name in ("second_minimum", "second_minimum_error"))
    if not abs(by) > 1.96 * error:
        return "not told apart from the first"
    return f"{'below' if by < 0 else 'above'} the first by {abs(by):.3g}"


@for_each_setting
def compare(found: list[xr.Dataset]) -> pd.DataFrame:
    """Over runs, a row for the end of each stage of each curve: in how many runs it counts, and when it is.

    A run without the stage is censored at its last step.
    """
    rows: dict[str, Steps] = {}
    for curve in dict.fromkeys(name for each in found for name in each["curve"].values.tolist()):
        having = [each for each in found if curve in each["curve"].values]
        for stage, end in zip(maths.STAGES, ENDS, strict=True):
            steps = [
                float(each["ends"].sel(curve=curve, stage=stage)) if stage in named(each)[curve] else math.nan
                for each in having
            ]
            rows[f"{end} of test {curve}"] = (steps, [float(each["step"][-1]) for each in having])
    return over_runs(rows)
