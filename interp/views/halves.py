"""A run whose training and test examples are known: what comes out over each, and what it costs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.base import IGNORED, DoesNotApply, once
from interp.models.network import Weights
from interp.objective import Objective
from interp.views.landscape import Landscape
from interp.views.walk import bytes_read

Half = Literal["train", "test"]

HALVES: tuple[Half, Half] = ("train", "test")


@dataclass(frozen=True)
class Halves(Landscape):
    """A run with examples to train on and examples to test on, of any family and task."""

    def check(self) -> None:
        """Nothing; DoesNotApply when files of others leave open which examples were trained on, or there are none to test on."""
        super().check()
        if not len(self.run.split.test):
            raise DoesNotApply(f"{self.run.path} has no examples to test on; {self.asked} needs some")

    @property
    def has_answers(self) -> bool:
        """Whether the task has right answers among classes."""
        return self.run.task.shape.outputs.kind == "classes"

    @once
    def objectives(self) -> Mapping[str, Objective]:
        """What is logged over each half."""
        return {half: self.over(self.parts[half]).objective for half in HALVES}

    @once
    def targets(self) -> Mapping[str, Int[Tensor, " answer"]]:
        """Every answer of each half's examples in order, as it is trained on; IGNORED where there is none."""
        return {half: torch.from_numpy(self.parts[half].targets).flatten() for half in HALVES}

    @once
    def known(self) -> Mapping[str, Int[Tensor, " some"]]:
        """Which of the outputs of each half count: of those with answers, where there is one."""
        if self.has_answers:
            return {half: (targets != IGNORED).nonzero()[:, 0] for half, targets in self.targets.items()}
        return {half: torch.arange(len(self.parts[half])) for half in HALVES}

    def outputs(self, half: str, weights: Weights) -> Float[Tensor, "1 answer n"]:
        """What the loss over a half receives, one row for each of its answers: ÷ the temperature, if the run has one."""
        return self.objectives[half].outputs({name: tensor[None] for name, tensor in weights.items()})

    @property
    def bytes_of_outputs(self) -> int:
        """Bytes that the outputs of one half take at most, with some copies of them in float64."""
        shape = self.run.task.shape
        answers = int(np.prod(self.parts["test"].targets.shape[1:])) if self.has_answers else 1
        n = max(len(self.parts[half]) for half in HALVES)
        both = sum(len(self.parts[half]) for half in HALVES)
        cost = self.run.config.model.cost(shape)
        return cost.bytes(n) + 4 * cost.plan * both + 40 * answers * shape.outputs.n * n + 3 * bytes_read(self.run)
