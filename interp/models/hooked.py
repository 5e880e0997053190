"""The only file that imports transformer_lens: HookedTransformers made from a spec and weights."""

import warnings
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformer_lens import HookedTransformer, HookedTransformerConfig
from transformer_lens.hook_points import HookedRootModule, HookPoint

from interp.base import TaskShape
from interp.models.initialise import initial_toy_weights, initial_weights
from interp.models.reconstruct import activate_hidden, activate_output
from interp.models.toy import ToySpec
from interp.models.transformer import TransformerSpec


def build(spec: TransformerSpec, shape: TaskShape, seed: int) -> HookedTransformer:
    """A freshly initialised model in train mode, its frozen biases marked so."""
    model = load(spec, shape, initial_weights(spec, shape, seed)).train()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(spec.learns(name))
    return model


def load(spec: TransformerSpec, shape: TaskShape, weights: dict[str, Tensor]) -> HookedTransformer:
    """A model on the CPU in eval mode with exactly these weights; a missing, unknown or misshapen one is an error."""
    model = empty(spec, shape)
    parameters = dict(model.named_parameters())
    buffers = {name: buffer for name, buffer in model.state_dict().items() if name not in parameters}
    model.load_state_dict({**buffers, **weights}, strict=True)
    return model.eval()


def empty(spec: TransformerSpec, shape: TaskShape) -> HookedTransformer:
    """The model with unset parameters, on the CPU in float32."""
    config = HookedTransformerConfig(
        **spec.model_dump(include={"n_layers", "n_heads", "d_model", "d_head", "d_mlp", "act_fn", "attn_only"}),
        **shape.model_dump(include={"n_ctx", "d_vocab", "d_vocab_out"}),
        normalization_type=None if spec.normalization == "none" else spec.normalization,
        attention_dir=spec.attention,
        init_weights=False,
        device="cpu",
    )
    with warnings.catch_warnings():
        # docs/decisions/0001: 3.9 is the last release that has HookedTransformer, and says so at every construction.
        warnings.simplefilter("ignore", DeprecationWarning)
        model = HookedTransformer(config, move_to_device=False)
    if spec.attention_rate != 1:
        rate = partial(mixed_with_ones, rate=spec.attention_rate, causal=spec.attention == "causal")
        model.add_hook(lambda name: name.endswith("attn.hook_pattern"), rate, is_permanent=True)
    return model


def mixed_with_ones(tensor: Tensor, *, hook: Any, rate: float, causal: bool) -> Tensor:
    """rate · softmax + (1 − rate) on the visible positions and 0 on others, given the softmax [batch, head, query, key]."""
    queries, keys = tensor.shape[-2:]
    ones = tensor.new_ones(queries, keys)
    visible = ones.tril(keys - queries) if causal else ones  # also of the last queries alone, with a cache of keys
    return rate * tensor + (1 - rate) * visible


class HookedToy(HookedRootModule):
    """A toy model of vectors [batch, n_features], with hooks on what is hidden and what comes out, for run_with_cache."""

    def __init__(self, spec: ToySpec, shape: TaskShape):
        super().__init__()
        self.spec = spec
        parts: dict[str, nn.Module] = {"": self, "ln": nn.Module()}
        for name, size in spec.tensor_shapes(shape).items():
            part, _, own = name.rpartition(".")
            parts[part].register_parameter(own, nn.Parameter(torch.empty(size)))
        if spec.hidden == "solu_ln":
            self.ln = parts["ln"]
        self.hook_hidden_pre, self.hook_hidden = HookPoint(), HookPoint()
        self.hook_pre, self.hook_post = HookPoint(), HookPoint()
        self.setup()

    def forward(self, vectors: Float[Tensor, "batch feature"]) -> Float[Tensor, "batch feature"]:
        """What the model makes of them."""
        weights = dict(self.named_parameters())
        hidden = self.hook_hidden(activate_hidden(self.spec, weights, self.hook_hidden_pre(vectors @ weights["W"].mT)))
        pre = self.hook_pre(hidden @ weights["W" if self.spec.tied else "W_out"] + weights["b"])
        return self.hook_post(activate_output(self.spec, pre))


def build_toy(spec: ToySpec, shape: TaskShape, seed: int) -> HookedToy:
    """A freshly initialised toy model in train mode, its bias frozen where it does not learn."""
    model = load_toy(spec, shape, initial_toy_weights(spec, shape, seed)).train()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(spec.learns(name))
    return model


def load_toy(spec: ToySpec, shape: TaskShape, weights: dict[str, Tensor]) -> HookedToy:
    """A toy model in eval mode with exactly these weights; a missing, unknown or misshapen one is an error."""
    model = HookedToy(spec, shape)
    model.load_state_dict(weights, strict=True)
    return model.eval()
