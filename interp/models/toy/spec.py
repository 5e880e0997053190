"""Specification of a toy model: vectors in, fewer hidden numbers, reconstructed vectors out."""

import math
from typing import ClassVar, Literal

import tyro
from pydantic import Field

from interp.models.family import Cost, Family, TensorSpec
from interp.recipe import TrainConfig
from interp.shape import Shape


class ToySpec(Family):
    """A toy model x' = output(Wᵀ·hidden(W·x) + b), as in "Toy Models of Superposition" (Elhage et al. 2022).

    W is [d_hidden, n_features], a column for each feature. Untied: x' = output(W_outᵀ·… + b), W_out [d_hidden, n_features].
    """

    parts: ClassVar[tuple[str, ...]] = ("in", "out", "toy layer norm", "bias")

    kind: tyro.conf.Suppress[Literal["toy"]] = "toy"
    d_hidden: int = Field(default=2, ge=1, le=65536)
    """Number m of hidden numbers; must be smaller than the number of features."""
    tied: bool = True
    """Decode with the transpose of the encoding weights W; otherwise with W_out of its own."""
    hidden: Literal["none", "relu", "gelu", "silu", "solu", "solu_ln"] = "none"
    """Activation of the hidden numbers. solu_ln is x·softmax(x) followed by a LayerNorm (Elhage et al. 2022, SoLU)."""
    output: Literal["relu", "gelu", "silu", "none"] = "relu"
    """Activation of the output. If this and model.hidden are none, the model is linear."""
    bias: bool = True
    """Train the bias b; otherwise it stays 0."""
    init_scale: float = Field(default=1.0, gt=0)
    """Factor on the initial weights, which are normal with variance 2/(d_hidden + n_features) (Glorot & Bengio 2010). b is 0."""

    @property
    def unstarted(self) -> "ToySpec":
        """The specification with defaults for the fields that only affect the initial weights."""
        return self.but(init_scale=1.0)

    @property
    def about(self) -> str:
        """The model in words: its width, activations and other options."""
        ties, hidden = "" if self.tied else ", untied", "" if self.hidden == "none" else f" after {self.hidden}"
        output = "linear output" if self.output == "none" else f"{self.output} output"
        return f"toy, {self.d_hidden:,} hidden{hidden}{ties}, {output}{'' if self.bias else ' without bias'}"

    def fits(self, shape: Shape, train: TrainConfig) -> None:
        """Raise ValueError for a task that does not reconstruct vectors, too many hidden numbers, or bfloat16."""
        self.needs_inputs("vectors", shape, "a toy model is for sparse features")
        if shape.outputs.kind != "values" or shape.outputs.n != shape.vectors.width:
            raise ValueError('model.kind is "toy", which reconstructs its input; take model.kind "mlp" for this task')
        if self.d_hidden >= shape.vectors.width:
            raise ValueError(
                f"model.d_hidden is {self.d_hidden} and task.n_features {shape.vectors.width}; take fewer hidden numbers than "
                "features, so that those must share them"
            )
        if train.dropout:
            raise ValueError(f"train.dropout is {train.dropout!r}; it is for tokens, leave it out with a toy model")
        if train.precision not in ("float32", "float64"):
            raise ValueError(f'train.precision is "{train.precision}"; a toy model takes "float32" or "float64"')

    def tensors(self, shape: Shape) -> dict[str, TensorSpec]:
        """Every parameter: W, a LayerNorm's scale and bias, W_out of an untied model, b."""
        std = self.init_scale * math.sqrt(2 / (self.d_hidden + shape.vectors.width))
        across, hidden = (self.d_hidden, shape.vectors.width), (self.d_hidden,)
        norm = {
            "ln.w": TensorSpec(hidden, "toy layer norm", "scale"),
            "ln.b": TensorSpec(hidden, "toy layer norm", "bias"),
        }
        return {
            "W": TensorSpec(across, "in", std=std),
            **(norm if self.hidden == "solu_ln" else {}),
            **({} if self.tied else {"W_out": TensorSpec(across, "out", std=std)}),
            "b": TensorSpec((shape.outputs.n,), "bias", "bias", self.bias),
        }

    def cost(self, shape: Shape) -> Cost:
        """Memory of one vector: its output with the error, and its hidden numbers; beside it the vector."""
        return Cost(4 * shape.outputs.n + 3 * self.d_hidden, plan=shape.vectors.width)
