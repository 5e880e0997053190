"""Attention patterns over distinct rows."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from interp.maths.compiled import arrays, serve
from interp.models.products import dots, select
from interp.models.transformer.prefixes import Reads


def attention_pattern(
    query: Float[Tensor, "runs queries head d_head"], key: Float[Tensor, "runs rows head d_head"], reads: Reads
) -> Float[Tensor, "runs_out head seen"]:
    """Softmax of query·key / √d_head over the visible positions of each output row; `query` has the distinct ones."""
    which, seen, scale = reads.asking[1], reads.keys.shape[2], math.sqrt(query.shape[-1])
    few = query.shape[1] * reads.rows < reads.keys[0].numel()
    loops = few and serve(reads.keys[0].numel() * key.shape[2], query, key)
    # Of what torch has, the sparse product has the better gradient.
    if loops or (few and not torch.is_grad_enabled()):
        every = query.transpose(1, 2) @ key.permute(0, 2, 3, 1) / scale  # [runs, head, query, row]
        if loops:
            return _GatheredSoftmax.apply(every.flatten(0, 1), which, reads.keys)
        scores = every.permute(0, 2, 3, 1).flatten(0, 2).index_select(0, reads.pairs).unflatten(0, (seen, -1))
        return scores.softmax(dim=0).permute(1, 2, 0)
    scores = dots(select(query, which).flatten(0, 2), key.flatten(0, 2), reads.attention) / scale
    return scores.softmax(dim=-1).unflatten(0, (-1, key.shape[2]))


class _GatheredSoftmax(torch.autograd.Function):
    """Softmax over those scores that belong together, by compiled loops; differentiable once."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, queries: Tensor, keys: Tensor) -> Tensor:
        from interp.maths.loops import gathered_softmax

        ctx.size, (runs, out, seen) = scores.shape, keys.shape
        pattern = scores.new_empty(runs, out, len(scores) // runs, seen)
        gathered_softmax(*arrays(scores, queries, keys, pattern))
        ctx.save_for_backward(pattern, queries, keys)
        return pattern.flatten(0, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        from interp.maths.loops import scattered_gradient

        pattern, queries, keys = ctx.saved_tensors
        by_scores = pattern.new_zeros(ctx.size)
        scattered_gradient(*arrays(pattern, gradients[0].view_as(pattern), queries, keys, by_scores))
        return by_scores, None, None
