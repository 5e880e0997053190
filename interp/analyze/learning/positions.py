"""Answers of a sequence by their position: which of them is learned when?"""

import json

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from interp import figures
from interp.maths.curves import IN_A_ROW, reached
from interp.measurement import AnalysisOptions, Var, Variables, by_step, dataset
from interp.models.network import Weights
from interp.tasks import Examples
from interp.views.answers import Answered, Sequences
from interp.views.comparison import Steps, for_each_setting, over_runs
from interp.views.walk import bytes_read, each_checkpoint

PART = 5_900_000
"""Bytes of activations at once, about: more are no faster."""

SPLITS = ("train", "test")


class Options(AnalysisOptions):
    """What counts as learned."""

    threshold: float = Field(default=0.99, gt=0, le=1)
    """Accuracy that counts as having learned an answer."""
    in_a_row: int = Field(default=IN_A_ROW, ge=1)
    """Checkpoints in view one after another that must have it."""


VARIABLES: Variables = {
    "loss": Var("step split position", "mean loss of the answer", "{loss_units}"),
    "loss_error": Var("step split position", "standard error of that loss over the sequences", "{loss_units}"),
    "accuracy": Var("step split position", "share of the answer that is right", "1"),
    "accuracy_error": Var("step split position", "standard error of that share over the sequences", "1"),
    "learned": Var("split position", "learned at step", "optimiser updates"),
}


def measure(seen: Sequences, options: Options) -> xr.Dataset:
    """Loss and accuracy of every answer of a sequence, train and test, and the step from which it is learned.

    Positions at which no sequence of a split has an answer are left out. A step that was not reached is NaN: censored at
    the last one. Of an endless stream, train is a sample that stands for it. Sequences are drawn: a standard error says how far
    a mean over them may be from that over all that could be drawn.
    """
    run, splits = seen.run, [answered(seen, getattr(seen.run.split, name)) for name in SPLITS]
    kept = torch.stack([each.known.any(dim=0) for each in splits]).all(dim=0)

    def measures(weights: Weights) -> dict[str, Tensor]:
        """Every variable at one checkpoint: [split, position]."""
        both = torch.stack([means(each, weights) for each in splits], dim=2)[..., kept]
        (loss, accuracy), (loss_error, accuracy_error) = both
        return {"loss": loss, "loss_error": loss_error, "accuracy": accuracy, "accuracy_error": accuracy_error}

    found = each_checkpoint(run, measures, needs=max(each.bytes for each in splits) + 3 * bytes_read(run))
    steps, by_split = np.array(run.steps), found["accuracy"].swapaxes(0, 1)
    learned = [
        [reached(steps, each, options.threshold, options.in_a_row).step for each in split.T] for split in by_split
    ]
    loss = {"nats": "cross-entropy"}.get(run.config.loss_units, run.config.loss_units)
    return dataset(
        run,
        options,
        found | {"learned": np.array(learned)},
        VARIABLES,
        coords={
            "split": list(SPLITS),
            "position": [name for name, keep in zip(seen.names, kept, strict=True) if keep],
        },
        definition=f"mean {loss} and share of right answers at each position where an answer is read, from float32 "
        "logits and with the right answers before it in the prompt; learned: first of "
        f"{options.in_a_row} checkpoints in view in a row whose accuracy is {options.threshold:.4g} or more; standard "
        "error s/√n, of n sequences that have the answer",
        source="per-token loss of 5-digit addition: Nanda et al. 2023 (arXiv 2301.05217), appendix on other tasks",
    )


def answered(seen: Sequences, examples: Examples) -> Answered:
    """The network over some sequences, in parts that fit into the memory of PART."""
    cost = seen.run.config.model.cost(seen.run.task.shape)
    return seen.over(examples, max(1, PART // (4 * cost.work)))


def means(some: Answered, weights: Weights) -> Float[Tensor, "mean_and_error loss_and_right position"]:
    """Loss and accuracy at each position over the sequences that have an answer there, and their standard errors."""
    sums, squares = torch.zeros(2, 2, some.known.shape[1], dtype=torch.float64)
    for (each,) in some.each(weights):
        sums += each.sum(dim=1)
        squares += each.square().sum(dim=1)
    n = some.known.double().sum(dim=0)
    variance = (squares - sums.square() / n).clamp(min=0) / (n - 1)  # rounding can leave −1e-17
    return torch.stack([sums / n, (variance / n).sqrt()])


def draw(found: xr.Dataset) -> go.Figure:
    """The loss and the accuracy of each answer, on the test set above those on the training set."""
    curves = [(split, what) for split in reversed(SPLITS) for what in ("loss", "accuracy")]
    panels = [
        f"{what} of each answer, {split}{' (shaded: ± standard error)' if what == 'accuracy' else ''}"
        for split, what in curves
    ]
    figure = figures.panels(panels, heights=[4] * 4, title="Which answer is learned when")
    for row, (split, what) in enumerate(curves, start=1):
        for number, position in enumerate(found["position"].values):
            colour = figures.PALETTE[number % len(figures.PALETTE)]
            dash = ("solid", "dash", "dot")[number // len(figures.PALETTE) % 3]
            here = found[what].sel(split=split, position=position)
            group = {"legendgroup": position, "showlegend": row == 1}
            figures.line(figure, here, position, colour, row=row, dash=dash, **group)
            if what == "accuracy":  # a logarithmic axis has no room for a lower end at 0
                error = found["accuracy_error"].sel(split=split, position=position)
                figures.error_band(figure, here, error, colour, row, legendgroup=position)
        if what == "loss":
            title = f"loss ({found['loss'].attrs['units']})"
            figure.update_yaxes(title_text=title, type="log", exponentformat="power", row=row)
        else:
            figure.update_yaxes(title_text="accuracy", tickformat=".0%", range=[-0.02, 1.04], row=row)
    return figures.mark_transition(figure, found)


def summarise(found: xr.Dataset) -> pd.DataFrame:
    """Test loss and accuracy of each answer, at each step."""
    table, test = by_step(found), found.sel(split="test")
    for what in ("loss", "accuracy"):
        for position in found["position"].values:
            table[f"{what} {position}"] = test[what].sel(position=position).values
    return table


@for_each_setting
def compare(found: list[xr.Dataset]) -> pd.DataFrame:
    """Over runs, a row for each answer: the checkpoint from which it is right on the training and on the test set."""
    rows: dict[str, Steps] = {}
    threshold = json.loads(found[0].attrs["options"])["threshold"]
    for split in SPLITS:
        for position in found[0]["position"].values:
            those = [each for each in found if position in each["position"]]
            steps = [float(each["learned"].sel(split=split, position=position)) for each in those]
            rows[f"{position}, {split} accuracy {threshold:g}"] = (steps, [float(each["step"][-1]) for each in those])
    return over_runs(rows)
