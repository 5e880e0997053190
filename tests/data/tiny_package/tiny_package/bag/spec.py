"""A linear readout of the tokens' embeddings, added up."""

from typing import ClassVar, Literal

from interp.models.family import Cost, Family, TensorSpec


class BagSpec(Family):
    """W_U·Σ W_E[token]."""

    parts: ClassVar[tuple[str, ...]] = ("words", "answers")
    kind: Literal["bag"] = "bag"
    width: int = 8

    @property
    def about(self):
        return f"bag of tokens, width {self.width}"

    @property
    def unstarted(self):
        return self

    def fits(self, shape, train):
        self.needs_inputs("tokens", shape, "a bag is of tokens")

    def tensors(self, shape):
        return {
            "words": TensorSpec((shape.tokens.d_vocab, self.width), "words", std=0.3),
            "answers": TensorSpec((self.width, shape.outputs.n), "answers", std=0.3),
            "offset": TensorSpec((shape.outputs.n,), "answers", "bias"),
        }

    def cost(self, shape):
        return Cost(shape.tokens.n_ctx * self.width + 2 * shape.outputs.n, 0)
