"""How wrong an answer is. Leading axes ("...") are carried along."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.base import IGNORED


def cross_entropy(
    logits: Float[Tensor, "... batch d_vocab_out"],
    targets: Int[Tensor, "... batch"],
    smoothing: float = 0.0,
    dtype: torch.dtype = torch.float64,
) -> Float[Tensor, "..."]:
    """Mean cross-entropy in nats, each prompt's in float64 or another precision.

    float64 because late in training the right answer has probability 1 in float32: the loss would read 0 and its
    gradient would be rounding noise. The notebooks of Nanda et al. (2023) and of TransformerLens do the same.

    With `smoothing` ε the target has probability 1 − ε, and ε is spread over all answers evenly, the right one among them.
    """
    each = torch.nn.functional.cross_entropy(
        logits.to(dtype).flatten(0, -2),
        targets.flatten(),
        reduction="none",
        ignore_index=IGNORED,
        label_smoothing=smoothing,
    )
    return each.double().view_as(targets).sum(dim=-1) / (targets != IGNORED).sum(dim=-1)


def stablemax_cross_entropy(
    logits: Float[Tensor, "... batch d_vocab_out"],
    targets: Int[Tensor, "... batch"],
    smoothing: float = 0.0,
    dtype: torch.dtype = torch.float64,
) -> Float[Tensor, "..."]:
    """The same with StableMax in place of the softmax: probability s(x) / Σ s, s(x) = x + 1 for x ≥ 0 and 1/(1 − x) for x < 0.

    Prieto et al. (2025, arXiv 2501.04697, eq. 6 and 7). It grows as x and not as exp x, so that sums do not absorb the wrong
    answers' parts. A softmax of ±log1p|x|.
    """
    logits = logits.to(dtype)
    return cross_entropy(logits.sign() * logits.abs().log1p(), targets, smoothing, dtype)


def prompt_losses(
    logits: Float[Tensor, "... batch d_vocab_out"], targets: Int[Tensor, " batch"]
) -> Float[Tensor, "... batch"]:
    """Cross-entropy of every prompt in nats, in the precision of the logits, true to its last digits however small it is.

    With margins m = logit − right logit it is log1p Σ_wrong exp m: where the right answer has almost all probability, the sum
    is small and kept, which 1 + Σ would round off. So float32 logits need no float64, which takes four times as long.
    """
    return losses_and_right(logits, targets)[0]


def losses_and_right(
    logits: Float[Tensor, "... batch d_vocab_out"], targets: Int[Tensor, " batch"]
) -> tuple[Float[Tensor, "... batch"], Float[Tensor, "... batch"]]:
    """The same, and 1 for every prompt whose right answer's logit exceeds all others, 0 for others.

    Both come of the margins, in three quarters of the time that they take apart.
    """
    right = targets.expand(logits.shape[:-1])[..., None]
    margins = (logits - logits.gather(-1, right)).scatter_(-1, right, -torch.inf)
    nearest = margins.amax(dim=-1, keepdim=True)
    largest = nearest.clamp(min=0)
    # What underflows is nothing: computing its last bits makes exp ten times as slow.
    tiny = math.log(torch.finfo(logits.dtype).tiny)
    margins = torch.nn.functional.threshold(margins.sub_(largest), tiny, -torch.inf, inplace=True)
    others = margins.exp_().sum(dim=-1, keepdim=True)
    losses = largest + torch.log1p(others + torch.expm1(-largest))
    return losses[..., 0], (nearest < 0).to(logits.dtype)[..., 0]


def accuracy(logits: Float[Tensor, "... batch d_vocab_out"], targets: Int[Tensor, "... batch"]) -> Float[Tensor, "..."]:
    """Share of prompts whose largest logit is the right answer's."""
    right = logits.argmax(dim=-1) == targets
    return right.double().sum(dim=-1) / (targets != IGNORED).sum(dim=-1)


def squared_error(
    outputs: Float[Tensor, "... batch feature"],
    targets: Float[Tensor, "... batch feature"],
    importance: Float[Tensor, " feature"],
) -> Float[Tensor, "..."]:
    """Σ_i I_i·(x_i − x'_i)², the mean over examples, in float64 (Elhage et al. 2022, "Toy Models of Superposition")."""
    return ((outputs - targets).square() * importance).sum(dim=-1).double().mean(dim=-1)
