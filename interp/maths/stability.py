"""Whether a softmax still tells answers apart at a precision, and where the gradient points.

Leading axes ("...") are carried along.
"""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

PRECISIONS = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
}
"""Floating-point types by name; their machine epsilons are 2⁻¹⁰, 2⁻⁷, 2⁻²³ and 2⁻⁵²."""


def softmax_collapsed(
    logits: Float[Tensor, "... batch d_vocab_out"], precision: torch.dtype
) -> Bool[Tensor, "... batch"]:
    """Whether Σ_j exp(z_j − max z) is exactly 1 in that precision: softmax collapse (Prieto et al. 2025, section 3).

    The largest logit then has probability 1. If it is the right answer's, the loss log Σ exp(z − max z) − (z_right − max z)
    is exactly 0 in that precision, and so is its gradient; it is exactly 0 in no other case.
    z − max z is taken in the precision of the logits. It, its exponential and the sum are rounded to `precision`, the sum only
    once, so that the order of summing does not matter. A sum that is rounded at every term collapses as early or earlier. One
    wrong answer with a margin m counts until e⁻ᵐ is half an epsilon: m = 7.6 in float16, 5.5 in bfloat16, 16.6 in float32,
    36.7 in float64. Logits with two equal maxima do not collapse.
    """
    behind = logits - logits.amax(dim=-1, keepdim=True)
    # Beside 1, e⁻⁸⁷ is nothing even in float64, and computing the last bits of what underflows makes exp ten times as slow.
    behind = torch.nn.functional.threshold(behind, math.log(torch.finfo(torch.float32).tiny), -torch.inf)
    terms = behind.to(precision).exp()
    if precision == torch.float64:  # the largest logit's 1 comes last, so that what is small adds up first
        others = terms.scatter_(-1, terms.argmax(dim=-1, keepdim=True), 0.0).sum(dim=-1)
        return 1 + others == 1
    return terms.sum(dim=-1, dtype=torch.float64).to(precision) == 1


def logit_margins(
    logits: Float[Tensor, "... batch d_vocab_out"], targets: Int[Tensor, " batch"]
) -> Float[Tensor, "... batch"]:
    """Margin of each prompt: logit of the right answer minus the largest other logit; positive if the answer is right."""
    right = targets.expand(logits.shape[:-1])[..., None]
    return (logits.gather(-1, right) - logits.scatter(-1, right, -torch.inf).amax(dim=-1, keepdim=True))[..., 0]


def descent_cosines(weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`cosine` (−1 to 1) of minus the gradient with the weights, all tensors as one vector, and the gradient's `norm`; float64.

    Also `cosines` and `norms` [tensor] of every tensor alone, in the order of `gradients`. Near 1 a step of gradient
    descent scales the weights up and changes little else: naive loss minimisation (Prieto et al. 2025, section 4).
    Σ w·∂L/∂w is the derivative of the loss by the scale of the weights, so a positive cosine says that scaling up lowers
    the loss. If weights or gradient are 0, the cosine is 0.
    """
    pairs = [(weights[name].double().flatten(), -gradients[name].double().flatten()) for name in gradients]
    dots = torch.stack([w @ g for w, g in pairs])
    sizes = torch.stack([w.square().sum() for w, _ in pairs])
    squares = torch.stack([g.square().sum() for _, g in pairs])
    return {
        "cosine": cosine(dots.sum(), sizes.sum(), squares.sum()),
        "norm": squares.sum().sqrt(),
        "cosines": cosine(dots, sizes, squares),
        "norms": squares.sqrt(),
    }


def cosine(
    dot: Float[Tensor, "*n"], one_square: Float[Tensor, "*n"], other_square: Float[Tensor, "*n"]
) -> Float[Tensor, "*n"]:
    """Cosine of two vectors, from their inner product and their squared norms; 0 if one of the vectors is 0."""
    lengths = one_square.sqrt() * other_square.sqrt()
    return torch.where(lengths > 0, dot / lengths, 0.0)
