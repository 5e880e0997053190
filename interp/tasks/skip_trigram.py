"""Skip trigrams: a key token is to be recalled at "=" after a gap, `… k … = k` (Nanda et al. 2023, appendix on other tasks)."""

from typing import Literal

import numpy as np
import tyro
from pydantic import Field, model_validator

from interp.shape import Shape
from interp.tasks.drawn import MOST, Count
from interp.tasks.sequence import SequenceTask
from interp.tasks.split import Examples


class SkipTrigramTask(SequenceTask):
    """Learn to answer "=" by the key k that occurred earlier, wherever it was: one skip trigram for each key.

    One of `keys` tokens is at a uniform place among uniform fillers; "=" comes last. How Nanda et al. (2023) drew their
    sequences is not known. Their curves begin at a loss of ln 10, so the default is ten answers.
    """

    kind: tyro.conf.Suppress[Literal["skip_trigram"]] = "skip_trigram"
    keys: int = Field(default=10, ge=2, le=65_536)
    """Number of key tokens, and of answers."""
    fillers: int = Field(default=10, ge=1, le=65_536)
    """Number of filler tokens."""
    length: int = Field(default=30, ge=2, le=1024)
    """Number of tokens in a sequence, "=" included."""
    examples: Count = 512
    """Number of different sequences to train on, or `endless`: new sequences for every update."""
    test_examples: int = Field(default=1000, ge=1, le=MOST)
    """Number of sequences to test on. None of them is trained on, unless task.examples is endless."""

    @model_validator(mode="after")
    def _exist(self) -> "SkipTrigramTask":
        self.check_examples()
        return self

    @property
    def about(self) -> str:
        """The task in a few words."""
        return f"which of {self.keys} keys stood among {self.length - 2} fillers, {self.from_what('sequences')}"

    @property
    def n_sequences(self) -> int:
        """Number of different sequences: keys × places × choices of fillers."""
        return self.keys * (self.length - 1) * self.fillers ** (self.length - 2)

    @property
    def shape(self) -> Shape:
        """Shape of the task. Tokens: keys, fillers and "="; the answer is read at the last token."""
        return Shape.of_tokens(self.length, self.keys + self.fillers + 1, self.keys)

    def drawn(self, n: int, numbers: np.random.Generator) -> Examples:
        """`n` independent sequences, with their answers."""
        inputs = self.keys + numbers.integers(self.fillers, size=(n, self.length))
        key, place = numbers.integers(self.keys, size=n), numbers.integers(self.length - 1, size=n)
        inputs[np.arange(n), place] = key
        inputs[:, -1] = self.keys + self.fillers
        return Examples(inputs, key)
