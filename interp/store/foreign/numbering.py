"""How others number the elements of a group, and runs of theirs in interp's numbering.

interp numbers permutations in lexicographic order, and of x·y applies y first. Chughtai et al. (2023) take sympy's order, and
apply x first. A group whose products are taken the other way round is the same group with every element called by the name of
its inverse. So each of these is a numbering of interp's group.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from interp.maths import groups
from interp.models import Family, MlpSpec
from interp.store.tensors import Tensors
from interp.tasks import GroupTask


class Numbering(NamedTuple):
    """A way to number the elements of a group."""

    about: str
    elements: Int[np.ndarray, " n"]
    """Element of interp's group that has each number."""

    def rows(self, rows: Int[np.ndarray, " m"]) -> Int[np.ndarray, " m"]:
        """Rows of interp's table of all pairs, from rows of a table in this numbering, both in lexicographic order of (a, b)."""
        n = len(self.elements)
        a, b = np.divmod(rows, n)
        return self.elements[a] * n + self.elements[b]

    def table(self, products: Int[np.ndarray, "n n"]) -> Int[np.ndarray, "n n"]:
        """Table of a group in this numbering, from that in interp's."""
        number = np.argsort(self.elements)
        return number[products[self.elements[:, None], self.elements]]


OWN = "in interp's order"


def numberings(group: str) -> Iterator[Numbering]:
    """Ways to number the elements of a group by name, interp's own first, each with x·y taken either way."""
    inverse = groups.inverses(groups.named_group(group))
    for about, elements in orders(group):
        yield Numbering(about, elements)
        yield Numbering(f"{about}, x acting first", inverse[elements])


def orders(group: str) -> Iterator[tuple[str, Int[np.ndarray, " n"]]]:
    """Orders in which others list the elements of a group, as elements of interp's: its own, and sympy's of permutations."""
    yield OWN, np.arange(groups.order(group))
    parts = groups.factors(group)
    letter, degree = parts[0]
    if len(parts) > 1 or letter not in "SA":
        return
    from sympy.combinatorics import named_groups  # here: half a second, and only groups of permutations need it

    named = named_groups.SymmetricGroup if letter == "S" else named_groups.AlternatingGroup
    rows = groups.permutations(degree)
    ours = {tuple(row): number for number, row in enumerate((rows if letter == "S" else groups.even(rows)).tolist())}
    for method in ("coset", "dimino"):
        listed: Any = named(degree).generate(method=method, af=True)
        yield f"in sympy's order ({method})", np.array([ours[tuple(each)] for each in listed])


def in_each_numbering(task: GroupTask) -> list[tuple[GroupTask, Numbering]]:
    """The task in every numbering of its group, by the table that it has then; of equal tables the first stands for all."""
    if groups.is_written(task.group):
        return [(task, Numbering("as in the table given", np.arange(task.n_values)))]
    products, found = task.products(), {}
    for numbering in numberings(task.group):
        found.setdefault(groups.write_table(numbering.table(products)), numbering)
    return [(task.but(group=table), numbering) for table, numbering in found.items()]


def renumbered(weights: Tensors, spec: Family, task: GroupTask, numbering: Numbering) -> Tensors:
    """Weights for a task in interp's numbering, from weights for it in another."""
    n, number = task.n_values, torch.from_numpy(np.argsort(numbering.elements))
    tokens = torch.arange(task.shape.tokens.d_vocab)
    for first in range(0, task.n_numbers, n):
        tokens[first : first + n] = first + number
    answers = torch.arange(task.shape.outputs.n)
    answers[: task.n_values] = number
    by_position = isinstance(spec, MlpSpec) and spec.inputs == "one_hot"
    axes = {
        **({"layers.0.W": (1, tokens)} if by_position else {"embed.W_E": (0, tokens)}),
        "unembed.W_U": (1, answers),
        "unembed.b_U": (0, answers),
    }
    return {name: moved(tensor, *axes[name]) if name in axes else tensor for name, tensor in weights.items()}


def moved(tensor: Tensor, axis: int, order: Int[Tensor, " n"]) -> Tensor:
    """A tensor with its entries along an axis in another order."""
    return tensor.index_select(axis, order)
