"""One layer of the transformer over distinct rows; each activation is computed in the cheapest way."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.base import once
from interp.maths.compiled import arrays, once_at_most, serve
from interp.models.activations import LAYER_NORM_EPS, activate
from interp.models.network import Weights
from interp.models.products import product, select, weighted_sum
from interp.models.transformer.pattern import attention_pattern
from interp.models.transformer.prefixes import Reads
from interp.models.transformer.spec import Place, TransformerSpec
from interp.models.transformer.table import Table, mixing
from interp.recipe import Precision

SPARSE_COST = 3
"""Time of a multiplication in a sparse product ÷ that in a dense one (p = 113, 2 cores: 3 to 5)."""


@dataclass(frozen=True)
class Block:
    """One layer over distinct rows: its activations for the output rows of all groups in order, [runs, out, …].

    Each is computed when it is asked for, in the cheapest way.
    """

    spec: TransformerSpec
    weights: Weights
    layer: int
    precision: Precision
    states: Float[Tensor, "runs rows d_model"]
    groups: tuple[Reads, ...]
    factors: Float[Tensor, "sublayers runs out d_model"] | None = None
    """Factors of dropout on what attention and MLP add to the residual stream; None means all are 1."""

    def __getitem__(self, name: str) -> Tensor:
        return self.weights[f"blocks.{self.layer}.{name}"]

    def hooks(self) -> dict[str, str]:
        """Names of the activations here, by their names in HookedTransformer."""
        names = {
            "hook_resid_pre": "resid_pre",
            "attn.hook_pattern": "pattern",
            "attn.hook_z": "z",
            "hook_attn_out": "attn_out",
            "hook_resid_post": "resid_post",
        }
        if not self.spec.attn_only:
            names |= {
                "hook_resid_mid": "resid_mid",
                "mlp.hook_pre": "pre",
                **({"mlp.hook_mid": "activated"} if self.spec.act_fn == "solu_ln" else {}),
                "mlp.hook_post": "post",
                "hook_mlp_out": "mlp_out",
            }
        return {f"blocks.{self.layer}.{name}": here for name, here in names.items()} | {"unembed.hook_out": "logits"}

    # Attention

    @once
    def normal(self) -> Float[Tensor, "runs rows d_model"]:
        """States of all input rows after LayerNorm, as attention reads them."""
        return self.normalise(self.states, "attention")

    def heads(self, kind: str, states: Tensor) -> Float[Tensor, "runs rows head d_head"]:
        """Queries, keys or values (`kind`) of these states."""
        by_head, bias = self[f"attn.W_{kind}"].transpose(1, 2), self[f"attn.b_{kind}"]
        return self.times(states, by_head.flatten(2), bias.flatten(1)).unflatten(-1, bias.shape[1:])

    @once
    def value(self) -> Float[Tensor, "runs rows head d_head"]:
        """Values of all input rows: what each gives to rows that attend to it."""
        return self.heads("V", self.normal)

    @once
    def patterns(self) -> list[Float[Tensor, "runs_out head seen"]]:
        """Attention pattern of each group of output rows."""
        key, rate = self.heads("K", self.normal), self.spec.attention_rate
        usual = [self.attend(key, group) for group in self.groups]
        return usual if rate == 1 else [rate * pattern + (1 - rate) for pattern in usual]

    def attend(self, key: Float[Tensor, "runs rows head d_head"], group: Reads) -> Float[Tensor, "runs_out head seen"]:
        """Attention pattern of one group: softmax over the visible positions for each output row."""
        query = self.heads("Q", select(self.normal, group.asking[0]))
        return attention_pattern(query, key, group)

    @property
    def pattern(self) -> Float[Tensor, "runs out head seen"]:
        """Attention pattern of the last layer, whose only group is the answer position."""
        return self.patterns[-1].unflatten(0, (len(self.states), -1))

    @once
    def z(self) -> Float[Tensor, "runs out head d_head"]:
        """Values of the visible positions, weighted by attention."""
        table, shape = self.value.flatten(0, 2), (len(self.states), -1, self.spec.n_heads)
        return joined(
            [
                weighted_sum(pattern.flatten(0, 1), table, group.attention).unflatten(0, shape)
                for pattern, group in zip(self.patterns, self.groups, strict=True)
            ]
        )

    @once
    def attn_out(self) -> Float[Tensor, "runs out d_model"]:
        """Output of attention, added to the residual stream."""
        added = self.times(self.z.flatten(2), self["attn.W_O"].flatten(1, 2), self["attn.b_O"])
        return added if self.factors is None else added * self.factors[0]

    # The residual stream

    @property
    def out(self) -> int:
        """Number of output rows of a run."""
        return sum(group.queries.shape[1] for group in self.groups)

    @once
    def resid_pre(self) -> Float[Tensor, "runs out d_model"]:
        """Residual stream of the output rows before the layer."""
        return joined([select(self.states, group.queries) for group in self.groups])

    @once
    def resid_mid(self) -> Float[Tensor, "runs out d_model"]:
        """Residual stream of the output rows after attention."""
        return self.mixture(None, None) if self.mixes else self.resid_pre + self.attn_out

    @once
    def resid_post(self) -> Float[Tensor, "runs out d_model"]:
        """Residual stream of the output rows after the layer."""
        return self.resid_mid if self.spec.attn_only else self.resid_mid + self.mlp_out

    @once
    def mixes(self) -> bool:
        """Whether it is less work to apply matrices to the table of values than to the output rows.

        Never with dropout: its factors come between, and differ from row to row.
        """
        if self.factors is not None or not self.groups:
            return False
        spec, out = self.spec, self.out
        into_mlp = spec.d_mlp if spec.norm_at("mlp") == "none" and not spec.attn_only else 0
        width = spec.d_model + into_mlp
        dense = spec.d_model * (spec.n_heads * spec.d_head + width - spec.d_model)
        sparse = SPARSE_COST * width * max(group.keys.shape[2] * spec.n_heads + 1 for group in self.groups)
        return self.states.shape[1] * spec.n_heads < out and sparse < dense

    def through(self, matrix: Float[Tensor, "runs d_model width"], bias: Float[Tensor, "runs width"]) -> Tensor:
        """Residual stream after attention through a linear map: resid_mid @ matrix + bias."""
        return self.mixture(matrix, bias) if self.mixes else self.times(self.resid_mid, matrix, bias)

    def mixture(self, matrix: Tensor | None, bias: Tensor | None) -> Float[Tensor, "runs out width"]:
        """resid_mid @ matrix + bias, computed from the table without forming resid_mid; without a matrix, resid_mid itself."""
        together = zip(self.mixings, self.groups, self.tabulate(matrix, bias), strict=True)
        return joined([self.mixed(mixing, table.rows, group) for mixing, group, table in together])

    def mixed(self, mixing: Tensor, rows: Tensor, group: Reads) -> Float[Tensor, "runs out width"]:
        """Weighted sums of table rows, one for each output row."""
        return weighted_sum(mixing, rows, group.sources.entries).unflatten(0, (len(self.states), -1))

    @once
    def mixings(self) -> list[Float[Tensor, "runs_out j"]]:
        """Weight of each table row in each output row, for each group."""
        return [mixing(pattern, group) for pattern, group in zip(self.patterns, self.groups, strict=True)]

    def tabulate(self, matrix: Tensor | None, bias: Tensor | None) -> list[Table]:
        """Table of each group."""
        by_head = self["attn.W_O"]
        if matrix is not None:
            by_head = product(by_head.flatten(1, 2), matrix).unflatten(1, by_head.shape[1:3])
        whole = any(group.sources.anchor is None for group in self.groups)
        given = self.given(self.value, by_head) if whole else None
        return [self.tabulated(group, by_head, given, matrix, bias) for group in self.groups]

    def given(self, value: Tensor, by_head: Tensor) -> Float[Tensor, "runs head_rows width"]:
        """What these values give through each head's matrix."""
        values = product(value.transpose(1, 2).flatten(0, 1), by_head.flatten(0, 1))
        return values.unflatten(0, (-1, self.spec.n_heads)).flatten(1, 2)

    def tabulated(
        self, group: Reads, by_head: Tensor, given: Tensor | None, matrix: Tensor | None, bias: Tensor | None
    ) -> Table:
        """The table of one group; `given` is what whole values give."""
        begun, W_O = select(self.states, group.asking[0]), self["attn.W_O"].flatten(1, 2)
        if group.sources.anchor is None:
            begun = begun + self["attn.b_O"][:, None]
        else:
            fixed = select(self.value.flatten(2), group.sources.anchor)  # [runs, 1, head·d_head]
            rate, seen = self.spec.attention_rate, group.keys.shape[2]
            attended = rate + (1 - rate) * seen  # the sum over the visible positions
            given = self.given(self.value - fixed.unflatten(2, self.value.shape[2:]), by_head)
            begun = begun + torch.baddbmm(self["attn.b_O"][:, None], fixed, W_O, alpha=attended)
        assert given is not None
        return Table(given, begun if matrix is None else product(begun, matrix, bias=bias))

    # The MLP

    @once
    def pre(self) -> Float[Tensor, "runs out d_mlp"]:
        """Pre-activations of the neurons (hook_pre)."""
        if self.needs_both:
            return self.both[0]
        if self.spec.norm_at("mlp") == "none":
            return self.through(self["mlp.W_in"], self["mlp.b_in"])
        return self.received(self.resid_mid)

    def received(self, resid_mid: Float[Tensor, "runs rows d_model"]) -> Float[Tensor, "runs rows d_mlp"]:
        """Pre-activations of the neurons, for rows of the residual stream after attention."""
        normal = self.normalise(resid_mid, "mlp")
        return self.times(normal, self["mlp.W_in"], self["mlp.b_in"])

    @once
    def activated(self) -> Float[Tensor, "runs out d_mlp"]:
        """Activations of the neurons before the LayerNorm of solu_ln, if there is one."""
        return activate(self.spec.act_fn, self.pre)

    @once
    def post(self) -> Float[Tensor, "runs out d_mlp"]:
        """Activations of the neurons (hook_post)."""
        return self.sent(self.activated)

    def sent(self, activated: Float[Tensor, "runs rows d_mlp"]) -> Float[Tensor, "runs rows d_mlp"]:
        """Activations of the neurons after the LayerNorm of solu_ln; the same as given for other functions."""
        return self.layer_norm(activated, f"blocks.{self.layer}.mlp.ln") if self.spec.act_fn == "solu_ln" else activated

    def posts(self, size: int) -> Iterator[Float[Tensor, "runs part d_mlp"]]:
        """`post` in parts of `size` rows of the only group, in order."""
        for pre in self.pres(size):
            yield self.sent(activate(self.spec.act_fn, pre))

    def post_sums(self, labels: Int[Tensor, " out"], n_labels: int) -> Float[Tensor, "runs label d_mlp"] | None:
        """Sums of `post` over the rows with each label, without forming it; None where compiled loops do not serve."""
        if (
            self.spec.act_fn != "relu"
            or not self.sums_for_neurons
            or not serve(self.out * self.spec.d_mlp, self.states)
        ):
            return None
        from interp.maths.loops import rectified_sums

        (mixing,), (group,), (table,) = self.mixings, self.groups, self.tabulate(self["mlp.W_in"], self["mlp.b_in"])
        runs, columns = len(self.states), group.sources.entries.columns.view_as(mixing)
        sums = mixing.new_zeros(runs * n_labels, self.spec.d_mlp)
        of_runs = labels + n_labels * torch.arange(runs)[:, None]
        rectified_sums(*arrays(mixing, columns, table.rows, of_runs.flatten(), sums))
        return sums.unflatten(0, (runs, -1))

    @property
    def sums_for_neurons(self) -> bool:
        """Whether what the neurons receive is a sum over table rows."""
        return self.mixes and self.spec.norm_at("mlp") == "none"

    def pres(self, size: int) -> Iterator[Float[Tensor, "runs part d_mlp"]]:
        """`pre` in parts of `size` rows of the only group; what all rows need is computed once."""
        if not self.sums_for_neurons:
            yield from map(self.received, self.resid_mid.split(size, dim=1))
            return
        (weights,), (group,), runs = self.mixings, self.groups, len(self.states)
        (table,) = self.tabulate(self["mlp.W_in"], self["mlp.b_in"])
        rows = table.rows
        parts = weights.unflatten(0, (runs, -1)).split(size, dim=1)
        for part, entries in zip(parts, group.sources.parts(size, runs), strict=True):
            yield weighted_sum(part.flatten(0, 1), rows, entries).unflatten(0, (runs, -1))

    @once
    def mlp_out(self) -> Float[Tensor, "runs out d_model"]:
        """Output of the MLP, added to the residual stream."""
        added = self.times(self.post, self["mlp.W_out"], self["mlp.b_out"])
        return added if self.factors is None else added * self.factors[1]

    @once
    def unembedding(self) -> tuple[Tensor, Tensor]:
        """Matrix and bias by which the residual stream after attention becomes the logits, of which the MLP's are no part."""
        W_U = self.weights["unembed.W_U"]
        return W_U, torch.baddbmm(self.weights["unembed.b_U"][:, None], self["mlp.b_out"][:, None], W_U)[:, 0]

    @once
    def both(self) -> tuple[Tensor, Tensor]:
        """`pre` and `beside`, whose tables are made by one product each."""
        (matrix, bias), width = self.unembedding, self.spec.d_mlp
        matrix, bias = torch.cat([self["mlp.W_in"], matrix], dim=2), torch.cat([self["mlp.b_in"], bias], dim=1)
        (table,), (mixing,), (group,) = self.tabulate(matrix, bias), self.mixings, self.groups
        pre, beside = (self.mixed(mixing, part.rows, group) for part in table.split(width))
        return pre, beside

    @property
    def needs_both(self) -> bool:
        """Whether `pre` and `beside` are both wanted, as in training, and come from tables."""
        last, plain = self.layer == self.spec.n_layers - 1, self.spec.norm_at("mlp") == "none"
        return once_at_most() and last and plain and self.mixes and self.folds

    @once
    def beside(self) -> Float[Tensor, "runs out d_vocab_out"]:
        """Logits but for what the neurons add; where W_out·W_U is multiplied first."""
        return self.both[1] if self.needs_both else self.through(*self.unembedding)

    @once
    def logits(self) -> Float[Tensor, "runs out d_vocab_out"]:
        """Logits of the output rows; for the last layer only."""
        if self.folds:
            return self.beside + self.times(self.post, product(self["mlp.W_out"], self.weights["unembed.W_U"]))
        return self.unembedded(self.resid_post)

    def unembedded(self, resid_post: Float[Tensor, "runs rows d_model"]) -> Float[Tensor, "runs rows d_vocab_out"]:
        """Logits of rows of the residual stream after the last layer."""
        W_U, b_U = self.weights["unembed.W_U"], self.weights["unembed.b_U"]
        return self.times(self.normalise(resid_post, "unembedding"), W_U, b_U)

    @property
    def folds(self) -> bool:
        """Whether it is less work to multiply W_out·W_U first; never with dropout between them."""
        spec, out, answers = self.spec, self.out, self.weights["unembed.W_U"].shape[-1]
        apart = out * spec.d_model * (spec.d_mlp + (answers if self.mixes else 0))
        plain = spec.norm_at("unembedding") == "none" and self.factors is None and not spec.attn_only
        return plain and (out + spec.d_model) * spec.d_mlp * answers < apart

    def normalise(self, states: Tensor, place: Place) -> Tensor:
        """States after the LayerNorm before that place, or unchanged if the specification has none there."""
        names = {"attention": f"blocks.{self.layer}.ln1", "mlp": f"blocks.{self.layer}.ln2", "unembedding": "ln_final"}
        return states if self.spec.norm_at(place) == "none" else self.layer_norm(states, names[place])

    def layer_norm(self, states: Tensor, name: str) -> Tensor:
        """States centred and scaled over the last axis; with `LN` also times w, plus b."""
        normal = torch.nn.functional.layer_norm(states, states.shape[-1:], eps=LAYER_NORM_EPS)
        if self.spec.normalization != "LN":
            return normal
        return normal * self.weights[f"{name}.w"][:, None] + self.weights[f"{name}.b"][:, None]

    def times(self, x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
        """Product x @ w (+ bias) for each run."""
        return product(x, w, self.precision, bias)


def joined(parts: list[Tensor]) -> Tensor:
    """Rows of all parts joined, without a copy if there is only one part."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
