"""How wrong an answer is. Leading axes ("...") are carried along."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

IGNORED = -100
"""Target of a row that is no prompt, but fills a shorter batch beside longer ones."""


def cross_entropy(
    logits: Float[Tensor, "... batch d_vocab_out"], targets: Int[Tensor, "... batch"]
) -> Float[Tensor, "..."]:
    """Mean cross-entropy in nats, in float64.

    float64 because late in training the right answer has probability 1 in float32: the loss would read 0 and its
    gradient would be rounding noise. The notebooks of Nanda et al. (2023) and of TransformerLens do the same.
    """
    each = torch.nn.functional.cross_entropy(
        logits.double().flatten(0, -2), targets.flatten(), reduction="none", ignore_index=IGNORED
    )
    return each.view_as(targets).sum(dim=-1) / (targets != IGNORED).sum(dim=-1)


def prompt_losses(
    logits: Float[Tensor, "... batch d_vocab_out"], targets: Int[Tensor, " batch"]
) -> Float[Tensor, "... batch"]:
    """Cross-entropy of every prompt in nats, in the precision of the logits, true to its last digits however small it is.

    With margins m = logit − right logit it is log1p Σ_wrong exp m: where the right answer has almost all probability, the sum
    is small and kept, which 1 + Σ would round off. So float32 logits need no float64, which takes four times as long.
    """
    right = targets.expand(logits.shape[:-1])[..., None]
    margins = (logits - logits.gather(-1, right)).scatter_(-1, right, -torch.inf)
    largest = margins.amax(dim=-1, keepdim=True).clamp(min=0)
    others = margins.sub_(largest).exp_().sum(dim=-1, keepdim=True)
    return (largest + torch.log1p(others + torch.expm1(-largest)))[..., 0]


def accuracy(logits: Float[Tensor, "... batch d_vocab_out"], targets: Int[Tensor, "... batch"]) -> Float[Tensor, "..."]:
    """Share of prompts whose largest logit is the right answer's."""
    right = logits.argmax(dim=-1) == targets
    return right.double().sum(dim=-1) / (targets != IGNORED).sum(dim=-1)
