"""Addition of numbers digit by digit, `12345+67890=080235` (Nanda et al. 2023, appendix on other tasks)."""

from typing import Literal

import numpy as np
import tyro
from jaxtyping import Int
from pydantic import Field, model_validator

from interp.shape import Shape
from interp.tasks.drawn import MOST, Count
from interp.tasks.sequence import SequenceTask
from interp.tasks.split import Examples

PLUS, EQUALS = 10, 11
"""Tokens of "+" and "=", after those of the ten digits."""


class AdditionTask(SequenceTask):
    """Learn to add two numbers, a token for each digit, from part of all sums or from an endless stream of them.

    Every digit is uniform. The highest digit comes first, and the sum has one digit more. When the network predicts a digit
    it sees the right digits before it. Weights that Nanda et al. (2023) released for 5 digits predict 99.5 % of them so.
    """

    kind: tyro.conf.Suppress[Literal["addition"]] = "addition"
    digits: int = Field(default=5, ge=1, le=18)
    """Digits of each number, 1 to 18."""
    examples: Count = 750
    """Number of different sums to train on, or `endless`: new sums for every update."""
    test_examples: int = Field(default=1000, ge=1, le=MOST)
    """Number of sums to test on. None of them is trained on, unless task.examples is endless."""

    @model_validator(mode="after")
    def _exist(self) -> "AdditionTask":
        self.check_examples()
        return self

    @property
    def about(self) -> str:
        """The task in a few words."""
        return f"{self.digits}-digit addition, {self.from_what('sums')}"

    @property
    def n_sequences(self) -> int:
        """Number of different pairs of numbers."""
        return 100**self.digits

    @property
    def shape(self) -> Shape:
        """Shape of the task: answers are read at "=" and at each token before a digit of the sum."""
        n = self.digits
        return Shape.of_tokens(3 * n + 3, d_vocab=12, answers=10, positions=tuple(range(2 * n + 1, 3 * n + 2)))

    def answer_names(self) -> list[str]:
        """Names of the answers: powers of ten, the highest first. The digit of the highest is only ever a carry."""
        powers = [f"10{str(power).translate(SUPERSCRIPT)}" for power in range(self.digits, -1, -1)]
        return [f"{powers[0]} (carry)", *powers[1:]]

    def drawn(self, n: int, numbers: np.random.Generator) -> Examples:
        """`n` sums of independent numbers, with their digits as answers."""
        a, b = numbers.integers(10, size=(2, n, self.digits))
        total = digits_of_sum(a, b)
        plus, equals = np.full((n, 1), PLUS), np.full((n, 1), EQUALS)
        return Examples(np.concatenate([a, plus, b, equals, total], axis=1), total)


SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def digits_of_sum(a: Int[np.ndarray, "n digits"], b: Int[np.ndarray, "n digits"]) -> Int[np.ndarray, "n digits_and_1"]:
    """Digits of a + b, from the digits of a and of b; highest first."""
    place = 10 ** np.arange(a.shape[1], -1, -1)
    return (a @ place[1:] + b @ place[1:])[:, None] // place % 10
