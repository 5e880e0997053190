"""The gap between training and test set: how large is it at each step, and how far does test lie behind train in time?"""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor

from interp import figures
from interp.maths.jumps import Jump, erf_jump
from interp.maths.stability import logit_margins
from interp.measurement import AnalysisOptions, Var, Variables, by_step, dataset
from interp.models.network import Weights
from interp.views.halves import HALVES, Halves
from interp.views.walk import beforehand, each_checkpoint

EXACT = 1e-4
"""Largest difference from f(2θ) = 2ᴸ·f(θ), as a share of the largest output, at which a network counts as homogeneous."""


class Options(AnalysisOptions):
    """There is nothing to choose."""


VARIABLES: Variables = {
    "loss": Var("step split", "loss", "{loss_units}"),
    "loss_gap": Var("step", "test loss − train loss", "{loss_units}"),
    "accuracy": Var("step split", "accuracy", "1"),
    "accuracy_gap": Var("step", "test accuracy − train accuracy", "1"),
    "output_sd": Var("step split", "standard deviation of an example's outputs, mean over examples"),
    "output_lead": Var("step split", "largest output minus the mean of an example's outputs, mean over examples"),
    "margin_mean": Var("step split", "mean margin: right output minus largest other"),
    "margin_min": Var("step split", "smallest margin"),
    "margin_median": Var("step split", "median margin"),
    "margin_ratio": Var("step split", "mean margin ÷ mean standard deviation of the outputs", "1"),
    "norm": Var("step", "norm ‖θ‖ of all weights that learn"),
    "normalised_margin": Var("step split", "smallest margin ÷ ‖θ‖^{degree}"),
    "jump": Var("split", "t*: step at which the fitted accuracy is half-way", "optimiser updates"),
    "jump_sharpness": Var("split", "s: sharpness of the fitted accuracy on log t", "1"),
    "jump_low": Var("split", "accuracy long before the jump, b − a", "1"),
    "jump_high": Var("split", "accuracy long after the jump, b + a", "1"),
    "jump_residual": Var("split", "root mean square of accuracy minus fit", "1"),
    "relative_gap": Var("split", "(t* − t* of train) ÷ t* of train", "1"),
}


def measure(seen: Halves, options: Options) -> xr.Dataset:
    """Test − train in loss and accuracy, size of the outputs and margins at every checkpoint; the jumps of both accuracies.

    The jumps are fitted to every logged step before a collapse, whatever checkpoints are in view. Tasks without answers have
    neither accuracies nor margins.
    """
    degree = beforehand(lambda: degree_of(seen, seen.run.final.weights))

    def at_checkpoint(weights: Weights) -> dict[str, Tensor]:
        """Every variable at one checkpoint."""
        parts = [of_half(seen, half, weights) for half in HALVES]
        found = {name: torch.stack([part[name] for part in parts]) for name in parts[0]}
        norm = seen.flat(weights).double().norm()
        scaled = {"normalised_margin": found["margin_min"] / norm**degree} if homogeneous else {}
        return found | {"norm": norm} | scaled

    homogeneous = seen.has_answers and not math.isnan(degree)
    found = each_checkpoint(seen.run, at_checkpoint, needs=seen.bytes_of_outputs)
    found |= {f"{name}_gap": found[name][:, 1] - found[name][:, 0] for name in ("loss", "accuracy") if name in found}
    jumps = jumps_of(seen) if seen.has_answers else {}
    return dataset(
        seen.run,
        options,
        found | of_jumps(jumps),
        VARIABLES,
        coords={"split": list(HALVES)},
        words={"degree": f"{degree:g}"},
        definition="loss and accuracy: as logged, over the examples as they are trained on; outputs: what the loss receives, in "
        "float32; standard deviation over the outputs of an example (÷ their number); margin: right output minus the largest "
        f"other; normalised margin: {in_words(degree) if seen.has_answers else 'there are no answers'}; jump: least squares of "
        "a·erf(s·(log t − log t*)) + b to every logged accuracy from step 1 to a collapse, none where the accuracy rises by "
        f"less than 25 % or t* lies outside{untold(jumps)}",
        source="jump, sharpness, relative gap: Miller et al. 2024 (arXiv 2402.08946); normalised margin: Lyu & Li 2020 (arXiv "
        "1906.05890); the size of the outputs as what weight norms act through: arXiv 2606.18465",
    ).assign_attrs(degree=degree)


def of_half(seen: Halves, half: str, weights: Weights) -> dict[str, Tensor]:
    """Loss, accuracy, size of the outputs and margins over one half, at one checkpoint."""
    every = seen.outputs(half, weights)
    loss, accuracy = seen.objectives[half].of_outputs(every)[:, 0]
    outputs = every[0, seen.known[half]].double()
    sd, top = outputs.std(dim=1, correction=0).mean(), outputs.amax(dim=1)
    found = {"loss": loss, "output_sd": sd, "output_lead": (top - outputs.mean(dim=1)).mean()}
    if not seen.has_answers:
        return found
    return found | {"accuracy": accuracy} | of_margins(outputs, seen.targets[half][seen.known[half]], sd)


def of_margins(
    outputs: Float[Tensor, "answer n"], targets: Int[Tensor, " answer"], sd: Float[Tensor, ""]
) -> dict[str, Tensor]:
    """Margins, in units of the outputs and of their standard deviation; 0 if that is 0."""
    margins = logit_margins(outputs, targets)
    return {
        "margin_mean": margins.mean(),
        "margin_min": margins.min(),
        "margin_median": torch.as_tensor(np.median(margins.numpy())),
        "margin_ratio": torch.where(sd > 0, margins.mean() / sd, 0.0),
    }


def degree_of(seen: Halves, weights: Weights) -> float:
    """Degree L for which f(2θ) = 2ᴸ·f(θ) over the training examples, θ all weights that learn; NaN if there is none.

    It is measured, so that it holds for any family: factors of 2 change no rounding but that of what is added.
    """
    doubled = {name: tensor * (2 if name in seen.slices else 1) for name, tensor in weights.items()}
    here, there = (seen.outputs("train", each).double() for each in (weights, doubled))
    ratio = float((here * there).sum() / here.square().sum())
    degree = round(math.log2(ratio)) if 0 < ratio < math.inf else -1
    exact = degree >= 0 and float((there - 2**degree * here).abs().max()) <= EXACT * float(there.abs().max())
    return float(degree) if exact else math.nan


def in_words(degree: float) -> str:
    """What the normalised margin is, or why there is none."""
    if math.isnan(degree):
        return (
            "none, since doubling the weights that learn does not multiply the outputs of the last checkpoint by a power of 2 "
            "(the network is not homogeneous); margin ÷ standard deviation needs no degree"
        )
    return f"smallest margin ÷ ‖θ‖^{degree:g}, the degree for which f(2θ) = 2^{degree:g}·f(θ) at the last checkpoint"


FITTED = ("jump", "jump_sharpness", "jump_low", "jump_high", "jump_residual")
"""Variables of a jump, in the order of its numbers."""


def jumps_of(seen: Halves) -> dict[str, Jump]:
    """The jump of each half's logged accuracy, before a collapse."""
    history = seen.run.history
    if not math.isnan(seen.collapsed):
        history = history.loc[history.index < seen.collapsed]
    steps = history.index.to_numpy()
    return {half: erf_jump(steps, history[f"{half}_accuracy"].to_numpy(float)) for half in HALVES}


def of_jumps(jumps: Mapping[str, Jump]) -> dict[str, Float[np.ndarray, "..."]]:
    """The fitted numbers by half, and the relative gap."""
    if not jumps:
        return {}
    train, test = jumps["train"], jumps["test"]
    fitted = {name: np.array([jump[place] for jump in (train, test)]) for place, name in enumerate(FITTED)}
    return fitted | {"relative_gap": fitted["jump"] / train.step - 1}


def untold(jumps: Mapping[str, Jump]) -> str:
    """Which accuracies have no jump, and why, as more of a sentence."""
    return "".join(f"; {half} accuracy {jump.why}" for half, jump in jumps.items() if jump.why)


COLOURS = {"train": figures.TRAIN, "test": figures.TEST}
"""Colour of each split."""


def draw(found: xr.Dataset) -> go.Figure:
    """Losses, the gap, accuracies with their fits, the size of the outputs, margins in units of it."""
    answers = "accuracy" in found
    jumps = f"accuracy, and the fit of its jump (dashed){told(found)}" if answers else ""
    margins = ["right output minus largest other (mean; dotted: smallest)", "mean margin ÷ standard deviation"]
    titles = ["loss", "test loss − train loss", *[jumps] * answers, "standard deviation of an example's outputs"]
    figure = figures.panels(
        [*titles, *(margins if answers else [])],
        heights=[3] * (len(titles) + 2 * answers),
        title="How far is the test set behind the training set?",
    )
    figures.losses(figure, found, row=1)
    figures.line(figure, found["loss_gap"], "test − train", figures.INK, row=2, showlegend=False)
    figure.update_yaxes(title_text=f"gap ({found['loss'].attrs.get('units', '')})", row=2)
    row = 3 + answers
    if answers:
        figures.accuracies(figure, found, row=3)
        draw_fits(figure, found, row=3)
    for split, colour in COLOURS.items():
        here = found.sel(split=split)
        figures.line(figure, here["output_sd"], split, colour, row=row)
        if answers:
            figures.line(figure, here["margin_mean"], f"{split} mean", colour, row=row + 1)
            figures.line(figure, here["margin_min"], f"{split} smallest", colour, row=row + 1, dash="dot")
            figures.line(figure, here["margin_ratio"], split, colour, row=row + 2)
    for place, title in enumerate(["standard deviation", "margin", "ratio"][: 1 + 2 * answers]):
        figure.update_yaxes(title_text=title, row=row + place)
    for place in range(1, answers * 3):
        figures.level(figure, 0, row=row + place) if place < 3 else None
    return figures.mark_transition(figure, found)


def told(found: xr.Dataset) -> str:
    """Where the jumps are, for a title."""
    steps = {split: float(found["jump"].sel(split=split)) for split in HALVES}
    at = [f"{split} t* = {step:,.0f}" for split, step in steps.items() if not math.isnan(step)]
    return ": " + ", ".join(at) if at else ": none to fit"


def draw_fits(figure: go.Figure, found: xr.Dataset, row: int) -> None:
    """The fitted accuracies, where there are some."""
    steps = found["step"].values
    if len(steps[steps >= 1]) < 2:
        return
    times = np.geomspace(steps[steps >= 1][0], steps[-1], 200)
    for split, colour in COLOURS.items():
        t, s, low, high, residual = (float(found[name].sel(split=split)) for name in FITTED)
        jump = Jump(t, s, low, high, residual, "")
        if not math.isnan(jump.step):
            fitted = xr.DataArray(jump.at(times), coords={"step": times}, dims="step")
            figures.line(figure, fitted, f"{split} fit", colour, row=row, dash="dash")


def summarise(found: xr.Dataset) -> pd.DataFrame:
    """Both losses and accuracies, their gaps, size of the outputs, and margins, at each step."""
    table = by_step(found)
    for name in ("loss", "accuracy"):
        if name in found:
            for split in HALVES:
                table[f"{split} {name}"] = found[name].sel(split=split).values
            table[f"{name} gap"] = found[f"{name}_gap"].values
    for split in HALVES:
        here = found.sel(split=split)
        table[f"{split} output sd"] = here["output_sd"].values
        if "margin_mean" in found:
            table[f"{split} smallest margin"] = here["margin_min"].values
            table[f"{split} margin ÷ sd"] = here["margin_ratio"].values
    table["‖θ‖"] = found["norm"].values
    return table
