"""Specification of a small transformer; forward.py computes it, hooked.py makes the HookedTransformer that it describes."""

import math
from typing import ClassVar, Literal

import tyro
from pydantic import Field, field_validator

from interp.models.family import Cost, Family, TensorSpec
from interp.recipe import TrainConfig
from interp.shape import Shape

Place = Literal["attention", "mlp", "unembedding"]
PLACES: tuple[Place, ...] = ("attention", "mlp", "unembedding")
"""Places before which a LayerNorm may stand, in the order of a forward pass."""


class TransformerSpec(Family):
    """A decoder-only transformer with learned positions and untied embeddings, as in Nanda et al. (2023)."""

    computes: ClassVar[tuple[str, ...]] = ("act_fn", "normalization", "attention", "attention_rate")
    parts: ClassVar[tuple[str, ...]] = ("embed", "pos", "attn QK", "attn OV", "mlp", "layer norm", "unembed")

    kind: tyro.conf.Suppress[Literal["transformer"]] = "transformer"
    n_layers: int = Field(default=1, ge=1, le=64)
    """Number of layers, each of attention and MLP."""
    n_heads: int = Field(default=4, ge=1, le=256)
    """Number of attention heads in a layer."""
    d_model: int = Field(default=128, ge=1, le=16384)
    """Width of the residual stream, in dimensions."""
    d_head: int = Field(default=32, ge=1, le=16384)
    """Width of a head, in dimensions."""
    d_mlp: int = Field(default=512, ge=1, le=65536)
    """Number of neurons in a layer."""
    attn_only: bool = False
    """Layers have attention only, no MLP."""
    act_fn: Literal["relu", "gelu", "silu", "solu", "solu_ln"] = "relu"
    """Activation of the neurons. solu_ln is x·softmax(x) followed by a LayerNorm (Elhage et al. 2022)."""
    normalization: Literal["none", "LN", "LNPre"] = "none"
    """LayerNorm before each sublayer and the unembedding. LN: with weights. LNPre: only centres and scales. none: absent."""
    norm_before: tuple[Place, ...] = PLACES
    """Places before which a LayerNorm stands, if there are any."""
    attention: Literal["causal", "bidirectional"] = "causal"
    """Direction of attention. causal: a token sees itself and those before it. bidirectional: all tokens."""
    attention_rate: float = Field(default=1.0, ge=0, le=1)
    """α in the attention pattern α·softmax + (1 − α) over visible positions (Zhong et al. 2023, arXiv 2306.17844). 1: ordinary
    attention. 0: every visible position has weight 1, whatever it holds."""
    directions: bool = False
    """Compute with g·V/‖V‖ in place of each tensor V of weights, g being the norm that its initial weights have on average: the
    network is then the same function whatever the scale of each. W_U does not learn, and biases are to be frozen. Checkpoints
    hold g·V/‖V‖; ‖V‖ is in the history (train.log-norms)."""
    biases: Literal["frozen", "mlp", "trained"] = "mlp"
    """Biases that learn. frozen: none, all stay 0, as in the TransformerLens demo. mlp: those of the MLP (Nanda et al. 2023).
    trained: all."""
    init: Literal["nanda", "hooked"] = "nanda"
    """Initial weights, normal. nanda: variance 1/d_model, and 1/d_vocab for W_U (Nanda et al. 2023). hooked: HookedTransformer's
    default, standard deviation 0.8/√d_model."""
    init_scale: float = Field(default=1.0, gt=0)
    """Factor on every initial parameter (α of Omnigrok, Liu et al. 2023)."""

    @field_validator("norm_before")
    @classmethod
    def _in_order(cls, places: tuple[Place, ...]) -> tuple[Place, ...]:
        return tuple(place for place in PLACES if place in places)

    def norm_at(self, place: Place) -> Literal["none", "LN", "LNPre"]:
        """LayerNorm before that place."""
        return self.normalization if place in self.norm_before else "none"

    @property
    def unstarted(self) -> "TransformerSpec":
        """The specification with defaults for the fields that only affect the initial weights."""
        return self.but(init="nanda", init_scale=1.0)

    @property
    def about(self) -> str:
        """The model in words: layers, widths, activation and other options."""
        mlp = "attention only" if self.attn_only else f"d_mlp {self.d_mlp}, {self.act_fn}"
        return f"{self.n_layers} layer{'s' * (self.n_layers > 1)}, {self.n_heads} heads, d_model {self.d_model}, {mlp}"

    def fits(self, shape: Shape, train: TrainConfig) -> None:
        """Raise ValueError for a task that does not answer prompts of tokens, or whose answers the network would see."""
        self.needs_inputs("tokens", shape, "those are for a toy model or an MLP")
        odd = "mlp" if self.attn_only and self.norm_before != PLACES and "mlp" in self.norm_before else ""
        if (self.normalization == "none") > (self.norm_before == PLACES) or not self.norm_before or odd:
            raise ValueError(
                f'model.norm_before is "{" ".join(self.norm_before)}", with model.normalization "{self.normalization}" and '
                f"{'no MLP' if self.attn_only else 'an MLP'}; give places that there are, and LN or LNPre, or leave it out"
            )
        if self.directions and self.biases != "frozen":
            raise ValueError(
                f'model.directions is true and model.biases "{self.biases}", whose effect depends on the scale of weights; take '
                '"frozen"'
            )
        if len(shape.classes.positions) > 1 and self.attention != "causal":
            raise ValueError(
                f'model.attention is "{self.attention}" and the task has its answers in the sequence, where they would be '
                'seen; take "causal"'
            )

    @property
    def sublayers(self) -> int:
        """Number of sublayers of a layer that add to the residual stream: 2, or 1 without an MLP."""
        return 1 if self.attn_only else 2

    def tensors(self, shape: Shape) -> dict[str, TensorSpec]:
        """Every parameter, in HookedTransformer's names and order.

        Weights are normal, of variance 1/d_model and 1/d_vocab for W_U (Nanda et al. 2023, code), or of standard deviation
        0.8/√d_model for all (HookedTransformer). `hooked` equals what HookedTransformer itself draws after
        torch.manual_seed(seed), bit for bit.
        """
        heads, d, mlp = self.n_heads, self.d_model, self.d_mlp
        head = (heads, d, self.d_head)
        found = {
            "embed.W_E": self._weight((shape.tokens.d_vocab, d), "embed"),
            "pos_embed.W_pos": self._weight((shape.tokens.n_ctx, d), "pos"),
        }
        for layer in range(self.n_layers):
            block = {
                **self._norm("ln1", d, "attention"),
                **({} if self.attn_only else self._norm("ln2", d, "mlp")),
                "attn.W_Q": self._weight(head, "attn QK", rows=(1,)),
                "attn.W_O": self._weight((heads, self.d_head, d), "attn OV"),
                "attn.b_Q": self._bias((heads, self.d_head), "attn QK"),
                "attn.b_O": self._bias((d,), "attn OV"),
                "attn.W_K": self._weight(head, "attn QK", rows=(1,)),
                "attn.W_V": self._weight(head, "attn OV", rows=(1,)),
                "attn.b_K": self._bias((heads, self.d_head), "attn QK"),
                "attn.b_V": self._bias((heads, self.d_head), "attn OV"),
            }
            if not self.attn_only:
                block |= {
                    "mlp.W_in": self._weight((d, mlp), "mlp"),
                    "mlp.b_in": self._bias((mlp,), "mlp"),
                    "mlp.W_out": self._weight((mlp, d), "mlp"),
                    "mlp.b_out": self._bias((d,), "mlp"),
                    **(self._norm("mlp.ln", mlp) if self.act_fn == "solu_ln" else {}),
                }
            found |= {f"blocks.{layer}.{name}": tensor for name, tensor in block.items()}
        answers = shape.outputs.n
        std = None if self.init == "hooked" else 1 / math.sqrt(shape.tokens.d_vocab or 1)
        W_U = self._weight((d, answers), "unembed", std)
        return {
            **found,
            **self._norm("ln_final", d, "unembedding"),
            "unembed.W_U": W_U._replace(learns=not self.directions, invariant=False),
            "unembed.b_U": self._bias((answers,), "unembed"),
        }

    def fixed_norms(self, shape: Shape) -> dict[str, float]:
        """Norms of all weights but W_U, if only their directions count."""
        return {name: tensor.norm for name, tensor in self.tensors(shape).items() if tensor.invariant}

    def _weight(
        self, size: tuple[int, ...], part: str, std: float | None = None, rows: tuple[int, ...] | None = None
    ) -> TensorSpec:
        """A tensor of weights, normal of that standard deviation or of the convention's."""
        std = (0.8 if self.init == "hooked" else 1) / math.sqrt(self.d_model) if std is None else std
        norm = std * math.sqrt(math.prod(size)) if self.directions else 0.0
        return TensorSpec(size, part, std=std, factor=self.init_scale, rows=rows, norm=norm, invariant=self.directions)

    def _bias(self, size: tuple[int, ...], part: str) -> TensorSpec:
        """A tensor that is added; it learns as `biases` says."""
        learns = self.biases == "trained" or (self.biases == "mlp" and part == "mlp")
        return TensorSpec(size, part, "bias", learns, factor=self.init_scale)

    def _norm(self, name: str, width: int, place: Place | None = None) -> dict[str, TensorSpec]:
        """Scale and bias of a LayerNorm, before that place or in the activation; empty if there are none."""
        if (self.norm_at(place) if place else self.normalization) != "LN":
            return {}
        learns = self.biases == "trained"
        return {
            f"{name}.w": TensorSpec((width,), "layer norm", "scale", factor=self.init_scale),
            f"{name}.b": TensorSpec((width,), "layer norm", "bias", learns, factor=self.init_scale),
        }

    def cost(self, shape: Shape) -> Cost:
        """Memory of one prompt: states, neurons, attention and logits where answers are read; before that a plan, and in deeper
        networks or for several answers the states of every position."""
        n_ctx, answers, mlp = shape.tokens.n_ctx, len(shape.classes.positions), 0 if self.attn_only else self.d_mlp
        normal, attended = self.normalization != "none", self.n_heads * (n_ctx + self.d_head)
        states = (4 + 2 * normal) * self.d_model + (3 + 2 * normal + 3 * self.act_fn.startswith("solu")) * mlp
        every = n_ctx * (8 * self.d_model + 2 * mlp + 4 * attended) * (self.n_layers > 1 or answers > 1)
        plan = 20 * n_ctx * self.n_heads * self.n_layers
        return Cost(answers * (states + 4 * attended + 2 * shape.outputs.n), every, plan)
