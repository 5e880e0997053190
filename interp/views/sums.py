"""A run whose table is one of unordered pairs: codes of the symbols, whose sums should tell the answers."""

from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from interp.base import DoesNotApply, once
from interp.maths.parallelograms import Pairs
from interp.models.network import Weights
from interp.views.view import Checkpoints


@dataclass(frozen=True)
class Sums(Checkpoints):
    """A run on a table of x ∘ y = y ∘ x whose operands share their tokens, of a network that embeds them."""

    def check(self) -> None:
        """Nothing; DoesNotApply when the task is no such table, or the network embeds no token."""
        _ = self.pairs, self.embeds
        super().check()

    @once
    def pairs(self) -> Pairs:
        """Unordered pairs with their answers as they are trained; DoesNotApply when answers depend on the order."""
        task = self.run.task
        table = task.shared_operands()
        if table is None:
            raise DoesNotApply(
                f"{self.run.path} was trained on {task.about}; {self.asked} needs a table whose operands share their tokens"
            )
        trained = np.ones(len(table[0]), dtype=bool)
        with suppress(DoesNotApply):  # files of others do not tell
            trained = np.isin(np.arange(len(trained)), self.run.split.train_index)
        try:
            return Pairs.of(*table, trained)
        except ValueError as fault:
            raise DoesNotApply(
                f"{self.run.path} was trained on {task.about}, where {fault}; {self.asked} needs the same"
            ) from None

    def codes(self, weights: Weights) -> Float[Tensor, "*step symbol d"]:
        """W_E, a row for each value of the operands."""
        return self.embeds.of(weights)
