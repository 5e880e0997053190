"""How many features share how many dimensions. Rows of V [features, dimensions] are the features' directions.

All measures follow from V and the smaller of VᵀV [dimensions, dimensions] and VVᵀ [features, features].
Leading axes ("...") are carried along.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def gram(V: Float[Tensor, "... n d"]) -> Float[Tensor, "... d d"]:
    """Gram matrix VᵀV of the dimensions, in float64."""
    return V.double().mT @ V.double()


def smaller_gram(V: Float[Tensor, "... n d"]) -> Float[Tensor, "... k k"]:
    """The smaller of VVᵀ and VᵀV, k = min(n, d), in float64."""
    return gram(V.mT if V.shape[-2] < V.shape[-1] else V)


def overlaps(V: Float[Tensor, "... n d"], smaller: Float[Tensor, "... k k"] | None = None) -> Float[Tensor, "... n"]:
    """Mass of all features along the direction of each feature i, Σ_j (v̂_i·v_j)², itself included. NaN for v_i = 0.

    `smaller` is `smaller_gram(V)`, where it is known.
    """
    V, G = V.double(), smaller_gram(V) if smaller is None else smaller
    mass = V.square().sum(dim=-1)
    return (G.square() if V.shape[-2] < V.shape[-1] else (V @ G) * V).sum(dim=-1) / mass


def feature_dimensionality(V: Float[Tensor, "... n d"]) -> Float[Tensor, "... n"]:
    """Dimensionality D_i = ‖v_i‖² / Σ_j (v̂_i·v_j)² of each feature, in (0, 1]; NaN for v_i = 0.

    1: alone in its dimension. 1/2: one of an antipodal pair. 2/3: of a triangle. 2/5: of a pentagon. From Elhage et al.
    (2022, "Toy Models of Superposition"); the capacity C_i = (v_i·v_i)² / Σ_j (v_i·v_j)² of Scherlis et al. (2022, arXiv
    2210.01892) is the same number.
    """
    return V.double().square().sum(dim=-1) / overlaps(V)


def leverage(V: Float[Tensor, "... n d"]) -> Float[Tensor, "... n"]:
    """Leverage v_iᵀ(VᵀV)⁺v_i of each feature: the largest share of the mass along any direction u that is its own; 0 to 1.

    That is sup_u (u·v_i)²/Σ_j (u·v_j)², the "maximal data dimensionality" (Olah in Henighan et al. 2023); closed form by
    Cauchy–Schwarz. At least D_i; sums to the rank."""
    V = V.double()
    inverse = torch.linalg.pinv(gram(V), hermitian=True)
    return ((V @ inverse) * V).sum(dim=-1)


def interference(V: Float[Tensor, "... n d"]) -> Float[Tensor, "... n"]:
    """Interference Σ_{j≠i} (v̂_i·v_j)² of other features with each feature (Elhage et al. 2022): 0 for none; NaN for v_i = 0."""
    return overlaps(V) - V.double().square().sum(dim=-1)


def exp_entropy(shares: Float[Tensor, "... n"]) -> Float[Tensor, "..."]:
    """Effective number exp(−Σ s ln s) of shares that sum to 1: n if all are equal, 1 if one has all (Hill number, order 1)."""
    return torch.special.entr(shares).sum(dim=-1).exp()


def participation(shares: Float[Tensor, "... n"]) -> Float[Tensor, "..."]:
    """Effective number 1/Σ s² of shares that sum to 1: n if all are equal, 1 if one has all (Hill number, order 2)."""
    return 1 / shares.square().sum(dim=-1)


def feature_shares(V: Float[Tensor, "... n d"]) -> Float[Tensor, "... n"]:
    """Share of the mass that each feature has: s_i = ‖v_i‖² / Σ_j ‖v_j‖². Sums to 1."""
    mass = V.double().square().sum(dim=-1)
    return mass / mass.sum(dim=-1, keepdim=True)


def phase_free_shares(shares: Float[Tensor, "... wave"]) -> Float[Tensor, "... wave"]:
    """Feature shares of waves with those of each frequency split evenly over its cosine and its sine. Sums to 1.

    The waves stand as in `fourier.wave_directions`; for even p the last has no partner and keeps its share. Where a frequency
    begins to count is arbitrary, and moving it exchanges mass between cosine and sine: these shares stay. They are the most
    even ones that any choice of phases gives.
    """
    paired = shares[..., : shares.shape[-1] // 2 * 2]
    even = paired.unflatten(-1, (-1, 2)).mean(dim=-1, keepdim=True).expand(*paired.shape[:-1], -1, 2).flatten(-2)
    return torch.cat([even, shares[..., paired.shape[-1] :]], dim=-1)


def dimension_shares(
    V: Float[Tensor, "... n d"], smaller: Float[Tensor, "... k k"] | None = None
) -> Float[Tensor, "... d"]:
    """Share of the mass along each principal dimension, ascending: eigenvalues of VᵀV over their sum. Sums to 1.

    `smaller` is `smaller_gram(V)`, where it is known.
    """
    n, d = V.shape[-2:]
    eigenvalues = torch.linalg.eigvalsh(smaller_gram(V) if smaller is None else smaller)
    eigenvalues = torch.nn.functional.pad(eigenvalues.clamp(min=0), (max(0, d - n), 0))  # rounding can leave −1e-17
    return eigenvalues / eigenvalues.sum(dim=-1, keepdim=True)


def superposition_ratio(V: Float[Tensor, "... n d"], order: int = 1) -> Float[Tensor, "..."]:
    """Features represented ÷ dimensions used: exp H(s) / exp H(λ), at least 1, whatever the scale of V.

    s are the feature shares, λ the dimension shares: the diagonal and the spectrum of one matrix VVᵀ/tr VVᵀ. So
    H(s) ≥ H(λ) by Schur–Horn, with equality exactly if the features are orthogonal, whatever their sizes. 2 if pairs
    share a dimension, 2.5 for a pentagon in the plane. `order=2` takes participation ratios instead of entropies.
    """
    effective = {1: exp_entropy, 2: participation}[order]
    return effective(feature_shares(V)) / effective(dimension_shares(V))


def features_per_dimension(V: Float[Tensor, "... n d"]) -> Float[Tensor, "..."]:
    """Features per dimension ‖V‖_F² / d, which is 1/D* of Elhage et al. (2022). Misleads if the ‖v_i‖ are far from 1."""
    return V.double().square().sum(dim=(-2, -1)) / V.shape[-1]


def effective_features_per_dimension(V: Float[Tensor, "... n d"]) -> Float[Tensor, "..."]:
    """Effective features ÷ dimensions that there are, exp H(s) / d, whatever the scale of V: between 1/d and n/d.

    This is ψ = F/N of Bereska et al. (2025, arXiv 2512.13568), F = exp H(p), with the directions of known features in the place
    of a sparse autoencoder: their p is each learned feature's share of the mean absolute activation, s is each direction's share
    of the mass. It counts d dimensions where `superposition_ratio` counts those in use, exp H(λ) ≤ d, and so is the smaller of
    the two. It falls when features are dropped, which the ratio need not.
    """
    return exp_entropy(feature_shares(V)) / V.shape[-1]
