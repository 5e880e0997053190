"""What follows the last attention, as functions of rows of the residual stream: to change a part and see the answer."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from interp.base import once
from interp.maths.ablation import variances
from interp.models.activations import ACTIVATIONS
from interp.models.network import Change, Forward, Outputs, Route, Tail, Ways, Weights
from interp.models.products import product
from interp.models.transformer.block import Block
from interp.models.transformer.spec import TransformerSpec

MLP_SKIP = "MLP skip"
"""The only way that the neurons do not see."""


def routes(spec: TransformerSpec) -> dict[str, Route]:
    """The heads of the last layer, and what passes beside its sublayers, where it has an MLP."""
    if spec.attn_only:
        return {}
    about = {
        **{f"head {head}": f"the output of head {head} of the last layer is 0" for head in range(spec.n_heads)},
        "all heads": "the outputs of all heads of the last layer are 0, their output bias kept",
        MLP_SKIP: "the residual stream that reaches the unembedding beside the last MLP is 0",
        "attention skip": "the last token's own residual stream that passes beside the last attention is 0",
    }
    return {name: Route(what, spec.d_model) for name, what in about.items()}


@dataclass(frozen=True)
class TransformerTail(Tail):
    """The last MLP and the unembedding of one transformer, for the logits of some answers.

    >>> logits = tail.answer(tail.directly(resid_mid) + tail.bias + tail.through(tail.neurons(resid_mid)))

    The sum is kept as logits, or in the residual stream where a LayerNorm stands before the unembedding.
    """

    spec: TransformerSpec
    folds: bool = True
    """Whether W_out·W_U is one matrix, where no LayerNorm stands between."""

    @property
    def unfolded(self) -> "TransformerTail":
        """This tail with its sum kept in the residual stream."""
        return replace(self, folds=False)

    @property
    def hooks(self) -> tuple[str, ...]:
        """The residual stream after the last attention, and what the neurons send."""
        return self.of_last_layer("hook_resid_mid"), self.of_last_layer("mlp.hook_post")

    @property
    def hooks_of_ways(self) -> tuple[str, ...]:
        """What the heads send, the residual stream before and after them, and what the neurons receive."""
        return tuple(map(self.of_last_layer, ("attn.hook_z", "hook_resid_pre", "hook_resid_mid", "mlp.hook_pre")))

    def of_last_layer(self, name: str) -> str:
        """The full name of a hook of the last layer."""
        return f"blocks.{self.spec.n_layers - 1}.{name}"

    @once
    def block(self) -> Block:
        """The last layer without any prompts."""
        states = self.weights["embed.W_E"][None, :0]
        return Block(
            self.spec,
            {name: tensor[None] for name, tensor in self.weights.items()},
            self.spec.n_layers - 1,
            "float32",
            states,
            groups=(),
        )

    @once
    def W_U(self) -> Float[Tensor, "d_model answer"]:
        """The unembedding of the answers."""
        return self.weights["unembed.W_U"][:, self.answers]

    @once
    def b_U(self) -> Float[Tensor, " answer"]:
        """The unembedding's bias for the answers."""
        return self.weights["unembed.b_U"][self.answers]

    def narrowed(self, weights: Weights) -> Weights:
        """These weights, of a network that has the answers alone."""
        return {**weights, "unembed.W_U": self.W_U, "unembed.b_U": self.b_U}

    def outputs(self, forward: Forward, weights: Weights) -> Float[Tensor, "rows answer"]:
        """The answers' logits of a network over some prompts with other weights before this tail."""
        return forward(self.narrowed(weights))

    @once
    def readout(self) -> Float[Tensor, "d_mlp answer"]:
        """W_L = W_out·W_U, with the centring and the weights of a LayerNorm between the two."""
        assert self.roles.readout is not None
        return self.roles.readout.of(self.narrowed(self.weights))

    @property
    def linear(self) -> bool:
        """Whether the sum is one of logits."""
        return self.folds and self.spec.norm_at("unembedding") == "none"

    @once
    def written(self) -> Float[Tensor, "d_mlp width"]:
        """What each neuron adds: W_out·W_U, or W_out before a LayerNorm."""
        W_out = self.block["mlp.W_out"][0]
        return W_out @ self.W_U if self.linear else W_out

    def neurons(self, resid_mid: Float[Tensor, "rows d_model"]) -> Float[Tensor, "rows d_mlp"]:
        """What the neurons send (hook_post) of the residual stream after the last attention (hook_resid_mid)."""
        return self.activate(self.block.received(resid_mid[None])[0])

    def activate(self, pre: Float[Tensor, "rows d_mlp"]) -> Float[Tensor, "rows d_mlp"]:
        """What the neurons send (hook_post) of what they receive (hook_pre)."""
        return self.block.sent(ACTIVATIONS[self.spec.act_fn](pre)[None])[0]

    def directly(self, stream: Float[Tensor, "rows d_model"]) -> Float[Tensor, "rows width"]:
        """What so much of the residual stream adds, biases apart."""
        return product(stream[None], self.W_U[None])[0] if self.linear else stream

    def beside(self, cache: Weights) -> Float[Tensor, "rows width"]:
        """What reaches the unembedding beside the MLP, with all biases."""
        resid_mid, _ = (cache[name] for name in self.hooks)
        return self.directly(resid_mid) + self.bias

    @once
    def bias(self) -> Float[Tensor, " width"]:
        """What is added whatever the prompt."""
        b_out = self.block["mlp.b_out"][0]
        return b_out @ self.W_U + self.b_U if self.linear else b_out

    def answer(self, total: Float[Tensor, "rows width"]) -> Float[Tensor, "rows answer"]:
        """The logits, of all that reaches the unembedding."""
        if self.linear:
            return total
        return product(self.block.normalise(total[None], "unembedding"), self.W_U[None])[0] + self.b_U

    def logits(self, resid_mid: Float[Tensor, "rows d_model"]) -> Float[Tensor, "rows answer"]:
        """The logits, of the residual stream after the last attention."""
        return self.answer(self.directly(resid_mid) + self.bias + self.through(self.neurons(resid_mid)))

    def ways(self, cache: Weights, beside: Tensor, whole: Tensor) -> "LastLayer":
        """The ways through the last layer over the rows of a cache."""
        z, resid_pre, resid_mid, pre = (cache[name] for name in self.hooks_of_ways)
        return LastLayer(self, z, resid_pre, resid_mid, pre, beside, whole)


def parts_of_heads(z: Float[Tensor, "rows head d_head"], W_O: Float[Tensor, "head d_head d_model"]) -> list[Tensor]:
    """What each head adds to the residual stream, [rows, d_model] of each, from its hook_z."""
    return [product(z[None, :, head], W_O[None, head])[0] for head in range(len(W_O))]


@dataclass(frozen=True)
class LastLayer(Ways):
    """The ways through the last layer over some prompts, and the logits without one of them."""

    tail: TransformerTail
    z: Float[Tensor, "rows head d_head"]
    resid_pre: Float[Tensor, "rows d_model"]
    resid_mid: Float[Tensor, "rows d_model"]
    pre: Float[Tensor, "rows d_mlp"]
    beside: Float[Tensor, "rows width"]
    """What reaches the unembedding beside the MLP."""
    whole: Float[Tensor, "rows width"]
    """All that reaches the unembedding."""

    @once
    def carried(self) -> dict[str, Float[Tensor, "rows d_model"]]:
        """What passes on each way, by name."""
        heads = parts_of_heads(self.z, self.tail.block["attn.W_O"][0])
        return {
            **{f"head {number}": head for number, head in enumerate(heads)},
            "all heads": sum(heads, torch.zeros_like(self.resid_mid)),
            MLP_SKIP: self.resid_mid,
            "attention skip": self.resid_pre,
        }

    @once
    def lengths(self) -> dict[str, Float[Tensor, "rows 1"]]:
        """Norm of what passes on each way."""
        return {name: carried.norm(dim=1, keepdim=True) for name, carried in self.carried.items()}

    def without(self, name: str) -> Outputs:
        """The logits when nothing passes on that way; what the neurons make of the rest follows, except of the MLP's skip."""
        carried = self.carried[name]
        if name == MLP_SKIP:
            added = self.tail.directly(carried)
            return lambda rows: self.tail.answer(self.whole[rows] - added[rows])
        return lambda rows: self.tail.logits(self.resid_mid[rows] - carried[rows])

    def changed(self, name: str) -> Callable[[Change], Outputs]:
        """Logits by the change of what passes on that way; what the neurons make of it follows, except of the MLP's skip."""
        tail, carried = self.tail, self.carried[name]
        if name == MLP_SKIP:
            skipped = tail.directly(carried)
            return lambda change: lambda rows: tail.answer(self.whole[rows] + change(skipped, rows))
        if not tail.linear:
            return lambda change: lambda rows: tail.logits(self.resid_mid[rows] + change(carried, rows))
        received, added = product(carried[None], tail.block["mlp.W_in"])[0], tail.directly(carried)

        def outputs(change: Change) -> Outputs:
            """Without a LayerNorm, what the neurons and the logits receive of it changes as it does."""

            def logits(rows: slice) -> Tensor:
                """Logits of some rows."""
                post = tail.activate(self.pre[rows] + change(received, rows))
                return self.beside[rows] + change(added, rows) + tail.through(post)

            return logits

        return outputs

    def passes(self, name: str) -> Float[Tensor, "rows d_model"]:
        """What passes on that way."""
        return self.carried[name]

    def less(
        self, name: str, functions: Float[Tensor, "rows function"], directions: Float[Tensor, "function d_model"]
    ) -> Outputs:
        """Logits if functions·directions is subtracted from what passes on that way."""
        tail = self.tail
        added = tail.directly(directions)
        if name == MLP_SKIP:
            return lambda rows: tail.answer(self.whole[rows] - functions[rows] @ added)
        if not tail.linear:
            return lambda rows: tail.logits(self.resid_mid[rows] - functions[rows] @ directions)
        received = directions @ tail.block["mlp.W_in"][0]

        def logits(rows: slice) -> Tensor:
            """Without a LayerNorm, the directions are what the neurons and the logits receive."""
            post = tail.activate(self.pre[rows] - functions[rows] @ received)
            return self.beside[rows] - functions[rows] @ added + tail.through(post)

        return logits

    def share(self, name: str) -> Float[Tensor, ""]:
        """Variance of what passes on that way over that of the sum that it joins.

        This is the residual stream after the heads. For the MLP's skip it is the sum before the answers.
        """
        if name == MLP_SKIP:
            return variances(self.tail.directly(self.carried[name])).sum() / self.variance_of_whole
        return variances(self.carried[name]).sum() / self.variance_of_stream

    @once
    def variance_of_stream(self) -> Float[Tensor, ""]:
        """Variance of the residual stream after the heads."""
        return variances(self.resid_mid).sum()

    @once
    def variance_of_whole(self) -> Float[Tensor, ""]:
        """Variance of the sum that reaches the answers."""
        return variances(self.whole).sum()

    def along(self, directions: Float[Tensor, "rows d_model"]) -> "AlongDirections":
        """These ways, less as much along a direction of each prompt."""
        return AlongDirections(self, directions)


@dataclass(frozen=True)
class AlongDirections(Ways):
    """Ways from which as much is taken out in some direction as they carry. What follows from it is shared by all ways."""

    layer: LastLayer
    directions: Float[Tensor, "rows d_model"]

    @once
    def received(self) -> Float[Tensor, "rows d_mlp"]:
        """What the neurons receive of the directions, without a LayerNorm."""
        return product(self.directions[None], self.layer.tail.block["mlp.W_in"])[0]

    @once
    def added(self) -> Float[Tensor, "rows width"]:
        """What reaches the unembedding of the directions beside the MLP."""
        return self.layer.tail.directly(self.directions)

    def without(self, name: str) -> Outputs:
        """The logits of a residual stream from which as much as passes on that way is taken out along the directions."""
        layer, tail, lengths = self.layer, self.layer.tail, self.layer.lengths[name]
        if name == MLP_SKIP:
            return lambda rows: tail.answer(layer.whole[rows] - lengths[rows] * self.added[rows])
        if not tail.linear:
            return lambda rows: tail.logits(layer.resid_mid[rows] - lengths[rows] * self.directions[rows])

        def logits(rows: slice) -> Tensor:
            """Without a LayerNorm, what a direction gives the neurons and the logits is only scaled."""
            post = tail.activate(layer.pre[rows] - lengths[rows] * self.received[rows])
            return layer.beside[rows] - lengths[rows] * self.added[rows] + tail.through(post)

        return logits

    def share(self, name: str) -> Float[Tensor, ""]:
        """Variance of what is taken out along the directions over that of the sum that the way joins."""
        layer, lengths = self.layer, self.layer.lengths[name]
        if name == MLP_SKIP:
            return self.variance(lengths, self.added) / layer.variance_of_whole
        return self.variance(lengths, self.directions) / layer.variance_of_stream

    def variance(self, lengths: Float[Tensor, "rows 1"], vectors: Float[Tensor, "rows width"]) -> Float[Tensor, ""]:
        """Variance of lengths·vectors, which are not made: mean square less the square of the mean."""
        squares = lengths[:, 0].double().square() @ vectors.square().sum(dim=1).double()
        mean = (lengths.T @ vectors)[0].double() / len(lengths)
        return squares / len(lengths) - mean.square().sum()

    def along(self, directions: Float[Tensor, "rows d_model"]) -> "AlongDirections":
        """The layer's ways along other directions."""
        return self.layer.along(directions)
