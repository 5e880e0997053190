"""Base of tasks whose examples are sequences of tokens, drawn at random."""

import numpy as np

from interp.tasks.drawn import DrawnTask
from interp.tasks.split import Examples


class SequenceTask(DrawnTask):
    """A task to learn a rule from sequences of tokens: from a fixed set of them, or from an endless stream.

    Subclasses say which sequences there are, and which answers.
    """

    @property
    def n_sequences(self) -> int:
        """Number of different sequences, or a lower bound for it."""
        raise NotImplementedError

    def check_examples(self) -> None:
        """Raise ValueError if there are not as many different sequences as asked for."""
        super().check_examples()
        if self.n_train + self.test_examples > self.n_sequences:
            raise ValueError(
                f"{self.n_train + self.test_examples:,} different sequences to train and to test on are more than the "
                f"{self.n_sequences:,} that there are; take fewer task.examples or task.test_examples"
            )

    def different(self, n: int, numbers: np.random.Generator) -> Examples:
        """`n` examples, no two with the same tokens, in the order in which they were drawn."""
        found = self.drawn(n, numbers)
        while True:
            _, first = np.unique(found.inputs, axis=0, return_index=True)
            found = found[np.sort(first)]
            if len(found) >= n:
                return found[:n]
            more = self.drawn(n, numbers)
            found = Examples(*map(np.concatenate, ((found.inputs, more.inputs), (found.targets, more.targets))))
