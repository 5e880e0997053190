"""Addition of numbers digit by digit, `12345+67890=080235` (Nanda et al. 2023, appendix on other tasks)."""

from typing import Literal

import numpy as np
import tyro
from jaxtyping import Int
from pydantic import Field, model_validator

from interp.base import TaskShape
from interp.tasks.drawn import MOST, Count
from interp.tasks.sequence import SequenceTask
from interp.tasks.split import Examples

PLUS, EQUALS = 10, 11
"""Tokens after those of the digits."""


class AdditionTask(SequenceTask):
    """Learn to add two numbers, a token for each digit, from part of all sums or from an endless stream of them.

    Every digit is uniform, the highest comes first, and the sum has one digit more. The network sees the right digits
    before the one that it is to tell. Weights that Nanda et al. (2023) released answer so 99.5 % of the digits of five.
    """

    kind: tyro.conf.Suppress[Literal["addition"]] = "addition"
    digits: int = Field(default=5, ge=1, le=18)
    """Digits of each number, 1 to 18."""
    examples: Count = 750
    """Different sums that are trained on, or `endless`: fresh ones for every update."""
    test_examples: int = Field(default=1000, ge=1, le=MOST)
    """Sums that are tested, none of them trained on where those are a set."""

    @model_validator(mode="after")
    def _exist(self) -> "AdditionTask":
        self.check_examples()
        return self

    @property
    def about(self) -> str:
        """In a few words."""
        return f"{self.digits}-digit addition, {self.from_what('sums')}"

    @property
    def n_sequences(self) -> int:
        """Pairs of numbers."""
        return 100**self.digits

    @property
    def shape(self) -> TaskShape:
        """Read from "=" on, at each token before a digit of the sum."""
        n = self.digits
        return TaskShape(n_ctx=3 * n + 3, d_vocab=12, d_vocab_out=10, positions=tuple(range(2 * n + 1, 3 * n + 2)))

    @property
    def answer_names(self) -> list[str]:
        """The powers of ten, the highest of which can only be carried."""
        powers = [f"10{str(power).translate(SUPERSCRIPT)}" for power in range(self.digits, -1, -1)]
        return [f"{powers[0]} (carry)", *powers[1:]]

    def drawn(self, n: int, numbers: np.random.Generator) -> Examples:
        """So many sums of independent numbers."""
        a, b = numbers.integers(10, size=(2, n, self.digits))
        total = digits_of_sum(a, b)
        plus, equals = np.full((n, 1), PLUS), np.full((n, 1), EQUALS)
        return Examples(np.concatenate([a, plus, b, equals, total], axis=1), total)


SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def digits_of_sum(a: Int[np.ndarray, "n digits"], b: Int[np.ndarray, "n digits"]) -> Int[np.ndarray, "n digits_and_1"]:
    """Of a + b, highest first."""
    place = 10 ** np.arange(a.shape[1], -1, -1)
    return (a @ place[1:] + b @ place[1:])[:, None] // place % 10
