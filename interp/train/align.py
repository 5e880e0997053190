"""Alignment: a network brought to another by its symmetries, so that the weights agree most and the function stays.

Weight matching of Git Re-Basin (Ainsworth et al. 2022, arXiv 2209.04836, section 3.2): coordinate descent over the symmetries,
each solved exactly: where units change places by a linear assignment, where a space is turned by orthogonal Procrustes. Nothing
here knows a family of models.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from interp.models.network import Weights
from interp.models.symmetry import Seat, Symmetry

ROUNDS = 1000
"""Most rounds through all symmetries; each but the last brings the weights nearer, and dozens are usual."""

ENOUGH = 1e-10
"""Relative gain of a round below which it is the last."""


class Change(NamedTuple):
    """A change of weights by a symmetry."""

    places: Int[Tensor, " unit"]
    """Number of the unit that comes to each place."""
    signs: Float[Tensor, " unit"]
    turns: list[Float[Tensor, "unit d d"]]
    """The orthogonal matrix of each space, after the units have changed places."""


def aligned(A: Weights, B: Weights, symmetries: Sequence[Symmetry]) -> tuple[dict[str, Tensor], int]:
    """The network B with weights as near to those of A as rounds through its symmetries bring them; and the number of rounds.

    The first round takes each symmetry by the tensors on which no later one acts, if there are any: their match is not blurred
    by what is still to be found.
    """
    near, kinds = {name: tensor.double() for name, tensor in A.items()}, {name: B[name].dtype for name in B}
    found = {name: tensor.double() for name, tensor in B.items()}
    for number, symmetry in enumerate(symmetries):
        later = set[str]().union(*(other.tensors for other in symmetries[number + 1 :]))
        found = changed(found, symmetry, best(near, found, symmetry, symmetry.tensors - later or symmetry.tensors))
    carried = {seat.tensor for symmetry in symmetries for seat in symmetry.carried}
    near = {name: tensor for name, tensor in near.items() if name not in carried}
    rounds, before = 1, similarity(near, found)
    while rounds < ROUNDS:
        for symmetry in symmetries:
            found = changed(found, symmetry, best(near, found, symmetry, symmetry.tensors))
        rounds, now = rounds + 1, similarity(near, found)
        if now - before <= ENOUGH * abs(before):
            break
        before = now
    return {name: tensor.to(kinds[name]).contiguous() for name, tensor in found.items()}, rounds


def similarity(A: Weights, B: Weights) -> float:
    """Inner product of two networks over the tensors of A, which weight matching raises: ‖A − B‖² falls by twice as much."""
    return sum(float((A[name] * B[name]).sum()) for name in A)


def best(A: Weights, B: Weights, symmetry: Symmetry, tensors: set[str]) -> Change:
    """The change of B that brings these of its tensors nearest to A's."""
    spaces = [[seat for seat in space if seat.tensor in tensors] or list(space) for space in symmetry.spaces]
    still = tensors - {seat.tensor for space in spaces for seat in space}
    n = A[symmetry.units[0].tensor].shape[symmetry.units[0].axis] if symmetry.units else 1
    even, odd = torch.zeros(2, n, n, dtype=torch.float64)
    for seat in (seat for seat in symmetry.units if seat.tensor in still):
        ours, theirs = (each[seat.tensor].movedim(seat.axis, 0).reshape(n, -1) for each in (A, B))
        (odd if seat.tensor in symmetry.odd else even).add_(ours @ theirs.T)
    moments = [sum(moment(A, B, symmetry, seat) for seat in space) for space in spaces]
    for each in moments:
        even += torch.linalg.svdvals(torch.as_tensor(each)).sum(dim=-1)
    scores = even + odd.abs() if symmetry.odd else even
    places = torch.from_numpy(linear_sum_assignment(scores.numpy(), maximize=True)[1].astype(np.int64))
    chosen = torch.arange(n), places
    signs = torch.where(odd[chosen] < 0, -1.0, 1.0).double()
    return Change(places, signs, [procrustes(torch.as_tensor(each)[chosen]) for each in moments])


def moment(A: Weights, B: Weights, symmetry: Symmetry, seat: Seat) -> Float[Tensor, "i j d d"]:
    """B·Aᵀ of one tensor for every unit i of A and j of B: over a space, summed over the tensor's other axes."""
    ours, theirs = (sides(each[seat.tensor], symmetry, seat) for each in (A, B))
    return torch.einsum("jkr,ilr->ijkl", theirs, ours)


def sides(tensor: Tensor, symmetry: Symmetry, seat: Seat) -> Float[Tensor, "unit d rest"]:
    """A tensor with its units first, the axis of a space second and all others together; one unit where there are none."""
    if not symmetry.units:
        return tensor.movedim(seat.axis, 0).reshape(1, tensor.shape[seat.axis], -1)
    front = tensor.movedim((unit_axis(symmetry, seat), seat.axis), (0, 1))
    return front.reshape(*front.shape[:2], -1)


def unit_axis(symmetry: Symmetry, seat: Seat) -> int:
    """The axis along which units lie in a tensor."""
    return next(unit.axis for unit in symmetry.units if unit.tensor == seat.tensor)


def procrustes(moment: Float[Tensor, "*n d d"]) -> Float[Tensor, "*n d d"]:
    """The orthogonal R for which Rᵀ·B comes nearest to A, from B·Aᵀ (Schönemann 1966)."""
    U, _, Vh = torch.linalg.svd(moment)
    return U @ Vh


def changed(weights: Weights, symmetry: Symmetry, change: Change) -> dict[str, Tensor]:
    """The weights after a change; the function is the same."""
    found = dict(weights)
    for seat in symmetry.units:
        tensor = found[seat.tensor].index_select(seat.axis, change.places)
        if seat.tensor in symmetry.odd:
            tensor = tensor * along(change.signs, tensor, seat.axis)
        found[seat.tensor] = tensor
    for seat in symmetry.carried:
        found[seat.tensor] = found[seat.tensor].index_select(seat.axis, change.places)
    for space, turns in zip(symmetry.spaces, change.turns, strict=True):
        for seat in space:
            found[seat.tensor] = turned(found[seat.tensor], turns, symmetry, seat)
    return found


def along(values: Float[Tensor, " n"], tensor: Tensor, axis: int) -> Tensor:
    """Values that stand along one axis of a tensor."""
    shape = [1] * tensor.ndim
    shape[axis] = -1
    return values.view(shape)


def turned(tensor: Tensor, turns: Float[Tensor, "unit d d"], symmetry: Symmetry, seat: Seat) -> Tensor:
    """A tensor of which the space of each unit is turned along one axis."""
    if not symmetry.units:
        return torch.tensordot(tensor.movedim(seat.axis, -1), turns[0], dims=1).movedim(-1, seat.axis)
    axes = (unit_axis(symmetry, seat), seat.axis)
    front = tensor.movedim(axes, (0, -1))  # [unit, …, d]
    return (front.reshape(len(front), -1, front.shape[-1]) @ turns).view(front.shape).movedim((0, -1), axes)
