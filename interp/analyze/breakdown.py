"""Loss and accuracy by kind of example: what is learned when, of clean and of corrupted labels, and of each operation?"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from interp import figures
from interp.analyze._common import AnalysisOptions, by_step, bytes_read, dataset, each_checkpoint
from interp.base import IGNORED, DoesNotApply
from interp.maths.curves import first_lasting
from interp.maths.losses import losses_and_right
from interp.models.dense import forward_over
from interp.store import Run
from interp.tasks import JointTask

PART = 1 << 15
"""Prompts of a few tokens that are answered at a time, at most: bounds memory for large tables."""

ALL = "all"
"""Of the operations: whatever the operation is."""


class Options(AnalysisOptions):
    """What counts as learned."""

    threshold: float = Field(default=0.99, gt=0, le=1)
    """Accuracy that counts as learned, from which it must not fall again."""


def measure(run: Run, options: Options) -> xr.Dataset:
    """Loss and accuracy on each kind of example, of each operation and of all, and the checkpoint from which it is learned.

    Not learned is NaN, and so is everything of an operation that has no such examples.
    """
    if not (run.config.corruption or isinstance(run.task, JointTask)):
        raise DoesNotApply(
            f'{run.path} has neither corrupted labels nor several operations; analysis "breakdown" needs one of them, '
            'and "curves" has the loss and accuracy of training and test set'
        )
    run = run.with_checkpoints()
    answers = Answers(run)
    found = each_checkpoint(run, answers.of, needs=answers.bytes)
    dims, steps = ("operation", "examples"), np.array(run.steps)
    learned = [[first_lasting(steps, curve, options.threshold) for curve in kind] for kind in found["accuracy"].T]
    return dataset(
        run,
        options,
        {
            "loss": (("step", *dims), found["loss"], {"long_name": "loss", "units": "nats"}),
            "accuracy": (("step", *dims), found["accuracy"], {"long_name": "accuracy", "units": "1"}),
            "learned": (
                dims,
                np.array(learned).T,
                {"long_name": "first checkpoint from which accuracy stays", "units": "optimiser updates"},
            ),
        },
        coords={
            "operation": list(answers.operations),
            "examples": list(answers.kinds),
            "count": (dims, answers.counts, {"long_name": "examples"}),
        },
        definition="train clean: training examples with the right label; train corrupted: those with a wrong one, against that "
        "label; train recovered: the same examples against the right answer; learned: first checkpoint in view from which "
        f"accuracy stays at or above {options.threshold:.4g}. Phases in the summary, by the same threshold: coexistence, "
        "test and train corrupted above it; full inversion, test and train recovered; partial inversion, test and neither; "
        "memorisation, train clean and train corrupted without test",
        source="corrupted labels: Power et al. 2022 (arXiv 2201.02177), figure 6; names of the phases: Doshi et al. 2023 (arXiv "
        "2310.13061), thresholds as defined here",
    )


class Answers:
    """What a run's network answers to all its examples, by operation and kind of example."""

    def __init__(self, run: Run):
        self.run, self.spec, split = run, run.known_model, run.split
        inputs = torch.from_numpy(np.concatenate([split.train.inputs, split.test.inputs]))
        self.labels = torch.from_numpy(np.concatenate([split.train.targets, split.test.targets]))
        self.truth = torch.from_numpy(np.concatenate([split.true_targets, split.test.targets]))
        self.part = max(1, PART // max(1, run.task.shape.n_ctx // 3))
        self.parts = [forward_over(self.spec, run.task.shape, prompts) for prompts in inputs.split(self.part)]
        train = torch.arange(len(inputs)) < len(split.train)
        wrong = train & torch.from_numpy(np.pad(split.corrupted, (0, len(split.test))))
        self.kinds = {"train": train, "test": ~train}
        if run.config.corruption:
            self.kinds = {
                "train clean": train & ~wrong,
                "train corrupted": wrong,
                "train recovered": wrong,
                "test": ~train,
            }
        self.operations = {ALL: torch.ones_like(train)}
        if isinstance(run.task, JointTask):
            which = run.task.which()
            which = torch.from_numpy(np.concatenate([which[split.train_index], np.delete(which, split.train_index)]))
            self.operations |= {name: which == number for number, name in enumerate(run.task.operations)}

    @property
    def counts(self) -> list[list[int]]:
        """Examples of each kind, by operation."""
        return [[int((those & kind).sum()) for kind in self.kinds.values()] for those in self.operations.values()]

    def of(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Mean loss and accuracy of one checkpoint, [operation, kind]."""
        both = []
        for forward, *targets in zip(
            self.parts, self.labels.split(self.part), self.truth.split(self.part), strict=True
        ):
            logits = forward(weights)
            both.append(torch.stack([of_answers(logits, each) for each in targets]))
        by_label, by_truth = torch.cat(both, dim=-1)  # [loss and right, prompt] each
        means = [
            [
                (by_truth if name == "train recovered" else by_label)[:, those & kind].mean(dim=1)
                for name, kind in self.kinds.items()
            ]
            for those in self.operations.values()
        ]
        loss, accuracy = torch.stack([torch.stack(row) for row in means]).unbind(dim=-1)
        return {"loss": loss, "accuracy": accuracy}

    @property
    def bytes(self) -> int:
        """What it takes at work: the forward pass over a part, its logits and margins, and the plans of all parts."""
        spec, shape, n = self.spec, self.run.task.shape, len(self.labels)
        n_ctx, answers = shape.n_ctx, len(shape.positions)
        attended = spec.n_heads * n_ctx
        deeper = n_ctx * (4 * spec.d_model + 2 * spec.d_mlp + attended) * (spec.n_layers - 1)
        width = 4 * spec.d_model + 3 * spec.d_mlp + 4 * attended + deeper + 6 * answers * shape.d_vocab_out
        if answers > 1:  # every position has a key and a value of its own
            width += n_ctx * (4 * spec.d_model + 3 * attended) + answers * 3 * spec.d_mlp
        plans = 80 * n_ctx * spec.n_heads * spec.n_layers * n
        return 4 * min(n, self.part) * width + plans + 100 * n * answers + 3 * bytes_read(self.run)


def of_answers(
    logits: Float[Tensor, "prompt ... d_vocab_out"], targets: Int[Tensor, "prompt ..."]
) -> Float[Tensor, "loss_and_right prompt"]:
    """Loss of every prompt and whether it is answered rightly; of several answers the mean over those that can be known."""
    known = targets != IGNORED
    each = torch.stack(losses_and_right(logits.flatten(0, -2), targets.where(known, 0).flatten())).double()
    each = each.where(known.flatten(), 0).unflatten(1, (len(targets), -1))
    return each.sum(dim=-1) / known.view(len(targets), -1).sum(dim=-1)


COLOURS = {
    "train": figures.TRAIN,
    "train clean": figures.TRAIN,
    "train corrupted": figures.PALETTE[2],
    "train recovered": figures.PALETTE[1],
    "test": figures.TEST,
}


def draw(found: xr.Dataset) -> go.Figure:
    """Losses above accuracies, for all operations together and, where there are several, for each."""
    names = found["operation"].values
    heading = {ALL: ""} | {name: f", {name}" for name in names[1:]}
    titles = [f"{what}{heading[name]}" for name in names for what in ("loss", "accuracy")]
    figure = figures.panels(titles, heights=[3] * len(titles), title="What is learned when?")
    for number, name in enumerate(names):
        loss, accuracy = 2 * number + 1, 2 * number + 2
        for kind in found["examples"].values:
            here = found.sel(operation=name, examples=kind)
            figures.line(figure, here["loss"], kind, COLOURS[kind], loss)
            figures.line(figure, here["accuracy"], kind, COLOURS[kind], accuracy)
        figure.update_yaxes(title_text="loss (nats)", type="log", exponentformat="power", nticks=6, row=loss)
        figure.update_yaxes(title_text="accuracy", tickformat=".0%", range=[-0.02, 1.04], row=accuracy)
    return figures.mark_transition(figure, found)


def summarise(found: xr.Dataset) -> pd.DataFrame:
    """Accuracy of every part at each step, and where labels were corrupted the phase."""
    table = by_step(found)
    for name in found["operation"].values:
        for kind in found["examples"].values:
            label = kind if name == ALL else f"{name} {kind}"
            table[f"accuracy {label}"] = found["accuracy"].sel(operation=name, examples=kind).values
    if "train corrupted" in found["examples"].values:
        threshold = Options.model_validate_json(found.attrs["options"]).threshold
        above = found["accuracy"].sel(operation=ALL) >= threshold
        table["phase"] = [phase(dict(zip(found["examples"].values, row, strict=True))) for row in above.values]
    return table


def phase(above: Mapping[str, bool]) -> str:
    """By which kinds of example are learned: what is understood, and what becomes of the wrong labels."""
    if above["test"]:
        if above["train corrupted"]:
            return "coexistence"
        return "full inversion" if above["train recovered"] else "partial inversion"
    return "memorisation" if above["train clean"] and above["train corrupted"] else ""
