"""What tasks have in common whose examples are a table, most often that of a two-place operation, `a ∘ b =`."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from jaxtyping import Int

from interp.base import Frozen, TaskShape
from interp.tasks.split import Examples, Split, split_examples

Integers = Int[np.ndarray, " n"]

Prompt = Literal["ab=", "ab", "aob="]
Operands = Literal["shared", "separate"]


class FiniteTask(Frozen):
    """Learn a table of examples from part of it: what is trained on, and how wrong an answer is."""

    section: ClassVar[str] = "task"

    if TYPE_CHECKING:
        train_fraction: float

    @property
    def n_prompts(self) -> int:
        """Entries of the full table."""
        raise NotImplementedError

    @property
    def n_train(self) -> int:
        """Prompts that are trained on."""
        return int(self.train_fraction * self.n_prompts)

    def table(self) -> Examples:
        """Every prompt with its answer."""
        raise NotImplementedError

    def check_train_fraction(self) -> None:
        """ValueError when nothing would be trained on."""
        if not 0 < self.n_train < self.n_prompts:
            raise ValueError(
                f"task.train_fraction {self.train_fraction} of {self.n_prompts} prompts leaves nothing to train on; "
                f"take at least {1.06 / self.n_prompts:.2g}"
            )

    def split(self, seed: int) -> Split:
        """The table divided into train and test, drawn from `seed`."""
        return split_examples(self.table(), self.train_fraction, seed)

    def loss(self, logits: Any, targets: Any) -> Any:
        """Mean cross-entropy in nats, in float64, of logits [..., batch, d_vocab_out] at the answer position."""
        from interp.maths.losses import cross_entropy  # here, so that describing a task costs no torch

        return cross_entropy(logits, targets)

    def accuracy(self, logits: Any, targets: Any) -> Any:
        """Share of prompts answered rightly, for logits [..., batch, d_vocab_out] at the answer position."""
        from interp.maths.losses import accuracy

        return accuracy(logits, targets)


class TableTask(FiniteTask):
    """Learn the table of x ∘ y, for x and y among `n_values` numbers, from part of its entries.

    Each kind says which pairs there are and what they give. Fields stand there too, in the order of its JSON.
    """

    if TYPE_CHECKING:
        prompt: Prompt
        operands: Operands
        answers: Any

    @property
    def n_values(self) -> int:
        """What x, y and the answer are among: 0 … n_values − 1."""
        raise NotImplementedError

    def pairs(self) -> tuple[Integers, Integers]:
        """Every (x, y) that has an answer, in lexicographic order."""
        x, y = np.divmod(np.arange(self.n_values**2), self.n_values)
        return x, y

    def results(self, x: Integers, y: Integers) -> Integers:
        """x ∘ y."""
        raise NotImplementedError

    @property
    def n_prompts(self) -> int:
        """Entries of the full table."""
        return len(self.pairs()[0])

    @property
    def n_train(self) -> int:
        """Prompts that are trained on."""
        return int(self.train_fraction * self.n_prompts)

    @property
    def n_numbers(self) -> int:
        """Tokens that stand for a value: 0 … n_values − 1, and as many again where b has its own."""
        return self.n_values if self.operands == "shared" else 2 * self.n_values

    @property
    def shape(self) -> TaskShape:
        """Number tokens, then "=", then "∘", as far as the prompt uses them; of all or of the values alone, the logits."""
        d_vocab = self.n_numbers + len(self.prompt) - 2
        d_vocab_out = d_vocab if self.answers == "tokens" else self.n_values
        return TaskShape(n_ctx=len(self.prompt), d_vocab=d_vocab, d_vocab_out=d_vocab_out)

    def table(self) -> Examples:
        """Every prompt with its answer, in lexicographic order of (x, y)."""
        x, y = self.pairs()
        n = self.n_numbers
        columns = {"a": x, "b": y + n - self.n_values, "=": np.full_like(x, n), "o": np.full_like(x, n + 1)}
        inputs = np.stack([columns[token] for token in self.prompt], axis=1)
        return Examples(inputs, self.results(x, y))
