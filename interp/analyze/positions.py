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
from interp.analyze._common import AnalysisOptions, by_step, bytes_read, dataset, each_checkpoint
from interp.analyze._comparison import over_runs
from interp.base import IGNORED, DoesNotApply, once
from interp.maths.curves import first_lasting
from interp.maths.losses import losses_and_right
from interp.models.dense import DenseForward
from interp.store import Run
from interp.store.tensors import Tensors
from interp.tasks import Examples, SequenceTask

PART = 1 << 24
"""Bytes of activations at once, about: more are no faster."""


SPLITS = ("train", "test")


class Options(AnalysisOptions):
    """What counts as learned."""

    threshold: float = Field(default=0.99, gt=0, le=1)
    """Accuracy that counts as having learned an answer, from which it must not fall again."""


def measure(run: Run, options: Options) -> xr.Dataset:
    """Loss and accuracy of every answer of a sequence, train and test, and the step from which it is learned.

    Positions at which no sequence of a split has an answer are left out. A step that was not reached is NaN: censored at
    the last one. Of an endless stream, train is a sample that stands for it.
    """
    task = run.task
    if not isinstance(task, SequenceTask) or len(task.shape.positions) == 1:
        raise DoesNotApply(
            f'{run.path} was trained on "{task.kind}", with one answer a prompt; analysis "positions" needs several'
        )
    splits = {name: Answered(run, getattr(run.split, name)) for name in SPLITS}
    kept = np.all([each.counts.numpy() > 0 for each in splits.values()], axis=0)

    def measures(weights: Tensors) -> dict[str, Tensor]:
        """Of one checkpoint: [split, position]."""
        found = torch.stack([each.means(weights) for each in splits.values()])[..., torch.from_numpy(kept)]
        return {"loss": found[:, 0], "accuracy": found[:, 1]}

    found = each_checkpoint(run, measures, needs=max(each.bytes for each in splits.values()) + 3 * bytes_read(run))
    steps, accuracy = np.array(run.steps), found["accuracy"]
    learned = [[first_lasting(steps, each, options.threshold) for each in split.T] for split in accuracy.swapaxes(0, 1)]
    dims, nats = ("step", "split", "position"), {"units": "nats"}
    return dataset(
        run,
        options,
        {
            "loss": (dims, found["loss"], {"long_name": "mean loss of the answer", **nats}),
            "accuracy": (dims, accuracy, {"long_name": "share of the answer that is right", "units": "1"}),
            "learned": (dims[1:], np.array(learned), {"long_name": "learned at step", "units": "optimiser updates"}),
        },
        coords={
            "split": list(splits),
            "position": [name for name, keep in zip(task.answer_names, kept, strict=True) if keep],
        },
        definition="mean cross-entropy and share of right answers at each position where an answer is read, from float32 "
        "logits and with the right answers before it in the prompt; learned: first checkpoint from which the accuracy stays "
        f"at or above {options.threshold:.4g}",
        source="per-token loss of 5-digit addition: Nanda et al. 2023 (arXiv 2301.05217), appendix on other tasks",
    )


class Answered:
    """The network over some sequences, in parts."""

    def __init__(self, run: Run, examples: Examples):
        self.spec, self.shape, self.n = run.known_model, run.task.shape, len(examples)
        self.tokens, self.targets = torch.from_numpy(examples.inputs), torch.from_numpy(examples.targets)
        self.part = max(1, min(self.n, PART // self.bytes_of_one))

    @property
    def bytes_of_one(self) -> int:
        """What the forward pass takes for one sequence, at most."""
        spec, n_ctx, answers = self.spec, self.shape.n_ctx, len(self.shape.positions)
        inside = n_ctx if spec.n_layers > 1 else answers
        attention = 8 * spec.d_model + 6 * spec.n_heads * spec.d_head + 3 * spec.n_heads * n_ctx
        return 4 * (n_ctx * attention + 4 * inside * spec.d_mlp + 8 * answers * self.shape.d_vocab_out)

    @property
    def bytes(self) -> int:
        """What measuring one checkpoint takes."""
        return self.part * self.bytes_of_one + 8 * self.n * (self.shape.n_ctx + 6 * len(self.shape.positions))

    @once
    def counts(self) -> Float[Tensor, " position"]:
        """How many of the sequences have an answer there."""
        return (self.targets != IGNORED).double().sum(dim=0)

    @once
    def parts(self) -> list[tuple[DenseForward, Tensor]]:
        """The forward pass over each part, and its answers."""
        forwards = [DenseForward(self.spec, part, self.shape.positions) for part in self.tokens.split(self.part)]
        return list(zip(forwards, self.targets.split(self.part), strict=True))

    def means(self, weights: Tensors) -> Float[Tensor, "loss_and_accuracy position"]:
        """Loss and accuracy at each position."""
        sums = torch.zeros(2, len(self.counts), dtype=torch.float64)
        for forward, targets in self.parts:
            known = targets != IGNORED
            found = losses_and_right(forward(weights).flatten(0, 1), targets.where(known, 0).flatten())
            each = torch.stack(found).unflatten(1, targets.shape)
            sums += each.double().where(known, 0).sum(dim=1)
        return sums / self.counts


def draw(found: xr.Dataset) -> go.Figure:
    """The loss and the accuracy of each answer, on the test set above those on the training set."""
    curves = [(split, what) for split in reversed(SPLITS) for what in ("loss", "accuracy")]
    panels = [f"{what} of each answer, {split}" for split, what in curves]
    figure = figures.panels(panels, heights=[4] * 4, title="Which answer is learned when")
    for row, (split, what) in enumerate(curves, start=1):
        for number, position in enumerate(found["position"].values):
            colour = figures.PALETTE[number % len(figures.PALETTE)]
            dash = ("solid", "dash", "dot")[number // len(figures.PALETTE) % 3]
            here = found[what].sel(split=split, position=position)
            group = {"legendgroup": position, "showlegend": row == 1}
            figures.line(figure, here, position, colour, row=row, dash=dash, **group)
        if what == "loss":
            figure.update_yaxes(title_text="loss (nats)", type="log", exponentformat="power", row=row)
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


def compare(found: list[xr.Dataset]) -> pd.DataFrame:
    """Over runs, a row for each answer: the checkpoint from which it is right on the training and on the test set."""
    rows = {}
    threshold = json.loads(found[0].attrs["options"])["threshold"]
    for split in SPLITS:
        for position in found[0]["position"].values:
            those = [each for each in found if position in each["position"]]
            steps = [float(each["learned"].sel(split=split, position=position)) for each in those]
            rows[f"{position}, {split} accuracy {threshold:g}"] = (steps, [float(each["step"][-1]) for each in those])
    return over_runs(rows)
