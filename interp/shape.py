"""The shape of a task: what goes in, and what comes out. All that a model may know of it."""

from typing import ClassVar

from interp.base import DoesNotApply, Frozen


class Tokens(Frozen):
    """Input of a task whose examples are prompts of tokens."""

    kind: ClassVar = "tokens"

    n_ctx: int
    """Number of tokens in a prompt."""
    d_vocab: int
    """Number of distinct tokens."""

    @property
    def size(self) -> int:
        """Size of one prompt as work: the number of prompts of three tokens (as tables of operations have) that take as much."""
        return max(1, self.n_ctx // 3)


class Vectors(Frozen):
    """Input of a task whose examples are vectors of numbers."""

    kind: ClassVar = "vectors"

    width: int
    """Number of numbers in a vector."""
    sides: tuple[int, int, int] | None = None
    """Height, width and channels of an image whose numbers these are: row by row, and the channels of a pixel side by side.
    None: the vector is no image."""

    @property
    def size(self) -> int:
        """Size of one vector as work: the number of prompts of three tokens that take as much."""
        return max(1, self.width // 128)


class Classes(Frozen):
    """Output of a task with right answers among classes: logits, and an accuracy."""

    kind: ClassVar = "classes"
    units: ClassVar = "nats"
    """Units of the loss, a cross-entropy."""

    n: int
    """Number of answers that have a logit."""
    positions: tuple[int, ...] = (-1,)
    """Positions in the prompt at which answers are read; −1 is the last token."""


class Values(Frozen):
    """Output of a task whose vectors of numbers are to be met: the loss is a squared error, and there is no accuracy."""

    kind: ClassVar = "values"
    units: ClassVar = "squared error"

    n: int
    """Number of numbers in a vector."""


class Shape(Frozen):
    """Shape of a task: what goes in, and what comes out."""

    inputs: Tokens | Vectors
    outputs: Classes | Values

    @property
    def tokens(self) -> Tokens:
        """Input as tokens; DoesNotApply if it is something else."""
        if not isinstance(self.inputs, Tokens):
            raise DoesNotApply(f"the examples are {self.inputs.kind}; what was asked for needs prompts of tokens")
        return self.inputs

    @property
    def vectors(self) -> Vectors:
        """Input as vectors; DoesNotApply if it is something else."""
        if not isinstance(self.inputs, Vectors):
            raise DoesNotApply(f"the examples are {self.inputs.kind}; what was asked for needs vectors")
        return self.inputs

    @property
    def image(self) -> tuple[int, int, int]:
        """Height, width and channels of the input as an image; DoesNotApply if it is something else."""
        if self.vectors.sides is None:
            raise DoesNotApply("the examples are vectors without sides; what was asked for needs images")
        return self.vectors.sides

    @property
    def classes(self) -> Classes:
        """Output as answers among classes; DoesNotApply if it is something else."""
        if not isinstance(self.outputs, Classes):
            raise DoesNotApply(
                f"what comes out are {self.outputs.kind}; what was asked for needs answers among classes"
            )
        return self.outputs

    @staticmethod
    def of_tokens(n_ctx: int, d_vocab: int, answers: int, positions: tuple[int, ...] = (-1,)) -> "Shape":
        """The shape of a task that answers prompts of tokens."""
        return Shape(inputs=Tokens(n_ctx=n_ctx, d_vocab=d_vocab), outputs=Classes(n=answers, positions=positions))

    @staticmethod
    def of_vectors(width: int) -> "Shape":
        """The shape of a task that reconstructs vectors."""
        return Shape(inputs=Vectors(width=width), outputs=Values(n=width))
