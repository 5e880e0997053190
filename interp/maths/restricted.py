"""Restricted and excluded logits: what is left when only key frequencies of a + b are kept, or when they are taken out.

Logits and activations have one row a pair (a, b), in lexicographic order and in the order of the group. The published
variants differ in which directions (unit vectors in the space of functions of (a, b)) belong to a frequency.
"""

from collections.abc import Sequence

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from interp.maths.fourier import real_fourier_basis


def waves_of(n: int, k: int) -> Float[Tensor, "wave n"]:
    """cos and sin of 2πkx/n on the residues, norm 1, in float64; the cosine alone where k = n/2 has no sine."""
    return real_fourier_basis(n)[2 * k - 1 : 2 * k + 1]


def sum_waves(n: int, frequencies: Sequence[int]) -> Float[Tensor, "wave pair"]:
    """cos and sin of w_k(a + b): two directions a frequency, as in the code of Nanda et al. (2023)."""
    a, b = torch.arange(n)[:, None], torch.arange(n)
    waves = [waves_of(n, k)[:, (a + b) % n].flatten(1) / n**0.5 for k in frequencies]
    return torch.cat([torch.empty(0, n * n, dtype=torch.float64), *waves])


def products_2x2(n: int, frequencies: Sequence[int]) -> Float[Tensor, "wave pair"]:
    """cos and sin of w_k·a times cos and sin of w_k·b: four directions a frequency, as the text of Nanda et al. has it."""
    waves = [products(waves_of(n, k), waves_of(n, k)) for k in frequencies]
    return torch.cat([torch.empty(0, n * n, dtype=torch.float64), *waves])


def blocks_3x3(n: int, frequencies: Sequence[int]) -> Float[Tensor, "wave pair"]:
    """{1, cos, sin} of w_k·a times {1, cos, sin} of w_k·b, without 1·1: eight directions a frequency."""
    every = []
    for k in frequencies:
        waves = torch.cat([real_fourier_basis(n)[:1], waves_of(n, k)])
        every.append(products(waves, waves)[1:])
    return torch.cat([torch.empty(0, n * n, dtype=torch.float64), *every])


def products(of_a: Float[Tensor, "one n"], of_b: Float[Tensor, "other n"]) -> Float[Tensor, "wave pair"]:
    """Products f(a)·g(b) of every function f of a with every function g of b, as functions of the pair."""
    return einsum(of_a, of_b, "one a, other b -> one other a b").flatten(2).flatten(0, 1)


DIRECTIONS = {"code_exact": sum_waves, "blocks_2x2": products_2x2, "blocks_3x3": blocks_3x3}
"""Directions of given frequencies on the n² pairs, by name of the variant; orthonormal, and orthogonal to the constant."""


def projection(values: Float[Tensor, "pair d"], directions: Float[Tensor, "wave pair"]) -> Float[Tensor, "pair d"]:
    """The part of each column that lies along orthonormal directions."""
    along = directions.to(values.dtype)
    return along.T @ (along @ values)


def restricted(logits: Float[Tensor, "pair n"], kept: Float[Tensor, "pair n"]) -> Float[Tensor, "pair n"]:
    """Restricted logits: the kept part, with each answer's mean over pairs restored ("bias correction", Nanda et al. 2023)."""
    return kept + (logits - kept).mean(dim=0)


def sum_totals(logits: Float[Tensor, "pair n"]) -> Float[Tensor, " n"]:
    """Sum of the logits over all (a, b, c) that have a + b − c = s modulo n, for s = 0 … n−1, in float64."""
    n = logits.shape[-1]
    a, b, c = torch.arange(n)[:, None, None], torch.arange(n)[:, None], torch.arange(n)
    index = ((a + b - c) % n).flatten().to(logits.device)
    return torch.zeros(n, dtype=torch.float64, device=logits.device).index_add(0, index, logits.flatten().double())


def cosine_logits(logits: Float[Tensor, "pair n"], frequencies: Sequence[int]) -> Float[Tensor, "pair n"]:
    """Least-squares fit of Σ_k α_k cos(w_k(a + b − c)) to the logits, from which the trigonometric loss is computed.

    The cosines are orthogonal on (a, b, c): α_k is the inner product with the k-th over its squared norm (Nanda et al. 2023,
    section 4).
    """
    n, totals = logits.shape[-1], sum_totals(logits)
    fitted = torch.zeros_like(totals)
    for k in frequencies:
        cosine = waves_of(n, k)[0].to(totals.device)  # on the residues; n² triples have each sum
        fitted += cosine * (cosine @ totals) / n**2
    a, b, c = torch.arange(n)[:, None, None], torch.arange(n)[:, None], torch.arange(n)
    return fitted.to(logits.dtype)[(a + b - c) % n].flatten(0, 1)


def cosine_share(logits: Float[Tensor, "pair n"], frequencies: Sequence[int]) -> Float[Tensor, ""]:
    """Share of the logits' variance, each prompt's mean removed, that Σ_k α_k cos(w_k(a + b − c)) explains; NaN without variance.

    0.95 for the main network of Nanda et al. (2023). Cosines of different k are orthogonal, so shares add up.
    """
    n, totals = logits.shape[-1], sum_totals(logits)
    centred = logits - logits.mean(dim=-1, keepdim=True)
    cosines = [waves_of(n, k)[0].to(totals.device) @ totals / n for k in frequencies]
    taken = torch.stack([torch.zeros_like(totals[0]), *cosines]).square().sum()
    return taken / centred.square().sum(dtype=torch.float64)
