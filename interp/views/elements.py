"""A run whose table is composition in a group: its network over all pairs of elements, in the order of the group."""

from contextlib import suppress
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.base import DoesNotApply, once
from interp.models.network import Weights
from interp.objective.classes import LOSSES
from interp.tasks import Composition
from interp.views.prompts import Prompts
from interp.views.residues import Spectrum

AT_ONCE = 1 << 23
"""Most outputs, over pairs and answers, that are computed at a time; bounds memory for large groups."""


@dataclass(frozen=True)
class Elements(Spectrum):
    """A run on composition in a group, of a network with neurons that tells what follows them."""

    def check(self) -> None:
        """Nothing; DoesNotApply when the task is no composition, or there are no such neurons."""
        _ = self.composition, self.neurons, self.embeds, self.unembeds
        self.check_tail()
        self.run.with_checkpoints()

    @once
    def composition(self) -> Composition:
        """The table as composition; DoesNotApply when it is none."""
        found = self.run.task.composition()
        if found is None:
            raise DoesNotApply(
                f"{self.run.path} {self.run.task.no_composition()}; {self.asked} needs composition in a group, "
                "such as x + y mod p, or x · y on the elements of one"
            )
        return found

    @property
    def n(self) -> int:
        """Elements of the group."""
        return len(self.composition.table)

    @once
    def values(self) -> Int[Tensor, " n"]:
        """The answer that stands for each element."""
        return torch.from_numpy(self.composition.c)

    def embedding(self, weights: Weights) -> Float[Tensor, "*step n d"]:
        """W_E, a row for each element as first operand."""
        return self.embeds.of(weights)[..., torch.from_numpy(self.composition.a), :]

    @once
    def targets(self) -> Int[Tensor, " pair"]:
        """The answer to each pair as it is trained."""
        return torch.from_numpy(self.run.table.targets[self.composition.rows])

    @once
    def products(self) -> Int[Tensor, " pair"]:
        """The element that each pair gives."""
        return torch.from_numpy(self.composition.table).flatten()

    @once
    def trained(self) -> Bool[Tensor, " pair"]:
        """Which pairs are trained on; all where files of others do not tell."""
        known = torch.ones(len(self.composition.rows), dtype=torch.bool)
        with suppress(DoesNotApply):
            train_index = torch.from_numpy(self.run.split.train_index)
            known = torch.isin(torch.from_numpy(self.composition.rows), train_index)
        return known

    @once
    def trained_are(self) -> str:
        """Name of the split in `trained`: train, or all where files of others do not tell."""
        with suppress(DoesNotApply):
            _ = self.run.split
            return "train"
        return "all"

    @once
    def prompts(self) -> Prompts:
        """The network over all pairs, in lexicographic order of the elements."""
        return Prompts(self.run, torch.from_numpy(self.run.task.table().inputs[self.composition.rows]), self.part)

    @property
    def part(self) -> int:
        """Pairs that are computed at a time: those of some first operands, with all second ones."""
        return self.n * max(1, min(self.n, AT_ONCE // (self.n * self.run.task.shape.outputs.n)))

    def by_pair(self, values: Float[Tensor, "pair width"]) -> Float[Tensor, "n n width"]:
        """A function of the pairs by a, then b."""
        return values.unflatten(0, (self.n, self.n))

    def loss(self, outputs: Float[Tensor, "pair answer"], targets: Int[Tensor, " pair"]) -> Float[Tensor, ""]:
        """The mean loss in the unit of the run's history, as it is logged."""
        _, logged = LOSSES[self.run.config.train.loss]
        return logged(outputs, targets)
