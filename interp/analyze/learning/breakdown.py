"""Loss and accuracy by kind of example: what is learned when, of wrong labels, of each operation, of mirrored pairs?"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Bool, Float, Int, Shaped
from pydantic import Field
from torch import Tensor

from interp import figures
from interp.base import once
from interp.maths.curves import IN_A_ROW, reached
from interp.measurement import AnalysisOptions, Var, Variables, by_step, dataset
from interp.models.network import Weights
from interp.tasks import Examples
from interp.views.answers import Answered, Kinds, part_of_prompts
from interp.views.walk import bytes_read, each_checkpoint

PART = 1 << 15
"""Prompts of a few tokens that are answered at a time, at most: bounds memory for large tables."""

MIRROR_SEEN, MIRROR_NOT_SEEN = "test, mirror seen", "test, mirror not seen"
"""Test examples of a symmetric operation, by whether the mirrored pair is in the training set, with whatever label."""

ALL = "all"
"""The operations together: whatever the operation is."""


class Options(AnalysisOptions):
    """What counts as learned."""

    threshold: float = Field(default=0.99, gt=0, le=1)
    """Accuracy that counts as learned."""
    in_a_row: int = Field(default=IN_A_ROW, ge=1)
    """Checkpoints in view one after another that must have it."""


VARIABLES: Variables = {
    "loss": Var("step operation examples", "loss", "{loss_units}"),
    "accuracy": Var("step operation examples", "accuracy", "1"),
    "learned": Var("operation examples", "checkpoint at which it is learned", "optimiser updates"),
}


def measure(seen: Kinds, options: Options) -> xr.Dataset:
    """Loss and accuracy on each kind of example, of each operation and of all, and the checkpoint from which it is learned.

    Not learned is NaN, and so is everything of an operation that has no such examples.
    """
    run, kinds = seen.run, KindsOfExample(seen)
    found = each_checkpoint(run, kinds.means, needs=kinds.bytes)
    steps = np.array(run.steps)
    learned = [
        [reached(steps, curve, options.threshold, options.in_a_row).step for curve in kind]
        for kind in found["accuracy"].T
    ]
    return dataset(
        run,
        options,
        found | {"learned": np.array(learned).T},
        VARIABLES,
        coords={
            "operation": list(kinds.operations),
            "examples": list(kinds.kinds),
            "count": (("operation", "examples"), kinds.counts, {"long_name": "examples"}),
        },
        definition="train clean: training examples with the right label; train corrupted: those with a wrong one, against that "
        "label; train recovered: the same examples against the right answer; test, mirror seen: test examples x ∘ y of a "
        "symmetric operation whose y ∘ x is in the training set, and not seen: the others, x ∘ x too; learned: first of "
        f"{options.in_a_row} checkpoints in view in a row whose accuracy is {options.threshold:.4g} or more. "
        "Phases in the summary, by the same threshold: coexistence, "
        "test and train corrupted above it; full inversion, test and train recovered; partial inversion, test and neither; "
        "memorisation, train clean and train corrupted without test",
        source="corrupted labels: Power et al. 2022 (arXiv 2201.02177), figure 6; names of the phases: Doshi et al. 2023 (arXiv "
        "2310.13061), thresholds as defined here",
    )


@dataclass(frozen=True)
class KindsOfExample:
    """All examples of a run, first those to train on and then those to test on, by operation and kind."""

    seen: Kinds

    @once
    def labels(self) -> Int[Tensor, "n ..."]:
        """The answers as they are trained."""
        split = self.seen.run.split
        return torch.from_numpy(np.concatenate([split.train.targets, split.test.targets]))

    @once
    def truth(self) -> Int[Tensor, "n ..."]:
        """The right answers."""
        split = self.seen.run.split
        return torch.from_numpy(np.concatenate([split.true_targets, split.test.targets]))

    @once
    def answered(self) -> Answered:
        """The network over them."""
        split = self.seen.run.split
        inputs = np.concatenate([split.train.inputs, split.test.inputs])
        return self.seen.over(Examples(inputs, self.labels.numpy()), part_of_prompts(inputs, PART))

    @once
    def kinds(self) -> dict[str, Bool[Tensor, " n"]]:
        """Which examples are of each kind."""
        split = self.seen.run.split
        train = torch.arange(len(self.labels)) < len(split.train)
        if not self.seen.run.config.corruption:
            return {"train": train, "test": ~train, **self.mirrored(~train)}
        wrong = train & torch.from_numpy(np.pad(split.corrupted, (0, len(split.test))))
        return {
            "train clean": train & ~wrong,
            "train corrupted": wrong,
            "train recovered": wrong,
            "test": ~train,
            **self.mirrored(~train),
        }

    def mirrored(self, test: Bool[Tensor, " n"]) -> dict[str, Bool[Tensor, " n"]]:
        """Which test examples x ∘ y have y ∘ x in the training set, and which have not; nothing unless the two are equal."""
        mirror = self.seen.run.task.mirrored()
        if mirror is None:
            return {}
        learned = np.isin(mirror, self.seen.run.split.train_index)
        seen, known = (torch.from_numpy(self.in_order(rows)) for rows in (learned, mirror >= 0))
        return {MIRROR_SEEN: test & known & seen, MIRROR_NOT_SEEN: test & known & ~seen}

    def in_order(self, rows: Shaped[np.ndarray, " row"]) -> Shaped[np.ndarray, " n"]:
        """What is known of the rows of the table, first of those to train on and then of those to test on."""
        train_index = self.seen.run.split.train_index
        return np.concatenate([rows[train_index], np.delete(rows, train_index)])

    @once
    def operations(self) -> dict[str, Bool[Tensor, " n"]]:
        """Which examples are of each operation, and of any."""
        found = {ALL: torch.ones(len(self.labels), dtype=torch.bool)}
        which = self.seen.run.task.part_of_rows()
        if which is None:
            return found
        which = torch.from_numpy(self.in_order(which))
        return found | {name: which == number for number, name in enumerate(self.seen.parts)}

    @property
    def counts(self) -> list[list[int]]:
        """How many examples of each kind there are, by operation."""
        return [[int((those & kind).sum()) for kind in self.kinds.values()] for those in self.operations.values()]

    def means(self, weights: Weights) -> dict[str, Tensor]:
        """Mean loss and accuracy of one checkpoint, [operation, kind]."""
        each = list(self.answered.each(weights, self.labels, self.truth))
        by_label, by_truth = (self.of_prompts(torch.cat(parts, dim=1)) for parts in zip(*each, strict=True))
        means = [
            [
                (by_truth if name == "train recovered" else by_label)[:, those & kind].mean(dim=1)
                for name, kind in self.kinds.items()
            ]
            for those in self.operations.values()
        ]
        loss, accuracy = torch.stack([torch.stack(row) for row in means]).unbind(dim=-1)
        return {"loss": loss, "accuracy": accuracy}

    def of_prompts(self, answers: Float[Tensor, "loss_and_right n answers"]) -> Float[Tensor, "loss_and_right n"]:
        """Loss of every prompt and whether it is answered rightly; of several answers the mean over those that can be known."""
        return answers.sum(dim=-1) / self.answered.known.sum(dim=-1)

    @property
    def bytes(self) -> int:
        """Bytes that a checkpoint takes at work."""
        return self.answered.bytes + 3 * bytes_read(self.seen.run)


COLOURS = {
    "train": figures.TRAIN,
    "train clean": figures.TRAIN,
    "train corrupted": figures.PALETTE[2],
    "train recovered": figures.PALETTE[1],
    "test": figures.TEST,
    MIRROR_SEEN: figures.PALETTE[0],
    MIRROR_NOT_SEEN: figures.PALETTE[3],
}


def draw(found: xr.Dataset) -> go.Figure:
    """Losses above accuracies, for all operations together and, where there are several, for each."""
    names = found["operation"].values
    heading = {ALL: ""} | {name: f", {name}" for name in names[1:]}
    titles = [f"{what}{heading[name]}" for name in names for what in ("loss", "accuracy")]
    figure = figures.panels(titles, heights=[3] * len(titles), title="What is learned when?")
    units = found["loss"].attrs["units"]
    for number, name in enumerate(names):
        loss, accuracy = 2 * number + 1, 2 * number + 2
        for kind in found["examples"].values:
            here = found.sel(operation=name, examples=kind)
            figures.line(figure, here["loss"], kind, COLOURS[kind], loss)
            figures.line(figure, here["accuracy"], kind, COLOURS[kind], accuracy)
        figure.update_yaxes(title_text=f"loss ({units})", type="log", exponentformat="power", nticks=6, row=loss)
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
    """The phase, by which kinds of example are learned: what is understood, and what becomes of the wrong labels."""
    if above["test"]:
        if above["train corrupted"]:
            return "coexistence"
        return "full inversion" if above["train recovered"] else "partial inversion"
    return "memorisation" if above["train clean"] and above["train corrupted"] else ""
