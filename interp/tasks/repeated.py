"""Repeated subsequence: it comes again in a sequence of random tokens (Nanda et al. 2023, appendix on other tasks)."""

from typing import Literal

import numpy as np
import tyro
from pydantic import Field, model_validator

from interp.base import IGNORED
from interp.shape import Shape
from interp.tasks.drawn import MOST, Count
from interp.tasks.sequence import SequenceTask
from interp.tasks.split import Examples


class RepeatedTask(SequenceTask):
    """Learn to continue a subsequence that occurred earlier in the sequence, as induction heads do (Olsson et al. 2022).

    Tokens are uniform and independent. A subsequence of them occurs at several places, uniform among those where no two
    overlap. Answers are its tokens from the second occurrence on, except the first token of each, which cannot be predicted.
    Default sizes are those of the curves that Nanda et al. (2023) released; how they drew the places is not known.
    """

    kind: tyro.conf.Suppress[Literal["repeated"]] = "repeated"
    vocabulary: int = Field(default=128, ge=2, le=65_536)
    """Number of distinct tokens."""
    length: int = Field(default=85, ge=4, le=1024)
    """Number of tokens in a sequence."""
    subsequence: int = Field(default=16, ge=2)
    """Number of tokens in the repeated subsequence."""
    times: int = Field(default=3, ge=2)
    """Number of occurrences of the subsequence."""
    examples: Count = 512
    """Number of different sequences to train on, or `endless`: new sequences for every update."""
    test_examples: int = Field(default=500, ge=1, le=MOST)
    """Number of sequences to test on. None of them is trained on, unless task.examples is endless."""

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
        """The task in a few words."""
        return (
            f"{self.subsequence} tokens that come {self.times} times among {self.length}, {self.from_what('sequences')}"
        )

    @property
    def spare(self) -> int:
        """Number of tokens of a sequence that are not in an occurrence."""
        return self.length - self.times * self.subsequence

    @property
    def n_sequences(self) -> int:
        """Number of different sequences with the occurrences at one choice of places, a lower bound for all."""
        return self.vocabulary ** (self.spare + self.subsequence)

    @property
    def shape(self) -> Shape:
        """Shape of the task: answers are read at every token that can come before an answer."""
        positions = tuple(range(self.subsequence, self.length - 1))
        return Shape.of_tokens(self.length, self.vocabulary, self.vocabulary, positions)

    def answer_names(self) -> list[str]:
        """Names of the answers: position of the token that is predicted, counted from 1."""
        return [f"token {position + 2}" for position in self.shape.classes.positions]

    def drawn(self, n: int, numbers: np.random.Generator) -> Examples:
        """`n` independent sequences, with their answers."""
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
