"""A run whose values are points, by embedding and unembedding: residues in their order, or the elements of a group."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.base import DoesNotApply, once
from interp.maths.residues import discrete_logarithms, is_prime
from interp.models.network import Weights
from interp.views.residues import Residues


class Naming(NamedTuple):
    """Places of points on a circle: those of an operation that is a sum of places."""

    points: Int[Tensor, " n"]
    """Indices of the points that have a place."""
    places: Int[Tensor, " n"]
    """Their places, 0 … period − 1."""
    period: int


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
    def kinds(self) -> list[str]:
        """What each element is, its sign or else its class of conjugates; none where a place on a circle tells points apart."""
        return self.run.task.kinds()

    @once
    def values(self) -> Int[Tensor, " n"]:
        """The token and answer of each point: residues in their order, elements as the group numbers them."""
        elements = self.run.task.elements()
        return torch.from_numpy(self.order.values if elements is None else elements)

    @once
    def namings(self) -> dict[str, Naming]:
        """Circles on which residues may lie, whatever the operation: by their value, and by their discrete logarithm.

        x + y is a sum of values, and x · y of logarithms to the smallest generator, if the modulus is prime; 0 has none.
        Elements of a group have neither.
        """
        if self.are_elements:
            return {}
        period = int(self.values.max()) + 1
        found = {"sum": Naming(torch.arange(self.n), self.values, period)}
        if is_prime(period):
            points = self.values.nonzero().flatten()
            logarithms = torch.from_numpy(discrete_logarithms(period))
            found["product"] = Naming(points, logarithms[self.values[points]], period - 1)
        return found

    def clouds(self, weights: Weights) -> dict[str, Float[Tensor, "*step n d"]]:
        """W_E and W_U by name, a row for each point; rows and columns of other tokens are left out."""
        return {"W_E": self.embedding(weights), "W_U": self.unembedding(weights)}

    @property
    def reads(self) -> tuple[str, ...]:
        """The weights of which both are made."""
        return (*self.embeds.reads, *self.unembeds.reads)
