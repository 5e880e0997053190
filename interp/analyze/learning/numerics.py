"""Numerics of the loss: is the softmax still alive, and does the gradient point anywhere but along the weights?"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor

from interp import figures
from interp.base import IGNORED
from interp.maths import stability
from interp.measurement import AnalysisOptions, Var, Variables, by_step, dataset
from interp.models.network import Weights
from interp.views.descent import Descent
from interp.views.walk import each_checkpoint

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Shares of the margins below each quantile that is given beside their mean and smallest."""

BY_CHECKPOINT = True


class Options(AnalysisOptions):
    """There is nothing to choose."""


VARIABLES: Variables = {
    "collapsed": Var("step split precision", "share in softmax collapse", "1"),
    "zero_loss": Var("step split precision", "share with a cross-entropy of exactly 0", "1"),
    "margin_mean": Var("step split", "mean logit margin", "nats"),
    "margin_min": Var("step split", "smallest logit margin", "nats"),
    "margin_quantile": Var("step split quantile", "quantile of the logit margins", "nats"),
    "gradient_norm": Var("step", "norm of the gradient", "{loss_units}"),
    "cosine": Var("step", "cosine of minus the gradient with the weights", "1"),
    "gradient_norm_of_tensor": Var("step tensor", "norm of the gradient by a tensor", "{loss_units}"),
    "cosine_of_tensor": Var("step tensor", "cosine of minus the gradient with the weights, of a tensor", "1"),
}


def measure(seen: Descent, options: Options) -> xr.Dataset:
    """Softmax collapse by precision, logit margins, and the training gradient's norm and cosine with the weights.

    Of every split; where files of others do not tell what was trained on, of all prompts, and so is the gradient. Of several
    answers a prompt each counts, save those that cannot be known.
    """

    def measures(weights: Weights) -> dict[str, Tensor]:
        """Every variable at one checkpoint."""
        return of_logits(seen.logits(weights), seen.targets, seen.answered) | of_gradient(seen, weights)

    found, tensors = each_checkpoint(seen.run, measures, needs=seen.bytes), seen.run.tensors
    kinds = ["biases" if tensors[name].role == "bias" else "weights" for name in seen.learned]
    units = seen.run.config.loss_units
    loss, logits = WORDS.get(units, (units, f"outputs, trained on a {units}, stand for logits; "))
    return dataset(
        seen.run,
        options,
        found,
        VARIABLES,
        coords={
            "split": list(seen.parts),
            "precision": list(stability.PRECISIONS),
            "quantile": list(QUANTILES),
            "tensor": seen.learned,
            "kind_of_tensor": ("tensor", kinds),
        },
        definition="collapse: Σ_j exp(z_j − max z) is exactly 1, each term rounded to the precision and their sum once; zero "
        f"loss: collapsed with the right answer largest; {logits}logits are computed in float32; margin: right logit minus the "
        f"largest other; gradient: of the mean {loss} over the prompts of split {seen.trained}, in float64 from float32 "
        "logits, without weight decay and noise, by the tensors that learn; its cosine is 0 where tensor or gradient is 0",
        source="softmax collapse and naive loss minimisation: Prieto et al. 2025 (arXiv 2501.04697), sections 3 and 4",
    ).assign_attrs(gradient_over=seen.trained)


WORDS = {"nats": ("cross-entropy", "")}
"""By the unit of the loss: what it is called, and what is to be said of the outputs."""


def of_logits(
    logits: Float[Tensor, "answer n"], targets: Int[Tensor, " answer"], parts: Mapping[str, Int[Tensor, " some"]]
) -> dict[str, Tensor]:
    """Collapse by precision and the margins, [split, …], over the answers of each split."""
    margins = stability.logit_margins(logits, targets.where(targets != IGNORED, 0))
    kinds = stability.PRECISIONS.values()
    collapsed = torch.stack([stability.softmax_collapsed(logits, kind) for kind in kinds])
    zero_loss = collapsed & (margins > 0)
    rows = parts.values()
    return {
        "collapsed": torch.stack([collapsed[:, part].double().mean(dim=1) for part in rows]),
        "zero_loss": torch.stack([zero_loss[:, part].double().mean(dim=1) for part in rows]),
        "margin_mean": torch.stack([margins[part].double().mean() for part in rows]),
        "margin_min": torch.stack([margins[part].min() for part in rows]),
        # numpy's, since torch's takes 2²⁴ values at most
        "margin_quantile": torch.from_numpy(np.stack([np.quantile(margins[part].numpy(), QUANTILES) for part in rows])),
    }


def of_gradient(seen: Descent, weights: Weights) -> dict[str, Tensor]:
    """Norm of the gradient and its cosine with the weights, of all tensors that learn and of each."""
    found = stability.descent_cosines({name: weights[name] for name in seen.learned}, seen.gradients(weights))
    return {
        "gradient_norm": found["norm"],
        "cosine": found["cosine"],
        "gradient_norm_of_tensor": found["norms"],
        "cosine_of_tensor": found["cosines"],
    }


def draw(found: xr.Dataset) -> go.Figure:
    """Losses above collapse by precision, margins, the cosine by tensor and the norm of the gradient."""
    trained = found.attrs["gradient_over"]
    figure = figures.panels(
        [
            "loss",
            f"share of the {named(trained)} in softmax collapse, by precision",
            "logit margin, right minus largest other (mean; dotted: smallest)",
            "cosine of minus the gradient with the weights (1: the step only scales them up)",
            "norm of the gradient",
        ],
        heights=[3, 3.4, 3.4, 4.4, 3],
        title="Is the softmax alive, and where does the gradient point?",
    )
    figures.losses(figure, found, row=1)
    for precision, colour in zip(found["precision"].values, figures.PALETTE, strict=False):
        figures.line(figure, found["collapsed"].sel(split=trained, precision=precision), precision, colour, row=2)
    for split in found["split"].values:
        here, colour = found.sel(split=split), COLOURS[split]
        if split != "all" or found.sizes["split"] == 1:
            figures.line(figure, here["margin_mean"], f"{split} mean", colour, row=3)
            figures.line(figure, here["margin_min"], f"{split} smallest", colour, row=3, dash="dot")
    figures.line(figure, found["cosine"], "all tensors", figures.INK, row=4)
    weights = found["tensor"].values[found["kind_of_tensor"].values == "weights"]
    for number, name in enumerate(weights):
        colour = figures.PALETTE[number % len(figures.PALETTE)]
        dash = ("dash", "dot", "dashdot")[number // len(figures.PALETTE) % 3]
        figures.line(figure, found["cosine_of_tensor"].sel(tensor=name), name, colour, row=4, dash=dash)
    figures.line(figure, found["gradient_norm"], "all tensors", figures.INK, row=5, showlegend=False)
    figure.update_yaxes(title_text="share", tickformat=".0%", range=[-0.02, 1.04], row=2)
    figure.update_yaxes(title_text="margin (nats)", row=3)
    figure.update_yaxes(title_text="cosine", row=4)
    title = f"‖∇ loss‖ ({found['gradient_norm'].attrs['units']})"
    figure.update_yaxes(title_text=title, type="log", exponentformat="power", row=5)
    return figures.mark_transition(figure, found)


COLOURS = {"train": figures.TRAIN, "test": figures.TEST, "all": figures.QUIET}
"""Colour of each split."""


def named(split: str) -> str:
    """The prompts of a split, in words."""
    return {"train": "training set", "test": "test set"}.get(split, "whole table")


def summarise(found: xr.Dataset) -> pd.DataFrame:
    """Collapse in three precisions, the margin, and the gradient's norm and cosine, at each step."""
    table, here = by_step(found), found.sel(split=found.attrs["gradient_over"])
    for precision in ("float16", "float32", "float64"):
        table[f"collapsed {precision}"] = here["collapsed"].sel(precision=precision).values
    table["zero loss float32"] = here["zero_loss"].sel(precision="float32").values
    table["mean margin"] = here["margin_mean"].values
    table["smallest margin"] = here["margin_min"].values
    table["‖gradient‖"] = found["gradient_norm"].values
    table["cosine −gradient, weights"] = found["cosine"].values
    return table
