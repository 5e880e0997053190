"""Which frequencies a network uses, by each of the five published rules."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp.analyze._common import answer_rows, beforehand, bytes_read, fits, last_mlp, number_rows
from interp.analyze._sums import Square, frequencies
from interp.maths import fourier
from interp.maths.neurons import block_parts, cluster_sizes
from interp.store.tensors import Tensors

KeyRule = Literal["W_E_far_out", "W_L_far_out", "neuron_clusters", "W_E_quarter", "W_E_largest_gap"]

KEY_RULES: dict[KeyRule, str] = {
    "W_E_far_out": "frequencies whose norm in W_E stands out (Tukey's far-out fence for the eye of Nanda et al. 2023)",
    "W_L_far_out": "the same in W_L = W_out·W_U, whose other rows are trivial",
    "neuron_clusters": "best frequencies of the neurons with more than 85 % of their variance there (code of Nanda et al. 2023)",
    "W_E_quarter": "norm in W_E above a quarter of the largest (TransformerLens' grokking demo)",
    "W_E_largest_gap": "power in W_E above the largest gap between neighbours in order of size",
}
"""Every rule with what it says."""

NEURONS_AT_ONCE = 64
"""Whose activations over all pairs are transformed together: eight times their memory is needed meanwhile."""


def neuron_parts(
    square: Square, post: Float[Tensor, "pair d_mlp"]
) -> tuple[Float[Tensor, "d_mlp freq"], Float[Tensor, "d_mlp freq"]]:
    """Linear and quadratic share of every neuron's variance at every frequency (`block_parts`), in bounded memory."""
    table = post.unflatten(0, (square.n, square.n))
    parts = [block_parts(some) for some in table.split(NEURONS_AT_ONCE, dim=-1)]
    linear, quadratic = zip(*parts, strict=True)
    return torch.cat(linear), torch.cat(quadratic)


def neuron_shares(square: Square, post: Float[Tensor, "pair d_mlp"]) -> Float[Tensor, "d_mlp freq"]:
    """Share of every neuron's variance at every frequency (`block_shares`), in bounded memory."""
    linear, quadratic = neuron_parts(square, post)
    return linear + quadratic


def neuron_bytes(square: Square) -> int:
    """What `neuron_parts` takes at work."""
    at_once = min(NEURONS_AT_ONCE, square.run.transformer.d_mlp)
    return 2 * square.bytes(6 * at_once)


def key_frequencies(
    weights: Tensors, square: Square, shares: Float[Tensor, "d_mlp freq"]
) -> dict[KeyRule, Bool[Tensor, " freq"]]:
    """Which of 1 … ⌊n/2⌋ are key by each rule; `shares` are the neurons' (`neuron_shares`)."""
    task = square.task
    W_E, W_L = number_rows(weights["embed.W_E"], task), answer_rows(last_mlp(weights, square.run), task)
    in_W_E, in_W_L = fourier.frequency_norms(W_E), fourier.frequency_norms(W_L)
    return {
        "W_E_far_out": fourier.far_out(in_W_E),
        "W_L_far_out": fourier.far_out(in_W_L),
        "neuron_clusters": cluster_sizes(shares) > 0,
        "W_E_quarter": fourier.above_quarter_of_largest(in_W_E),
        "W_E_largest_gap": fourier.above_largest_gap(in_W_E),
    }


def final_keys(square: Square, rule: KeyRule, chosen: tuple[int, ...] = ()) -> tuple[list[int], str]:
    """The key frequencies of the last checkpoint in view, or those that were chosen; and in words, where they come from.

    Where the rule names none, as `neuron_clusters` of a network that has not generalised, those of `W_E_largest_gap`.
    """
    if chosen:
        return frequencies(square, chosen), "as given"
    final, run = square.run.final, square.run
    fits(run, 2 * bytes_read(run) + final_bytes(square))

    def by_rule() -> dict[KeyRule, Bool[Tensor, " freq"]]:
        """Of every rule."""
        (post,) = square.activations(weights := final.weights, "mlp.hook_post")
        return key_frequencies(weights, square, neuron_shares(square, post))

    keys = beforehand(by_rule)
    if keys[rule].any():
        return named(keys[rule]), f"by {rule} at step {final.step}: {KEY_RULES[rule]}"
    rest: KeyRule = "W_E_largest_gap"
    return named(keys[rest]), f"by {rest} at step {final.step}: {KEY_RULES[rest]}; {rule} names none"


def final_bytes(square: Square) -> int:
    """What `final_keys` takes at work."""
    return square.forward_bytes + neuron_bytes(square)


def named(key: Bool[Tensor, " freq"]) -> list[int]:
    """The frequencies k themselves."""
    return [int(index) + 1 for index in key.nonzero()]
