"""The square of prompts of a network from which parts can be taken out, and the parts of its rows that are computed at a time."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.base import DoesNotApply, once
from interp.models.network import Matrix
from interp.views.square import NeuronSquare

PART = 160_000
"""Logits computed at a time: they stay in the processor's cache until their loss is known."""


@dataclass(frozen=True)
class Ablatable(NeuronSquare):
    """The square of a network with neurons that tells what follows them, and whose embedding can be replaced."""

    def check(self) -> None:
        """Nothing; DoesNotApply when nothing is told of what follows the neurons, or the embedding cannot be replaced."""
        super().check()
        self.check_tail()
        if any(matrix.put is None for matrix, _ in self.operands):
            raise DoesNotApply(
                f"{self.run.path} is a model whose embedding is made of several weights ({self.run.config.model.about}); "
                f"{self.asked} needs one that can be replaced"
            )

    @once
    def operands(self) -> list[tuple[Matrix, Int[Tensor, " n"]]]:
        """For each operand with tokens of its own what embeds them, and the rows of its values in their order."""
        at, first = self.roles.embedding_at, (self.embeds, self.values)
        if at is None and not self.order.separate:
            return [first]
        of_b = self.embeds if at is None else at(self.order.position_of_b)
        return [first, (of_b, self.values + self.order.first_b)]

    @once
    def slices(self) -> list[slice]:
        """Rows of the square that are computed at a time, in order."""
        at_a_time = rows_at_a_time(self.n)
        return [slice(begin, begin + at_a_time) for begin in range(0, self.n**2, at_a_time)]

    @once
    def bags(self) -> list[tuple[Int[Tensor, " row"], Int[Tensor, " n"]]]:
        """For each of the slices, its rows in the order of their answers, and where each answer begins."""
        return [bag(self.answers[rows], self.n) for rows in self.slices]

    def sums_by_answer(self, values: Float[Tensor, "n*n width"]) -> Float[Tensor, "n width"]:
        """Sum of the rows that have the same answer."""
        return summed(values, bag(self.answers, self.n))


def rows_at_a_time(n: int) -> int:
    """Rows of n logits that are computed at a time."""
    return max(1, PART // n)


def bag(answers: Int[Tensor, " row"], n: int) -> tuple[Int[Tensor, " row"], Int[Tensor, " n"]]:
    """Rows in the order of their answers, and where each answer begins."""
    counts = torch.bincount(answers, minlength=n)
    return answers.argsort(stable=True), counts.cumsum(0) - counts


def summed(
    values: Float[Tensor, "row width"], of: tuple[Int[Tensor, " row"], Int[Tensor, " n"]]
) -> Float[Tensor, "n width"]:
    """Sum of the rows of each bag; embedding_bag is four times as fast as index_add."""
    rows, starts = of
    return torch.nn.functional.embedding_bag(rows, values, starts, mode="sum")
