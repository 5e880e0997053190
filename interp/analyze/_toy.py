"""What analyses of toy models share: where features and training examples lie among the hidden numbers, losses beside that of
answering 0, and in what several runs differ."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from interp import figures
from interp.base import UserError, once
from interp.config import flatten
from interp.models import ToySpec
from interp.models.reconstruct import ToyForward
from interp.store import Run
from interp.store.tensors import Tensors
from interp.tasks import SparseFeaturesTask

SOURCE = "Elhage et al. 2022, Toy Models of Superposition; Henighan et al. 2023, Superposition, Memorization, and Double Descent"


@dataclass(frozen=True)
class Toy:
    """A run of a toy model."""

    run: Run
    task: SparseFeaturesTask
    spec: ToySpec

    @staticmethod
    def of(run: Run) -> "Toy":
        """The run; DoesNotApply when its model is no toy."""
        return Toy(run, *run.toy)

    @property
    def n_examples(self) -> int:
        """Training examples; none of an endless stream, whose examples are trained on once."""
        return 0 if self.task.endless else self.task.n_train

    @once
    def examples(self) -> Float[Tensor, "n feature"]:
        """The training examples."""
        return torch.from_numpy(self.run.split.train.inputs[: self.n_examples])

    def features(self, weights: Tensors) -> Float[Tensor, "step feature d_hidden"]:
        """Where each feature points: its column of W."""
        return weights["W"].mT

    def hidden(self, weights: Tensors) -> Float[Tensor, "step n d_hidden"]:
        """What the model keeps of each training example."""
        forward = ToyForward(self.spec, self.examples.expand(len(weights["W"]), -1, -1))
        return forward.hidden(weights)

    def directions(self, weights: Tensors) -> dict[str, Float[Tensor, "step n d_hidden"]]:
        """Both, and where an untied model reads each feature, in float64; examples where there is a set of them."""
        found = {"features": self.features(weights)}
        found |= {} if self.spec.tied else {"features out": weights["W_out"].mT}
        found |= {"examples": self.hidden(weights)} if self.n_examples else {}
        return {name: V.double() for name, V in found.items()}

    @property
    def shapes(self) -> dict[str, tuple[int, int]]:
        """How many there are of each of these, in how many dimensions."""
        n, d = self.task.n_features, self.spec.d_hidden
        shapes = {"features": (n, d)} | ({} if self.spec.tied else {"features out": (n, d)})
        return shapes | ({"examples": (self.n_examples, d)} if self.n_examples else {})

    @property
    def bytes(self) -> int:
        """Of all of these in float64, for one checkpoint."""
        return 8 * sum(n * d for n, d in self.shapes.values())

    @property
    def beside(self) -> int:
        """Bytes of the training examples."""
        return 4 * self.n_examples * self.task.n_features

    def relative(self) -> dict[str, Float[np.ndarray, " step"]]:
        """Train and test loss at the checkpoints, ÷ that of answering 0 to the same examples."""
        history, split = self.run.history.reindex(self.run.steps), self.run.split
        zero = {"train": self.task.of_zero(split.train.inputs), "test": self.task.of_zero(split.test.inputs)}
        return {f"{name}_relative": history[f"{name}_loss"].to_numpy() / loss for name, loss in zero.items()}


RELATIVE = {
    "train_relative": {"long_name": "train loss ÷ that of answering 0", "units": "1"},
    "test_relative": {"long_name": "test loss ÷ that of answering 0", "units": "1"},
}


def relative_losses(figure: go.Figure, found: xr.Dataset, row: int = 1) -> None:
    """Train and test loss beside that of answering 0, which is 1."""
    for split, colour in (("train", figures.TRAIN), ("test", figures.TEST)):
        figures.line(figure, found[f"{split}_relative"], f"{split} loss", colour, row)
    figures.level(figure, 1, row)
    figure.update_yaxes(title_text="loss ÷ zero's", row=row, col=1)


AXES = {"task.examples": "training examples T"}
"""What fields are called on an axis."""


def swept(found: Sequence[xr.Dataset]) -> pd.DataFrame:
    """A row for each run: the fields other than seeds in which the runs differ."""
    configs = [flatten(json.loads(each.attrs["config"])) for each in found]
    names = dict.fromkeys(name for config in configs for name in config)
    differ = [
        name
        for name in names
        if not name.startswith(("seeds.", "name")) and len({str(config.get(name)) for config in configs}) > 1
    ]
    return pd.DataFrame([{name: plain(config.get(name)) for name in differ} for config in configs])


def plain(value: Any) -> Any:
    """A value that can be grouped by."""
    return str(value) if isinstance(value, list) else value


def the_number(found: Sequence[xr.Dataset]) -> str:
    """The one field in which the runs differ, seeds apart.

    Raises:
        UserError: they differ in no number, or in several fields.
    """
    fields = swept(found)
    if len(fields.columns) != 1 or not pd.api.types.is_numeric_dtype(fields.iloc[:, 0]):
        raise UserError(
            f"the runs differ in {', '.join(fields.columns) or 'seeds alone'}; a figure over runs needs one field that is a "
            "number, such as task.examples"
        )
    return str(fields.columns[0])
