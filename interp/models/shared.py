"""The transformer's forward pass with its work shared: every distinct prefix is computed once.

Every prompt of a task comes from one small table of tokens, so most of what HookedTransformer computes it computes again
and again: at layer 0 the state at a position depends on its token alone (p rows, not one a prompt), at deeper layers on
the prefix that ends there (the whole prompt, when attention is bidirectional), and after the last attention only the
answer position is needed. `SharedForward` finds these repetitions in the token table and knows nothing of the task.

It is HookedTransformer's function at the last position, by another order of work: logits and gradients agree to rounding
(tests/models/test_shared.py).
"""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor

from interp.models.transformer import TransformerSpec

Weights = Mapping[str, Tensor]
LAYER_NORM_EPS = 1e-5
"""HookedTransformer's default."""

PAIR_TABLE_LIMIT = 2
"""A table of all (query, key) scores is used while it has at most so many entries for each score that is asked for."""


Rows = Int[Tensor, " out"]
"""For each output row, a row of the layer's input."""


@dataclass(frozen=True)
class PairTable:
    """A way to score (query, key) pairs: all distinct queries against all distinct keys, each output row its entry."""

    queries: Int[Tensor, " q"]
    keys: Int[Tensor, " k"]
    entry: Int[Tensor, " out"]
    """Of the flattened table, for each output row."""


@dataclass(frozen=True)
class Reads:
    """What the rows of one position read in one layer."""

    queries: Rows
    """Row of the layer's input from which each output row continues and asks."""
    keys: tuple[Rows, ...]
    """For each visible position, the row of the layer's input that each output row attends to."""
    tables: tuple[PairTable | None, ...]
    """For each visible position, how to score it by a table; None where a dot product a row is less work."""


@dataclass(frozen=True)
class Plan:
    """Which rows exist at each layer, found in a table of tokens."""

    tokens: Int[Tensor, " rows"]
    positions: Int[Tensor, " rows"]
    """Of the rows of layer 0."""
    layers: tuple[tuple[Reads, ...], ...]
    """For each layer, the reads of its output rows, a group for each position; the rows of all groups in order are the
    next layer's input. The last layer has the answer position alone, one row a prompt."""


def make_plan(tokens: Int[Tensor, "n n_ctx"], n_layers: int, causal: bool) -> Plan:
    """Find the distinct states of every layer.

    Rows of layer 0 are the distinct (position, token) pairs; those of a deeper layer the distinct prefixes of each
    position, or whole prompts when attention is not causal.
    """
    n, n_ctx = tokens.shape
    found = [distinct(tokens[:, j : j + 1]) for j in range(n_ctx)]
    index = torch.stack(running([inverse for _, inverse in found], [len(first) for first, _ in found]), dim=1)
    rows_tokens = torch.cat([tokens[first, j] for j, (first, _) in enumerate(found)])
    rows_positions = torch.cat([torch.full_like(first, j) for j, (first, _) in enumerate(found)])
    layers = []
    for layer in range(n_layers):
        last = layer == n_layers - 1
        every = torch.arange(n, device=tokens.device)
        positions = [n_ctx - 1] if last else list(range(n_ctx))
        seen = {j: j + 1 if causal else n_ctx for j in positions}
        kept = {j: (every, every) if last else distinct(tokens[:, : seen[j]]) for j in positions}
        layers.append(tuple(reads(index[first], j, seen[j]) for j, (first, _) in kept.items()))
        index = torch.stack(
            running([inverse for _, inverse in kept.values()], [len(first) for first, _ in kept.values()]), dim=1
        )
    return Plan(rows_tokens, rows_positions, tuple(layers))


def running(inverses: list[Tensor], sizes: list[int]) -> list[Tensor]:
    """Indices into several groups of rows, as indices into all rows of all groups in order."""
    offsets = [sum(sizes[:j]) for j in range(len(sizes))]
    return [inverse + offset for inverse, offset in zip(inverses, offsets, strict=True)]


def distinct(rows: Int[Tensor, "n k"]) -> tuple[Int[Tensor, " m"], Int[Tensor, " n"]]:
    """Where each distinct row first stands, and which of them every row is."""
    _, inverse = torch.unique(rows, dim=0, return_inverse=True)
    first = torch.full((int(inverse.max()) + 1,), len(rows), device=rows.device)
    return first.scatter_reduce(0, inverse, torch.arange(len(rows), device=rows.device), "amin"), inverse


def reads(index: Int[Tensor, "out n_ctx"], position: int, seen: int) -> Reads:
    """The reads of output rows at one position, given the input rows of each one's prompt."""
    queries, keys = index[:, position].contiguous(), tuple(index[:, i].contiguous() for i in range(seen))
    return Reads(queries, keys, tuple(pair_table(queries, key) for key in keys))


def pair_table(queries: Rows, keys: Rows) -> PairTable | None:
    """The table of distinct pairs, or None where it would be larger than what is asked of it."""
    q_rows, q_of = torch.unique(queries, return_inverse=True)
    k_rows, k_of = torch.unique(keys, return_inverse=True)
    if len(q_rows) * len(k_rows) > PAIR_TABLE_LIMIT * len(queries):
        return None
    return PairTable(q_rows, k_rows, q_of * len(k_rows) + k_of)


class SharedForward:
    """Logits at the last position of these prompts, as a function of the weights.

    >>> forward = SharedForward(spec, tokens)                       # tokens [n, n_ctx]
    >>> logits = forward(dict(model.named_parameters()))            # [n, d_vocab_out]; equals model(tokens)[:, -1]
    """

    def __init__(self, spec: TransformerSpec, tokens: Int[Tensor, "n n_ctx"]):
        self.spec = spec
        self.plan = make_plan(tokens, spec.n_layers, causal=spec.attention == "causal")

    def __call__(self, weights: Weights) -> Float[Tensor, "n d_vocab_out"]:
        """The logits at the last position."""
        return self._forward(weights, lambda name, value: None)

    def cache(self, weights: Weights, names: Callable[[str], bool] = lambda name: True) -> dict[str, Tensor]:
        """Activations of every prompt at the last position, [n, …], by HookedTransformer's hook names.

        Covers the last layer's hook_pre, hook_mid (solu_ln), hook_post, hook_mlp_out, hook_attn_out, hook_z,
        hook_pattern (over key positions), hook_resid_pre, _mid and _post, and the logits as unembed.hook_out.
        """
        kept: dict[str, Tensor] = {}

        def keep(name: str, value: Tensor) -> None:
            if names(name):
                kept[name] = value

        self._forward(weights, keep)
        return kept

    def _forward(self, weights: Weights, keep: Callable[[str, Tensor], None]) -> Tensor:
        """Layer by layer over distinct rows; `keep` is shown the activations of the last layer."""
        plan, spec = self.plan, self.spec
        states = select(weights["embed.W_E"], plan.tokens) + select(weights["pos_embed.W_pos"], plan.positions)
        for layer, groups in enumerate(plan.layers):
            last = layer == spec.n_layers - 1
            block = Block(spec, weights, f"blocks.{layer}.", keep if last else lambda name, value: None)
            states = block(states, groups)
        logits = normalise(states, spec, weights, "ln_final") @ weights["unembed.W_U"] + weights["unembed.b_U"]
        keep("unembed.hook_out", logits)
        return logits


@dataclass(frozen=True)
class Block:
    """One layer's attention and MLP over distinct rows."""

    spec: TransformerSpec
    weights: Weights
    prefix: str
    keep: Callable[[str, Tensor], None]

    def __getitem__(self, name: str) -> Tensor:
        return self.weights[self.prefix + name]

    def show(self, name: str, value: Tensor) -> Tensor:
        """Offer an activation under its hook name."""
        self.keep(self.prefix + name, value)
        return value

    def __call__(
        self, states: Float[Tensor, "rows d_model"], groups: tuple[Reads, ...]
    ) -> Float[Tensor, "out d_model"]:
        """The residual stream after the layer, for the output rows of all groups in order."""
        residual = self.show("hook_resid_pre", joined([select(states, group.queries) for group in groups]))
        return self.think(residual + self.attend(states, groups))

    def attend(self, states: Float[Tensor, "rows d_model"], groups: tuple[Reads, ...]) -> Float[Tensor, "out d_model"]:
        """What attention adds to the residual stream."""
        normal = normalise(states, self.spec, self.weights, self.prefix + "ln1")
        query, key, value = (
            einsum(normal, self[f"attn.W_{kind}"], "row d_model, head d_model d_head -> row head d_head")
            + self[f"attn.b_{kind}"]
            for kind in "QKV"
        )
        z = self.show("attn.hook_z", joined([self.mix(query, key, value, group) for group in groups]))
        return self.show("hook_attn_out", z.flatten(1) @ self["attn.W_O"].flatten(0, 1) + self["attn.b_O"])

    def mix(self, query: Tensor, key: Tensor, value: Tensor, group: Reads) -> Float[Tensor, "out head d_head"]:
        """Values of the visible positions, weighted by attention."""
        scores = [
            pair_scores(query, key, group.queries, rows, table) / math.sqrt(self.spec.d_head)
            for rows, table in zip(group.keys, group.tables, strict=True)
        ]
        pattern = self.show("attn.hook_pattern", torch.stack(scores, dim=-1).softmax(dim=-1))
        weighted = [pattern[..., i, None] * select(value, rows) for i, rows in enumerate(group.keys)]
        return functools.reduce(torch.add, weighted)

    def think(self, mid: Float[Tensor, "rows d_model"]) -> Float[Tensor, "rows d_model"]:
        """The residual stream after the MLP."""
        self.show("hook_resid_mid", mid)
        pre = self.show(
            "mlp.hook_pre",
            normalise(mid, self.spec, self.weights, self.prefix + "ln2") @ self["mlp.W_in"] + self["mlp.b_in"],
        )
        post = ACTIVATIONS[self.spec.act_fn](pre)
        if self.spec.act_fn == "solu_ln":
            post = layer_norm(self.show("mlp.hook_mid", post), self.spec, self.weights, self.prefix + "mlp.ln")
        self.show("mlp.hook_post", post)
        out = self.show("hook_mlp_out", post @ self["mlp.W_out"] + self["mlp.b_out"])
        return self.show("hook_resid_post", mid + out)


def pair_scores(
    query: Float[Tensor, "rows head d_head"],
    key: Float[Tensor, "rows head d_head"],
    queries: Rows,
    keys: Rows,
    table: PairTable | None,
) -> Float[Tensor, "out head"]:
    """query[queries] · key[keys] for each output row and head."""
    if table is None:
        return (select(query, queries) * select(key, keys)).sum(dim=-1)
    scores = einsum(select(query, table.queries), select(key, table.keys), "q head d_head, k head d_head -> q k head")
    return select(scores.flatten(0, 1), table.entry)


def joined(parts: list[Tensor]) -> Tensor:
    """Rows of all parts, without a copy when there is one part."""
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def select(rows: Float[Tensor, "n ..."], index: Int[Tensor, " m"]) -> Float[Tensor, "m ..."]:
    """rows[index] by index_select, whose gradient is a plain sum: rows[index]'s takes twenty times as long."""
    return rows.index_select(0, index)


def solu(x: Tensor) -> Tensor:
    """x · softmax(x) over the neurons (Elhage et al. 2022)."""
    return x * x.softmax(dim=-1)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "gelu": torch.nn.functional.gelu,
    "silu": torch.nn.functional.silu,
    "solu": solu,
    "solu_ln": solu,
}


def normalise(states: Tensor, spec: TransformerSpec, weights: Weights, name: str) -> Tensor:
    """LayerNorm where the specification has one."""
    return states if spec.normalization == "none" else layer_norm(states, spec, weights, name)


def layer_norm(states: Tensor, spec: TransformerSpec, weights: Weights, name: str) -> Tensor:
    """Centre and scale over the last axis; with `LN`, then w and b."""
    width = states.shape[-1:]
    if spec.normalization == "LN":
        return torch.nn.functional.layer_norm(states, width, weights[f"{name}.w"], weights[f"{name}.b"], LAYER_NORM_EPS)
    return torch.nn.functional.layer_norm(states, width, eps=LAYER_NORM_EPS)
