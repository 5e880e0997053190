"""Losses and accuracies of answers. Leading axes ("...") are carried along."""

import math
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from interp.base import IGNORED
from interp.maths.compiled import arrays, serve


def cross_entropy(
    logits: Float[Tensor, "... batch d_vocab_out"],
    targets: Int[Tensor, "... batch"],
    smoothing: float = 0.0,
    dtype: torch.dtype = torch.float64,
) -> Float[Tensor, "..."]:
    """Mean cross-entropy in nats; that of each prompt is computed in `dtype`.

    float64 because late in training the right answer has probability 1 in float32: the loss would read 0 and its
    gradient would be rounding noise. The notebooks of Nanda et al. (2023) and of TransformerLens do the same.

    With `smoothing` ε, the target has probability 1 − ε, and ε is spread evenly over all answers, the right one included.
    """
    counted = (targets != IGNORED).sum(dim=-1)
    if not smoothing and dtype == torch.float64 and serve(logits.numel(), logits):
        return _CrossEntropy.apply(logits, targets, counted)
    each = torch.nn.functional.cross_entropy(
        logits.to(dtype).flatten(0, -2),
        targets.flatten(),
        reduction="none",
        ignore_index=IGNORED,
        label_smoothing=smoothing,
    )
    return each.double().view_as(targets).sum(dim=-1) / counted


class _CrossEntropy(torch.autograd.Function):
    """Mean cross-entropy in float64 by compiled loops, which take its gradient with it; differentiable once."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, counted: Tensor) -> Tensor:
        from interp.maths.loops import cross_entropies

        losses, gradients = torch.empty(targets.shape, dtype=torch.float64), torch.empty(logits.shape)
        shares = counted.double().reciprocal()[..., None].expand(targets.shape)
        rows = logits.flatten(0, -2), targets.flatten(), shares.flatten(), losses.flatten(), gradients.flatten(0, -2)
        cross_entropies(*arrays(*rows))
        ctx.save_for_backward(gradients)
        return losses.sum(dim=-1) / counted

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        (by_logits,), (by_loss,) = ctx.saved_tensors, gradients
        if (by_loss != 1).any():  # the sum of all runs' losses gives 1
            by_logits = by_logits * by_loss[..., None, None].float()
        return by_logits, None, None


def stablemax_cross_entropy(
    logits: Float[Tensor, "... batch d_vocab_out"],
    targets: Int[Tensor, "... batch"],
    smoothing: float = 0.0,
    dtype: torch.dtype = torch.float64,
) -> Float[Tensor, "..."]:
    """Mean cross-entropy in nats with StableMax, s(x) / Σ s, for softmax; s(x) = x + 1 for x ≥ 0 and 1/(1 − x) for x < 0.

    Prieto et al. (2025, arXiv 2501.04697, eq. 6 and 7). s grows as x, not as exp x: in floating point the right answer's
    term does not absorb the others. Computed as the softmax of sign(x)·log1p|x|. Arguments are those of `cross_entropy`.
    """
    logits = logits.to(dtype)
    return cross_entropy(logits.sign() * logits.abs().log1p(), targets, smoothing, dtype)


def prompt_losses(
    logits: Float[Tensor, "... batch d_vocab_out"], targets: Int[Tensor, " batch"]
) -> Float[Tensor, "... batch"]:
    """Cross-entropy of every prompt in nats, in the precision of the logits, accurate to its last digits however small it is.

    Computed as log1p Σ_wrong exp m, with margins m = logit − right logit. Where the right answer has almost all probability the
    sum is small; 1 + Σ would round it off. So float32 logits need no float64, which takes four times as long.
    """
    return losses_and_right(logits, targets)[0]


def losses_and_right(
    logits: Float[Tensor, "... batch d_vocab_out"], targets: Int[Tensor, " batch"]
) -> tuple[Float[Tensor, "... batch"], Float[Tensor, "... batch"]]:
    """Cross-entropy of every prompt (as `prompt_losses`), and whether its right answer's logit exceeds all others (1 or 0).

    Both follow from the margins, in three quarters of the time that they take one by one.
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


def errors_and_right(
    outputs: Float[Tensor, "... batch answer"], targets: Int[Tensor, " batch"]
) -> tuple[Float[Tensor, "... batch"], Float[Tensor, "... batch"]]:
    """Squared distance of every prompt's outputs from its answer's one-hot vector; and 1 where the answer's exceeds all others.

    The counterpart of `losses_and_right` for networks that minimise a squared error.
    """
    right = targets.expand(outputs.shape[:-1])[..., None]
    own = outputs.gather(-1, right)
    others = outputs.scatter(-1, right, -torch.inf).amax(dim=-1, keepdim=True)
    errors = outputs.square().sum(dim=-1, keepdim=True) - 2 * own + 1
    return errors[..., 0], (own > others).to(outputs.dtype)[..., 0]


def accuracy(logits: Float[Tensor, "... batch d_vocab_out"], targets: Int[Tensor, "... batch"]) -> Float[Tensor, "..."]:
    """Share of prompts whose largest logit is the right answer's."""
    right = logits.argmax(dim=-1) == targets
    return right.double().sum(dim=-1) / (targets != IGNORED).sum(dim=-1)


def one_hot_error(
    outputs: Float[Tensor, "... batch answer"], targets: Int[Tensor, "... batch"], dtype: torch.dtype = torch.float64
) -> Float[Tensor, "..."]:
    """Σ_c (f_c − 1[c is right])² over the answers c, the mean over prompts (Gromov 2023, arXiv 2301.02679)."""
    known = targets != IGNORED
    outputs = outputs.to(dtype)
    right = outputs.gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    each = outputs.square().sum(dim=-1) - 2 * right + 1
    return (each.double() * known).sum(dim=-1) / known.sum(dim=-1)


def squared_error(
    outputs: Float[Tensor, "... batch feature"],
    targets: Float[Tensor, "... batch feature"],
    importance: Float[Tensor, " feature"],
) -> Float[Tensor, "..."]:
    """Mean over examples of the error Σ_i I_i·(x_i − x'_i)², in float64 (Elhage et al. 2022, "Toy Models of Superposition")."""
    return ((outputs - targets).square() * importance).sum(dim=-1).double().mean(dim=-1)
