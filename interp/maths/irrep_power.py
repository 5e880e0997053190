"""Power over the irreps of a group: how that of matrices, of neurons over pairs of elements, and of logits is spread.

Leading axes ("...") are carried along.
"""

import numpy as np
import torch
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor

from interp.maths import groups
from interp.maths.irreps import Irreps

NEURONS = 1 << 21
"""Most activations (neurons × pairs) that are transformed at once; bounds memory."""


def irrep_power(matrix: Float[Tensor, "... n d"], irreps: Irreps) -> Float[Tensor, "... nontrivial"]:
    """Power of the matrix in every non-trivial irrep, Σ ‖B_ρ·M‖², in float64; rows of M are elements of the group."""
    moved = matrix.double() - matrix[..., :1, :]  # so that a constant matrix is exactly nothing
    return irreps.by_irrep((irreps.basis @ moved).square().sum(dim=-1))[..., 1:]


def irrep_shares(matrix: Float[Tensor, "... n d"], irreps: Irreps) -> Float[Tensor, "... nontrivial"]:
    """Share of the matrix's power, constant left out, in every non-trivial irrep. Sums to 1.

    A network that has learned to compose concentrates W_E and W_U on few irreps (Chughtai et al. 2023, section 5). A random
    matrix has d²/(n − 1), d²/(2(n − 1)) or d²/(4(n − 1)) in a real, complex or quaternionic irrep. On a cyclic group this is
    `fourier.frequency_power`. NaN for a matrix that is constant.
    """
    power = irrep_power(matrix, irreps)
    return power / power.sum(dim=-1, keepdim=True)


CONTENTS = ("a", "b", "ab", "a⊗b")
"""Kinds of functions of a pair (a, b) that one irrep gives: entries of ρ(a), ρ(b), ρ(ab) or ρ(a)⊗ρ(b); the last has the third."""


def product_sums(
    values: Float[Tensor, "... a n d"], table: Int[np.ndarray, "n n"], first: int = 0
) -> Float[Tensor, "... n d"]:
    """Sum of the values over the n pairs (a, b) with a·b = z, for every z, in float64. With some a alone, those from `first` on,
    the sum over their pairs.
    """
    b_of = torch.from_numpy(table[groups.inverses(table)])  # [a, z]: a⁻¹·z
    sums = torch.zeros(*values.shape[:-3], *values.shape[-2:], dtype=torch.float64)
    for a, of_a in enumerate(values.unbind(dim=-3), start=first):  # one at a time, without a copy of all
        sums += of_a.index_select(-2, b_of[a])
    return sums


def content_shares(activations: Float[Tensor, "... n n d"], irreps: Irreps) -> Float[Tensor, "... content nontrivial"]:
    """Share of the activations' variance, over all pairs (a, b) and summed over neurons, in ρ(a), ρ(b), ρ(ab) and ρ(a)⊗ρ(b).

    The first three are orthogonal to each other; Chughtai et al. (2023, section 5.2) report them of the hidden layer.
    ρ(a)⊗ρ(b) means all products of an entry of ρ(a) with one of ρ(b). ρ(ab) is a part of it. A layer that multiplies has
    ρ(a)⊗ρ(b); one that holds the product has ρ(ab). `residual_share` is the share in none of ρ(a), ρ(b) and ρ(a)⊗ρ(b).
    NaN if no neuron varies.
    """
    n, d = activations.shape[-3], activations.shape[-1]
    pairs, composed = 0.0, 0.0
    for part in activations.split(max(1, min(d, NEURONS // n**2)), dim=-1):
        moved = part.double() - part[..., :1, :1, :]  # so that a constant neuron is exactly nothing
        by_a = (irreps.basis @ moved.flatten(-2)).unflatten(-1, moved.shape[-2:])
        pairs = pairs + (irreps.basis @ by_a).square().sum(dim=-1)
        composed = composed + irrep_power(product_sums(moved, irreps.table), irreps) / n
    assert isinstance(pairs, Tensor) and isinstance(composed, Tensor)
    blocks = irreps.by_irrep(irreps.by_irrep(pairs).mT).mT  # [irrep of a, irrep of b]
    variance = blocks.sum(dim=(-2, -1)) - blocks[..., 0, 0]
    alone = [blocks[..., 1:, 0], blocks[..., 0, 1:], composed, blocks.diagonal(dim1=-2, dim2=-1)[..., 1:]]
    return torch.stack(alone, dim=-2) / variance[..., None, None]


def residual_share(shares: Float[Tensor, "... content nontrivial"]) -> Float[Tensor, "..."]:
    """Share of the variance in products of different irreps of a and b: in no ρ(a), ρ(b) or ρ(a)⊗ρ(b); 0 to 1."""
    alone = [CONTENTS.index(content) for content in ("a", "b", "a⊗b")]
    return 1 - shares[..., alone, :].sum(dim=(-2, -1))


def logit_similarity(cube: Float[Tensor, "... n n n"], irreps: Irreps) -> Float[Tensor, "... nontrivial"]:
    """Cosine of the logits [a, b, c], less their mean over c, with χ_ρ(a·b·c⁻¹), for every non-trivial irrep; −1 to 1.

    Chughtai et al. (2023), section 4.1; they call irreps above 0.005 key. Characters of different irreps are orthogonal: the
    sum of squares is the share of the logits' variance that all characters explain. NaN for constant logits.
    """
    sums = LogitSums(irreps)
    sums.add(cube)
    return sums.similarity()


class LogitSums:
    """What `logit_similarity` needs of logits [a, b, c], added up over some a after the others, so that not all must be there."""

    def __init__(self, irreps: Irreps):
        self.irreps, self.first = irreps, 0
        self.of_answer: Tensor | float = 0.0
        self.size: Tensor | float = 0.0

    def add(self, cube: Float[Tensor, "... a n n"]) -> None:
        """Add the logits of the next a, in order."""
        self.of_answer = self.of_answer + product_sums(cube, self.irreps.table, self.first)
        for of_a in cube.unbind(dim=-3):
            centred = of_a.double() - of_a.double().mean(dim=-1, keepdim=True)
            self.size = self.size + centred.square().sum(dim=(-2, -1))
        self.first += cube.shape[-3]

    def similarity(self) -> Float[Tensor, "... nontrivial"]:
        """The cosines, as `logit_similarity` gives them."""
        table, n = self.irreps.table, len(self.irreps.table)
        assert isinstance(self.of_answer, Tensor) and isinstance(self.size, Tensor) and self.first == n
        characters, z = self.irreps.characters[1:], torch.arange(n)
        c_of = torch.from_numpy(table[groups.inverses(table)])  # [g, z]: the c with z·c⁻¹ = g is g⁻¹·z
        # The mean over c needs no taking away here: every character but the trivial one has mean 0 over it.
        of_g = self.of_answer[..., z, c_of].sum(dim=-1)
        dots = einsum(of_g, characters, "... g, irrep g -> ... irrep")
        return dots / (self.size.sqrt()[..., None] * n * characters.norm(dim=-1))
