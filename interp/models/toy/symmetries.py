"""Symmetries of a toy model: its hidden numbers are turned, or change places if they have an activation."""

from interp.models.symmetry import Seat, Symmetry
from interp.models.toy.spec import ToySpec
from interp.shape import Shape


def symmetries(spec: ToySpec, shape: Shape) -> list[Symmetry]:
    """The symmetry of the hidden numbers."""
    seats = (Seat("W", -2), *(() if spec.tied else (Seat("W_out", -2),)))
    if spec.hidden == "none":
        return [Symmetry("hidden numbers", spaces=(seats,))]
    normal = (Seat("ln.w", -1), Seat("ln.b", -1)) if spec.hidden == "solu_ln" else ()
    return [Symmetry("hidden numbers", units=(*seats, *normal))]
