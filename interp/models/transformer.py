"""The specification of a small transformer; hooked.py makes the HookedTransformer that it describes."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import tyro
from pydantic import Field

from interp.base import Frozen, TaskShape

if TYPE_CHECKING:
    from transformer_lens import HookedTransformer

Shapes = dict[str, tuple[int, ...]]

Precision = Literal["float64", "float32", "bfloat16_gradients", "bfloat16"]
"""What is computed in float64: all; or float32: all, or all but the large matrix products of the gradients, or of both passes,
which take bfloat16."""


class TransformerSpec(Frozen):
    """A decoder-only transformer with learned positions and untied embeddings, as in Nanda et al. (2023)."""

    section: ClassVar[str] = "model"

    kind: tyro.conf.Suppress[Literal["transformer"]] = "transformer"
    n_layers: int = Field(default=1, ge=1, le=64)
    """Blocks of attention and MLP."""
    n_heads: int = Field(default=4, ge=1, le=256)
    """Attention heads a layer."""
    d_model: int = Field(default=128, ge=1, le=16384)
    """Width of the residual stream, dimensions."""
    d_head: int = Field(default=32, ge=1, le=16384)
    """Width of a head, dimensions."""
    d_mlp: int = Field(default=512, ge=1, le=65536)
    """Neurons a layer."""
    attn_only: bool = False
    """Layers of attention alone, without an MLP."""
    act_fn: Literal["relu", "gelu", "silu", "solu", "solu_ln"] = "relu"
    """Activation of the neurons; solu_ln is x·softmax(x) followed by a LayerNorm (Elhage et al. 2022)."""
    normalization: Literal["none", "LN", "LNPre"] = "none"
    """LayerNorm before each sublayer and the unembedding: none, with weights (LN), or centre and scale only (LNPre)."""
    attention: Literal["causal", "bidirectional"] = "causal"
    """Whether a token sees only those before it, or all."""
    attention_rate: float = Field(default=1.0, ge=0, le=1)
    """α in the attention pattern α·softmax + (1 − α), on every visible position (Zhong et al. 2023, arXiv 2306.17844): 1 is
    attention as usual, 0 adds the visible positions up whatever they hold."""
    biases: Literal["frozen", "mlp", "trained"] = "mlp"
    """Which biases learn: none (all stay 0, as in the TransformerLens demo), those of the MLP (Nanda et al. 2023), or
    all."""
    init: Literal["nanda", "hooked"] = "nanda"
    """Initial weights: normal of variance 1/d_model, and 1/d_vocab for W_U (Nanda et al. 2023), or HookedTransformer's
    default (normal of standard deviation 0.8/√d_model)."""
    init_scale: float = Field(default=1.0, gt=0)
    """Factor on every initial parameter (α of Omnigrok, Liu et al. 2023)."""

    @property
    def whatever_its_start(self) -> "TransformerSpec":
        """The same without what decides the initial weights alone."""
        return self.but(init="nanda", init_scale=1.0)

    def build(self, shape: TaskShape, seed: int) -> "HookedTransformer":
        """A HookedTransformer for that task, initialised from `seed` alone, its frozen biases marked so."""
        from interp.models import hooked  # here: importing transformer_lens takes seconds

        return hooked.build(self, shape, seed)

    def initial_weights(self, shape: TaskShape, seed: int) -> dict[str, Any]:
        """The weights that `build` starts from, without the seconds that importing transformer_lens takes."""
        from interp.models.initialise import initial_weights

        return initial_weights(self, shape, seed)

    def load(self, shape: TaskShape, weights: dict[str, Any]) -> "HookedTransformer":
        """A HookedTransformer in eval mode that holds these weights; every name and shape must match."""
        from interp.models import hooked

        return hooked.load(self, shape, weights)

    @property
    def sublayers(self) -> int:
        """What adds to the residual stream in a layer: attention, and the MLP where there is one."""
        return 1 if self.attn_only else 2

    def learns(self, name: str) -> bool:
        """Whether training moves the tensor of that name: all weights do, biases as `biases` says."""
        if not is_bias(name):
            return True
        return self.biases == "trained" or (self.biases == "mlp" and ".mlp.b_" in name)

    def tensor_shapes(self, shape: TaskShape) -> Shapes:
        """Name and shape of every parameter, in HookedTransformer's names and order."""
        head, width, mlp = (self.n_heads, self.d_model, self.d_head), (self.d_model,), (self.d_mlp,)
        shapes: Shapes = {"embed.W_E": (shape.d_vocab, *width), "pos_embed.W_pos": (shape.n_ctx, *width)}
        for layer in range(self.n_layers):
            block = {
                **self._norm("ln1", width),
                **({} if self.attn_only else self._norm("ln2", width)),
                "attn.W_Q": head,
                "attn.W_O": (self.n_heads, self.d_head, *width),
                "attn.b_Q": (self.n_heads, self.d_head),
                "attn.b_O": width,
                "attn.W_K": head,
                "attn.W_V": head,
                "attn.b_K": (self.n_heads, self.d_head),
                "attn.b_V": (self.n_heads, self.d_head),
            }
            if not self.attn_only:
                block |= {
                    "mlp.W_in": (*width, *mlp),
                    "mlp.b_in": mlp,
                    "mlp.W_out": (*mlp, *width),
                    "mlp.b_out": width,
                    **(self._norm("mlp.ln", mlp) if self.act_fn == "solu_ln" else {}),
                }
            shapes |= {f"blocks.{layer}.{name}": size for name, size in block.items()}
        answers = (shape.d_vocab_out,)
        return {**shapes, **self._norm("ln_final", width), "unembed.W_U": (*width, *answers), "unembed.b_U": answers}

    def _norm(self, name: str, width: tuple[int]) -> Shapes:
        """Parameters of a LayerNorm, where the normalisation has any."""
        return {f"{name}.w": width, f"{name}.b": width} if self.normalization == "LN" else {}


def is_bias(name: str) -> bool:
    """Whether a tensor of the state dict is added (b_in, b_U, a LayerNorm's b) and not multiplied."""
    return name.rsplit(".", 1)[-1].startswith("b")
