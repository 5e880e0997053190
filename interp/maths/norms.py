"""Sizes and ranks of matrices. Leading axes ("...") are carried along."""

import torch
from jaxtyping import Float
from torch import Tensor

from interp.maths.superposition import exp_entropy, participation


def singular_values(matrix: Float[Tensor, "... m n"]) -> Float[Tensor, "... k"]:
    """Singular values in float64, largest first; k = min(m, n)."""
    return torch.linalg.svdvals(matrix.double())


def stable_rank(singular: Float[Tensor, "... k"]) -> Float[Tensor, "..."]:
    """‖W‖_F² / σ₁²: between 1 and the rank, insensitive to small singular values. NaN for a zero matrix."""
    return singular.square().sum(dim=-1) / singular.amax(dim=-1).square()


def effective_rank(singular: Float[Tensor, "... k"]) -> Float[Tensor, "..."]:
    """exp(−Σ q ln q) with q = σ/Σσ (Roy & Vetterli 2007): between 1 and the rank. NaN for a zero matrix."""
    return exp_entropy(singular / singular.sum(dim=-1, keepdim=True))


def participation_ratio(singular: Float[Tensor, "... k"]) -> Float[Tensor, "..."]:
    """(Σσ²)² / Σσ⁴: the number of directions that carry the power. NaN for a zero matrix."""
    power = singular.square()
    return participation(power / power.sum(dim=-1, keepdim=True))
