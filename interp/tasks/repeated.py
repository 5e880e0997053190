"""A subsequence that comes again in a sequence of random tokens (Nanda et al. 2023, appendix on other tasks)."""

from typing import Literal

import numpy as np
import tyro
from pydantic import Field, model_validator

from interp.base import IGNORED, TaskShape
from interp.tasks.drawn import MOST, Count
from interp.tasks.sequence import SequenceTask
from interp.tasks.split import Examples


class RepeatedTask(SequenceTask):
    """Learn to go on with a subsequence that stood in the sequence before, as induction heads do (Olsson et al. 2022).

    All tokens are uniform and independent; a subsequence of them stands at several places, uniform among those where no
    two overlap. Answers are its tokens from the second occurrence on, the first of each apart, which nothing tells. The
    sizes are those of the curves that Nanda et al. (2023) released; how their places were drawn is not known.
    """

    kind: tyro.conf.Suppress[Literal["repeated"]] = "repeated"
    vocabulary: int = Field(default=128, ge=2, le=65_536)
    """Distinct tokens."""
    length: int = Field(default=85, ge=4, le=1024)
    """Tokens of a sequence."""
    subsequence: int = Field(default=16, ge=2)
    """Tokens that are repeated."""
    times: int = Field(default=3, ge=2)
    """Occurrences of the subsequence."""
    examples: Count = 512
    """Different sequences that are trained on, or `endless`: fresh ones for every update."""
    test_examples: int = Field(default=500, ge=1, le=MOST)
    """Sequences that are tested, none of them trained on where those are a set."""

    @model_validator(mode="after")
    def _fits(self) -> "RepeatedTask":
        if self.spare < 0:
            raise ValueError(
                f"task.length {self.length} has no room for task.subsequence {self.subsequence} task.times {self.times}; "
                f"take a length of at least {self.subsequence * self.times}"
            )
        self.check_examples()
        return self

    @property
    def about(self) -> str:
        """In a few words."""
        return (
            f"{self.subsequence} tokens that come {self.times} times among {self.length}, {self.from_what('sequences')}"
        )

    @property
    def spare(self) -> int:
        """Tokens beside the occurrences."""
        return self.length - self.times * self.subsequence

    @property
    def n_sequences(self) -> int:
        """Those with the occurrences at one choice of places."""
        return self.vocabulary ** (self.spare + self.subsequence)

    @property
    def shape(self) -> TaskShape:
        """Read at every token that can come before an answer."""
        positions = tuple(range(self.subsequence, self.length - 1))
        return TaskShape(n_ctx=self.length, d_vocab=self.vocabulary, d_vocab_out=self.vocabulary, positions=positions)

    @property
    def answer_names(self) -> list[str]:
        """The token that is told, counted from 1."""
        return [f"token {position + 2}" for position in self.shape.positions]

    def drawn(self, n: int, numbers: np.random.Generator) -> Examples:
        """So many independent sequences."""
        inputs = numbers.integers(self.vocabulary, size=(n, self.length))
        pattern = numbers.integers(self.vocabulary, size=(n, self.subsequence))
        # Which of the spare tokens and the occurrences, in order, are occurrences; then where each of those begins.
        order = numbers.random((n, self.spare + self.times)).argsort(axis=1)[:, : self.times]
        begins = np.sort(order, axis=1) + np.arange(self.times) * (self.subsequence - 1)
        places = begins[:, :, None] + np.arange(self.subsequence)
        np.put_along_axis(inputs, places.reshape(n, -1), np.tile(pattern, self.times), axis=1)
        targets, known = np.full_like(inputs, IGNORED), places[:, 1:, 1:].reshape(n, -1)
        np.put_along_axis(targets, known, np.take_along_axis(inputs, known, axis=1), axis=1)
        return Examples(inputs, targets[:, self.subsequence + 1 :])
