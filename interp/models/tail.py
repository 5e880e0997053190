"""What follows the last attention, as functions of rows of the residual stream: to change a part and see the answer."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from interp.base import once
from interp.models.block import ACTIVATIONS, Block, Weights
from interp.models.products import product
from interp.models.transformer import TransformerSpec


@dataclass(frozen=True)
class Tail:
    """The last MLP and the unembedding of one model, for the logits of some answers.

    >>> logits = tail.answer(tail.beside(resid_mid) + tail.through(tail.neurons(resid_mid)))

    What reaches the unembedding is a sum of what passes beside the MLP and of what each neuron writes, and stays one in
    the space where it is kept: that of the logits, or the residual stream where a LayerNorm stands before the unembedding.
    A part that is taken out is therefore subtracted there, without the rest being computed again.
    """

    spec: TransformerSpec
    weights: Weights
    answers: Int[Tensor, " answer"]
    """Of these tokens there are logits, in this order."""

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
        """And its bias."""
        return self.weights["unembed.b_U"][self.answers]

    @property
    def linear(self) -> bool:
        """Whether no LayerNorm stands before the unembedding."""
        return self.spec.normalization == "none"

    @once
    def written(self) -> Float[Tensor, "d_mlp width"]:
        """What each neuron adds: W_out·W_U, or W_out before a LayerNorm."""
        W_out = self.block["mlp.W_out"][0]
        return W_out @ self.W_U if self.linear else W_out

    def neurons(self, resid_mid: Float[Tensor, "rows d_model"]) -> Float[Tensor, "rows d_mlp"]:
        """What the neurons send (hook_post) of the residual stream after the last attention (hook_resid_mid)."""
        return self.activate(self.block.received(resid_mid[None])[0])

    def activate(self, pre: Float[Tensor, "rows d_mlp"]) -> Float[Tensor, "rows d_mlp"]:
        """The same of what they receive (hook_pre)."""
        return self.block.sent(ACTIVATIONS[self.spec.act_fn](pre)[None])[0]

    def through(self, post: Float[Tensor, "rows d_mlp"]) -> Float[Tensor, "rows width"]:
        """What the neurons add, biases apart."""
        return product(post[None], self.written[None])[0]

    def directly(self, stream: Float[Tensor, "rows d_model"]) -> Float[Tensor, "rows width"]:
        """What so much of the residual stream adds, biases apart."""
        return product(stream[None], self.W_U[None])[0] if self.linear else stream

    def beside(self, resid_mid: Float[Tensor, "rows d_model"]) -> Float[Tensor, "rows width"]:
        """What reaches the unembedding beside the MLP, with all biases."""
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
        return product(self.block.normalise(total[None], "ln_final"), self.W_U[None])[0] + self.b_U

    def logits(self, resid_mid: Float[Tensor, "rows d_model"]) -> Float[Tensor, "rows answer"]:
        """Of the residual stream after the last attention."""
        return self.answer(self.beside(resid_mid) + self.through(self.neurons(resid_mid)))


def parts_of_heads(z: Float[Tensor, "rows head d_head"], W_O: Float[Tensor, "head d_head d_model"]) -> list[Tensor]:
    """What each head adds to the residual stream, [rows, d_model] of each, from its hook_z."""
    return [product(z[None, :, head], W_O[None, head])[0] for head in range(len(W_O))]
