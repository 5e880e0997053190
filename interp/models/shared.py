"""The transformer's forward pass with its work shared: every distinct prefix is computed once.

Every prompt of a task comes from one small table of tokens, so most of what HookedTransformer computes it computes again
and again. `SharedForward` finds the repetitions in the token table (plan.py) and knows nothing of the task:

- At layer 0 the state at a position depends on its token alone (p rows, not one a prompt), at deeper layers on the
  prefix that ends there (the whole prompt, when attention is bidirectional); after the last attention only the answer
  position is needed.
- What attention adds to a row is a sum of few values, weighted; so are its images under W_in and W_U. Where the values
  are few (layer 0), the matrices multiply the values, and the rows sum the results: `Block.mixture`.
- Without a LayerNorm between them, W_out and W_U are one matrix, where that is less work.

With dropout each prompt has masks of its own, so that only the rows of layer 0 are shared, and both shortcuts give way.

It is HookedTransformer's function at the last position, by another order of work: logits and gradients agree to rounding
(tests/models/test_shared.py). Many models of one specification are computed at once along a leading axis, `runs`: each
has weights and prompts of its own.
"""

from collections.abc import Callable, Iterator

from jaxtyping import Float, Int
from torch import Tensor

from interp.models.block import Block, Weights
from interp.models.plan import make_plan, runs_of
from interp.models.products import select
from interp.models.transformer import Precision, TransformerSpec


class SharedForward:
    """Logits at the last position of these prompts, as a function of the weights.

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
        """Whether every prompt has states of its own, so that `factors` can be given."""
        tokens = tokens[None] if self.single else tokens
        self.plan = make_plan(tokens, spec.n_layers, spec.n_heads, causal=spec.attention == "causal", apart=apart)

    @property
    def places(self) -> int:
        """How often something is added to a prompt's residual stream before it is answered.

        By layer, first the attention's and then the MLP's, each at every position in order; in the last layer at the
        last position alone, since no other has a part in the answer.
        """
        return self.spec.sublayers * sum(map(len, self.plan.layers))

    def __call__(
        self, weights: Weights, factors: Float[Tensor, "*runs n places d_model"] | None = None
    ) -> Float[Tensor, "*runs n d_vocab_out"]:
        """The logits at the last position; with `factors` on what is added at each of a prompt's `places` (dropout)."""
        return self._of_each(self._last_block(weights, factors).logits)

    def cache(self, weights: Weights, names: Callable[[str], bool] = lambda name: True) -> dict[str, Tensor]:
        """Activations of every prompt at the last position, [*runs, n, …], by HookedTransformer's hook names.

        Covers the last layer's hook_pre, hook_mid (solu_ln), hook_post, hook_mlp_out, hook_attn_out, hook_z,
        hook_pattern (over key positions), hook_resid_pre, _mid and _post, and the logits as unembed.hook_out. What is
        not asked for is not computed.
        """
        block = self._last_block(weights)
        return {name: self._of_each(getattr(block, each)) for name, each in block.hooks().items() if names(name)}

    def posts(self, weights: Weights, size: int) -> Iterator[Float[Tensor, "*runs part d_mlp"]]:
        """The last layer's hook_post in parts of so many prompts, in order: small ones never leave the processor's cache."""
        for part in self._last_block(weights).posts(size):
            yield self._of_each(part)

    def unembed(
        self, weights: Weights, resid_post: Float[Tensor, "*runs rows d_model"]
    ) -> Float[Tensor, "*runs rows d_vocab_out"]:
        """The logits of such rows after the last layer, whatever was done to them."""
        if self.single:
            weights, resid_post = {name: tensor[None] for name, tensor in weights.items()}, resid_post[None]
        block = Block(self.spec, weights, self.spec.n_layers - 1, self.precision, resid_post, ())
        return self._of_each(block.unembedded(resid_post))

    def _last_block(self, weights: Weights, factors: Tensor | None = None) -> Block:
        """The last layer, over the states that the layers before it leave."""
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
        """The factors in the order of each layer's output rows, [attention and MLP, runs, out, d_model]."""
        if factors is None:
            return [None] * len(self.plan.layers)
        assert self.apart
        factors, sublayers = factors[None] if self.single else factors, self.spec.sublayers
        each = factors.split([sublayers * len(groups) for groups in self.plan.layers], dim=2)
        return [part.unflatten(2, (sublayers, -1)).permute(2, 0, 3, 1, 4).flatten(2, 3) for part in each]

    def _of_each(self, values: Tensor) -> Tensor:
        """Without the leading axis when the prompts came without it."""
        return values[0] if self.single else values
