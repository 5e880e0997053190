"""The transformer's forward pass with its work shared: every distinct prefix is computed once.

Every prompt of a task comes from one small table of tokens, so HookedTransformer computes most states many times.
`SharedForward` finds the repetitions in the token table (prefixes.py) and knows nothing of the task:

- At layer 0 the state at a position depends on its token alone (p rows, not one a prompt). At deeper layers it depends on
  the prefix that ends there, or on the whole prompt if attention is bidirectional. After the last attention only the
  answer position is needed.
- What attention adds to a row is a weighted sum of few values. So are its images under W_in and W_U. If there are few
  values (layer 0), the matrices are applied to the values, and the rows sum the results: `Block.mixture`.
- Without a LayerNorm between them, W_out·W_U is multiplied first if that is less work.

With dropout each prompt has masks of its own. Then only the rows of layer 0 are shared, and neither shortcut is used.

It computes what HookedTransformer does at the last position, in another order: logits and gradients agree to rounding
(tests/models/test_shared.py). Many models of one specification are computed at once along a leading axis, `runs`: each
has weights and prompts of its own.
"""

from collections.abc import Callable, Iterator

from jaxtyping import Float, Int
from torch import Tensor

from interp.models.network import Forward, Weights
from interp.models.products import select
from interp.models.transformer.block import Block
from interp.models.transformer.prefixes import make_plan, runs_of
from interp.models.transformer.spec import TransformerSpec
from interp.recipe import Precision


class SharedForward(Forward):
    """Forward pass: logits at the last position of given prompts, as a function of the weights.

    >>> forward = SharedForward(spec, tokens)                       # tokens [n, n_ctx]
    >>> logits = forward(dict(model.named_parameters()))            # [n, d_vocab_out]; equals model(tokens)[:, -1]

    With tokens [runs, n, n_ctx], every weight and everything that comes back has the leading axis as well.
    """

    def __init__(
        self,
        spec: TransformerSpec,
        tokens: Int[Tensor, "*runs n n_ctx"],
        precision: Precision = "float32",
        apart: bool = False,
    ):
        self.spec, self.single = spec, tokens.ndim == 2
        self.precision: Precision = precision
        self.apart = apart
        """Whether every prompt has states of its own, so that `factors` of dropout can be given."""
        tokens = tokens[None] if self.single else tokens
        self.plan = make_plan(tokens, spec.n_layers, spec.n_heads, causal=spec.attention == "causal", apart=apart)

    @property
    def places(self) -> int:
        """Number of additions to a prompt's residual stream, over layers, sublayers and positions.

        Order: by layer, first attention and then MLP, each at every position in order. In the last layer only the last
        position counts, because no other one contributes to the answer.
        """
        return self.spec.sublayers * sum(map(len, self.plan.layers))

    @property
    def width(self) -> int:
        """Numbers that are added at each of those places: d_model."""
        return self.spec.d_model

    def __call__(
        self, weights: Weights, factors: Float[Tensor, "*runs n places d_model"] | None = None
    ) -> Float[Tensor, "*runs n d_vocab_out"]:
        """Logits at the last position. `factors` (dropout) multiply what is added at each of a prompt's `places`."""
        return self._of_each(self._last_block(weights, factors).logits)

    def cache(self, weights: Weights, names: Callable[[str], bool] = lambda name: True) -> dict[str, Tensor]:
        """Activations of every prompt at the last position, [*runs, n, …], by HookedTransformer's hook names.

        Covers the last layer's hook_pre, hook_mid (solu_ln), hook_post, hook_mlp_out, hook_attn_out, hook_z,
        hook_pattern (over key positions), hook_resid_pre, _mid and _post, and the logits as unembed.hook_out. Only what is
        asked for is computed.
        """
        block = self._last_block(weights)
        return {name: self._of_each(getattr(block, each)) for name, each in block.hooks().items() if names(name)}

    def posts(self, weights: Weights, size: int) -> Iterator[Float[Tensor, "*runs part d_mlp"]]:
        """The last layer's hook_post in parts of `size` prompts, in order; small parts stay in the processor's cache."""
        for part in self._last_block(weights).posts(size):
            yield self._of_each(part)

    def post_sums(
        self, weights: Weights, labels: Int[Tensor, " n"], n_labels: int
    ) -> Float[Tensor, "*runs label d_mlp"] | None:
        """Sums of the last layer's hook_post over the prompts with each label, by compiled loops; None where there are none."""
        sums = self._last_block(weights).post_sums(labels, n_labels)
        return None if sums is None else self._of_each(sums)

    def unembed(
        self, weights: Weights, resid_post: Float[Tensor, "*runs rows d_model"]
    ) -> Float[Tensor, "*runs rows d_vocab_out"]:
        """Logits of rows of the residual stream after the last layer, which may have been changed."""
        if self.single:
            weights, resid_post = {name: tensor[None] for name, tensor in weights.items()}, resid_post[None]
        block = Block(self.spec, weights, self.spec.n_layers - 1, self.precision, resid_post, ())
        return self._of_each(block.unembedded(resid_post))

    def _last_block(self, weights: Weights, factors: Tensor | None = None) -> Block:
        """The last layer, over the states after the layers before it."""
        if self.single:
            weights = {name: tensor[None] for name, tensor in weights.items()}
        W_E, tokens = weights["embed.W_E"], self.plan.tokens
        states = select(W_E, tokens + W_E.shape[1] * runs_of(tokens))
        states = states + weights["pos_embed.W_pos"].index_select(1, self.plan.positions)
        blocks, of_layers = [], self._of_layers(factors)
        for layer, groups in enumerate(self.plan.layers):
            states = blocks[-1].resid_post if blocks else states
            blocks.append(Block(self.spec, weights, layer, self.precision, states, groups, of_layers[layer]))
        return blocks[-1]

    def _of_layers(self, factors: Tensor | None) -> list[Tensor] | list[None]:
        """Factors of dropout by layer, in the order of its output rows: [attention and MLP, runs, out, d_model]."""
        if factors is None:
            return [None] * len(self.plan.layers)
        assert self.apart
        factors, sublayers = factors[None] if self.single else factors, self.spec.sublayers
        each = factors.split([sublayers * len(groups) for groups in self.plan.layers], dim=2)
        return [part.unflatten(2, (sublayers, -1)).permute(2, 0, 3, 1, 4).flatten(2, 3) for part in each]

    def _of_each(self, values: Tensor) -> Tensor:
        """Values without the axis of runs if the prompts have none."""
        return values[0] if self.single else values
