"""A run whose examples are followed one by one: which are answered rightly, of which class, value and mirrored pair."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from interp.base import DoesNotApply, once
from interp.models.network import Weights
from interp.tasks import Examples
from interp.views.answers import Answered, Answers, part_of_prompts

PART = 1 << 15
"""Prompts of a few tokens that are answered at a time, at most."""


@dataclass(frozen=True)
class EachExample(Answers):
    """A run that learns right answers: its examples, first those to train on and then those to test on."""

    def check(self) -> None:
        """Nothing; DoesNotApply when the run is a path, on which nothing is learned, or has no right answers."""
        if self.run.between is not None:
            raise DoesNotApply(f"{self.run.path} is a path between two networks; {self.asked} needs a run that learns")
        super().check()

    @once
    def truth(self) -> Int[np.ndarray, "n ..."]:
        """The right answers, whatever labels were trained."""
        return np.concatenate([self.run.split.true_targets, self.run.split.test.targets])

    @once
    def trained(self) -> Bool[np.ndarray, " n"]:
        """Which examples are to train on."""
        return np.arange(len(self.truth)) < len(self.run.split.train)

    @once
    def answered(self) -> Answered:
        """The network over them."""
        split = self.run.split
        inputs = np.concatenate([split.train.inputs, split.test.inputs])
        return self.over(Examples(inputs, self.truth), part_of_prompts(inputs, PART))

    def right(self, weights: Weights) -> Bool[Tensor, " n"]:
        """Which examples are answered rightly: where there are several answers, all of them."""
        right = torch.cat([some[1] for (some,) in self.answered.each(weights)])
        return right.sum(dim=1) == self.answered.known.sum(dim=1)

    @once
    def classes_of(self) -> Int[np.ndarray, " n"] | None:
        """The right answer of each example; None where examples have several."""
        return self.truth if self.truth.ndim == 1 else None

    @once
    def values(self) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]] | None:
        """x and y of each example of a table of x ∘ y; None of other tasks."""
        found = self.run.task.values_of_rows()
        return None if found is None else (found[0][self.rows], found[1][self.rows])

    @once
    def rows(self) -> Int[np.ndarray, " n"]:
        """The row of each example in the task's table."""
        train = self.run.split.train_index
        return np.concatenate([train, np.delete(np.arange(len(self.truth)), train)])

    @once
    def mirrored_pairs(self) -> tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"]] | None:
        """Both examples of each pair x ∘ y = y ∘ x with x ≠ y, once; None where the operation is not symmetric."""
        mirror = self.run.task.mirrored()
        if mirror is None:
            return None
        place = np.argsort(self.rows)
        one = np.flatnonzero(mirror > np.arange(len(mirror)))
        return place[one], place[mirror[one]]
