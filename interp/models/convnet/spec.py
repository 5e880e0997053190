"""The specification of a convolutional network on images; forward.py computes it, hooked.py makes its module."""

import math
from typing import ClassVar, Literal, NamedTuple

import tyro
from pydantic import Field

from interp.models.family import Cost, Family, TensorSpec
from interp.recipe import TrainConfig
from interp.shape import Shape

PIXELS = "pixels"
"""Name of the channels that go in."""

LEAST_SIDE = {"cnn5": 4, "resnet18": 8}
"""Fewest pixels at a side of an image: with fewer there is nothing left to pool, or to halve."""

MOST_GROUPS, IN_A_GROUP = 32, 4
"""Most groups of a group normalisation, and fewest channels of one."""

PER_NUMBER = 3
"""Numbers that are kept for each number that a convolution writes: that one, normalised, and after ReLU or added."""


class Conv(NamedTuple):
    """A convolution: which channels it reads and writes, by name. Padding is half of its kernel."""

    name: str
    reads: str
    writes: str
    kernel: int = 3
    stride: int = 1


class Norm(NamedTuple):
    """A normalisation of channels."""

    name: str
    of: str


class ConvnetSpec(Family):
    """Convolutions over an image and a linear readout of pooled features: the networks of Nakkiran et al. (2019)."""

    parts: ClassVar[tuple[str, ...]] = ("conv", "norm", "unembed")

    kind: tyro.conf.Suppress[Literal["convnet"]] = "convnet"
    architecture: Literal["cnn5", "resnet18"] = "cnn5"
    """Layers. cnn5: four times a convolution of 3 × 3, normalisation, ReLU and max pooling; pools are 1, 2, 2 and all that is
    left, which is 8 of 32 × 32 pixels. resnet18: a convolution, then eight residual blocks of two convolutions, each after
    normalisation and ReLU (He et al. 2016, arXiv 1603.05027), two blocks for each width; the side is halved between widths; then
    normalisation, ReLU and the mean over pixels. Both end with a linear readout."""
    width: int = Field(default=8, ge=1, le=4096)
    """Width k: the four widths are k, 2k, 4k and 8k channels. 64 is the usual one."""
    head_width: int = Field(default=0, ge=0, le=32768)
    """Channels of the last width, which the readout reads, in place of 8k. 0: 8k."""
    normalization: Literal["batch", "group", "none"] = "batch"
    """batch: BatchNorm (Ioffe & Szegedy 2015), ε 1e-5; an update normalises with the statistics of its mini-batch and moves
    running ones by a tenth, with which everything else is computed. group: GroupNorm (Wu & He 2018), ε 1e-5; as many groups as a
    power of 2 up to 32 that leaves at least 4 channels in each, or one. Both have a scale and a bias that learn."""
    biases: bool = False
    """Whether convolutions have biases; the readout always has. A batch normalisation takes them out again."""
    init_scale: float = Field(default=1.0, gt=0)
    """Factor on every initial parameter (α of Omnigrok, Liu et al. 2023). Weights and biases are drawn uniformly within
    ±1/√fan-in, as torch's nn.Conv2d and nn.Linear draw them; a normalisation begins with scale 1 and bias 0."""

    @property
    def widths(self) -> tuple[int, int, int, int]:
        """Channels of the four blocks or stages."""
        k = self.width
        return k, 2 * k, 4 * k, self.head_width or 8 * k

    @property
    def layers(self) -> list[Conv | Norm]:
        """Convolutions and normalisations, in the order in which they are computed."""
        every = LAYERS[self.architecture]
        return [layer for layer in every if isinstance(layer, Conv) or self.normalization != "none"]

    @property
    def last(self) -> str:
        """Name of the channels that are pooled for the readout."""
        return f"{NAMED[self.architecture]} 3"

    @property
    def running(self) -> list[str]:
        """Names of the running means and variances, which are buffers."""
        norms = [layer.name for layer in self.layers if isinstance(layer, Norm)] * (self.normalization == "batch")
        return [f"{name}.{each}" for name in norms for each in ("mean", "var")]

    @property
    def hooks(self) -> list[str]:
        """Names of all activations."""
        blocks = [f"blocks.{block}" for block in range(4 if self.architecture == "cnn5" else 8)]
        after = [*(layer.name for layer in self.layers), *blocks]
        return [*(f"{name}.hook_out" for name in after), "unembed.hook_in", "unembed.hook_out"]

    def channels(self, name: str, shape: Shape) -> int:
        """Number of channels of that name: of the image, of a block or stage, or inside a residual block."""
        if name == PIXELS:
            return shape.image[2]
        number = int(name.split()[-1])
        return self.widths[number // 2 if name.startswith("inside") else number]

    def maps(self, shape: Shape) -> dict[str, tuple[int, int]]:
        """Height and width of what each convolution writes, by its name."""
        found, sides = {}, {PIXELS: shape.image[:2]}
        for layer in self.layers:
            if isinstance(layer, Conv):
                sides[layer.writes] = found[layer.name] = halved(sides[layer.reads], layer.stride)
                if self.architecture == "cnn5" and layer.writes in ("block 1", "block 2"):
                    height, width = sides[layer.writes]
                    sides[layer.writes] = height // 2, width // 2
        return found

    def groups(self, channels: int) -> int:
        """Number of groups of a group normalisation of so many channels."""
        powers = [2**power for power in range(MOST_GROUPS.bit_length())]
        return max(n for n in powers if n == 1 or (channels % n == 0 and channels // n >= IN_A_GROUP))

    @property
    def unstarted(self) -> "ConvnetSpec":
        """The specification without what decides the initial weights alone."""
        return self.but(init_scale=1.0)

    @property
    def about(self) -> str:
        """Layers and widths, and what is normalised."""
        widths = " ".join(f"{width:,}" for width in self.widths)
        normal = {"batch": "BatchNorm", "group": "GroupNorm", "none": "no normalisation"}[self.normalization]
        return f"convnet {self.architecture}, {widths} channels, {normal}{', with biases' * self.biases}"

    def fits(self, shape: Shape, train: TrainConfig) -> None:
        """Nothing; ValueError for what is no image or too small, dropout, bfloat16, or normalisation of a single number."""
        self.needs_inputs("vectors", shape, 'take a task of images, or model.kind "transformer"')
        if shape.vectors.sides is None:
            raise ValueError(
                'model.kind is "convnet" and the task\'s vectors are no images; take task images, or model.kind "mlp"'
            )
        height, width, _ = shape.image
        least = LEAST_SIDE[self.architecture]
        if min(height, width) < least:
            raise ValueError(
                f"model.architecture is {self.architecture!r} and the images have {height} × {width} pixels; take images of at "
                f"least {least} × {least}, or fewer task.pooled"
            )
        if shape.outputs.kind != "classes":
            raise ValueError('model.kind is "convnet" and the task has no classes; take model.kind "mlp"')
        if train.dropout:
            raise ValueError(
                f"train.dropout is {train.dropout:g}; it is for a residual stream of tokens, leave it out with a convnet"
            )
        if train.precision not in ("float32", "float64"):
            raise ValueError(f'train.precision is "{train.precision}"; a convnet takes "float32" or "float64"')
        single = (1, 1) in self.maps(shape).values()
        if single and self.normalization == "batch" and train.batch_size == 1:
            raise ValueError(ONE_NUMBER)
        if single and self.normalization == "group" and self.widths[-1] == 1:
            raise ValueError(
                'model.head_width is 1 and model.normalization "group", which makes 0 of one channel of one pixel; take more'
            )

    def tensors(self, shape: Shape) -> dict[str, TensorSpec]:
        """Every parameter: W [out, in, kernel, kernel] and b of convolutions, w and b of normalisations, W_U [in, out] and b_U;
        and the buffers, mean and var of batch normalisations."""
        found: dict[str, TensorSpec] = {}
        for layer in self.layers:
            if isinstance(layer, Conv):
                reads, writes = self.channels(layer.reads, shape), self.channels(layer.writes, shape)
                size, bound = (writes, reads, layer.kernel, layer.kernel), 1 / math.sqrt(reads * layer.kernel**2)
                found[f"{layer.name}.W"] = self._drawn(size, "conv", bound)._replace(rows=(1, 2, 3))
                if self.biases:
                    found[f"{layer.name}.b"] = self._drawn((writes,), "conv", bound)
            else:
                size = (self.channels(layer.of, shape),)
                found[f"{layer.name}.w"] = TensorSpec(size, "norm", "scale", factor=self.init_scale)
                found[f"{layer.name}.b"] = TensorSpec(size, "norm", "bias", factor=self.init_scale)
                if self.normalization == "batch":
                    running = TensorSpec(size, "norm", "buffer", learns=False)
                    found[f"{layer.name}.mean"] = running
                    found[f"{layer.name}.var"] = running._replace(begins=1.0)
        last, answers = self.widths[-1], shape.outputs.n
        found["unembed.W_U"] = self._drawn((last, answers), "unembed", 1 / math.sqrt(last))
        found["unembed.b_U"] = self._drawn((answers,), "unembed", 1 / math.sqrt(last))
        return found

    def _drawn(self, size: tuple[int, ...], part: str, bound: float) -> TensorSpec:
        """A tensor of weights or, with one axis, of biases, uniform within ±bound."""
        return TensorSpec(size, part, "bias" if len(size) == 1 else "weight", factor=self.init_scale, bound=bound)

    def cost(self, shape: Shape) -> Cost:
        """Memory of one image: what all convolutions write, normalised, and after that; beside it the image."""
        convs = [layer for layer in self.layers if isinstance(layer, Conv)]
        maps = self.maps(shape)
        written = sum(self.channels(layer.writes, shape) * math.prod(maps[layer.name]) for layer in convs)
        return Cost(PER_NUMBER * written + 2 * shape.outputs.n, plan=math.prod(shape.image))

    def size(self, shape: Shape) -> int:
        """Size of one image as work, by its memory: a prompt of three tokens takes about a thousand numbers."""
        return max(1, self.cost(shape).work // 1024)


ONE_NUMBER = (
    "an update is on one image, whose last map has one pixel, and a batch normalisation of one number is 0; take another "
    'train.batch_size, or model.normalization "group"'
)
"""What is wrong with a batch of one image."""


def halved(sides: tuple[int, int], stride: int) -> tuple[int, int]:
    """Height and width after a convolution of that stride."""
    height, width = sides
    return -(-height // stride), -(-width // stride)


def of_cnn5() -> list[Conv | Norm]:
    """The convolutions and normalisations of cnn5."""
    before = [PIXELS, *(f"block {block}" for block in range(3))]
    layers: list[Conv | Norm] = []
    for block, reads in enumerate(before):
        layers += [
            Conv(f"blocks.{block}.conv", reads, f"block {block}"),
            Norm(f"blocks.{block}.norm", f"block {block}"),
        ]
    return layers


def of_resnet18() -> list[Conv | Norm]:
    """The convolutions and normalisations of resnet18. A shortcut of 1 × 1 reads what the block's first convolution reads."""
    layers: list[Conv | Norm] = [Conv("stem.conv", PIXELS, "stage 0")]
    for block in range(8):
        stage, widens = block // 2, block in (2, 4, 6)
        reads, inside, own = f"stage {stage - widens}", f"inside block {block}", f"blocks.{block}"
        stride = 2 if widens else 1
        layers += [Norm(f"{own}.norm1", reads), Conv(f"{own}.conv1", reads, inside, stride=stride)]
        layers += [Norm(f"{own}.norm2", inside), Conv(f"{own}.conv2", inside, f"stage {stage}")]
        layers += [Conv(f"{own}.shortcut", reads, f"stage {stage}", kernel=1, stride=stride)] if widens else []
    return [*layers, Norm("final.norm", "stage 3")]


LAYERS = {"cnn5": of_cnn5(), "resnet18": of_resnet18()}
"""Convolutions and normalisations by architecture."""

NAMED = {"cnn5": "block", "resnet18": "stage"}
"""Name of what has a width of its own, by architecture."""
