"""The objective of tasks that reconstruct vectors: a squared error, and no accuracy."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.config import RunConfig
from interp.models.network import ClosedError, Forward, Weights, over
from interp.tasks import Examples


@dataclass(frozen=True)
class Vectors:
    """Vectors of each run with their targets. Runs with fewer than others are padded with zeros that do not count."""

    forward: Forward
    targets: Float[Tensor, "runs n output"]
    filled: Float[Tensor, "runs n"]
    """Mask: 1 for a vector, 0 for padding."""
    importance: Float[Tensor, "runs output"]
    mean_over_outputs: bool

    @staticmethod
    def of(
        examples: Sequence[Examples], configs: Sequence[RunConfig], device: torch.device, apart: bool = False
    ) -> "Vectors":
        """The objective over examples of each run, on a device."""
        config = configs[0]
        dtype = torch.float64 if config.train.precision == "float64" else torch.float32
        inputs = stacked([each.inputs for each in examples], dtype).to(device)
        same = all(each.targets is each.inputs for each in examples)
        filled = torch.arange(inputs.shape[1]) < torch.tensor([len(each) for each in examples])[:, None]
        return Vectors(
            over(config.model, config.task.shape, inputs, config.train.precision),
            inputs if same else stacked([each.targets for each in examples], dtype).to(device),
            filled.to(device, dtype),
            torch.from_numpy(np.stack([each.task.importances for each in configs])).to(device, dtype),
            config.train.loss_reduction == "mean",
        )

    @property
    def n(self) -> int:
        """Number of vectors of a run for which something is drawn: 0, since there is no dropout."""
        return 0

    @property
    def places(self) -> int:
        """Number of additions to a residual stream: 0."""
        return 0

    @property
    def width(self) -> int:
        """Numbers that are added at each place: 0."""
        return 0

    @cached_property
    def counted(self) -> Int[Tensor, " runs"]:
        """Number of vectors of each run."""
        return self.filled.sum(dim=1).long()

    @cached_property
    def closed(self) -> ClosedError | None:
        """The error in closed form; None if the family has none that is faster."""
        return self.forward.closed_error(self.targets, self.filled, self.importance)

    def errors(self, weights: Weights) -> Float[Tensor, " runs"]:
        """Mean error Σ I·(x − x')² over each run's vectors, float64."""
        if self.closed is not None:
            return self.closed(weights) / self.counted
        return self.errors_of(self.outputs(weights))

    def outputs(self, weights: Weights) -> Float[Tensor, "runs n output"]:
        """What the network gives for each vector."""
        return self.forward(weights)

    def errors_of(self, outputs: Float[Tensor, "runs n output"]) -> Float[Tensor, " runs"]:
        """Mean error of each run, if these come out, float64."""
        squares = (outputs - self.targets).square() * self.importance[:, None]
        return (squares.sum(dim=-1).double() * self.filled).sum(dim=-1) / self.counted

    def minimised(self, weights: Weights, factors: Tensor | None = None) -> Float[Tensor, " runs"]:
        """Objective that each run minimises: the error, or its mean over the numbers of the output."""
        return self.errors(weights) / self.reduced

    def learning(
        self, weights: Weights, factors: Tensor | None = None
    ) -> tuple[Float[Tensor, " runs"], dict[str, Tensor]]:
        """That objective as an update of training computes it, and the buffers as they are after it."""
        if self.closed is not None:
            return self.minimised(weights), {}
        outputs, buffers = self.forward.learning(weights)
        return self.errors_of(outputs) / self.reduced, buffers

    @property
    def reduced(self) -> int:
        """Number by which an error is divided where its mean over the numbers of the output is minimised; otherwise 1."""
        return self.targets.shape[2] if self.mean_over_outputs else 1

    def logged(self, weights: Weights) -> Float[Tensor, "2 runs"]:
        """Mean error and, for accuracy, NaN of each run."""
        return with_no_accuracy(self.errors(weights))

    def of_outputs(self, outputs: Float[Tensor, "runs n output"]) -> Float[Tensor, "2 runs"]:
        """Mean error and, for accuracy, NaN of each run, if these come out."""
        return with_no_accuracy(self.errors_of(outputs))


def with_no_accuracy(error: Float[Tensor, " runs"]) -> Float[Tensor, "2 runs"]:
    """Errors of runs, with NaN for accuracies."""
    return torch.stack([error, torch.full_like(error, torch.nan)])


def stacked(vectors: Sequence[Float[np.ndarray, "n width"]], dtype: torch.dtype) -> Float[Tensor, "runs n width"]:
    """Vectors of all runs as one tensor; shorter sets are padded with zeros."""
    stack = torch.zeros(len(vectors), max(map(len, vectors)), vectors[0].shape[1], dtype=dtype)
    for row, each in zip(stack, vectors, strict=True):
        row[: len(each)] = torch.from_numpy(each)
    return stack
