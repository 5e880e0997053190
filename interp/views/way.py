"""A run as the way of its weights: inner products of what every checkpoint has moved, in bounded memory."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from interp.base import DoesNotApply
from interp.views import watched
from interp.views.view import Checkpoints
from interp.views.walk import beforehand, needs_memory

BLOCK = 1 << 26
"""Bytes of a block of weights of all checkpoints, in float64, at most."""

Piece = tuple[str, slice]
"""Name of a tensor, and a range of its entries."""


class Motion(NamedTuple):
    """The way of the weights through the checkpoints in view, as far as inner products tell it."""

    moved: Float[Tensor, "step step"]
    """Inner products of w_s − w_0, what each checkpoint has moved since the first."""
    products: Float[Tensor, "step step"]
    """Inner products of the weights themselves."""
    lengths: Float[Tensor, " move"]
    """Length of the move from each checkpoint to the next."""


@dataclass(frozen=True)
class Way(Checkpoints):
    """A run with at least two checkpoints in view. Buffers are no weights, and left out."""

    def check(self) -> None:
        """Nothing; DoesNotApply when fewer than two checkpoints are in view."""
        super().check()
        if len(self.run) < 2:
            raise DoesNotApply(f"{self.run.path} has one checkpoint in view; {self.asked} needs two at least")

    def motion(self) -> Motion:
        """The way, in float64. All weights of all checkpoints are never in memory together."""
        return beforehand(self._motion)

    def _motion(self) -> Motion:
        n = len(self.run)
        moved, squares = torch.zeros(n, n, dtype=torch.float64), torch.zeros(n - 1, dtype=torch.float64)
        along, own = torch.zeros(n, dtype=torch.float64), torch.zeros((), dtype=torch.float64)
        for block in self.blocks():
            start = block[0].clone()
            block -= start
            moved += block @ block.mT
            along += block @ start
            own += start @ start
            squares += block.diff(dim=0).square_().sum(dim=1)
        # w_s·w_t = d_s·d_t + d_s·w_0 + d_t·w_0 + w_0·w_0: nothing cancels, as it would in d from w.
        return Motion(moved, moved + along[:, None] + along + own, squares.sqrt())

    def blocks(self) -> Iterator[Float[Tensor, "step entry"]]:
        """The weights of all checkpoints in view in float64, some entries at a time."""
        n = len(self.run)
        needs_memory(self.run, 2 * 8 * n * 1024)  # a block, and the moves in it
        width = min(self.run.memory // 2, BLOCK) // (8 * n)
        buffers = set(self.run.config.model.buffers(self.run.task.shape))
        sizes = {name: math.prod(shape) for name, shape in self.run.tensor_shapes.items() if name not in buffers}
        groups = in_pieces(sizes, width)
        for done, pieces in enumerate(groups, start=1):
            block = torch.empty(n, sum(part.stop - part.start for _, part in pieces), dtype=torch.float64)
            for row, checkpoint in zip(block, self.run, strict=True):
                weights = checkpoint.mapped()
                torch.cat([weights[name].flatten()[part].double() for name, part in pieces], out=row)
            yield block
            watched.tell(done * n // len(groups), n)


def in_pieces(sizes: Mapping[str, int], width: int) -> list[list[Piece]]:
    """All entries of tensors of these sizes in their order, in groups of `width` entries; the last may have fewer."""
    groups: list[list[Piece]] = [[]]
    room = width
    for name, size in sizes.items():
        begin = 0
        while begin < size:
            if not room:
                groups.append([])
                room = width
            end = min(size, begin + room)
            groups[-1].append((name, slice(begin, end)))
            begin, room = end, room - (end - begin)
    return groups
