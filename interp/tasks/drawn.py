"""What tasks have in common whose examples are drawn: as many as are wanted, or an endless stream."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal, NoReturn

import numpy as np

from interp.base import DoesNotApply, Frozen, TaskShape
from interp.tasks.split import Examples, Split

TRAIN_AND_TEST, STREAM = 0, 1
"""What numbers are drawn for: those of one seed are independent."""

MOST = 1_000_000
"""Examples that are kept, at most."""

Count = int | Literal["endless"]


class DrawnTask(Frozen):
    """Learn from a set of drawn examples again and again, or from fresh ones at every update.

    Each kind says what is drawn. Fields stand there too, in the order of its JSON.
    """

    section: ClassVar[str] = "task"

    if TYPE_CHECKING:
        kind: Any
        examples: Count
        test_examples: int

    @property
    def shape(self) -> TaskShape:
        """All that a model knows of it."""
        raise NotImplementedError

    def drawn(self, n: int, numbers: np.random.Generator) -> Examples:
        """So many independent examples."""
        raise NotImplementedError

    def check_examples(self) -> None:
        """ValueError when there can be no such number of them."""
        if not 1 <= self.n_train <= MOST:
            raise ValueError(f'task.examples is {self.examples}; take a number from 1 to {MOST:,}, or "endless"')

    @property
    def endless(self) -> bool:
        """Whether every update has examples of its own."""
        return self.examples == "endless"

    @property
    def n_train(self) -> int:
        """Examples that are trained on; of an endless stream those that stand for it when it is evaluated."""
        return self.test_examples if self.examples == "endless" else self.examples

    def from_what(self, examples: str) -> str:
        """What is trained on, in words."""
        return f"an endless stream of {examples}" if self.endless else f"{self.n_train:,} {examples}"

    def split(self, seed: int) -> Split:
        """Examples to train and to test on, drawn from `seed`.

        Of an endless stream, the former are for evaluation only: they are as fresh as those that are trained on.
        """
        numbers = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(TRAIN_AND_TEST,)))
        examples = self.different(self.n_train + self.test_examples, numbers)
        train, test = examples[: self.n_train], examples[self.n_train :]
        return Split(train, test, np.arange(self.n_train), train.targets)

    def different(self, n: int, numbers: np.random.Generator) -> Examples:
        """So many examples of which no two are one; continuous ones never are."""
        return self.drawn(n, numbers)

    def fresh(self, step: int, n: int, seed: int) -> Examples:
        """The examples of an endless stream for the update that follows `step` others, from seed and step alone."""
        return self.drawn(n, np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(STREAM, step))))

    def table(self) -> NoReturn:
        """DoesNotApply: there are too many examples for one."""
        raise DoesNotApply(f'task "{self.kind}" draws its examples and has no table of all prompts')
