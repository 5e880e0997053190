"""What tasks have in common whose examples are sequences of tokens, drawn as many as are wanted."""

from typing import Any

import numpy as np

from interp.tasks.drawn import DrawnTask
from interp.tasks.split import Examples


class SequenceTask(DrawnTask):
    """Learn a rule from sequences of tokens: from a set of them again and again, or from an endless stream.

    Each kind says what sequences there are, and which answers.
    """

    @property
    def answer_names(self) -> list[str]:
        """What is answered at each of the positions where answers are read, in a word."""
        raise NotImplementedError

    @property
    def n_sequences(self) -> int:
        """How many different sequences there are, at least."""
        raise NotImplementedError

    def check_examples(self) -> None:
        """ValueError when there are not so many sequences."""
        super().check_examples()
        if self.n_train + self.test_examples > self.n_sequences:
            raise ValueError(
                f"{self.n_train + self.test_examples:,} different sequences to train and to test on are more than the "
                f"{self.n_sequences:,} that there are; take fewer task.examples or task.test_examples"
            )

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
