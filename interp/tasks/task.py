"""Base of tasks: hyperparameters, examples to train and to test on, and the structure that analyses may use."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Int

from interp.base import DoesNotApply, Frozen, UserError
from interp.shape import Shape
from interp.tasks.split import Examples, Split

BLOCK = 1 << 22
"""Numbers that are drawn or squared at a time; bounds memory beside the examples."""


@dataclass(frozen=True)
class Order:
    """Order of the values of a table of x ∘ y in which waves on them are looked for, and their places in prompts."""

    values: Int[np.ndarray, " n"]
    """Value at each place of the order: of x, of y and of the answer."""
    n_values: int
    """Number of values, with those outside the order."""
    position_of_a: int
    """Position of x in a prompt."""
    position_of_b: int
    """Position of y in a prompt."""
    first_b: int
    """Token of b that stands for the value 0; more than 0 if b has tokens of its own."""
    rows: Int[np.ndarray, "x y"]
    """Row in the task's table of each pair of values; −1 where x ∘ y has no answer."""
    formula: str
    """Formula of x ∘ y, as the papers write it."""

    @property
    def separate(self) -> bool:
        """Whether b has tokens of its own."""
        return self.first_b > 0


@dataclass(frozen=True)
class Composition:
    """A table as composition in a group: the operands and answers that stand for its elements, in the order of its table."""

    name: str
    """Name of the group, by which its irreps are known; empty for a table that was given."""
    about: str
    """The group in a few words."""
    table: Int[np.ndarray, "n n"]
    """Table of the group: x·y in row x and column y."""
    a: Int[np.ndarray, " n"]
    """Value of the first operand that stands for each element."""
    b: Int[np.ndarray, " n"]
    """Value of the second operand that stands for each element."""
    c: Int[np.ndarray, " n"]
    """Value of the answer that stands for each element."""
    rows: Int[np.ndarray, " pair"]
    """Row in the task's table of every pair of elements, in lexicographic order."""


class Task(Frozen):
    """Base of tasks. Each kind says which examples there are; it names no model.

    Structure that analyses use is asked for by methods whose answer is None for a task without it.
    """

    section: ClassVar[str] = "task"

    kind: Any
    """Name of the kind of task."""

    @property
    def about(self) -> str:
        """The task in a few words."""
        raise NotImplementedError

    @property
    def shape(self) -> Shape:
        """Shape of the task: what goes in, and what comes out."""
        raise NotImplementedError

    @property
    def n_train(self) -> int:
        """Number of training examples; for an endless stream, of those on which training loss is evaluated."""
        raise NotImplementedError

    def split(self, seed: int) -> Split:
        """Examples to train and to test on, drawn from `seed`."""
        raise NotImplementedError

    def table(self) -> Examples:
        """All examples with their answers; DoesNotApply if there is no such table."""
        raise DoesNotApply(f'task "{self.kind}" has no table of all prompts')

    @property
    def endless(self) -> bool:
        """Whether every update has new examples."""
        return False

    def fresh(self, step: int, n: int, seed: int) -> Examples:
        """`n` examples of an endless stream for the update after `step` others, from seed and step alone."""
        raise DoesNotApply(f'task "{self.kind}" has a fixed training set and draws no fresh examples')

    @property
    def reads_files(self) -> bool:
        """Whether its examples are read from files; a configuration is then checked without them."""
        return False

    @property
    def changes_inputs(self) -> bool:
        """Whether what is trained on is not the table's own, as images with noise; changed once, by `split`."""
        return False

    @property
    def augments(self) -> bool:
        """Whether training examples are changed anew for every update, as images that are moved."""
        return False

    def augmented(self, examples: Examples, step: int, seed: int) -> Examples:
        """Training examples as they are for the update after `step` others, from seed and step alone; evaluated plain."""
        return examples

    @property
    def importances(self) -> Float[np.ndarray, " output"]:
        """Weight of each output's squared error."""
        return np.ones(self.shape.outputs.n, dtype=np.float32)

    def of_zero(self, targets: Float[np.ndarray, "n output"]) -> float:
        """Loss of the constant answer 0 to all of these vectors, a baseline for every loss. 1 if they have length 1 and I = 1."""
        weights, rows = self.importances.astype(np.float64), max(1, BLOCK // targets.shape[1])
        parts = [targets[begin : begin + rows] for begin in range(0, len(targets), rows)]
        return sum(float((np.square(part, dtype=np.float64) @ weights).sum()) for part in parts) / len(targets)

    def order(self) -> Order | None:
        """Order in which waves on the values are looked for; None if the values are not residues."""
        return None

    def elements(self) -> Int[np.ndarray, " n"] | None:
        """Values of a table on a group's elements, whatever its operation, as the group numbers them; None for other tasks."""
        return None

    def kinds(self) -> list[str]:
        """What each of a group's elements is, in words (`interp.maths.groups.told_apart`); none for other tasks."""
        return []

    def composition(self) -> Composition | None:
        """The table as composition in a group; None if it is not."""
        return None

    def no_composition(self) -> str:
        """Reason why there is none, as the end of a sentence that names the run."""
        return f'was trained on "{self.kind}"'

    def answer_names(self) -> list[str] | None:
        """Names of the answers, one for each position where an answer is read; None if there is one position."""
        return None

    def without_rule(self) -> "Task":
        """The task with answers drawn at random in place of its own; UserError where it has none that could be drawn."""
        raise UserError(
            f'task "{self.kind}" has no table of random answers; take null "labels", by which all labels are wrong'
        )

    def mirrored(self) -> Int[np.ndarray, " row"] | None:
        """For every row of the table of x ∘ y, the row of y ∘ x if it must have the same answer; −1 where there is none.

        Where x = y it is the row itself. None if the operation is not symmetric.
        """
        return None

    def values_of_rows(self) -> tuple[Int[np.ndarray, " row"], Int[np.ndarray, " row"]] | None:
        """x and y of every row of a table of x ∘ y; None for other tasks."""
        return None

    def shared_operands(
        self,
    ) -> tuple[Int[np.ndarray, " row"], Int[np.ndarray, " row"], Int[np.ndarray, " row"]] | None:
        """x, y and the answer of every row of a table of x ∘ y whose operands share their tokens; None for other tasks."""
        return None

    def parts(self) -> "tuple[Task, ...]":
        """Tasks of each operation alone, if several are learned jointly; otherwise empty."""
        return ()

    def part_of_rows(self) -> Int[np.ndarray, " row"] | None:
        """Part that each row of the table belongs to, as index into `parts`."""
        return None
