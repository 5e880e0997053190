"""A token that is to be found again far behind it, `… k … = k` (Nanda et al. 2023, appendix on other tasks)."""

from typing import Literal

import numpy as np
import tyro
from pydantic import Field, model_validator

from interp.base import TaskShape
from interp.tasks.drawn import MOST, Count
from interp.tasks.sequence import SequenceTask
from interp.tasks.split import Examples


class SkipTrigramTask(SequenceTask):
    """Learn that "=" after the token k, wherever that stood, is answered by k: a skip trigram for each of some tokens.

    One of `keys` tokens stands at a uniform place among uniform fillers; "=" comes last. How Nanda et al. (2023) drew their
    sequences is not known: their curves begin at a loss of ln 10, so there are ten answers here too.
    """

    kind: tyro.conf.Suppress[Literal["skip_trigram"]] = "skip_trigram"
    keys: int = Field(default=10, ge=2, le=65_536)
    """Tokens that are asked for: as many answers."""
    fillers: int = Field(default=10, ge=1, le=65_536)
    """Tokens that are not."""
    length: int = Field(default=30, ge=2, le=1024)
    """Tokens of a sequence, "=" among them."""
    examples: Count = 512
    """Different sequences that are trained on, or `endless`: fresh ones for every update."""
    test_examples: int = Field(default=1000, ge=1, le=MOST)
    """Sequences that are tested, none of them trained on where those are a set."""

    @model_validator(mode="after")
    def _exist(self) -> "SkipTrigramTask":
        self.check_examples()
        return self

    @property
    def about(self) -> str:
        """In a few words."""
        return f"which of {self.keys} keys stood among {self.length - 2} fillers, {self.from_what('sequences')}"

    @property
    def n_sequences(self) -> int:
        """Keys, their places, and the fillers."""
        return self.keys * (self.length - 1) * self.fillers ** (self.length - 2)

    @property
    def shape(self) -> TaskShape:
        """Keys, fillers and "="; read at the last."""
        return TaskShape(n_ctx=self.length, d_vocab=self.keys + self.fillers + 1, d_vocab_out=self.keys)

    @property
    def answer_names(self) -> list[str]:
        """The only one."""
        return ["key"]

    def drawn(self, n: int, numbers: np.random.Generator) -> Examples:
        """So many independent sequences."""
        inputs = self.keys + numbers.integers(self.fillers, size=(n, self.length))
        key, place = numbers.integers(self.keys, size=n), numbers.integers(self.length - 1, size=n)
        inputs[np.arange(n), place] = key
        inputs[:, -1] = self.keys + self.fillers
        return Examples(inputs, key)
