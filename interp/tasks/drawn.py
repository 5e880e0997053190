"""Base of tasks whose examples are drawn at random: a set of a given size, or an endless stream."""

from typing import TYPE_CHECKING, Literal

import numpy as np

from interp.base import DoesNotApply
from interp.tasks.split import Examples, Split
from interp.tasks.task import Task

TRAIN_AND_TEST, STREAM = 0, 1
"""Purposes for which random numbers are drawn; numbers for different purposes are independent, with one seed too."""

MOST = 1_000_000
"""Most examples that a set may have."""

Count = int | Literal["endless"]


class DrawnTask(Task):
    """A task to learn from a fixed set of drawn examples, or from new examples at every update.

    Subclasses say what is drawn. They also declare the fields, in the order of their JSON.
    """

    if TYPE_CHECKING:
        examples: Count
        test_examples: int

    def drawn(self, n: int, numbers: np.random.Generator) -> Examples:
        """`n` independent examples."""
        raise NotImplementedError

    def check_examples(self) -> None:
        """Raise ValueError if there cannot be as many examples as asked for."""
        if not 1 <= self.n_train <= MOST:
            raise ValueError(f'task.examples is {self.examples}; take a number from 1 to {MOST:,}, or "endless"')

    @property
    def endless(self) -> bool:
        """Whether every update has new examples."""
        return self.examples == "endless"

    @property
    def n_train(self) -> int:
        """Number of training examples; for an endless stream, of those on which training loss is evaluated."""
        return self.test_examples if self.examples == "endless" else self.examples

    def from_what(self, examples: str) -> str:
        """Training set in words: the number of `examples` (a plural, such as "sums"), or an endless stream of them."""
        return f"an endless stream of {examples}" if self.endless else f"{self.n_train:,} {examples}"

    def split(self, seed: int) -> Split:
        """Training and test examples, drawn from `seed`.

        For an endless stream the training examples are for evaluation only; updates have others, drawn alike.
        """
        numbers = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(TRAIN_AND_TEST,)))
        examples = self.different(self.n_train + self.test_examples, numbers)
        train, test = examples[: self.n_train], examples[self.n_train :]
        return Split(train, test, np.arange(self.n_train), train.targets)

    def different(self, n: int, numbers: np.random.Generator) -> Examples:
        """`n` different examples. Continuous examples differ anyway; subclasses with discrete ones override this."""
        return self.drawn(n, numbers)

    def fresh(self, step: int, n: int, seed: int) -> Examples:
        """`n` examples of an endless stream for the update after `step` others, from seed and step alone."""
        return self.drawn(n, np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(STREAM, step))))

    def table(self) -> Examples:
        """Raise DoesNotApply: there are too many examples for a table."""
        raise DoesNotApply(f'task "{self.kind}" draws its examples and has no table of all prompts')
