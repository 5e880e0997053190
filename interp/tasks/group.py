"""Composition in a finite group: every prompt `a ∘ b =` over its elements (Power et al. 2022; Chughtai et al. 2023)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import tyro
from jaxtyping import Int
from pydantic import Field, field_validator, model_validator

from interp.maths import groups
from interp.tasks.table import Integers, Operands, Prompt, TableTask
from interp.tasks.task import Composition


def compose(x: Integers, y: Integers, table: Int[np.ndarray, "m m"]) -> Integers:
    """Answers x · y in the group."""
    return table[x, y]


def conjugate(x: Integers, y: Integers, table: Int[np.ndarray, "m m"]) -> Integers:
    """Answers x · y · x⁻¹ in the group."""
    return table[table[x, y], groups.inverses(table)[x]]


def aba(x: Integers, y: Integers, table: Int[np.ndarray, "m m"]) -> Integers:
    """Answers x · y · x in the group."""
    return table[table[x, y], x]


@dataclass(frozen=True)
class GroupOperation:
    """A binary operation on the elements of a group."""

    formula: str
    """Formula of the operation, as the papers write it."""
    answer: Callable[[Integers, Integers, np.ndarray], Integers]


GROUP_OPERATIONS = {
    "compose": GroupOperation("x · y", compose),
    "conjugate": GroupOperation("x · y · x⁻¹", conjugate),
    "aba": GroupOperation("x · y · x", aba),
}
"""All operations on a group, by their names on the command line."""


def known_group(group: str) -> str:
    """A valid name of a group unchanged, or a table as `groups.write_table` writes it; ValueError if it is not a group."""
    if groups.is_written(group):
        return groups.write_table(groups.read_table(group))
    groups.order(group)
    return group


class GroupTask(TableTask):
    """Learn the table of a binary operation on the elements of a finite group from part of its entries."""

    kind: tyro.conf.Suppress[Literal["group"]] = "group"
    group: str = "S5"
    """Group of at most 1,024 elements. By name: C, D, S or A with a number, Q8, or a product such as S3xC4. D59 has the 118
    symmetries of the 59-gon. Permutations are numbered in lexicographic order; in x·y, y acts first. Or by its table, x·y in
    row x and column y: "0 1 2; 1 2 0; 2 0 1". On the command line also by a FILE.csv that holds the table."""
    operation: Literal["compose", "conjugate", "aba"] = "compose"
    """Operation: `compose` x·y, `conjugate` x·y·x⁻¹, `aba` x·y·x."""
    prompt: Prompt = "ab="
    """Tokens of a prompt: `ab=` as in Chughtai et al. (2023), `ab`, or `aob=` with a token for ∘ as in Power et al. (2022).
    The answer is read at the last token."""
    operands: Operands = "shared"
    """Tokens of b: `shared` with a, or `separate`, numbered after those of a."""
    answers: Literal["elements", "tokens"] = "elements"
    """Outputs that have a logit: only the `elements`, or all `tokens`, signs such as "=" too."""
    train_fraction: float = Field(default=0.6, gt=0, lt=1)
    """Share of the table that is trained on, between 0 and 1."""

    _group_is_known = field_validator("group")(known_group)

    @model_validator(mode="after")
    def _leaves_something(self) -> "GroupTask":
        self.check_train_fraction()
        return self

    @property
    def rule(self) -> GroupOperation:
        """The operation, with its formula."""
        return GROUP_OPERATIONS[self.operation]

    @property
    def about(self) -> str:
        """The task in a few words."""
        return f"{self.rule.formula} on {self.group_name}, {self.train_fraction:.0%} of {self.n_prompts:,} prompts"

    @property
    def group_name(self) -> str:
        """Name of the group; for a table a few words instead."""
        if groups.is_written(self.group):
            return f"a group of {self.n_values:,} elements, table given"
        return self.group

    @property
    def n_values(self) -> int:
        """Number of elements of the group."""
        return len(groups.read_table(self.group)) if groups.is_written(self.group) else groups.order(self.group)

    @property
    def n_prompts(self) -> int:
        """Number of entries of the full table; every pair has an answer."""
        return self.n_values**2

    def products(self) -> Int[np.ndarray, "m m"]:
        """Table of the group, x·y, whatever the operation of the task."""
        if groups.is_written(self.group):
            return groups.read_table(self.group).copy()
        return groups.named_group(self.group)

    def results(self, x: Integers, y: Integers) -> Integers:
        """Answers x ∘ y."""
        return self.rule.answer(x, y, self.products())

    def elements(self) -> Integers:
        """The elements, 0 … n_values − 1."""
        return np.arange(self.n_values)

    def kinds(self) -> list[str]:
        """Sign of each element, or else its class of conjugates; none for a cyclic group."""
        return groups.told_apart(self.products())

    def composition(self) -> Composition | None:
        """The group's table as composition, if that is what is learned: for operation x·y alone."""
        if self.operation != "compose":
            return None
        every = np.arange(self.n_values)
        name = "" if groups.is_written(self.group) else self.group
        rows = self.rows_of_pairs().flatten()
        return Composition(name, self.group_name, self.products(), every, every, every, rows)

    def no_composition(self) -> str:
        """Reason why the table is not composition in the group."""
        return f"was trained on {self.rule.formula}"

    @property
    def place(self) -> str:
        """Where the operation is, in words."""
        return f"on {self.group_name}"
