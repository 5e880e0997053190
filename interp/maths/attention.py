"""Which waves of a and b a head's attention over the table of a ∘ b is made of. Leading axes ("...") are carried along."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.maths.fourier import real_fourier_basis


def wave_differences(weights: Float[Tensor, "... p p"]) -> Float[Tensor, "... wave"]:
    """Inner product of the weights [a, b] with the unit vector along wave(a) − wave(b), for each non-constant wave, in float64.

    The waves are those of `real_fourier_basis`. Differences of different waves are orthogonal to each other and to the
    constant. Divide by p (for even p's last wave by p·√2) for the amplitude of the difference in the weights' own units.
    """
    p, moved = weights.shape[-1], weights.double() - weights[..., :1, :1]  # so that a constant is exactly nothing
    difference = moved.sum(dim=-1) - moved.sum(dim=-2)
    return difference @ real_fourier_basis(p)[1:].mT / (2 * p) ** 0.5


def difference_shares(weights: Float[Tensor, "... p p"]) -> Float[Tensor, "... freq"]:
    """Share of the weights' variance that α(cos w_k a − cos w_k b) + β(sin w_k a − sin w_k b) explains, for each k, 0 to 1.

    Nanda et al. (2023) fit this form, and a constant, to the attention from "=" to a: 97.9 to 99.1 % on their main run.
    Shares of different k add up. a and b index the rows of one embedding, so that a wave means the same for both.
    NaN for weights that do not vary, as with attention rate 0.
    """
    power = wave_differences(weights).square()
    if power.shape[-1] % 2:  # even p: the last frequency has no sine
        power = torch.nn.functional.pad(power, (0, 1))
    moved = weights.double() - weights[..., :1, :1]
    variance = (moved - moved.mean(dim=(-2, -1), keepdim=True)).square().sum(dim=(-2, -1))
    return power.unflatten(-1, (-1, 2)).sum(dim=-1) / variance[..., None]


def read_frequency(shares: Float[Tensor, "... freq"]) -> Int[Tensor, "..."]:
    """Frequency k with the largest share; 0 for weights that do not vary."""
    return torch.where(shares.isnan().any(dim=-1), 0, shares.nan_to_num(0.0).argmax(dim=-1) + 1)
