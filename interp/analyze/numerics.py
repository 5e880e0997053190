"""Numerics of the loss: is the softmax still alive, and does the gradient point anywhere but along the weights?"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Int
from torch import Tensor

from interp import figures
from interp.analyze._common import AnalysisOptions, by_step, bytes_read, dataset, each_checkpoint
from interp.base import DoesNotApply
from interp.maths import stability
from interp.models.shared import SharedForward
from interp.store import Run
from interp.tasks import Examples

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Of the margins, that are given beside their mean and smallest."""


class Options(AnalysisOptions):
    """There is nothing to choose."""


def measure(run: Run, options: Options) -> xr.Dataset:
    """Softmax collapse by precision, logit margins, and the training gradient's norm and cosine with the weights.

    Of every split; where files of others do not tell what was trained on, of all prompts, and so is the gradient.
    """
    try:
        table = run.table
    except DoesNotApply as error:
        raise DoesNotApply(f"{run.path}: {error}") from error
    parts = splits(run, len(table))
    trained = next(iter(parts))
    forward, targets = forward_of(run, table), torch.from_numpy(table.targets)
    descent = Descent(run, table[parts[trained].numpy()])

    def measures(weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Of one checkpoint."""
        return {**of_logits(forward(weights), targets, parts), **descent.of(weights)}

    found = each_checkpoint(run, measures, needs=bytes_at_work(run, len(table), len(parts[trained])))
    by_split, per = ("step", "split"), ("step", "split", "precision")
    nats = {"units": "nats"}
    return dataset(
        run,
        options,
        {
            "collapsed": (per, found["collapsed"], {"long_name": "share in softmax collapse", "units": "1"}),
            "zero_loss": (per, found["zero_loss"], {"long_name": "share with a loss of exactly 0", "units": "1"}),
            "margin_mean": (by_split, found["margin_mean"], {"long_name": "mean logit margin", **nats}),
            "margin_min": (by_split, found["margin_min"], {"long_name": "smallest logit margin", **nats}),
            "margin_quantile": (
                ("step", "split", "quantile"),
                found["margin_quantile"],
                {"long_name": "quantile of the logit margins", **nats},
            ),
            "gradient_norm": (("step",), found["norm"], {"long_name": "norm of the gradient", **nats}),
            "cosine": (
                ("step",),
                found["cosine"],
                {"long_name": "cosine of minus the gradient with the weights", "units": "1"},
            ),
            "gradient_norm_of_tensor": (
                ("step", "tensor"),
                found["norms"],
                {"long_name": "norm of the gradient by a tensor", **nats},
            ),
            "cosine_of_tensor": (
                ("step", "tensor"),
                found["cosines"],
                {"long_name": "cosine of minus the gradient with the weights, of a tensor", "units": "1"},
            ),
        },
        coords={
            "split": list(parts),
            "precision": list(stability.PRECISIONS),
            "quantile": list(QUANTILES),
            "tensor": descent.learned,
        },
        definition="collapse: Σ_j exp(z_j − max z) is exactly 1, each term rounded to the precision and their sum once; zero "
        "loss: collapsed with the right answer largest; logits are computed in float32; margin: right logit minus the "
        f"largest other; gradient: of the mean cross-entropy over the prompts of split {trained}, in float64 from float32 "
        "logits, without weight decay and noise, by the tensors that learn; its cosine is 0 where tensor or gradient is 0",
        source="softmax collapse and naive loss minimisation: Prieto et al. 2025 (arXiv 2501.04697), sections 3 and 4",
    ).assign_attrs(gradient_over=trained)


def splits(run: Run, n: int) -> dict[str, Int[Tensor, " rows"]]:
    """Rows of the table that were trained on, that are tested, and all; all alone where files of others do not tell."""
    everything = torch.arange(n)
    try:
        train = torch.from_numpy(run.split.train_index)
    except DoesNotApply:
        return {"all": everything}
    return {"train": train, "test": everything[~torch.isin(everything, train)], "all": everything}


def forward_of(run: Run, examples: Examples) -> SharedForward:
    """The network over these prompts."""
    return SharedForward(run.known_model, torch.from_numpy(examples.inputs))


def of_logits(logits: Tensor, targets: Tensor, parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Collapse by precision and the margins, [split, …]."""
    margins = stability.logit_margins(logits, targets)
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


class Descent:
    """The gradient of a run's mean loss over these prompts, by the tensors that learn."""

    def __init__(self, run: Run, examples: Examples):
        self.forward, self.targets = forward_of(run, examples), torch.from_numpy(examples.targets)
        self.task = run.task
        self.learned = [name for name in run.tensor_shapes if run.known_model.learns(name)]

    def of(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Its norm and its cosine with the weights, of all tensors and of each."""
        # Checkpoints are walked in inference mode, whose tensors autograd refuses; that goes for what the forward pass
        # keeps, too, so that this one is never called in it.
        with torch.inference_mode(False), torch.enable_grad():
            copies = {name: tensor.clone() for name, tensor in weights.items()}
            moved = [copies[name].requires_grad_() for name in self.learned]
            loss = self.task.loss(self.forward(copies), self.targets)
            gradients = dict(zip(self.learned, torch.autograd.grad(loss, moved), strict=True))
        return stability.descent_cosines({name: copies[name].detach() for name in self.learned}, gradients)


def bytes_at_work(run: Run, n: int, n_trained: int) -> int:
    """What one checkpoint takes at most: the forward pass over all prompts, or that over one split with its gradient."""
    spec, shape = run.known_model, run.task.shape
    attended = spec.n_heads * shape.n_ctx
    deeper = shape.n_ctx * (4 * spec.d_model + 2 * spec.d_mlp + attended) * (spec.n_layers - 1)
    width = 4 * spec.d_model + 3 * spec.d_mlp + 4 * attended + deeper
    logits = 10 * shape.d_vocab_out  # in float64 too, some of them at a time
    plan = 40 * shape.n_ctx * spec.n_heads * spec.n_layers
    forward = 4 * n * (width + logits)
    backward = 4 * n_trained * (2 * width + logits)
    return max(forward, backward) + 2 * plan * n + 3 * bytes_read(run)


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
    weights = [name for name in found["tensor"].values if not name.rsplit(".", 1)[-1].startswith("b")]
    for number, name in enumerate(weights):
        colour = figures.PALETTE[number % len(figures.PALETTE)]
        dash = ("dash", "dot", "dashdot")[number // len(figures.PALETTE) % 3]
        figures.line(figure, found["cosine_of_tensor"].sel(tensor=name), name, colour, row=4, dash=dash)
    figures.line(figure, found["gradient_norm"], "all tensors", figures.INK, row=5, showlegend=False)
    figure.update_yaxes(title_text="share", tickformat=".0%", range=[-0.02, 1.04], row=2)
    figure.update_yaxes(title_text="margin (nats)", row=3)
    figure.update_yaxes(title_text="cosine", row=4)
    figure.update_yaxes(title_text="‖∇ loss‖ (nats)", type="log", exponentformat="power", row=5)
    return figures.mark_transition(figure, found)


COLOURS = {"train": figures.TRAIN, "test": figures.TEST, "all": figures.QUIET}
"""Of the splits."""


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
