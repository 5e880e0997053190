"""Convolutional networks with TransformerLens' hooks, made from a specification and weights."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.models.convnet.forward import Pass, as_images
from interp.models.convnet.spec import ConvnetSpec
from interp.models.lens import HookedRootModule, HookPoint
from interp.shape import Shape


class HookedConvnet(HookedRootModule):
    """A convolutional network over images as vectors [batch, number], with hooks after every layer. In train mode a batch
    normalisation takes the statistics of the batch and moves the running ones, as nn.BatchNorm2d does."""

    def __init__(self, spec: ConvnetSpec, shape: Shape):
        super().__init__()
        self.spec, self.sides = spec, shape.image
        for name in spec.hooks:
            owner, own = self.place(name)
            owner.add_module(own, HookPoint())
        for name, tensor in spec.tensors(shape).items():
            (owner, own), values = self.place(name), torch.empty(tensor.size)
            if tensor.role == "buffer":
                owner.register_buffer(own, values)
            else:
                owner.register_parameter(own, nn.Parameter(values))
        self.setup()

    def place(self, name: str) -> tuple[nn.Module, str]:
        """The module in which a name stands, made where it is not there, and the last part of the name."""
        *path, own = name.split(".")
        owner: nn.Module = self
        for part in path:
            if part not in owner._modules:
                owner.add_module(part, nn.Module())
            owner = owner.get_submodule(part)
        return owner, own

    def forward(self, inputs: Float[Tensor, "batch number"]) -> Float[Tensor, "batch answer"]:
        """The outputs, one for each answer."""
        weights = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        hooks = self.hook_dict
        images = as_images(inputs.to(weights["unembed.W_U"]), self.sides)
        return Pass(self.spec, weights, lambda name, value: hooks[name](value), self.training)(images)


def load(spec: ConvnetSpec, shape: Shape, weights: dict[str, Tensor]) -> HookedConvnet:
    """A convolutional network on the CPU with exactly these weights; a missing, unknown or misshapen one is an error."""
    model = HookedConvnet(spec, shape)
    model.load_state_dict(weights, strict=True)
    return model
