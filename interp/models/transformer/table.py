"""Tables of which a layer's output rows are weighted sums, and the weights."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from interp.models.transformer.prefixes import Reads


class Table(NamedTuple):
    """A table of which output rows are weighted sums, in two parts."""

    given: Float[Tensor, "runs head_rows width"]
    """What every input row gives by every head."""
    begun: Float[Tensor, "runs queries width"]
    """What every distinct query begins with."""

    @property
    def rows(self) -> Float[Tensor, "rows width"]:
        """All rows of all runs."""
        return torch.cat(self, dim=1).flatten(0, 1)

    def split(self, width: int) -> tuple["Table", "Table"]:
        """The first so many columns and the others."""
        sizes = [width, self.given.shape[2] - width]
        (given, others), (begun, rest) = self.given.split(sizes, dim=2), self.begun.split(sizes, dim=2)
        return Table(given, begun), Table(others, rest)


def mixing(pattern: Float[Tensor, "runs_out head seen"], group: Reads) -> Float[Tensor, "runs_out j"]:
    """Weight of each table row in an output row: attention by every head, and 1 for its query."""
    ones = pattern.new_ones(len(pattern), 1)
    varying = [pattern[:, :, i] for i in group.sources.varying]
    return torch.cat([torch.stack(varying, dim=2).flatten(1), ones], dim=1) if varying else ones
