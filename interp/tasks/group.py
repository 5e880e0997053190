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


def compose(x: Integers, y: Integers, table: Int[np.ndarray, "m m"]) -> Integers:
    """x · y."""
    return table[x, y]


def conjugate(x: Integers, y: Integers, table: Int[np.ndarray, "m m"]) -> Integers:
    """x · y · x⁻¹."""
    return table[table[x, y], groups.inverses(table)[x]]


def aba(x: Integers, y: Integers, table: Int[np.ndarray, "m m"]) -> Integers:
    """x · y · x."""
    return table[table[x, y], x]


@dataclass(frozen=True)
class GroupOperation:
    """A two-place function on the elements of a group."""

    formula: str
    """The function as the papers write it."""
    answer: Callable[[Integers, Integers, np.ndarray], Integers]


GROUP_OPERATIONS = {
    "compose": GroupOperation("x · y", compose),
    "conjugate": GroupOperation("x · y · x⁻¹", conjugate),
    "aba": GroupOperation("x · y · x", aba),
}
"""Every operation on a group by the name it has on the command line."""


def known_group(group: str) -> str:
    """The same name, or the same table as `groups.write_table` writes it; ValueError for what is no group."""
    if groups.is_written(group):
        return groups.write_table(groups.read_table(group))
    groups.order(group)
    return group


class GroupTask(TableTask):
    """Learn the table of a two-place operation on the elements of a finite group from part of its entries."""

    kind: tyro.conf.Suppress[Literal["group"]] = "group"
    group: str = "S5"
    """C, D, S or A with a number, Q8, or a product such as S3xC4, of at most 1,024 elements. D59 are the 118 symmetries of
    the 59-gon; permutations are numbered in lexicographic order, and in x·y it is y that acts first. Or a group's table
    written out, x·y in row x and column y: "0 1 2; 1 2 0; 2 0 1"; on the command line also a FILE.csv that holds one."""
    operation: Literal["compose", "conjugate", "aba"] = "compose"
    """x·y, x·y·x⁻¹ or x·y·x."""
    prompt: Prompt = "ab="
    """Tokens of a prompt: `ab=` as in Chughtai et al. (2023), `ab`, or `aob=` with a token for ∘ as in Power et al. (2022);
    the answer is read at the last one."""
    operands: Operands = "shared"
    """Tokens of b: `shared` with a, or `separate`, behind them."""
    answers: Literal["elements", "tokens"] = "elements"
    """What has a logit: the `elements` alone, or all `tokens`, signs too."""
    train_fraction: float = Field(default=0.6, gt=0, lt=1)
    """Share of the table that is trained on, between 0 and 1."""

    _group_is_known = field_validator("group")(known_group)

    @model_validator(mode="after")
    def _leaves_something(self) -> "GroupTask":
        self.check_train_fraction()
        return self

    @property
    def rule(self) -> GroupOperation:
        """The operation itself."""
        return GROUP_OPERATIONS[self.operation]

    @property
    def about(self) -> str:
        """In a few words."""
        return f"{self.rule.formula} on {self.group_name}, {self.train_fraction:.0%} of {self.n_prompts:,} prompts"

    @property
    def group_name(self) -> str:
        """The group's name, or in a few words what it is."""
        if groups.is_written(self.group):
            return f"a group of {self.n_values:,} elements, table given"
        return self.group

    @property
    def n_values(self) -> int:
        """The elements."""
        return len(groups.read_table(self.group)) if groups.is_written(self.group) else groups.order(self.group)

    @property
    def n_prompts(self) -> int:
        """Entries of the full table: every pair has an answer."""
        return self.n_values**2

    def composition(self) -> Int[np.ndarray, "m m"]:
        """The group's own table, x·y, whatever the operation."""
        if groups.is_written(self.group):
            return groups.read_table(self.group).copy()
        return groups.named_group(self.group)

    def results(self, x: Integers, y: Integers) -> Integers:
        """x ∘ y."""
        return self.rule.answer(x, y, self.composition())
