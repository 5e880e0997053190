"""The specification of a toy model: vectors in, fewer hidden numbers, the vectors out again."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import tyro
from pydantic import Field

from interp.base import Frozen, TaskShape
from interp.models.transformer import Shapes

if TYPE_CHECKING:
    from interp.models.hooked import HookedToy


class ToySpec(Frozen):
    """x' = output(Wᵀ·hidden(W·x) + b), the model of "Toy Models of Superposition" (Elhage et al. 2022).

    W is [d_hidden, n_features], a column for each feature. Untied, W_out [d_hidden, n_features] leads out instead of W.
    """

    section: ClassVar[str] = "model"

    kind: tyro.conf.Suppress[Literal["toy"]] = "toy"
    d_hidden: int = Field(default=2, ge=1, le=65536)
    """Hidden numbers m, fewer than there are features."""
    tied: bool = True
    """Whether the way out has the weights of the way in."""
    hidden: Literal["none", "relu", "gelu", "silu", "solu", "solu_ln"] = "none"
    """Activation of the hidden numbers; solu_ln is x·softmax(x) followed by a LayerNorm (Elhage et al. 2022, SoLU)."""
    output: Literal["relu", "gelu", "silu", "none"] = "relu"
    """Activation at the end; without one and without a hidden one the model is linear."""
    bias: bool = True
    """Whether b learns; otherwise it stays 0."""
    init_scale: float = Field(default=1.0, gt=0)
    """Factor on the initial weights, which are normal of variance 2/(d_hidden + n_features) (Glorot & Bengio 2010); b is 0."""

    @property
    def whatever_its_start(self) -> "ToySpec":
        """The same without what decides the initial weights alone."""
        return self.but(init_scale=1.0)

    def build(self, shape: TaskShape, seed: int) -> "HookedToy":
        """A module for that task, with TransformerLens' hooks, initialised from `seed` alone."""
        from interp.models import hooked  # here: importing transformer_lens takes seconds

        return hooked.build_toy(self, shape, seed)

    def initial_weights(self, shape: TaskShape, seed: int) -> dict[str, Any]:
        """The weights that `build` starts from."""
        from interp.models.initialise import initial_toy_weights

        return initial_toy_weights(self, shape, seed)

    def load(self, shape: TaskShape, weights: dict[str, Any]) -> "HookedToy":
        """A module in eval mode that holds these weights; every name and shape must match."""
        from interp.models import hooked

        return hooked.load_toy(self, shape, weights)

    def learns(self, name: str) -> bool:
        """Whether training moves the tensor of that name: all but b, where `bias` says no."""
        return self.bias or name != "b"

    def tensor_shapes(self, shape: TaskShape) -> Shapes:
        """Name and shape of every parameter."""
        across = (self.d_hidden, shape.d_vocab)
        out: Shapes = {} if self.tied else {"W_out": across}
        norm: Shapes = {"ln.w": (self.d_hidden,), "ln.b": (self.d_hidden,)} if self.hidden == "solu_ln" else {}
        return {"W": across, **norm, **out, "b": (shape.d_vocab_out,)}
