"""What tasks have in common whose examples are sequences of tokens, drawn as many as are wanted."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal, NoReturn

import numpy as np

from interp.base import DoesNotApply, Frozen, TaskShape
from interp.tasks.split import Examples, Split

TRAIN_AND_TEST, STREAM = 0, 1
"""What numbers are drawn for: those of one seed are independent."""

MOST = 1_000_000
"""Examples that are kept, at most."""

Count = int | Literal["endless"]


class SequenceTask(Frozen):
    """Learn a rule from sequences of tokens: from a set of them again and again, or from an endless stream.

    Each kind says what sequences there are, and which answers. Fields stand there too, in the order of its JSON.
    """

    section: ClassVar[str] = "task"

    if TYPE_CHECKING:
        kind: Any
        examples: Count
        test_examples: int

    @property
    def shape(self) -> TaskShape:
        """Tokens, answers, and the positions where those are read."""
        raise NotImplementedError

    @property
    def answer_names(self) -> list[str]:
        """What is answered at each of the positions, in a word."""
        raise NotImplementedError

    @property
    def n_sequences(self) -> int:
        """How many different sequences there are, at least."""
        raise NotImplementedError

    def drawn(self, n: int, numbers: np.random.Generator) -> Examples:
        """So many independent examples."""
        raise NotImplementedError

    def check_examples(self) -> None:
        """ValueError when there are not so many sequences."""
        if not 1 <= self.n_train <= MOST:
            raise ValueError(f'task.examples is {self.examples}; take a number from 1 to {MOST:,}, or "endless"')
        if self.n_train + self.test_examples > self.n_sequences:
            raise ValueError(
                f"{self.n_train + self.test_examples:,} different sequences to train and to test on are more than the "
                f"{self.n_sequences:,} that there are; take fewer task.examples or task.test_examples"
            )

    @property
    def endless(self) -> bool:
        """Whether every update has examples of its own."""
        return self.examples == "endless"

    @property
    def n_train(self) -> int:
        """Examples that are trained on; of an endless stream those that stand for it when it is evaluated."""
        return self.test_examples if self.examples == "endless" else self.examples

    def from_what(self, sequences: str) -> str:
        """What is trained on, in words."""
        return f"an endless stream of {sequences}" if self.endless else f"{self.n_train:,} {sequences}"

    def split(self, seed: int) -> Split:
        """Different examples to train and to test on, drawn from `seed`.

        Of an endless stream, the former are for evaluation only: they are as fresh as those that are trained on.
        """
        numbers = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(TRAIN_AND_TEST,)))
        examples = self.different(self.n_train + self.test_examples, numbers)
        train, test = examples[: self.n_train], examples[self.n_train :]
        return Split(train, test, np.arange(self.n_train), train.targets)

    def different(self, n: int, numbers: np.random.Generator) -> Examples:
        """So many examples, no two with the same tokens, in the order in which they were drawn."""
        found = self.drawn(n, numbers)
        while True:
            _, first = np.unique(found.inputs, axis=0, return_index=True)
            found = found[np.sort(first)]
            if len(found) >= n:
                return found[:n]
            more = self.drawn(n, numbers)
            found = Examples(*map(np.concatenate, ((found.inputs, more.inputs), (found.targets, more.targets))))

    def fresh(self, step: int, n: int, seed: int) -> Examples:
        """The examples of an endless stream for the update that follows `step` others, from seed and step alone."""
        return self.drawn(n, np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(STREAM, step))))

    def table(self) -> NoReturn:
        """DoesNotApply: there are too many prompts for one."""
        raise DoesNotApply(f'task "{self.kind}" draws its examples and has no table of all prompts')

    def loss(self, logits: Any, targets: Any) -> Any:
        """Mean cross-entropy in nats, in float64, over all answers: logits are [..., batch, (answers,) d_vocab_out]."""
        from interp.maths.losses import cross_entropy  # here, so that describing a task costs no torch

        return cross_entropy(*self.in_a_row(logits, targets))

    def accuracy(self, logits: Any, targets: Any) -> Any:
        """Share of all answers that are right."""
        from interp.maths.losses import accuracy

        return accuracy(*self.in_a_row(logits, targets))

    def in_a_row(self, logits: Any, targets: Any) -> tuple[Any, Any]:
        """The answers of all prompts along one axis."""
        if len(self.shape.positions) == 1:
            return logits, targets
        return logits.flatten(-3, -2), targets.flatten(-2)
