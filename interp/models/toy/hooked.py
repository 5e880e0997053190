"""Toy models with TransformerLens' hooks, made from a specification and weights."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.models.lens import HookedRootModule, HookPoint
from interp.models.toy.forward import activate_hidden, activate_output
from interp.models.toy.spec import ToySpec
from interp.shape import Shape


class HookedToy(HookedRootModule):
    """A toy model of vectors [batch, n_features], with hooks on hidden numbers and output, for run_with_cache."""

    def __init__(self, spec: ToySpec, shape: Shape):
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
        """Output of the model for these vectors."""
        weights = dict(self.named_parameters())
        hidden = self.hook_hidden(activate_hidden(self.spec, weights, self.hook_hidden_pre(vectors @ weights["W"].mT)))
        pre = self.hook_pre(hidden @ weights["W" if self.spec.tied else "W_out"] + weights["b"])
        return self.hook_post(activate_output(self.spec, pre))


def load(spec: ToySpec, shape: Shape, weights: dict[str, Tensor]) -> HookedToy:
    """A toy model on the CPU with exactly these weights. A missing, unknown or misshapen tensor is an error."""
    model = HookedToy(spec, shape)
    model.load_state_dict(weights, strict=True)
    return model
