"""Which frequency each neuron computes with, from its activations over the whole table of a ∘ b.

Leading axes ("...") are carried along, so that one call serves a stack of checkpoints.
"""

import math

import torch
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor

from interp.maths.fourier import real_fourier_basis


def block_shares(activations: Float[Tensor, "... p p neuron"]) -> Float[Tensor, "... neuron freq"]:
    """Share of each neuron's variance in the block {1, cos k, sin k}(a) ⊗ {1, cos k, sin k}(b), k = 1 … ⌊p/2⌋, in float64.

    The constant is left out of block and variance. Blocks of different k share nothing else, so the shares sum to at most 1.
    A random neuron has 8/(p² − 1) in each, for odd p (Nanda et al. 2023). NaN for a neuron that does not vary.

    `activations` are indexed by a, then b, both in the order of the group: `hook_post[..., n, :].unflatten(-2, (p, p))` of
    a table in lexicographic order. Takes four times their size in float64.
    """
    linear, quadratic = block_parts(activations)
    return linear + quadratic


def block_parts(
    activations: Float[Tensor, "... p p neuron"],
) -> tuple[Float[Tensor, "... neuron freq"], Float[Tensor, "... neuron freq"]]:
    """Linear and quadratic part of `block_shares`: share in waves of a or of b alone, and share in products of both."""
    p, basis = activations.shape[-2], real_fourier_basis(activations.shape[-2]).to(activations.device)
    moved = activations.double() - activations[..., :1, :1, :]  # so that a constant neuron is exactly nothing
    by_a = einsum(basis, moved, "wave a, ... a b neuron -> ... wave b neuron")
    power = einsum(by_a, basis, "... wave_a b neuron, wave_b b -> ... wave_a wave_b neuron").square()
    # Waves are the constant, then cosine and sine of 1, 2, …; for even p the last has no sine.
    of_wave = torch.nn.functional.one_hot((torch.arange(p, device=basis.device) + 1) // 2).double()
    pairs = einsum(power, of_wave, of_wave, "... wave_a wave_b neuron, wave_a k, wave_b j -> ... k j neuron")
    alone = pairs[..., 1:, 0, :] + pairs[..., 0, 1:, :]
    crossed = pairs.diagonal(dim1=-3, dim2=-2)[..., 1:]
    variance = power.sum(dim=(-3, -2)) - power[..., 0, 0, :]
    return alone.mT / variance[..., None], crossed / variance[..., None]


def waves_at(
    values: Float[Tensor, "... p neuron"], frequency: Int[Tensor, "... neuron"]
) -> tuple[Float[Tensor, "... neuron"], Float[Tensor, "... neuron"]]:
    """Amplitude A and phase φ (−π to π) of the wave A cos(2πkx/p − φ) of each column at its own frequency k, in float64.

    A neuron's mean activation at each a (or at each b) has its input wave. Its row of W_L has its output wave. If the
    product of the input waves becomes cos(w(a + b − c)), then φ_a + φ_b = φ_out (Gromov 2023, arXiv 2301.02679). If k is 0,
    or the column has no such wave, the amplitude is 0 and the phase NaN.
    """
    p = values.shape[-2]
    wave = torch.fft.rfft(values.double(), dim=-2).gather(-2, frequency[..., None, :])[..., 0, :]
    once = (2 * frequency == p) | (
        frequency == 0
    )  # a cosine without a sine is one term of the transform, others are two
    amplitude = torch.where(frequency == 0, 0, wave.abs()) * torch.where(once, 1, 2) / p
    return amplitude, torch.where(amplitude == 0, torch.nan, -wave.angle())


def wrapped(angle: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Angles brought into −π … π by multiples of 2π."""
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi


def neuron_frequency(shares: Float[Tensor, "... neuron freq"]) -> Int[Tensor, "... neuron"]:
    """Frequency k with the largest share of each neuron; 0 for a neuron that does not vary."""
    return torch.where(shares.isnan().any(dim=-1), 0, shares.argmax(dim=-1) + 1)


def cluster_sizes(shares: Float[Tensor, "... neuron freq"], threshold: float = 0.85) -> Int[Tensor, "... freq"]:
    """Number of neurons that have more than `threshold` of their variance at each frequency k = 1, 2, ….

    At a threshold of 0.5 or more a neuron is in at most one cluster. Nanda et al. (2023) find 433 of 512 neurons in five.
    """
    return (shares > threshold).sum(dim=-2)
