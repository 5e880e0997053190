"""The specification of an MLP on prompts or vectors; forward.py computes it, hooked.py makes the module that it describes."""

import math
from typing import ClassVar, Literal

import tyro
from pydantic import Field, field_validator

from interp.models.family import Cost, Family, TensorSpec
from interp.recipe import TrainConfig
from interp.shape import Shape


class MlpSpec(Family):
    """Hidden layers over a vector or a prompt's tokens: W_U·φ(… φ(W·x + b)) + b_U, as in Gromov (2023, arXiv 2301.02679)."""

    parts: ClassVar[tuple[str, ...]] = ("embed", "mlp", "unembed")
    computes: ClassVar[tuple[str, ...]] = ("act_fn",)

    kind: tyro.conf.Suppress[Literal["mlp"]] = "mlp"
    inputs: Literal["one_hot", "embedded", "summed", "vectors"] = "one_hot"
    """What x is. vectors: the example itself, for tasks of vectors. For prompts of tokens: one_hot, the one-hot vectors of a
    prompt's tokens, one after the other; embedded, their embeddings W_E; summed, the sum of these embeddings, which does not tell
    positions apart unless the task gives the operands tokens of their own."""
    d_model: int = Field(default=128, ge=1, le=16384)
    """Width of an embedding, dimensions; of embedded and summed inputs."""
    width: int = Field(default=500, ge=1, le=65536)
    """Neurons of a hidden layer."""
    n_hidden: int = Field(default=1, ge=1, le=64)
    """Hidden layers."""
    widths: tuple[int, ...] = ()
    """Neurons of each hidden layer, first to last, such as 64 512, in place of model.width and model.n_hidden. Empty: those."""
    act_fn: Literal["relu", "gelu", "quadratic", "tanh"] = "quadratic"
    """Activation φ of the neurons; quadratic is x² (Gromov 2023)."""
    biases: bool = False
    """Whether neurons and answers have biases that learn; without, there are none."""
    normalization: Literal["none", "LNPre"] = "none"
    """LNPre: x (if embedded or summed), what every neuron's φ receives, and what W_U reads are centred and scaled over their
    width. Without biases the network is then the same function whatever the scale of each weight matrix before W_U."""
    norm_eps: float = Field(default=1e-20, gt=0, le=1)
    """ε that LNPre adds to the variance. One that is not small against the variance breaks the invariance to scale."""
    frozen_readout: float = Field(default=0.0, ge=0)
    """Norm of W_U, which then does not learn (Kodryan et al. 2022 take 10); nor does b_U. 0: it learns."""
    init: Literal["mean_field", "default", "linear"] = "default"
    """Initial weights. default: normal of variance 1/fan-in, biases 0. mean_field: that, and standard deviation 1/width before
    the answers, so that these begin near 0 and features move (Gromov 2023). linear: weights and biases uniform within ±1/√fan-in,
    as torch's nn.Linear draws them."""
    init_scale: float = Field(default=1.0, gt=0)
    """Factor on every initial parameter (α of Omnigrok, Liu et al. 2023)."""

    @field_validator("widths")
    @classmethod
    def _are_widths(cls, widths: tuple[int, ...]) -> tuple[int, ...]:
        if len(widths) > 64 or not all(1 <= width <= 65536 for width in widths):
            raise ValueError(f"are {' '.join(map(str, widths))[:80]}; take at most 64 widths, each from 1 to 65,536")
        return widths

    @property
    def layers(self) -> tuple[int, ...]:
        """Neurons of each hidden layer."""
        return self.widths or (self.width,) * self.n_hidden

    @property
    def unstarted(self) -> "MlpSpec":
        """The specification without what decides the initial weights alone."""
        return self.but(init="default", init_scale=1.0)

    @property
    def filled_up(self) -> "MlpSpec":
        """The specification with each width rounded up to a power of 2, so that at most half of the work is with zeros.

        A neuron with no weights in and out receives 0 and sends φ(0) = 0, so neither of its weights has a gradient. A LayerNorm
        would count it.
        """
        if self.normalization != "none":
            return self.unstarted
        powers = tuple(1 << (width - 1).bit_length() for width in self.layers)
        return self.unstarted.but(width=1, n_hidden=1, widths=powers)

    @property
    def shares_inputs(self) -> bool:
        """Whether it reads vectors, by one product for all runs that have them in common."""
        return self.inputs == "vectors"

    @property
    def about(self) -> str:
        """The widths, and what is applied to them."""
        n, each = len(self.layers), [f"{width:,}" for width in dict.fromkeys(self.layers)]
        sizes = each[0] if len(each) == 1 else " ".join(f"{width:,}" for width in self.layers)
        layers = f"{n} hidden layer{'s' * (n > 1)} of {sizes}"
        summed = " summed" if self.inputs == "summed" else ""
        tokens = "one-hot inputs" if self.inputs == "one_hot" else f"embeddings of {self.d_model}{summed}"
        what = "vectors" if self.inputs == "vectors" else tokens
        biases = f"{'with' if self.biases else 'without'} biases"
        normal = ", LNPre" if self.normalization == "LNPre" else ""
        frozen = f", W_U frozen at norm {self.frozen_readout:g}" if self.frozen_readout else ""
        return f"MLP, {layers}, {self.act_fn}, {what}, {biases}{normal}{frozen}"

    def fits(self, shape: Shape, train: TrainConfig) -> None:
        """Nothing; ValueError for inputs of another kind, several answers, dropout, bfloat16, or an ε of nothing."""
        kind = "vectors" if self.inputs == "vectors" else "tokens"
        remedy = 'take "vectors" for vectors, "one_hot", "embedded" or "summed" for tokens'
        self.needs_inputs(kind, shape, f'model.inputs is "{self.inputs}"; {remedy}')
        if shape.outputs.kind == "classes" and shape.classes.positions != (-1,):
            raise ValueError(
                'model.kind is "mlp" and the task has several answers a prompt; take model.kind "transformer"'
            )
        if self.normalization == "none" and self.norm_eps != MlpSpec.model_fields["norm_eps"].default:
            raise ValueError(
                f'model.norm_eps is {self.norm_eps:g} and model.normalization "none"; leave it out, or take "LNPre"'
            )
        if train.dropout:
            raise ValueError(
                f"train.dropout is {train.dropout:g}; it is for a residual stream, leave it out with an MLP"
            )
        if train.precision not in ("float32", "float64"):
            raise ValueError(f'train.precision is "{train.precision}"; an MLP takes "float32" or "float64"')

    def tensors(self, shape: Shape) -> dict[str, TensorSpec]:
        """Every parameter: W_E of embedded inputs, W and b of each hidden layer, W_U and b_U. The first W is by position."""
        found: dict[str, TensorSpec] = {}
        if self.inputs in ("embedded", "summed"):
            found["embed.W_E"] = self._weight((shape.tokens.d_vocab, self.d_model), "embed", self.d_model)
        read = self._read(shape)
        for layer, width in enumerate(self.layers):
            found[f"layers.{layer}.W"] = self._weight((*read, width), "mlp", math.prod(read))
            found |= self._bias(f"layers.{layer}.b", (width,), "mlp", math.prod(read))
            read = (width,)
        (last,) = read
        W_U = self._weight((last, shape.outputs.n), "unembed", last**2 if self.init == "mean_field" else last)
        frozen = {"norm": self.frozen_readout, "learns": False, "factor": 1.0} if self.frozen_readout else {}
        found["unembed.W_U"] = W_U._replace(invariant=False, **frozen)
        return found | self._bias("unembed.b_U", (shape.outputs.n,), "unembed", last)

    def _read(self, shape: Shape) -> tuple[int, ...]:
        """Size of what the first W reads: by position, where positions have rows of their own."""
        if self.inputs == "vectors":
            return (shape.vectors.width,)
        each = shape.tokens.d_vocab if self.inputs == "one_hot" else self.d_model
        return (each,) if self.inputs == "summed" else (shape.tokens.n_ctx, each)

    def _weight(self, size: tuple[int, ...], part: str, fan_in: int) -> TensorSpec:
        """A tensor of weights, normal of variance 1/fan_in, or uniform within its root."""
        invariant = self.normalization == "LNPre" and not self.biases
        root = 1 / math.sqrt(max(1, fan_in))
        bound = root if self.init == "linear" else 0.0
        return TensorSpec(size, part, std=root, factor=self.init_scale, bound=bound, invariant=invariant)

    def _bias(self, name: str, size: tuple[int, ...], part: str, fan_in: int) -> dict[str, TensorSpec]:
        """A tensor that is added, where there are biases."""
        learns = not (self.frozen_readout and part == "unembed")
        bound = 1 / math.sqrt(max(1, fan_in)) if self.init == "linear" else 0.0
        return (
            {name: TensorSpec(size, part, "bias", learns, factor=self.init_scale, bound=bound)} if self.biases else {}
        )

    def cost(self, shape: Shape) -> Cost:
        """Memory of one prompt: what its neurons receive and send, and its outputs; beside it the indices of its tokens."""
        widest = max(self.layers)
        normal = 2 * widest * (self.normalization == "LNPre")
        work = 4 * widest + normal + 2 * shape.outputs.n
        if self.inputs == "vectors":
            return Cost(work, plan=shape.vectors.width)
        each = self.layers[0] if self.inputs == "one_hot" else self.d_model
        return Cost(shape.tokens.n_ctx * each + work, plan=4 * shape.tokens.n_ctx)
