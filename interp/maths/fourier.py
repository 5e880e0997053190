"""Waves on the residues of p: the basis, how a matrix's power is spread over it, and which frequencies are key.

Leading axes ("...") are carried along, so that one call serves a stack of checkpoints.
"""

import functools
import math

import torch
from einops import rearrange, reduce
from jaxtyping import Bool, Float
from torch import Tensor


@functools.lru_cache(maxsize=4)
@torch.inference_mode(False)  # so that a basis that was first asked for while measuring can be differentiated through
def real_fourier_basis(p: int) -> Float[Tensor, "p p"]:
    """Orthonormal waves on 0 … p−1, one a row: the constant, then cos and sin of 2πkx/p for k = 1, 2, …, in float64.

    For even p the last row is cos(πx) = ±1; its sine is zero and left out. It is made once and shared: do not write to it.
    """
    k, x = torch.arange(1, p // 2 + 1), torch.arange(p)
    angle = 2 * math.pi / p * ((k[:, None] * x) % p).double()  # reduced first: exact for any k·x
    waves = rearrange([angle.cos(), angle.sin()], "cos_sin freq x -> (freq cos_sin) x")[: p - 1]
    basis = torch.cat([torch.ones(1, p, dtype=torch.float64), waves])
    return basis / basis.norm(dim=-1, keepdim=True)


def wave_directions(matrix: Float[Tensor, "... p d"]) -> Float[Tensor, "... wave d"]:
    """Direction in the d dimensions of each non-constant wave: F·M without the constant row, in float64.

    For an embedding these are the directions of its 2⌊p/2⌋ (one fewer for even p) Fourier features.
    """
    p, moved = matrix.shape[-2], matrix.double() - matrix[..., :1, :]  # so that a constant matrix is exactly nothing
    return real_fourier_basis(p)[1:].to(matrix.device) @ moved


def frequency_norms(matrix: Float[Tensor, "... p d"]) -> Float[Tensor, "... freq"]:
    """√(‖F_cos,k·M‖² + ‖F_sin,k·M‖²) for each frequency k = 1 … ⌊p/2⌋: the size of M at that frequency."""
    return by_frequency(component_norms(matrix))


def by_frequency(components: Float[Tensor, "... wave"]) -> Float[Tensor, "... freq"]:
    """Norm at each frequency, √(cos² + sin²), from the norms of its cosine and its sine."""
    squares = components.square()
    if squares.shape[-1] % 2:  # even p: the last frequency has no sine
        squares = torch.nn.functional.pad(squares, (0, 1))
    return reduce(squares, "... (freq cos_sin) -> ... freq", "sum", cos_sin=2).sqrt()


def frequency_power(matrix: Float[Tensor, "... p d"]) -> Float[Tensor, "... freq"]:
    """Share of the matrix's power, constant left out, at each frequency k = 1 … ⌊p/2⌋. Sums to 1.

    A grokked adder concentrates it on a handful of k (Nanda et al. 2023, section 4.1); a memoriser spreads it.
    Rows are the residues in the order of the group: pass the number tokens only, since the row of "=" is not a
    function on Z_p. A matrix without any non-constant part has no shares: NaN.
    """
    return power_shares(frequency_norms(matrix))


def power_shares(norms: Float[Tensor, "... freq"]) -> Float[Tensor, "... freq"]:
    """Share of the power at each frequency, from the norm at each frequency. Sums to 1."""
    power = norms.square()
    return power / power.sum(dim=-1, keepdim=True)


def component_norms(matrix: Float[Tensor, "... p d"]) -> Float[Tensor, "... wave"]:
    """Norm of the matrix at each non-constant wave w, ‖F_w·M‖; cosines and sines apart."""
    return wave_directions(matrix).norm(dim=-1)


def gini(sizes: Float[Tensor, "... n"]) -> Float[Tensor, "..."]:
    """Gini coefficient of non-negative sizes: 0 if all are equal, 1 − 1/n if one has all; NaN if all are 0.

    Hurley & Rickard (2009), as used on Fourier components by Nanda et al. (2023), section 5.1: with s ascending,
    1 − 2 Σ_i s_i/‖s‖₁ · (n − i + 1/2)/n.
    """
    ascending, n = sizes.double().sort(dim=-1).values, sizes.shape[-1]
    weight = (n - torch.arange(1, n + 1, dtype=torch.float64, device=sizes.device) + 0.5) / n
    return 1 - 2 * (ascending * weight).sum(dim=-1) / ascending.sum(dim=-1)


def inverse_participation_ratio(shares: Float[Tensor, "... n"]) -> Float[Tensor, "..."]:
    """Inverse participation ratio Σ s² of shares that sum to 1: 1 if one has all, 1/n if all are equal (Gromov 2023, r = 2)."""
    return shares.square().sum(dim=-1)


def network_participation(directions: Float[Tensor, "... wave d"]) -> Float[Tensor, "..."]:
    """Inverse participation ratio of a matrix's total power by frequency: 1 for one frequency, 1/⌊p/2⌋ for a flat spectrum.

    Takes the wave directions F·M. Columns that hold one frequency each, but not the same one, give a low value here, and 1 in
    `neuron_participation`.
    """
    return inverse_participation_ratio(power_shares(by_frequency(directions.norm(dim=-1))))


def neuron_participation(directions: Float[Tensor, "... wave d"]) -> Float[Tensor, "..."]:
    """Inverse participation ratio of each column's power by frequency, mean over columns: 1 if each column has one frequency.

    Takes the wave directions F·M of a matrix whose columns are neurons; those of a residual stream have no meaning alone, and
    another basis would give another value. Gromov (2023, arXiv 2301.02679) defines it per neuron, and takes the complex transform
    over both operands: his closed-form solution has 1/4 there and 1 here. Columns without a wave are left out; NaN if no column
    has one.
    """
    return inverse_participation_ratio(power_shares(by_frequency(directions.mT))).nanmean(dim=-1)


def above_quarter_of_largest(norms: Float[Tensor, "... freq"]) -> Bool[Tensor, "... freq"]:
    """Key frequencies as a mask: those whose norm exceeds a quarter of the largest (TransformerLens' grokking demo)."""
    return norms > norms.amax(dim=-1, keepdim=True) / 4


def above_largest_gap(norms: Float[Tensor, "... freq"]) -> Bool[Tensor, "... freq"]:
    """Key frequencies as a mask: those above the largest gap between neighbours in the sorted powers; no parameter to choose."""
    power = norms.square()
    if power.shape[-1] == 1:  # p = 2 and 3 have one frequency and no gap
        return torch.ones_like(power, dtype=torch.bool)
    descending = power.sort(dim=-1, descending=True).values
    gap_at = (descending[..., :-1] - descending[..., 1:]).argmax(dim=-1, keepdim=True)
    return power >= descending.gather(-1, gap_at)


def far_out(norms: Float[Tensor, "... freq"]) -> Bool[Tensor, "... freq"]:
    """Key frequencies as a mask: those whose norm exceeds the third quartile by more than three interquartile ranges.

    Tukey's (1977) fence for values that are "far out". Nanda et al. (2023) name the key frequencies of W_E and the
    non-trivial rows of W_L by eye; this stands in for it. Norms of about one size have no key frequency.
    """
    low, high = norms.quantile(torch.tensor([0.25, 0.75], dtype=norms.dtype, device=norms.device), dim=-1, keepdim=True)
    return norms > high + 3 * (high - low)


def agreement(one: Bool[Tensor, "... freq"], other: Bool[Tensor, "... freq"]) -> Float[Tensor, "..."]:
    """Jaccard index of two sets of key frequencies: number in both ÷ number in either, 0 to 1; 1 for two empty sets."""
    both, either = (one & other).sum(dim=-1).double(), (one | other).sum(dim=-1).double()
    return torch.where(either == 0, 1.0, both / either.clamp(min=1))


def fewest_with_share(norms: Float[Tensor, "... freq"], share: float = 0.9) -> Bool[Tensor, "... freq"]:
    """Key frequencies as a mask: the fewest, strongest first, that together hold `share` of the power."""
    power = norms.square()
    descending, order = power.sort(dim=-1, descending=True)
    before = descending.cumsum(dim=-1) - descending
    return torch.zeros_like(power, dtype=torch.bool).scatter(
        -1, order, before < share * power.sum(dim=-1, keepdim=True)
    )
