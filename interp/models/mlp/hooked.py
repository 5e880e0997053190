"""MLPs with TransformerLens' hooks, made from a specification and weights."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from interp.models.activations import ACTIVATIONS
from interp.models.lens import HookedRootModule, HookPoint
from interp.models.mlp.spec import MlpSpec
from interp.shape import Shape


class HookedMlp(HookedRootModule):
    """An MLP over prompts of tokens [batch, n_ctx], with hooks on its inputs, neurons and outputs, for run_with_cache."""

    def __init__(self, spec: MlpSpec, shape: Shape):
        super().__init__()
        self.spec, self.d_vocab = spec, shape.tokens.d_vocab
        layers = [part(hook_pre=HookPoint(), hook_post=HookPoint()) for _ in range(spec.n_hidden)]
        self.embed, self.layers = part(hook_embed=HookPoint()), nn.ModuleList(layers)
        self.unembed = part(hook_out=HookPoint())
        for name, size in spec.tensor_shapes(shape).items():
            owner, _, own = name.rpartition(".")
            self.get_submodule(owner).register_parameter(own, nn.Parameter(torch.empty(size)))
        self.setup()

    def forward(self, tokens: Int[Tensor, "batch n_ctx"]) -> Float[Tensor, "batch answer"]:
        """The outputs, one for each answer."""
        weights, hooks = dict(self.named_parameters()), self.hook_dict
        if self.spec.inputs == "embedded":
            x = weights["embed.W_E"][tokens]
        else:
            x = nn.functional.one_hot(tokens, self.d_vocab).to(weights["unembed.W_U"])
        x = hooks["embed.hook_embed"](x).flatten(1)
        for layer in range(self.spec.n_hidden):
            name = f"layers.{layer}"
            pre = hooks[f"{name}.hook_pre"](x @ weights[f"{name}.W"].flatten(0, -2) + weights.get(f"{name}.b", 0))
            x = hooks[f"{name}.hook_post"](ACTIVATIONS[self.spec.act_fn](pre))
        return hooks["unembed.hook_out"](x @ weights["unembed.W_U"] + weights.get("unembed.b_U", 0))


def part(**hooks: HookPoint) -> nn.Module:
    """A module that holds these hooks, and the parameters that are registered in it."""
    found = nn.Module()
    for name, hook in hooks.items():
        found.add_module(name, hook)
    return found


def load(spec: MlpSpec, shape: Shape, weights: dict[str, Tensor]) -> HookedMlp:
    """An MLP on the CPU with exactly these weights; a missing, unknown or misshapen one is an error."""
    model = HookedMlp(spec, shape)
    model.load_state_dict(weights, strict=True)
    return model
