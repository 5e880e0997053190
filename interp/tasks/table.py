"""Base of tasks whose examples are a table, most often that of a binary operation, `a ∘ b =`."""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Int

from interp.shape import Shape
from interp.tasks.split import Examples, Split, split_examples
from interp.tasks.task import Task

Integers = Int[np.ndarray, " n"]

Prompt = Literal["ab=", "ab", "aob="]
Operands = Literal["shared", "separate"]


class FiniteTask(Task):
    """A task to learn a table of examples from part of it."""

    if TYPE_CHECKING:
        train_fraction: float

    @property
    def n_prompts(self) -> int:
        """Number of entries of the full table."""
        raise NotImplementedError

    @property
    def n_train(self) -> int:
        """Number of prompts that are trained on."""
        return int(self.train_fraction * self.n_prompts)

    def check_train_fraction(self) -> None:
        """Raise ValueError if the train fraction leaves no training example."""
        if not 0 < self.n_train < self.n_prompts:
            raise ValueError(
                f"task.train_fraction {self.train_fraction} of {self.n_prompts} prompts leaves nothing to train on; "
                f"take at least {1.06 / self.n_prompts:.2g}"
            )

    def split(self, seed: int) -> Split:
        """Split of the table into training and test examples, drawn from `seed`."""
        return split_examples(self.table(), self.train_fraction, seed)


class TableTask(FiniteTask):
    """A task to learn the table of x ∘ y, for x and y among `n_values` numbers, from part of its entries.

    Subclasses say which pairs there are and what the answers are. They also declare the fields, in the order of their JSON.
    """

    if TYPE_CHECKING:
        prompt: Prompt
        operands: Operands
        answers: Any

    @property
    def n_values(self) -> int:
        """Number of values of x, y and the answer: 0 … n_values − 1."""
        raise NotImplementedError

    def pairs(self) -> tuple[Integers, Integers]:
        """Every (x, y) that has an answer, in lexicographic order."""
        x, y = np.divmod(np.arange(self.n_values**2), self.n_values)
        return x, y

    def results(self, x: Integers, y: Integers) -> Integers:
        """Answers x ∘ y."""
        raise NotImplementedError

    @property
    def n_prompts(self) -> int:
        """Number of entries of the full table."""
        return len(self.pairs()[0])

    @property
    def n_numbers(self) -> int:
        """Number of tokens that stand for a value: n_values, or twice as many if b has tokens of its own."""
        return self.n_values if self.operands == "shared" else 2 * self.n_values

    @property
    def shape(self) -> Shape:
        """Shape of the task. Tokens: numbers, then "=" and "∘" if the prompt has them. Logits: of all tokens, or of values."""
        d_vocab = self.n_numbers + len(self.prompt) - 2
        d_vocab_out = d_vocab if self.answers == "tokens" else self.n_values
        return Shape.of_tokens(len(self.prompt), d_vocab, d_vocab_out)

    def rows_of_pairs(self) -> Int[np.ndarray, "x y"]:
        """For each pair of values, its row in the table; −1 where it has no answer."""
        x, y = self.pairs()
        rows = np.full((self.n_values, self.n_values), -1)
        rows[x, y] = np.arange(len(x))
        return rows

    def mirrored(self) -> Integers | None:
        """For every row, that of the mirrored pair; −1 where it has no answer. None unless x ∘ y = y ∘ x where both have one."""
        (x, y), rows = self.pairs(), self.rows_of_pairs()
        found, answers = rows[y, x], self.results(x, y)
        both, other = found >= 0, x != y
        symmetric = (both & other).any() and np.array_equal(answers[both], answers[found[both]])
        return found if symmetric else None

    def values_of_rows(self) -> tuple[Integers, Integers]:
        """x and y of every row, whatever tokens they have."""
        return self.pairs()

    def shared_operands(self) -> tuple[Integers, Integers, Integers] | None:
        """x, y and the answer of every row if both operands have the same tokens; None if each has its own."""
        x, y = self.pairs()
        return (x, y, self.results(x, y)) if self.operands == "shared" else None

    def table(self) -> Examples:
        """Every prompt with its answer, in lexicographic order of (x, y)."""
        x, y = self.pairs()
        n = self.n_numbers
        columns = {"a": x, "b": y + n - self.n_values, "=": np.full_like(x, n), "o": np.full_like(x, n + 1)}
        inputs = np.stack([columns[token] for token in self.prompt], axis=1)
        return Examples(inputs, self.results(x, y))
