"""The objective of tasks with right answers among classes: cross-entropies, or a squared error, and an accuracy."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from math import gcd

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.base import IGNORED
from interp.config import RunConfig
from interp.maths.losses import (
    accuracy,
    cross_entropy,
    errors_and_right,
    losses_and_right,
    one_hot_error,
    stablemax_cross_entropy,
)
from interp.models.network import Forward, Weights, effective, over
from interp.recipe import TrainConfig
from interp.tasks import Examples


def minimised_cross_entropy(
    logits: Float[Tensor, "runs n answer"], targets: Int[Tensor, "runs n"], train: TrainConfig
) -> Float[Tensor, " runs"]:
    """Mean cross-entropy of the softmax, nats."""
    return cross_entropy(logits, targets, train.label_smoothing, getattr(torch, train.loss_precision))


def minimised_stablemax(
    logits: Float[Tensor, "runs n answer"], targets: Int[Tensor, "runs n"], train: TrainConfig
) -> Float[Tensor, " runs"]:
    """Mean cross-entropy of StableMax, nats."""
    return stablemax_cross_entropy(logits, targets, train.label_smoothing, getattr(torch, train.loss_precision))


def minimised_squared_error(
    outputs: Float[Tensor, "runs n answer"], targets: Int[Tensor, "runs n"], train: TrainConfig
) -> Float[Tensor, " runs"]:
    """Mean squared distance to the right answer's one-hot vector: summed, or averaged, over answers."""
    error = one_hot_error(outputs, targets, getattr(torch, train.loss_precision))
    return error / (outputs.shape[-1] if train.loss_reduction == "mean" else 1)


LOSSES: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    "cross_entropy": (minimised_cross_entropy, cross_entropy),
    "stablemax": (minimised_stablemax, cross_entropy),
    "squared_error": (minimised_squared_error, one_hot_error),
}
"""Losses by `train.loss`: the one that is minimised; and the one that is logged, in float64, without what only helps training."""

EACH: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "nats": losses_and_right,
    "squared error": errors_and_right,
}
"""Loss of every prompt, and whether it is answered rightly (1) or not (0); by the units of the losses in a history."""


@dataclass(frozen=True)
class Answers:
    """Prompts of each run with their right answers, and the forward pass planned for them.

    Runs with fewer prompts than others are padded with copies of their last prompt, whose answers do not count.
    """

    targets: Int[Tensor, "runs n *answers"]
    """Right answers, several if a prompt has several; IGNORED where there is none, and in padding."""
    forward: Forward
    train: TrainConfig
    """Training configuration of one of the runs, for what all runs have in common."""
    temperatures: Float[Tensor, "runs 1 1"] | None = None
    """Temperature of each run's outputs; None if all are 1."""
    norms: Mapping[str, float] = field(default_factory=dict)
    """Norms of the weights of which only directions count."""

    @staticmethod
    def of(
        examples: Sequence[Examples], configs: Sequence[RunConfig], device: torch.device, apart: bool = False
    ) -> "Answers":
        """The objective over examples of each run, on a device."""
        longest, config = max(examples, key=len), configs[0]
        row = np.arange(len(longest))
        filled = [filled_up(each, longest) for each in examples]
        sets = filled[:: served(examples)] if config.model.shares_inputs else filled
        # Of one set no copy: mini-batches are large.
        inputs = sets[0].inputs[None] if len(sets) == 1 else np.stack([each.inputs for each in sets])
        targets = np.stack([each.targets for each in filled])
        targets[np.stack([row >= len(each) for each in examples])] = IGNORED
        given = torch.from_numpy(inputs)
        if given.is_floating_point() and config.train.precision == "float64":
            given = given.double()
        forward = over(config.model, config.task.shape, given.to(device), config.train.precision, apart)
        norms = config.model.fixed_norms(config.task.shape)
        answers = torch.from_numpy(targets).to(device)
        return Answers(answers, forward, config.train, temperatures(configs, device), norms)

    @cached_property
    def counted(self) -> Int[Tensor, " runs"]:
        """Number of answers of each run."""
        return (self.targets != IGNORED).flatten(1).sum(dim=1)

    @property
    def n(self) -> int:
        """Number of prompts of a run, padding included."""
        return self.targets.shape[1]

    @property
    def places(self) -> int:
        """Number of additions to the residual stream of each prompt, over layers and positions."""
        return self.forward.places

    @property
    def width(self) -> int:
        """Numbers that are added at each of these places."""
        return self.forward.width

    def minimised(self, weights: Weights, factors: Tensor | None = None) -> Float[Tensor, " runs"]:
        """Objective that each run minimises: mean over its answers. `factors` are those of dropout."""
        return self.minimised_of(self.outputs(weights, factors))

    def learning(
        self, weights: Weights, factors: Tensor | None = None
    ) -> tuple[Float[Tensor, " runs"], dict[str, Tensor]]:
        """That objective as an update of training computes it, and the buffers as they are after it."""
        outputs, buffers = self.forward.learning(effective(weights, self.norms), factors)
        return self.minimised_of(self.read(outputs)), buffers

    def minimised_of(self, outputs: Float[Tensor, "runs n answer"]) -> Float[Tensor, " runs"]:
        """Objective that each run minimises, if these come out."""
        loss, _ = LOSSES[self.train.loss]
        return loss(outputs, self.targets.flatten(1), self.train)

    def outputs(self, weights: Weights, factors: Tensor | None = None) -> Float[Tensor, "runs n answer"]:
        """Outputs wherever an answer is read, divided by each run's temperature."""
        return self.read(self.forward(effective(weights, self.norms), factors))

    def read(self, outputs: Float[Tensor, "runs n ..."]) -> Float[Tensor, "runs n answer"]:
        """What comes out of the network in one row for each answer, divided by each run's temperature."""
        outputs = outputs.flatten(1, -2)
        return outputs if self.temperatures is None else outputs / self.temperatures

    def logged(self, weights: Weights) -> Float[Tensor, "2 runs"]:
        """Mean loss and accuracy of each run."""
        return self.of_outputs(self.outputs(weights))

    def of_outputs(self, outputs: Float[Tensor, "runs n answer"]) -> Float[Tensor, "2 runs"]:
        """Mean loss and accuracy of each run, if these come out."""
        _, loss = LOSSES[self.train.loss]
        targets = self.targets.flatten(1)
        return torch.stack([loss(outputs, targets), accuracy(outputs, targets)])


def served(examples: Sequence[Examples]) -> int:
    """Largest number of runs such that, counted off by it, neighbours have one set of examples between them."""
    return gcd(*(len(list(same)) for _, same in groupby(examples, key=id)))


def filled_up(examples: Examples, longest: Examples) -> Examples:
    """The examples with copies of the last one up to the number of `longest`; of no examples, the longest ones."""
    if len(examples) == len(longest):  # no copy: mini-batches are copied at every update
        return examples
    return examples[np.minimum(np.arange(len(longest)), len(examples) - 1)] if len(examples) else longest


def temperatures(configs: Sequence[RunConfig], device: torch.device) -> Float[Tensor, "runs 1 1"] | None:
    """Temperature of each run's outputs; None if all are 1."""
    each = [config.train.output_temperature for config in configs]
    precision = torch.float64 if configs[0].train.precision == "float64" else torch.float32
    return None if set(each) == {1.0} else torch.tensor(each, dtype=precision, device=device)[:, None, None]
