"""Point clouds: projections, laying one frame onto the next, and how far apart two are, whatever their order and orientation."""

import itertools
import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from interp.maths.fourier import real_fourier_basis


def principal_components(points: Float[Tensor, "n d"], k: int = 2) -> tuple[Float[Tensor, "n k"], Float[Tensor, " k"]]:
    """Coordinates along the k directions of largest variance, and each direction's share of the variance.

    Signs of components are arbitrary: align frames before comparing them.
    """
    centred = points.double() - points.double().mean(dim=0)
    U, S, _ = torch.linalg.svd(centred, full_matrices=False)
    return U[:, :k] * S[:k], S[:k].square() / S.square().sum()


def plane(V: Float[Tensor, "n d"]) -> Float[Tensor, "d axis"]:
    """Orthonormal directions of a plane: the axes themselves of up to two dimensions, else the first two principal ones."""
    if V.shape[1] <= 2:
        return torch.eye(V.shape[1], 2, dtype=V.dtype)
    axes = torch.linalg.svd(V, full_matrices=False).Vh.mT
    return torch.nn.functional.pad(axes, (0, 2))[:, :2]


def aligned(points: Float[Tensor, "n d"], target: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """`points`, centred, and rotated or reflected (not scaled) to lie as near to `target` as possible.

    Orthogonal Procrustes (Schönemann 1966). Distances between points do not change.
    """
    centred, goal = points - points.mean(dim=0), target - target.mean(dim=0)
    U, _, Vt = torch.linalg.svd(centred.mT @ goal)
    return centred @ (U @ Vt)


def circle(matrix: Float[Tensor, "p d"], k: int) -> Float[Tensor, "p 2"]:
    """Rows of the matrix projected on the plane of its frequency k, axes orthonormal.

    A network that uses k lays the residues on an ellipse there, x at angle 2πkx/p; the plane is spanned by the two
    directions F_cos,k·M and F_sin,k·M. For even p, frequency p/2 has no sine and the second axis reads 0.
    """
    p, centred = matrix.shape[0], matrix.double() - matrix.double().mean(dim=0)
    directions = real_fourier_basis(p)[2 * k - 1 : 2 * k + 1].to(matrix.device) @ centred
    # Symmetric orthonormalisation: neither axis is favoured, so the circle does not jump between frames.
    U, _, Vt = torch.linalg.svd(directions, full_matrices=False)
    plane = centred @ (U @ Vt).mT
    return torch.nn.functional.pad(plane, (0, 2 - plane.shape[1]))


class Match(NamedTuple):
    """How vectors B are laid onto vectors A: row i of A lies beside row `order[i]` of B @ `turn`."""

    distance: float
    """√(Σ‖a_i − b_π(i)·R‖² / Σ(‖a_i‖² + ‖b_i‖²)), 0 to 1. NaN if all vectors are 0."""
    order: Int[Tensor, " n"]
    """The permutation π."""
    turn: Float[Tensor, "d d"]
    """The orthogonal matrix R."""


def matched(A: Float[Tensor, "n d"], B: Float[Tensor, "n d"], starts: int = 24, seed: int = 0) -> Match:
    """The match with the least distance: 0 if B is A in another order, rotated or reflected about the origin.

    The best order for an orientation is an assignment (Kuhn 1955), the best orientation for an order is orthogonal Procrustes
    (Schönemann 1966). They alternate until nothing changes, and the best end is taken: an upper bound of the minimum, which is 0
    where an end is. They begin at the best six of 2·`starts` orientations, half of them reflected (evenly spaced in the plane,
    drawn with `seed` in more dimensions), and of the 2^d that lay principal axes on principal axes: for few dimensions.
    """
    A, B = A.double(), B.double()
    turns = [*orientations(A.shape[1], starts, seed), *onto_axes(A, B)]
    begun = sorted((laid(A, B, turn) for turn in turns), key=lambda laid: -laid[0])
    _, order, turn = max((alternated(A, B, turn) for *_, turn in begun[:6]), key=lambda end: end[0])
    mass = float(A.square().sum() + B.square().sum())
    # From the differences, not from mass − 2·overlap: that would leave the root of rounding.
    distance = math.sqrt(float((A - B[order] @ turn).square().sum()) / mass) if mass > 0 else math.nan
    return Match(distance, order, turn)


Laid = tuple[float, Int[Tensor, " n"], Float[Tensor, "d d"]]
"""Overlap Σ a_i·b_π(i)R, order π, and the orientation R that is best for it."""


def laid(A: Float[Tensor, "n d"], B: Float[Tensor, "n d"], turn: Float[Tensor, "d d"]) -> Laid:
    """The best order for an orientation, and the best orientation for that order."""
    _, columns = linear_sum_assignment((A @ (B @ turn).mT).numpy(), maximize=True)
    U, S, Vt = torch.linalg.svd(B[columns].mT @ A)
    return float(S.sum()), torch.from_numpy(columns), U @ Vt


def alternated(A: Float[Tensor, "n d"], B: Float[Tensor, "n d"], turn: Float[Tensor, "d d"]) -> Laid:
    """The fixed point that is reached from an orientation."""
    found = laid(A, B, turn)
    while (better := laid(A, B, found[2]))[0] > found[0] * (1 + 1e-12):  # rounding alone could go on for ever
        found = better
    return found


def orientations(d: int, n: int, seed: int = 0) -> list[Float[Tensor, "d d"]]:
    """2n orthogonal matrices, n of them rotations: evenly spaced in the plane, drawn from the Haar measure elsewhere."""
    mirror = torch.diag(torch.tensor([-1.0] + [1.0] * (d - 1), dtype=torch.float64))
    if d == 2:
        angles = 2 * math.pi / n * torch.arange(n, dtype=torch.float64)
        turns = torch.stack([angles.cos(), -angles.sin(), angles.sin(), angles.cos()], dim=-1).view(n, 2, 2)
    else:
        generator = torch.Generator().manual_seed(seed)
        Q, R = torch.linalg.qr(torch.randn(n, d, d, generator=generator, dtype=torch.float64))
        turns = Q * R.diagonal(dim1=1, dim2=2).sign()[:, None]  # without the signs not even (Mezzadri 2007)
        turns = torch.where(torch.linalg.det(turns)[:, None, None] < 0, turns @ mirror, turns)
    return [*turns, *(turns @ mirror)]


def onto_axes(A: Float[Tensor, "n d"], B: Float[Tensor, "n d"]) -> list[Float[Tensor, "d d"]]:
    """2^d orthogonal matrices that lay the principal axes of B on those of A, with every choice of signs."""
    ours, theirs = (torch.linalg.svd(V, full_matrices=len(V) < V.shape[1]).Vh for V in (A, B))
    signs = itertools.product((1.0, -1.0), repeat=A.shape[1])
    return [theirs.mT @ (torch.tensor(each, dtype=torch.float64)[:, None] * ours) for each in signs]


class Variability(NamedTuple):
    """How far apart two sets of vectors are, beside sets of the same lengths in random directions."""

    distance: float
    """Distance of the best match (`matched`)."""
    null: float
    """Mean distance of the best match with every direction drawn anew in both sets."""
    null_deviation: float
    """Standard deviation of that distance over draws."""

    @property
    def relative(self) -> float:
        """Distance ÷ null: 0 for the same geometry, about 1 for random directions."""
        return self.distance / self.null


def variability(A: Float[Tensor, "n d"], B: Float[Tensor, "k d"], draws: int = 2, seed: int = 0) -> Variability:
    """Variability of two sets of vectors, whatever their order and orientation. The smaller set is filled up with zeros.

    Many vectors can be matched closely whatever their directions, so that the distance alone says little: its null keeps all
    lengths, draws all directions, and is matched with the same effort.
    """
    most = max(len(A), len(B))
    A, B = (torch.nn.functional.pad(V.double(), (0, 0, 0, most - len(V))) for V in (A, B))
    generator = torch.Generator().manual_seed(seed)

    def redrawn(V: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Vectors of the same lengths in directions drawn evenly."""
        directions = torch.randn(V.shape, generator=generator, dtype=torch.float64)
        return torch.nn.functional.normalize(directions, dim=1) * V.norm(dim=1, keepdim=True)

    null = torch.tensor([matched(redrawn(A), redrawn(B)).distance for _ in range(draws)], dtype=torch.float64)
    return Variability(matched(A, B).distance, float(null.mean()), float(null.std()))
