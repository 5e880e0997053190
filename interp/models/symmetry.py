"""Symmetries of networks: changes of weights that leave the function as it is. Each family names its own in `symmetries.py`."""

from dataclasses import dataclass
from typing import NamedTuple


class Seat(NamedTuple):
    """An axis of a tensor along which a symmetry acts."""

    tensor: str
    axis: int
    """Number of the axis, counted from the end: −1 is the last."""


@dataclass(frozen=True)
class Symmetry:
    """A group of changes that leave the function as it is: units change places and signs, spaces are turned."""

    about: str
    """What is changed, in words."""
    units: tuple[Seat, ...] = ()
    """Axes along which units lie, such as neurons or heads, that may change places together; none: there is one unit."""
    odd: tuple[str, ...] = ()
    """Tensors whose numbers change sign where a unit changes its own; none: signs stay."""
    spaces: tuple[tuple[Seat, ...], ...] = ()
    """Spaces of each unit that may be turned by an orthogonal matrix, and the axes that turn with each."""

    carried: tuple[Seat, ...] = ()
    """Axes of buffers that change places with the units. A match of two networks leaves them out: they do not learn."""

    @property
    def tensors(self) -> set[str]:
        """Names of the tensors on which it acts, without those that are carried."""
        return {seat.tensor for seats in (self.units, *self.spaces) for seat in seats}
