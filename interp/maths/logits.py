"""Which waves of a + b − c the logits are made of, and whether each is a clock's or a pizza's.

At every prompt (a, b) the logits are a sum of waves of the answer c. With c measured from the right answer, w_k = 2πk/p:
logit(c) = mean + Σ_k u_k(a, b)·cos(w_k(a + b − c)) + v_k(a, b)·sin(w_k(a + b − c)). A network that adds has v = 0.
A clock has the same u_k at all prompts. A pizza has u_k ∝ |cos(w_k(a − b)/2)| (Zhong et al. 2023, arXiv 2306.17844).

All is indexed by a, b, c in the order of the group, in which the answer is a + b modulo p.
"""

import math

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

FORMS = ("clock", "pizza", "mixture")
"""Forms of the logits: cos(w_k(a + b − c)); |cos(w_k(a − b)/2)|·cos(w_k(a + b − c)); a sum of both, with two coefficients."""


def in_and_out_of_phase(logits: Float[Tensor, "p p p"]) -> tuple[Float[Tensor, "p p freq"], Float[Tensor, "p p freq"]]:
    """Amplitudes u_k(a, b) and v_k(a, b) of the logits, k = 1 … ⌊p/2⌋, in units of the logits and in float64.

    A constant added to all logits of a prompt changes neither. For even p the last frequency has no sine: v is 0. The
    product with the waves is taken in the logits' precision.
    """
    p = len(logits)
    cos, sin = waves(p)
    places = torch.arange(p)
    turned = (places[:, None] + places) % p
    both = torch.cat([cos, sin], dim=1).to(logits.dtype)
    moved = logits - logits[..., :1]  # so that a constant is exactly nothing
    of_answer = (moved.flatten(0, 1) @ both).view(p, p, -1).double() / energies(p).repeat(2)
    by_cos, by_sin = of_answer.chunk(2, dim=-1)
    cos, sin = cos[turned], sin[turned]
    return cos * by_cos + sin * by_sin, sin * by_cos - cos * by_sin


def waves(p: int) -> tuple[Float[Tensor, "p freq"], Float[Tensor, "p freq"]]:
    """The waves cos(w_k x) and sin(w_k x) at x = 0 … p−1 for k = 1 … ⌊p/2⌋; the sine of k = p/2 is 0."""
    x, k = torch.arange(p), torch.arange(1, p // 2 + 1)
    angle = 2 * math.pi / p * ((x[:, None] * k) % p).double()  # reduced first: exact for any k·x
    return angle.cos(), torch.where(2 * k == p, 0.0, angle.sin())


def energies(p: int) -> Float[Tensor, " freq"]:
    """Sum of squares of each wave, Σ_x cos²(w_k x): p/2, and p for k = p/2."""
    k = torch.arange(1, p // 2 + 1)
    return torch.where(2 * k == p, float(p), p / 2).double()


def frequency_variance(u: Float[Tensor, "p p freq"], v: Float[Tensor, "p p freq"]) -> Float[Tensor, " freq"]:
    """Sum of squares of the logits at each frequency of the answer. Sums over all k to that of the logits centred per prompt."""
    return (u.square() + v.square()).sum(dim=(0, 1)) * energies(len(u))


def pizza_amplitude(p: int) -> Float[Tensor, "p freq"]:
    """Amplitude of a pizza, |cos(w_k d/2)|, at each d = a − b: 1 for a = b, least where a and b are opposite on the circle."""
    k, d = torch.arange(1, p // 2 + 1), torch.arange(p)
    return (math.pi / p * ((d[:, None] * k) % p).double()).cos().abs()


def form_products(u: Float[Tensor, "p p freq"]) -> Float[Tensor, "2 freq"]:
    """Inner product of the logits [a, b, c] with the clock's and with the pizza's form (norm 1), for each frequency k.

    Forms of different k are orthogonal, so the squares of one form add up over k. The clock's products are the coefficients
    of Nanda et al. (2023) on unit-norm cos(w_k(a + b − c)).
    """
    p = len(u)
    a = torch.arange(p)
    by_distance = u[a, (a - a[:, None]) % p].mean(dim=1)  # [d, freq]
    forms = torch.stack([torch.ones(p, p // 2, dtype=torch.float64), pizza_amplitude(p)])
    sizes = (forms.square().sum(dim=1) * p * energies(p)).sqrt()
    return einsum(by_distance, forms, "d freq, form d freq -> form freq") * p * energies(p) / sizes


def form_variance(u: Float[Tensor, "p p freq"]) -> Float[Tensor, "3 freq"]:
    """Sum of squares of the logits that a least-squares fit of each of FORMS explains, at each frequency k alone.

    Divide by `frequency_variance`, or by the logits' variance, for the fraction explained. Forms of different k are
    orthogonal: over several k the sums add up to that of one fit of them all.
    """
    p, pizza = len(u), pizza_amplitude(len(u))
    by_clock, by_pizza = form_products(u)
    overlap = pizza.sum(dim=0) / (p * pizza.square().sum(dim=0)).sqrt()  # cosine of the two cubes, below 1
    beside = (by_pizza - overlap * by_clock).square() / (1 - overlap.square())
    return torch.stack([by_clock.square(), by_pizza.square(), by_clock.square() + beside])


def sum_share(logits: Float[Tensor, "p p p"]) -> Float[Tensor, ""]:
    """Share of the logits' variance that is a function of a + b and c alone, 0 to 1; 1/(p + 1) at chance.

    Two means are removed first: each prompt's over answers, which changes no loss, and each answer's over prompts, which is a
    bias. NaN for logits that have nothing else.
    """
    p, moved = len(logits), logits - logits[:1, :1]  # so that a constant is exactly nothing
    moved = moved - moved.mean(dim=-1, keepdim=True)
    moved = moved - moved.mean(dim=(0, 1))
    a = torch.arange(p)
    by_sum = moved[a, (a[:, None] - a) % p].mean(dim=1)  # [a + b, c]
    return p * by_sum.double().square().sum() / moved.square().sum(dtype=torch.float64)
