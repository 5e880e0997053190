"""The convolutional network over some images, and what of it is what."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import batch_norm, conv2d, group_norm, max_pool2d

from interp.base import UserError, once
from interp.models.convnet.spec import ONE_NUMBER, Conv, ConvnetSpec
from interp.models.network import Forward, Hook, Matrix, Roles, Weights
from interp.recipe import Precision
from interp.shape import Shape

EPS = 1e-5
"""ε that a normalisation adds to the variance: torch's default."""

MOMENTUM = 0.1
"""Share of a mini-batch's statistics in the running ones: torch's default."""

Images = Float[Tensor, "n channel height width"]


@dataclass(frozen=True)
class Pass:
    """One pass of one network over images."""

    spec: ConvnetSpec
    weights: Weights
    at: Callable[[str, Tensor], Tensor] = field(default=lambda name, value: value)
    """What each activation becomes, by the name of its hook."""
    training: bool = False
    """Whether a batch normalisation takes the statistics of these images, and moves the running ones in place."""

    def __call__(self, images: Images) -> Float[Tensor, "n answer"]:
        """The outputs, one for each answer."""
        features = self.at("unembed.hook_in", FEATURES[self.spec.architecture](self, images))
        outputs = torch.addmm(self.weights["unembed.b_U"], features, self.weights["unembed.W_U"])
        return self.at("unembed.hook_out", outputs)

    @once
    def convs(self) -> Mapping[str, Conv]:
        """Convolutions by name."""
        return {layer.name: layer for layer in self.spec.layers if isinstance(layer, Conv)}

    def conv(self, name: str, x: Images) -> Images:
        """The convolution of that name."""
        layer, W = self.convs[name], self.weights[f"{name}.W"]
        written = conv2d(x, W, self.weights.get(f"{name}.b"), layer.stride, layer.kernel // 2)
        return self.at(f"{name}.hook_out", written)

    def norm(self, name: str, x: Images) -> Images:
        """The normalisation of that name; x itself if there is none."""
        if self.spec.normalization == "none":
            return x
        scale, bias = self.weights[f"{name}.w"], self.weights[f"{name}.b"]
        if self.spec.normalization == "group":
            normal = group_norm(x, self.spec.groups(x.shape[1]), scale, bias, EPS)
        else:
            if self.training and x.shape[0] * x.shape[2] * x.shape[3] == 1:
                raise UserError(ONE_NUMBER)
            mean, var = self.weights[f"{name}.mean"], self.weights[f"{name}.var"]
            normal = batch_norm(x, mean, var, scale, bias, self.training, MOMENTUM, EPS)
        return self.at(f"{name}.hook_out", normal)


def of_cnn5(net: Pass, x: Images) -> Float[Tensor, "n feature"]:
    """Features of the four blocks: the largest of each channel at the end."""
    for block in range(4):
        own = f"blocks.{block}"
        x = net.norm(f"{own}.norm", net.conv(f"{own}.conv", x)).relu()
        pool = {0: (1, 1), 3: tuple(x.shape[2:])}.get(block, (2, 2))
        x = net.at(f"{own}.hook_out", x if pool == (1, 1) else max_pool2d(x, pool))
    return x.flatten(1)


def of_resnet18(net: Pass, x: Images) -> Float[Tensor, "n feature"]:
    """Features of the eight residual blocks: the mean of each channel at the end."""
    x = net.conv("stem.conv", x)
    for block in range(8):
        own = f"blocks.{block}"
        inner = net.norm(f"{own}.norm1", x).relu()
        beside = net.conv(f"{own}.shortcut", inner) if f"{own}.shortcut" in net.convs else x
        inner = net.norm(f"{own}.norm2", net.conv(f"{own}.conv1", inner)).relu()
        x = net.at(f"{own}.hook_out", net.conv(f"{own}.conv2", inner) + beside)
    return net.norm("final.norm", x).relu().mean(dim=(2, 3))


FEATURES = {"cnn5": of_cnn5, "resnet18": of_resnet18}
"""What the readout reads, by architecture."""


@dataclass(frozen=True)
class ConvnetForward(Forward):
    """What comes out for these images, as a function of the weights, each [*runs, …]; one run after the other."""

    spec: ConvnetSpec
    sides: tuple[int, int, int]
    inputs: Float[Tensor, "*runs n number"]

    @once
    def images(self) -> Float[Tensor, "*runs n channel height width"]:
        """The images as convolutions take them."""
        return as_images(self.inputs, self.sides)

    def each(self, weights: Weights) -> Iterator[tuple[dict[str, Tensor], Images]]:
        """Weights and images of each run."""
        if self.inputs.ndim == 2:
            yield dict(weights), self.images
            return
        # Apart all at once: the gradient of weights[name][run] would fill a whole stack for every run.
        apart = {name: stack.unbind() for name, stack in weights.items()}
        for run, images in enumerate(self.images):
            yield {name: of_runs[run] for name, of_runs in apart.items()}, images

    def joined(self, each: list[Tensor]) -> Tensor:
        """What there is of each run, with the inputs' leading axes."""
        return each[0] if self.inputs.ndim == 2 else torch.stack(each)

    def __call__(self, weights: Weights, factors: Tensor | None = None) -> Float[Tensor, "*runs n answer"]:
        """The outputs, one for each answer."""
        return self.joined([Pass(self.spec, own)(images) for own, images in self.each(weights)])

    def learning(
        self, weights: Weights, factors: Tensor | None = None
    ) -> tuple[Float[Tensor, "*runs n answer"], dict[str, Tensor]]:
        """The outputs by the statistics of these images, and the running ones as they are afterwards."""
        buffers = self.spec.running
        outputs: list[Tensor] = []
        after: list[dict[str, Tensor]] = []
        for own, images in self.each(weights):
            after.append({name: own[name].clone() for name in buffers})
            outputs.append(Pass(self.spec, own | after[-1], training=True)(images))
        return self.joined(outputs), {name: self.joined([each[name] for each in after]) for name in buffers}

    def cache(self, weights: Weights, names: Callable[[str], bool] = lambda name: True) -> dict[str, Tensor]:
        """Activations of every image by the names of HookedConvnet's hooks; maps are [*runs, n, channel, height, width]."""
        every: dict[str, list[Tensor]] = {}

        def at(name: str, value: Tensor) -> Tensor:
            """The activation as it is; kept if it is asked for."""
            if names(name):
                every.setdefault(name, []).append(value)
            return value

        for own, images in self.each(weights):
            Pass(self.spec, own, at)(images)
        return {name: self.joined(values) for name, values in every.items()}

    def posts(self, weights: Weights, size: int) -> Iterator[Float[Tensor, "*runs part neuron"]]:
        """What the readout reads, in parts of so many images, in order."""
        for part in self.inputs.split(size, dim=-2):
            yield ConvnetForward(self.spec, self.sides, part).cache(weights, POOLED.__eq__)[POOLED]


POOLED = "unembed.hook_in"
"""Hook of what the readout reads: one number for each channel of the last map."""


def as_images(
    inputs: Float[Tensor, "*lead number"], sides: tuple[int, int, int]
) -> Float[Tensor, "*lead channel height width"]:
    """Vectors as images, their channels first."""
    return inputs.unflatten(-1, sides).movedim(-1, -3).contiguous()


def over(
    spec: ConvnetSpec,
    shape: Shape,
    inputs: Float[Tensor, "*runs n number"],
    precision: Precision = "float32",
    apart: bool = False,
) -> ConvnetForward:
    """The network over these images; its precision is that of the images."""
    return ConvnetForward(spec, shape.image, inputs)


def roles(spec: ConvnetSpec) -> Roles:
    """The pooled channels of the last map, which are its neurons, and W_U, which is both what points at the answers and what they
    write. Pixels have no embedding."""
    W_U = Matrix(("unembed.W_U",), lambda weights: weights["unembed.W_U"], spec.widths[-1])
    return Roles(unembedding=W_U, neurons=Hook(POOLED, spec.widths[-1]), readout=W_U)
