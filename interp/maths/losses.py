"""How wrong an answer is."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def cross_entropy(logits: Float[Tensor, "batch d_vocab_out"], targets: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
    """Mean cross-entropy in nats, in float64.

    float64 because late in training the right answer has probability 1 in float32: the loss would read 0 and its
    gradient would be rounding noise. The notebooks of Nanda et al. (2023) and of TransformerLens do the same.
    """
    return torch.nn.functional.cross_entropy(logits.double(), targets)


def accuracy(logits: Float[Tensor, "batch d_vocab_out"], targets: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
    """Share of prompts whose largest logit is the right answer's."""
    return (logits.argmax(dim=-1) == targets).double().mean()
