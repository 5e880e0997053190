"""What runs that learn side by side are given: prompts with answers, or vectors to give back. Each run for itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from interp.base import IGNORED
from interp.config import RunConfig
from interp.maths.losses import cross_entropy, stablemax_cross_entropy
from interp.models import ToySpec, TransformerSpec
from interp.models.dense import DenseForward, forward_over
from interp.models.reconstruct import SPARSE, SparseError, SparseVectors, ToyForward, Weights
from interp.models.shared import SharedForward
from interp.tasks import Examples, SparseFeaturesTask

CHUNK = 32_768
"""Prompts of a few tokens, of all runs, that are evaluated at a time: bounds memory for large tables and many runs."""

LARGE = 200_000
"""Numbers in the vectors of all runs from which the closed form of their error is worth its many small steps."""


@dataclass(frozen=True)
class Prompts:
    """Prompts of each run with their answers, and the forward pass planned for them.

    Runs with fewer prompts than others are filled up with their last, and answers that do not count.
    """

    targets: Tensor
    """[runs, n], or [runs, n, answers] where a prompt has several; IGNORED where there is none, or a row only fills up."""
    forward: SharedForward | DenseForward
    config: RunConfig
    """Of one of the runs: what all have in common."""

    @staticmethod
    def of(examples: Sequence[Examples], config: RunConfig, device: torch.device, apart: bool = False) -> "Prompts":
        """Examples of each run, on a device; each with states of its own, as dropout needs, or with those that it shares."""
        longest = max(examples, key=len)
        row = np.arange(len(longest))
        filled = [each[np.minimum(row, len(each) - 1)] if len(each) else longest for each in examples]
        inputs, targets = np.stack([each.inputs for each in filled]), np.stack([each.targets for each in filled])
        targets[np.stack([row >= len(each) for each in examples])] = IGNORED
        tokens = torch.from_numpy(inputs).to(device)
        assert isinstance(config.model, TransformerSpec)
        forward = forward_over(config.model, config.task.shape, tokens, config.train.precision, apart)
        return Prompts(torch.from_numpy(targets).to(device), forward, config)

    @cached_property
    def counted(self) -> Tensor:
        """How many answers each run has, [runs]."""
        return (self.targets != IGNORED).flatten(1).sum(dim=1)

    @property
    def n(self) -> int:
        """Prompts of a run."""
        return self.targets.shape[1]

    @property
    def places(self) -> int:
        """How often something is added to the residual stream of each."""
        return self.forward.places

    def objective(self, weights: Weights, factors: Tensor | None = None) -> Tensor:
        """What each run minimises, the mean over its answers, [runs]."""
        train, logits = self.config.train, self.forward(weights, factors)
        loss = {"cross_entropy": cross_entropy, "stablemax": stablemax_cross_entropy}[train.loss]
        answers, dtype = self.targets.flatten(1), getattr(torch, train.loss_precision)
        return loss(logits.flatten(1, -2), answers, train.label_smoothing, dtype)

    def means(self, weights: Weights) -> Tensor:
        """Loss (nats) and accuracy of each run, [2, runs]."""
        task, logits = self.config.task, self.forward(weights)
        return torch.stack([task.loss(logits, self.targets), task.accuracy(logits, self.targets)])


@dataclass(frozen=True)
class Vectors:
    """Vectors of each run that are to be given back. Runs with fewer than others are filled up with zeros that do not count."""

    forward: ToyForward
    filled: Tensor
    """1 for a vector, 0 for a row that only fills up: [runs, n]."""
    importance: Tensor
    """[runs, feature]."""
    mean_over_features: bool

    @staticmethod
    def of(
        examples: Sequence[Examples], configs: Sequence[RunConfig], device: torch.device, dtype: torch.dtype
    ) -> "Vectors":
        """Examples of each run, on a device."""
        spec, tasks = configs[0].model, [config.task for config in configs]
        assert isinstance(spec, ToySpec)
        longest, width = max(map(len, examples)), configs[0].task.shape.d_vocab
        vectors = torch.zeros(len(examples), longest, width, dtype=dtype)
        for row, each in zip(vectors, examples, strict=True):
            row[: len(each)] = torch.from_numpy(each.inputs)
        importance = [task.importances for task in tasks if isinstance(task, SparseFeaturesTask)]
        filled = torch.arange(longest) < torch.tensor([len(each) for each in examples])[:, None]
        return Vectors(
            ToyForward(spec, vectors.to(device)),
            filled.to(device, dtype),
            torch.from_numpy(np.stack(importance)).to(device, dtype),
            configs[0].train.loss_reduction == "mean",
        )

    n, places = 0, 0
    """Nothing is drawn for each of them."""

    @cached_property
    def counted(self) -> Tensor:
        """How many vectors each run has, [runs]."""
        return self.filled.sum(dim=1).long()

    @cached_property
    def sparse(self) -> SparseVectors | None:
        """The same for the closed form of the error, where that is sooner done."""
        spec, vectors = self.forward.spec, self.forward.vectors
        simple = spec.tied and spec.hidden == "none" and spec.output == "relu" and not vectors.is_cuda
        if not simple or vectors.numel() < LARGE or vectors.count_nonzero() > SPARSE * vectors.numel():
            return None
        return SparseVectors.of(vectors, self.filled, self.importance)

    def errors(self, weights: Weights) -> Tensor:
        """Σ I·(x − x')², the mean over each run's vectors, [runs], float64."""
        if self.sparse is not None:
            error: Tensor = SparseError.apply(weights["W"], weights["b"], self.sparse)  # type: ignore[assignment]
            return error / self.counted
        squares = (self.forward(weights) - self.forward.vectors).square() * self.importance[:, None]
        return (squares.sum(dim=-1).double() * self.filled).sum(dim=-1) / self.counted

    def objective(self, weights: Weights, factors: Tensor | None = None) -> Tensor:
        """What each run minimises: the error, or its mean over features."""
        assert factors is None
        return self.errors(weights) / (self.forward.vectors.shape[2] if self.mean_over_features else 1)

    def means(self, weights: Weights) -> Tensor:
        """The error, and no accuracy, of each run: [2, runs]."""
        error = self.errors(weights)
        return torch.stack([error, torch.full_like(error, torch.nan)])


Given = Prompts | Vectors


def given(
    examples: Sequence[Examples], configs: Sequence[RunConfig], device: torch.device, apart: bool = False
) -> Given:
    """Examples of each run, as its kind of task has them."""
    if configs[0].task.shape.kind == "vectors":
        dtype = torch.float64 if configs[0].train.precision == "float64" else torch.float32
        return Vectors.of(examples, configs, device, dtype)
    return Prompts.of(examples, configs[0], device, apart)


def in_parts(examples: Sequence[Examples], configs: Sequence[RunConfig], device: torch.device) -> list[Given]:
    """The same in parts of at most CHUNK prompts of a few tokens, of all runs."""
    size, most = max(1, CHUNK // size_of_prompt(configs[0]) // len(examples)), max(map(len, examples))
    parts = [[each[slice(begin, begin + size)] for each in examples] for begin in range(0, most, size)]
    return [given(part, configs, device) for part in parts]


def size_of_prompt(config: RunConfig) -> int:
    """How many prompts of a few tokens, as tables have, one of the task's is as large as."""
    shape = config.task.shape
    return max(1, shape.n_ctx // 3, shape.d_vocab // 128 if shape.kind == "vectors" else 0)
