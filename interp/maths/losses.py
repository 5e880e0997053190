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


def accuracy(logits: Float[Tensor, "... batch d_vocab_out"], targets: Int[Tensor, "... batch"]) -> Float[Tensor, "..."]:
    """Share of prompts whose largest logit is the right answer's."""
    right = logits.argmax(dim=-1) == targets
    return right.double().sum(dim=-1) / (targets != IGNORED).sum(dim=-1)
