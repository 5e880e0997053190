"""MLPs with TransformerLens' hooks, made from a specification and weights."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from interp.models.activations import ACTIVATIONS
from interp.models.lens import HookedRootModule, HookPoint
from interp.models.mlp.spec import MlpSpec
from interp.shape import Shape


class HookedMlp(HookedRootModule):
    """An MLP over prompts [batch, n_ctx] or vectors [batch, number], with hooks on inputs, neurons and outputs."""

    def __init__(self, spec: MlpSpec, shape: Shape):
        super().__init__()
        self.spec, self.d_vocab = spec, 0 if spec.inputs == "vectors" else shape.tokens.d_vocab
        layers = [part(hook_pre=HookPoint(), hook_post=HookPoint()) for _ in range(len(spec.layers))]
        self.embed, self.layers = part(hook_embed=HookPoint()), nn.ModuleList(layers)
        self.unembed = part(hook_out=HookPoint())
        for name, size in spec.tensor_shapes(shape).items():
            owner, _, own = name.rpartition(".")
            self.get_submodule(owner).register_parameter(own, nn.Parameter(torch.empty(size)))
        self.setup()

    def forward(
        self, inputs: Int[Tensor, "batch n_ctx"] | Float[Tensor, "batch number"]
    ) -> Float[Tensor, "batch answer"]:
        """The outputs, one for each answer."""
        weights, hooks = dict(self.named_parameters()), self.hook_dict
        if self.spec.inputs == "vectors":
            x = inputs.to(weights["unembed.W_U"])
        elif self.spec.inputs == "one_hot":
            x = nn.functional.one_hot(inputs, self.d_vocab).to(weights["unembed.W_U"])
        else:
            x = weights["embed.W_E"][inputs]
        x = hooks["embed.hook_embed"](x)
        x = x.sum(dim=1) if self.spec.inputs == "summed" else x.flatten(1)
        x = x if self.spec.inputs in ("one_hot", "vectors") else self.normalised(x)
        for layer in range(len(self.spec.layers)):
            name = f"layers.{layer}"
            received = x @ weights[f"{name}.W"].flatten(0, -2) + weights.get(f"{name}.b", 0)
            x = hooks[f"{name}.hook_post"](
                ACTIVATIONS[self.spec.act_fn](hooks[f"{name}.hook_pre"](self.normalised(received)))
            )
        return hooks["unembed.hook_out"](self.normalised(x) @ weights["unembed.W_U"] + weights.get("unembed.b_U", 0))

    def normalised(self, x: Float[Tensor, "batch d"]) -> Float[Tensor, "batch d"]:
        """x centred and of variance 1 (with ε) if the specification has LNPre; x itself if it has none."""
        if self.spec.normalization == "none":
            return x
        centred = x - x.mean(dim=-1, keepdim=True)
        return centred * (centred.square().mean(dim=-1, keepdim=True) + self.spec.norm_eps).rsqrt()


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
