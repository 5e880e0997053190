"""Several operations learned jointly by one network: every prompt `a ∘ b =`, with a token of its own for each ∘."""

from typing import Literal

import numpy as np
import tyro
from jaxtyping import Int
from pydantic import Field, field_validator, model_validator

from interp.base import near_miss
from interp.shape import Shape
from interp.tasks.group import GROUP_OPERATIONS, GroupTask, known_group
from interp.tasks.modular import OPERATIONS, ModularTask
from interp.tasks.split import Examples
from interp.tasks.table import FiniteTask


class JointTask(FiniteTask):
    """Learn the tables of several operations on the same residues, or on the elements of one group, from part of them."""

    kind: tyro.conf.Suppress[Literal["joint"]] = "joint"
    operations: tuple[str, ...] = ("add", "subtract")
    """Two or more operations. On residues: add, subtract, multiply, divide, …, as in --task.operation of the other presets.
    With task.group: compose, conjugate, aba."""
    p: int = Field(default=97, ge=3, le=1024)
    """Modulus of modular operations, 3 to 1024. Division needs a prime."""
    group: str = ""
    """Group, by name or as a table. Empty for modular operations."""
    train_fraction: float = Field(default=0.3, gt=0, lt=1)
    """Share of all tables together that is trained on, between 0 and 1."""
    table_seed: int = Field(default=0, ge=0)
    """Seed of the random table, for operation `random` only."""

    @field_validator("group")
    @classmethod
    def _group_is_known(cls, group: str) -> str:
        return known_group(group) if group else ""

    @model_validator(mode="after")
    def _is_defined(self) -> "JointTask":
        known, others = (GROUP_OPERATIONS, OPERATIONS) if self.group else (OPERATIONS, GROUP_OPERATIONS)
        for operation in self.operations:
            if operation in others:
                remedy = "leave task.group out" if self.group else "name the group by task.group"
                raise ValueError(
                    f'task.operations has "{operation}", which is {"modular" if self.group else "on a group"}; '
                    f"take {', '.join(known)}, or {remedy}"
                )
            if operation not in known:
                raise ValueError(f'task.operations has "{operation}"{near_miss(operation, known)}')
        twice = next((each for each in self.operations if self.operations.count(each) > 1), None)
        if twice is not None:
            raise ValueError(f'task.operations has "{twice}" twice; name each operation once')
        if len(self.operations) < 2:
            raise ValueError(
                f"task.operations has {len(self.operations)}, and joint training needs at least 2; add one of "
                f"{', '.join(name for name in known if name not in self.operations)}"
            )
        self.check_train_fraction()
        return self

    def parts(self) -> tuple[ModularTask | GroupTask, ...]:
        """Tasks of each operation alone; each raises its own error if it is not defined."""
        one = GroupTask(group=self.group) if self.group else ModularTask(p=self.p, table_seed=self.table_seed)
        return tuple(one.but(operation=name, prompt="aob=") for name in self.operations)

    @property
    def about(self) -> str:
        """The task in a few words."""
        first, formulas = self.parts()[0], [part.rule.formula for part in self.parts()]
        together = f"{', '.join(formulas[:-1])} and {formulas[-1]}"
        return f"{together} {first.place}, {self.train_fraction:.0%} of {self.n_prompts:,} prompts"

    @property
    def n_values(self) -> int:
        """Number of residues, or of elements of the group."""
        return self.parts()[0].n_values

    @property
    def shape(self) -> Shape:
        """Shape of the task. Tokens: the values, then "=", then the operations in order. Only values have logits."""
        one = self.parts()[0].shape
        return Shape.of_tokens(one.tokens.n_ctx, one.tokens.d_vocab + len(self.operations) - 1, one.outputs.n)

    @property
    def n_prompts(self) -> int:
        """Number of entries of all tables together."""
        return sum(part.n_prompts for part in self.parts())

    def part_of_rows(self) -> Int[np.ndarray, " n_prompts"]:
        """Operation of each prompt of the table, as index into `operations`."""
        return np.repeat(np.arange(len(self.operations)), [part.n_prompts for part in self.parts()])

    def mirrored(self) -> Int[np.ndarray, " n_prompts"] | None:
        """For every row, that of the mirrored pair under the same operation; −1 under those that are not symmetric."""
        found, first = [], 0
        for part in self.parts():
            one = part.mirrored()
            found.append(np.full(part.n_prompts, -1) if one is None else np.where(one < 0, -1, one + first))
            first += part.n_prompts
        rows = np.concatenate(found)
        return rows if (rows >= 0).any() else None

    def table(self) -> Examples:
        """All prompts with their answers: the tables of the operations one after the other."""
        tables = [part.table() for part in self.parts()]
        inputs, targets = (np.concatenate([getattr(table, name) for table in tables]) for name in ("inputs", "targets"))
        inputs[:, 1] += self.part_of_rows()
        return Examples(inputs, targets)
