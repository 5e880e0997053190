"""A run whose values are points, by embedding and unembedding: residues in their order, or the elements of a group."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.base import DoesNotApply, once
from interp.models.network import Weights
from interp.views.residues import Residues


@dataclass(frozen=True)
class Points(Residues):
    """A run on a table of residues, or of elements of a group whatever the operation; a row of its matrices is a point."""

    def check(self) -> None:
        """Nothing; DoesNotApply when the values are neither, or the network has no such matrices."""
        if self.are_elements:
            _ = self.embeds, self.unembeds
            self.run.with_checkpoints()
            return
        if self.run.task.order() is None:
            raise DoesNotApply(
                f'{self.run.path} was trained on "{self.run.task.kind}"; {self.asked} needs a table of residues or of a '
                "group's elements"
            )
        super().check()

    @property
    def n(self) -> int:
        """Points."""
        return len(self.values)

    @property
    def are_elements(self) -> bool:
        """Whether the points are elements of a group, which have no order."""
        return self.run.task.elements() is not None

    @property
    def point(self) -> str:
        """What a point is, in a word."""
        return "element" if self.are_elements else "residue"

    @once
    def values(self) -> Int[Tensor, " n"]:
        """The token and answer of each point: residues in their order, elements as the group numbers them."""
        elements = self.run.task.elements()
        return torch.from_numpy(self.order.values if elements is None else elements)

    def clouds(self, weights: Weights) -> dict[str, Float[Tensor, "*step n d"]]:
        """W_E and W_U by name, a row for each point; rows and columns of other tokens are left out."""
        return {"W_E": self.embedding(weights), "W_U": self.unembedding(weights)}

    @property
    def reads(self) -> tuple[str, ...]:
        """The weights of which both are made."""
        return (*self.embeds.reads, *self.unembeds.reads)
