"""What a head's attention over the table of a ∘ b is made of. Leading axes ("...") are carried along."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.maths.fourier import real_fourier_basis


def wave_differences(weights: Float[Tensor, "... p p"]) -> Float[Tensor, "... wave"]:
    """Inner product of the weights, by a and b, with the unit wave(a) − wave(b), for each non-constant wave, in float64.

    The waves are those of `real_fourier_basis`; differences of different waves are orthogonal, and to the constant. The size
    of such a difference in the weights' own units is this over p, for even p's last wave over p·√2.
    """
    p, moved = weights.shape[-1], weights.double() - weights[..., :1, :1]  # so that a constant is exactly nothing
    difference = moved.sum(dim=-1) - moved.sum(dim=-2)
    return difference @ real_fourier_basis(p)[1:].mT / (2 * p) ** 0.5


def difference_shares(weights: Float[Tensor, "... p p"]) -> Float[Tensor, "... freq"]:
    """Share of the weights' variance that α(cos w_k a − cos w_k b) + β(sin w_k a − sin w_k b) explains, for each k, 0 to 1.

    With a constant beside it, that is the form of Nanda et al. (2023) for the attention from "=" to a: 97.9 to 99.1 % on their
    main run. Shares of different k add up. Weights are indexed by the places of the tokens a and b in one embedding, so that
    one wave means the same for both. NaN for weights that never vary, as those of an attention of rate 0.
    """
    power = wave_differences(weights).square()
    if power.shape[-1] % 2:  # even p: the last frequency has no sine
        power = torch.nn.functional.pad(power, (0, 1))
    moved = weights.double() - weights[..., :1, :1]
    variance = (moved - moved.mean(dim=(-2, -1), keepdim=True)).square().sum(dim=(-2, -1))
    return power.unflatten(-1, (-1, 2)).sum(dim=-1) / variance[..., None]


def read_frequency(shares: Float[Tensor, "... freq"]) -> Int[Tensor, "..."]:
    """k of the largest share; 0 for weights that never vary."""
    return torch.where(shares.isnan().any(dim=-1), 0, shares.nan_to_num(0.0).argmax(dim=-1) + 1)
