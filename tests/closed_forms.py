"""Networks whose weights or logits are formulas: what every measure must score as known in advance."""

import math

import torch


def angles(p: int, *terms) -> torch.Tensor:
    """2π/p times the product of integers, reduced modulo p first."""
    product = terms[0]
    for term in terms[1:]:
        product = product * term
    return 2 * math.pi / p * (product % p).double()


def triples(p: int):
    """a, b, c that broadcast to [p, p, p]."""
    every = torch.arange(p)
    return every[:, None, None], every[:, None], every


def clock_logits(p: int, frequencies, sizes=None) -> torch.Tensor:
    """Σ size·cos(w_k(a + b − c)), [p², p]: what a clock adds up."""
    a, b, c = triples(p)
    sizes = sizes or [1.0] * len(frequencies)
    cubes = [size * angles(p, k, a + b - c).cos() for k, size in zip(frequencies, sizes, strict=True)]
    return torch.stack(cubes).sum(dim=0).flatten(0, 1)


def pizza_logits(p: int, frequencies) -> torch.Tensor:
    """Σ |cos(w_k(a − b)/2)|·cos(w_k(a + b − c)), [p², p]."""
    a, b, c = triples(p)
    # cos(x/2) for x = 2πm/p is known up to its sign from m modulo p, and the absolute value takes that away.
    cubes = [(angles(p, k, a - b) / 2).cos().abs() * angles(p, k, a + b - c).cos() for k in frequencies]
    return torch.stack(cubes).sum(dim=0).flatten(0, 1)


def quadratic_network(p: int, width: int, seed: int):
    """Gromov's (2023) solution f = W²(W¹x)²: the rows of W¹ on a, those on b, W², with φ_a + φ_b = φ_out.

    Frequencies 1 … ⌊p/2⌋ in turn, the phases of a and b uniform.
    """
    generator = torch.Generator().manual_seed(seed)
    k = torch.arange(width) % (p // 2) + 1
    phase_a, phase_b = 2 * math.pi * torch.rand(2, width, generator=generator, dtype=torch.float64)
    wave = angles(p, k[:, None], torch.arange(p))
    on_a, on_b = (wave + phase_a[:, None]).cos(), (wave + phase_b[:, None]).cos()
    out = (wave + (phase_a + phase_b)[:, None]).cos().T
    return on_a, on_b, out


def quadratic_hidden(on_a: torch.Tensor, on_b: torch.Tensor) -> torch.Tensor:
    """(W¹x)² of every pair, [p, p, width]."""
    return (on_a.T[:, None] + on_b.T).square()
