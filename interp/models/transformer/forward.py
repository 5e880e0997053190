"""The transformer's network over some prompts by the way that is least work, what of it is what, what follows its neurons."""

from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.models.network import Hook, Layer, Matrix, Roles, Weights
from interp.models.transformer.dense import DenseForward
from interp.models.transformer.shared import SharedForward
from interp.models.transformer.spec import TransformerSpec
from interp.models.transformer.tail import TransformerTail, routes
from interp.recipe import Precision
from interp.shape import Shape

LONG = 6
"""Tokens of a prompt from which sharing prefixes saves nothing."""


def over(
    spec: TransformerSpec,
    shape: Shape,
    inputs: Int[Tensor, "*runs n n_ctx"],
    precision: Precision = "float32",
    apart: bool = False,
) -> SharedForward | DenseForward:
    """The logits of these prompts where the task's answers are read.

    With `apart` every prompt has states of its own, so that it can have `factors`.
    """
    positions = shape.classes.positions
    if positions == (-1,) and shape.tokens.n_ctx < LONG:
        return SharedForward(spec, inputs, precision, apart)
    return DenseForward(spec, inputs, positions, precision)


def roles(spec: TransformerSpec) -> Roles:
    """The embedding, the last MLP's neurons with what they write on the logits, and the last layer's attention."""
    last = f"blocks.{spec.n_layers - 1}"
    found = Roles(
        embedding=Matrix(("embed.W_E",), lambda weights: weights["embed.W_E"], spec.d_model, with_W_E),
        unembedding=Matrix(("unembed.W_U",), lambda weights: weights["unembed.W_U"], spec.d_model),
        stream=Hook(f"{last}.hook_resid_post", spec.d_model),
        attention=Hook(f"{last}.attn.hook_pattern", spec.n_heads),
        linear=spec.norm_at("unembedding") == "none",
    )
    if spec.attn_only:
        return found
    reads = (f"{last}.mlp.W_out", "unembed.W_U", *(("ln_final.w",) if spec.norm_at("unembedding") == "LN" else ()))
    return replace(
        found,
        neurons=Hook(f"{last}.mlp.hook_post", spec.d_mlp),
        readout=Matrix(reads, partial(written, spec), spec.d_mlp),
        routes=routes(spec),
        layer=Layer(f"{last}.hook_resid_mid", partial(received, spec)),
    )


def received(
    spec: TransformerSpec, weights: Weights, resid_mid: Float[Tensor, "rows d_model"]
) -> Float[Tensor, "rows d_mlp"]:
    """What the neurons of the last MLP receive of these rows of the residual stream."""
    return tail(spec, weights, torch.arange(0)).block.received(resid_mid[None])[0]


def with_W_E(weights: Weights, W_E: Tensor) -> Weights:
    """The weights with another embedding."""
    return {**weights, "embed.W_E": W_E}


def tail(spec: TransformerSpec, weights: Weights, answers: Int[Tensor, " answer"]) -> TransformerTail:
    """What follows the neurons of the last MLP, for the logits of some answers."""
    return TransformerTail(spec, weights, answers)


def written(spec: TransformerSpec, weights: Weights) -> Float[Tensor, "*step d_mlp answer"]:
    """W_L = W_out·W_U of the last layer: what its neurons write on the logits.

    Of a LayerNorm between the two, the centring and the weights are part of it; its scale, which differs by prompt, is not.
    """
    W_out = weights[f"blocks.{spec.n_layers - 1}.mlp.W_out"]
    if spec.norm_at("unembedding") != "none":
        W_out = W_out - W_out.mean(dim=-1, keepdim=True)
    if spec.norm_at("unembedding") == "LN":
        W_out = W_out * weights["ln_final.w"][..., None, :]
    return W_out @ weights["unembed.W_U"]
