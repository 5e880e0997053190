"""The transformer's forward pass over whole sequences, for tasks with long prompts or several answers.

Sequences of many tokens share few prefixes, so `DenseForward` computes every state of every prompt, in few operations:
all positions of all prompts are rows of one product. It skips what no answer needs. With causal attention these are the
positions after the last answer. After the last attention they are all positions at which no answer is read.

It computes what HookedTransformer does at those positions: logits and gradients agree to rounding (tests/models/test_dense.py).
Many models of one specification are computed at once along a leading axis, `runs`, as in shared.py.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from interp.base import once
from interp.models.network import Forward, Weights
from interp.models.products import select
from interp.models.transformer.block import Block
from interp.models.transformer.prefixes import runs_of
from interp.models.transformer.spec import TransformerSpec
from interp.recipe import Precision


class DenseForward(Forward):
    """Forward pass: logits at some positions of given prompts, as a function of the weights.

    >>> forward = DenseForward(spec, tokens, (11, 12))      # tokens [n, n_ctx]
    >>> logits = forward(dict(model.named_parameters()))    # [n, 2, d_vocab_out]; equals model(tokens)[:, [11, 12]]

    With one position the logits have no axis for it. With tokens [runs, n, n_ctx], every weight and everything that comes
    back has the leading axis as well.
    """

    def __init__(
        self,
        spec: TransformerSpec,
        tokens: Int[Tensor, "*runs n n_ctx"],
        positions: tuple[int, ...] = (-1,),
        precision: Precision = "float32",
    ):
        self.spec, self.single = spec, tokens.ndim == 2
        self.precision: Precision = precision
        tokens = tokens[None] if self.single else tokens
        self.positions = torch.tensor(positions, device=tokens.device) % tokens.shape[2]
        seen = max(position % tokens.shape[2] for position in positions) + 1
        self.tokens = tokens[:, :, :seen] if spec.attention == "causal" else tokens

    @property
    def places(self) -> int:
        """Number of additions to a prompt's residual stream, over layers, sublayers and positions.

        Order: by layer, first attention and then MLP, each at every position in order. In the last layer only the positions
        at which answers are read count.
        """
        return sum(self._sizes)

    @property
    def width(self) -> int:
        """Numbers that are added at each of those places: d_model."""
        return self.spec.d_model

    @property
    def _sizes(self) -> list[int]:
        """Number of additions to a prompt's residual stream in each layer."""
        return [self.spec.sublayers * len(positions) for positions in self._output]

    @once
    def _output(self) -> list[Int[Tensor, " position"]]:
        """Positions of the output of each layer."""
        every = torch.arange(self.tokens.shape[2], device=self.tokens.device)
        return [every] * (self.spec.n_layers - 1) + [self.positions]

    @once
    def _visible(self) -> list[Bool[Tensor, "position n_ctx"]]:
        """Mask of the positions that each output position of a layer may attend to, for each layer."""
        every, causal = torch.arange(self.tokens.shape[2], device=self.tokens.device), self.spec.attention == "causal"
        return [(every <= positions[:, None]) | (not causal) for positions in self._output]

    def __call__(
        self, weights: Weights, factors: Float[Tensor, "*runs n places d_model"] | None = None
    ) -> Float[Tensor, "... d_vocab_out"]:
        """Logits where answers are read. `factors` (dropout) multiply what is added at each of a prompt's `places`."""
        return self._of_each(self._last_block(weights, factors).logits)

    def cache(self, weights: Weights, names: Callable[[str], bool] = lambda name: True) -> dict[str, Tensor]:
        """Activations of every prompt where answers are read, [*runs, n, (position,) …], by HookedTransformer's hook names.

        Covers what `SharedForward.cache` does but the pattern. Only what is asked for is computed.
        """
        block = self._last_block(weights)
        return {name: self._of_each(getattr(block, each)) for name, each in block.hooks().items() if names(name)}

    def _last_block(self, weights: Weights, factors: Tensor | None = None) -> "DenseBlock":
        """The last layer, over the states after the layers before it."""
        if self.single:
            weights = {name: tensor[None] for name, tensor in weights.items()}
        W_E, tokens = weights["embed.W_E"], self.tokens
        states = select(W_E, (tokens + W_E.shape[1] * runs_of(tokens)).flatten(1)).unflatten(1, tokens.shape[1:])
        states = (states + weights["pos_embed.W_pos"][:, None, : tokens.shape[2]]).flatten(1, 2)
        block, of_layers = None, self._of_layers(factors)
        for layer, visible in enumerate(self._visible):
            states = block.resid_post if block else states
            last = layer == self.spec.n_layers - 1
            block = DenseBlock(
                self.spec,
                weights,
                layer,
                self.precision,
                states,
                groups=(),
                factors=of_layers[layer],
                n=tokens.shape[1],
                asking=self.positions if last else None,
                visible=visible,
            )
        assert block is not None
        return block

    def _of_each(self, values: Float[Tensor, "runs out ..."]) -> Tensor:
        """Rows by prompt and position; without an axis for one position, and without that of runs if the prompts have none."""
        values = values.unflatten(1, (self.tokens.shape[1], -1))
        values = values[:, :, 0] if len(self.positions) == 1 else values
        return values[0] if self.single else values

    def _of_layers(self, factors: Tensor | None) -> list[Tensor] | list[None]:
        """Factors of dropout by layer, in the order of its output rows: [attention and MLP, runs, out, d_model]."""
        if factors is None:
            return [None] * self.spec.n_layers
        each = (factors[None] if self.single else factors).split(self._sizes, dim=2)
        return [part.unflatten(2, (self.spec.sublayers, -1)).permute(2, 0, 1, 3, 4).flatten(2, 3) for part in each]


@dataclass(frozen=True, kw_only=True)
class DenseBlock(Block):
    """One layer over every position of every prompt. Output rows are the positions `asking`, prompt after prompt."""

    n: int
    """Number of prompts of a run."""
    asking: Int[Tensor, " position"] | None
    """Positions of the output; None for all, in order."""
    visible: Bool[Tensor, "position n_ctx"]
    """Mask of the positions that each output position may attend to."""

    @property
    def out(self) -> int:
        """Number of output rows of a run."""
        return self.n * len(self.visible)

    def hooks(self) -> dict[str, str]:
        """Names of the activations here; the pattern is never formed."""
        return {name: here for name, here in super().hooks().items() if here != "pattern"}

    def asked(self, states: Float[Tensor, "runs rows d_model"]) -> Float[Tensor, "runs out d_model"]:
        """States of the rows that have output."""
        if self.asking is None:
            return states
        return states.unflatten(1, (self.n, -1)).index_select(2, self.asking).flatten(1, 2)

    def by_prompt(
        self, kind: str, states: Float[Tensor, "runs rows d_model"]
    ) -> Float[Tensor, "runs_n head position d_head"]:
        """Queries, keys or values (`kind`) of these states, with prompts and positions on separate axes."""
        return self.heads(kind, states).unflatten(1, (self.n, -1)).flatten(0, 1).transpose(1, 2)

    @once
    def resid_pre(self) -> Float[Tensor, "runs out d_model"]:
        """Residual stream of the output rows before the layer."""
        return self.asked(self.states)

    @once
    def z(self) -> Float[Tensor, "runs out head d_head"]:
        """Values of the visible positions, weighted by attention."""
        query, key, value = (
            self.by_prompt(kind, states)
            for kind, states in (("Q", self.asked(self.normal)), ("K", self.normal), ("V", self.normal))
        )
        z, rate = scaled_dot_product_attention(query, key, value, attn_mask=self.visible), self.spec.attention_rate
        z = z if rate == 1 else rate * z + (1 - rate) * (self.visible.to(value.dtype) @ value)
        return z.transpose(1, 2).unflatten(0, (-1, self.n)).flatten(1, 2)
