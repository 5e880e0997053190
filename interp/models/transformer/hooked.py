"""HookedTransformers made from a specification and weights."""

import warnings
from functools import partial
from typing import Any

from torch import Tensor, nn

from interp.models.lens import HookedTransformer, HookedTransformerConfig
from interp.models.transformer.spec import PLACES, TransformerSpec
from interp.shape import Shape


def load(spec: TransformerSpec, shape: Shape, weights: dict[str, Tensor]) -> HookedTransformer:
    """A HookedTransformer on the CPU with exactly these weights. A missing, unknown or misshapen tensor is an error."""
    model = empty(spec, shape)
    parameters = dict(model.named_parameters())
    buffers = {name: buffer for name, buffer in model.state_dict().items() if name not in parameters}
    model.load_state_dict({**buffers, **weights}, strict=True)
    return model


def empty(spec: TransformerSpec, shape: Shape) -> HookedTransformer:
    """A model with uninitialised parameters, on the CPU in float32."""
    config = HookedTransformerConfig(
        **spec.model_dump(include={"n_layers", "n_heads", "d_model", "d_head", "d_mlp", "act_fn", "attn_only"}),
        **shape.tokens.model_dump(),
        d_vocab_out=shape.outputs.n,
        normalization_type=None if spec.normalization == "none" else spec.normalization,
        attention_dir=spec.attention,
        init_weights=False,
        device="cpu",
    )
    with warnings.catch_warnings():
        # docs/decisions/0001: 3.9 is the last release that has HookedTransformer, and says so at every construction.
        warnings.simplefilter("ignore", DeprecationWarning)
        model = HookedTransformer(config, move_to_device=False)
    leave_out_norms(model, spec)
    if spec.attention_rate != 1:
        rate = partial(mixed_with_ones, rate=spec.attention_rate, causal=spec.attention == "causal")
        model.add_hook(lambda name: name.endswith("attn.hook_pattern"), rate, is_permanent=True)
    return model


def leave_out_norms(model: HookedTransformer, spec: TransformerSpec) -> None:
    """Put the identity where the specification has no LayerNorm; HookedTransformer itself has all of them or none."""
    if spec.norm_before == PLACES:
        return
    owners = {"attention": [(block, "ln1") for block in model.blocks], "unembedding": [(model, "ln_final")]}
    owners["mlp"] = [] if spec.attn_only else [(block, "ln2") for block in model.blocks]
    for place in PLACES:
        if spec.norm_at(place) == "none":
            for owner, name in owners[place]:
                setattr(owner, name, nn.Identity())
    model.setup()  # its tables of modules and hooks


def mixed_with_ones(tensor: Tensor, *, hook: Any, rate: float, causal: bool) -> Tensor:
    """Attention pattern rate · softmax + (1 − rate) on visible positions, else 0, from the softmax [batch, head, query, key]."""
    queries, keys = tensor.shape[-2:]
    ones = tensor.new_ones(queries, keys)
    visible = ones.tril(keys - queries) if causal else ones  # also of the last queries alone, with a cache of keys
    return rate * tensor + (1 - rate) * visible
