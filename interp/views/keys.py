"""Which frequencies a network uses, by each of the five published rules."""

import hashlib
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp.maths import fourier
from interp.maths.neurons import block_parts, cluster_sizes
from interp.models.network import Weights
from interp.views.square import NeuronSquare
from interp.views.walk import beforehand, bytes_read, needs_memory

KeyRule = Literal["W_E_far_out", "W_L_far_out", "neuron_clusters", "W_E_quarter", "W_E_largest_gap"]

KEY_RULES: dict[KeyRule, str] = {
    "W_E_far_out": "frequencies whose norm in W_E stands out (Tukey's far-out fence for the eye of Nanda et al. 2023)",
    "W_L_far_out": "the same in W_L = W_out·W_U, whose other rows are trivial",
    "neuron_clusters": "best frequencies of the neurons with more than 85 % of their variance there (code of Nanda et al. 2023)",
    "W_E_quarter": "norm in W_E above a quarter of the largest (TransformerLens' grokking demo)",
    "W_E_largest_gap": "power in W_E above the largest gap between neighbours in order of size",
}
"""Every rule with what it says."""

KEPT = 32
"""That part of the run's memory may be taken by what was found for one analysis and is kept for the next."""

NEURONS_AT_ONCE = 64
"""Whose activations over all pairs are transformed together: eight times their memory is needed meanwhile."""


def neuron_parts(
    square: NeuronSquare, post: Float[Tensor, "pair neuron"]
) -> tuple[Float[Tensor, "neuron freq"], Float[Tensor, "neuron freq"]]:
    """Linear and quadratic share of every neuron's variance at every frequency (`block_parts`), in bounded memory.

    Several analyses of one run ask for those of the same activations: they are known again by their digest, which takes a
    fifth of the time.
    """
    kept, name = square.run.kept, hashlib.sha256(post.contiguous().numpy().data).digest()
    if name in kept:
        return kept[name]
    table = post.unflatten(0, (square.n, square.n))
    parts = [block_parts(some) for some in table.split(NEURONS_AT_ONCE, dim=-1)]
    linear, quadratic = map(torch.cat, zip(*parts, strict=True))
    if (len(kept) + 1) * 2 * linear.nbytes <= square.run.memory // KEPT:
        kept[name] = linear, quadratic
    return linear, quadratic


def neuron_shares(square: NeuronSquare, post: Float[Tensor, "pair neuron"]) -> Float[Tensor, "neuron freq"]:
    """Share of every neuron's variance at every frequency (`block_shares`), in bounded memory."""
    linear, quadratic = neuron_parts(square, post)
    return linear + quadratic


def neuron_bytes(square: NeuronSquare) -> int:
    """Bytes that `neuron_parts` takes at work."""
    at_once = min(NEURONS_AT_ONCE, square.neurons.width)
    return 2 * square.bytes(6 * at_once)


def key_frequencies(
    weights: Weights, square: NeuronSquare, shares: Float[Tensor, "neuron freq"]
) -> dict[KeyRule, Bool[Tensor, " freq"]]:
    """Which of 1 … ⌊n/2⌋ are key by each rule; `shares` are the neurons' (`neuron_shares`)."""
    in_W_E, in_W_L = (fourier.frequency_norms(matrix) for matrix in square.matrices(weights).values())
    return {
        "W_E_far_out": fourier.far_out(in_W_E),
        "W_L_far_out": fourier.far_out(in_W_L),
        "neuron_clusters": cluster_sizes(shares) > 0,
        "W_E_quarter": fourier.above_quarter_of_largest(in_W_E),
        "W_E_largest_gap": fourier.above_largest_gap(in_W_E),
    }


def final_keys(square: NeuronSquare, rule: KeyRule, chosen: tuple[int, ...] = ()) -> tuple[list[int], str]:
    """The key frequencies of the last checkpoint in view before a collapse, or those chosen; and in words, where they are from.

    Where the rule names none, as `neuron_clusters` of a network that has not generalised, those of `W_E_largest_gap`.
    """
    if chosen:
        return square.frequencies(chosen), "as given"
    final, run = square.settled.final, square.run
    needs_memory(run, 2 * bytes_read(run) + final_bytes(square))

    def by_rule() -> dict[KeyRule, Bool[Tensor, " freq"]]:
        """The key frequencies by every rule."""
        weights = final.weights
        return key_frequencies(weights, square, neuron_shares(square, square.posts(weights)))

    keys = beforehand(by_rule)
    at = f"at step {final.step}" + ("" if final.step == run.steps[-1] else ", before the run collapsed")
    if keys[rule].any():
        return named(keys[rule]), f"by {rule} {at}: {KEY_RULES[rule]}"
    rest: KeyRule = "W_E_largest_gap"
    return named(keys[rest]), f"by {rest} {at}: {KEY_RULES[rest]}; {rule} names none"


def final_bytes(square: NeuronSquare) -> int:
    """Bytes that `final_keys` takes at work."""
    return square.forward_bytes + neuron_bytes(square)


def named(key: Bool[Tensor, " freq"]) -> list[int]:
    """The frequencies k themselves."""
    return [int(index) + 1 for index in key.nonzero()]
