"""Finite groups by their tables: table[x, y] = x·y, elements numbered from 0. Axioms, named groups, classes, subgroups, cosets.

Whole numbers only, in numpy: describing a task on a group costs no torch. Functions on a group are in irreps.py.
"""

import functools
import itertools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int

Table = Int[np.ndarray, "n n"]
Elements = Int[np.ndarray, " m"]

# Axioms


def check_table(table: Int[np.ndarray, "..."]) -> None:
    """Nothing, for the table of a group; otherwise ValueError with the axiom and the elements that break it.

    Associativity is tried by Light's test: (x·g)·y = x·(g·y) for all x and y and the g of a generating set, which takes
    n² steps a generator, not n³ in all.
    """
    if table.ndim != 2 or table.shape[0] != table.shape[1] or not len(table):
        raise ValueError(f"a table of shape {table.shape} is not square")
    n = len(table)
    for x, y in np.argwhere((table < 0) | (table >= n))[:1]:
        raise ValueError(f"not closed: {x}·{y} is {table[x, y]}, which is none of 0 … {n - 1}")
    swapped, elements = table.T, np.arange(n)
    identities = np.flatnonzero((table == elements).all(axis=1) & (swapped == elements).all(axis=1))
    if not len(identities):
        raise ValueError("no identity: no e has e·x = x = x·e for every x")
    e = identities[0]
    both = (table == e) & (swapped == e)
    for x in np.flatnonzero(~both.any(axis=1))[:1]:
        raise ValueError(f"no inverse: no y has {x}·y = {e} = y·{x}")
    for g in generators(table):
        left, right = table[table[:, g]], table[:, table[g]]  # [x, y]
        for x, y in np.argwhere(left != right)[:1]:
            raise ValueError(f"not associative: ({x}·{g})·{y} is {left[x, y]}, and {x}·({g}·{y}) is {right[x, y]}")


def identity(table: Table) -> int:
    """The e with e·x = x."""
    return int((table == np.arange(len(table))).all(axis=1).argmax())


def inverses(table: Table) -> Int[np.ndarray, " n"]:
    """x⁻¹ for every x."""
    return (table == identity(table)).argmax(axis=1)


def generated(table: Table, by: Sequence[int]) -> Elements:
    """Elements of the subgroup that these generate, ascending."""
    inside = np.zeros(len(table), dtype=bool)
    inside[[identity(table), *by]] = True
    fresh = np.flatnonzero(inside)
    while len(fresh):
        reached = np.unique(table[np.ix_(fresh, np.array(by, dtype=int))])
        fresh = reached[~inside[reached]]
        inside[fresh] = True
    return np.flatnonzero(inside)


def generators(table: Table, of: Elements | None = None) -> list[int]:
    """Elements that generate the group, or a subgroup `of` it: each the first that those before it do not reach.

    At most log₂ n of them.
    """
    wanted, found = np.arange(len(table)) if of is None else of, []
    while len(left := np.setdiff1d(wanted, generated(table, found))):
        found.append(int(left[0]))
    return found


# Named groups, whose identity is element 0


def cyclic(n: int) -> Table:
    """C_n: x·y = x + y mod n."""
    x = np.arange(n)
    return (x[:, None] + x) % n


def dihedral(n: int) -> Table:
    """D_n, the 2n symmetries of the n-gon: elements 0 … n−1 are the rotations rᵏ, n … 2n−1 the reflections rᵏf, fr = r⁻¹f."""
    flip, turn = np.divmod(np.arange(2 * n), n)
    turned = turn[:, None] + np.where(flip, -1, 1)[:, None] * turn
    return turned % n + n * (flip[:, None] ^ flip)


def symmetric(n: int) -> Table:
    """S_n: the n! permutations in lexicographic order, as functions: (x·y)(i) = x(y(i)), so y acts first."""
    return composition(permutations(n))


def alternating(n: int) -> Table:
    """A_n: the n!/2 even permutations in lexicographic order, composed as in `symmetric`."""
    return composition(even(permutations(n)))


def quaternion() -> Table:
    """Q8: 1, −1, i, −i, j, −j, k, −k, in this order."""
    unit, negative = np.divmod(np.arange(8), 2)
    # i·j = k, j·k = i, k·i = j; the other way round the sign changes, and squares are −1.
    signs = np.array([[0, 0, 0, 0], [0, 1, 0, 1], [0, 1, 1, 0], [0, 0, 1, 1]])
    sign = signs[unit[:, None], unit] ^ negative[:, None] ^ negative
    return 2 * (unit[:, None] ^ unit) + sign


def direct_product(first: Int[np.ndarray, "n n"], second: Int[np.ndarray, "m m"]) -> Int[np.ndarray, "nm nm"]:
    """G × H: element x·|H| + y stands for the pair (x, y), and pairs are multiplied part by part."""
    x, y = np.divmod(np.arange(len(first) * len(second)), len(second))
    return first[x[:, None], x] * len(second) + second[y[:, None], y]


def permutations(n: int) -> Int[np.ndarray, "factorial n"]:
    """Every permutation of 0 … n−1 in lexicographic order: row x holds x(0), x(1), …"""
    return np.array(list(itertools.permutations(range(n))))


def parity(rows: Int[np.ndarray, "m n"]) -> Int[np.ndarray, " m"]:
    """0 for an even permutation, 1 for an odd one: inversions modulo 2."""
    i, j = np.triu_indices(rows.shape[1], 1)
    return (rows[:, i] > rows[:, j]).sum(axis=1) % 2


def even(rows: Int[np.ndarray, "m n"]) -> Int[np.ndarray, "half n"]:
    """The even ones among these permutations."""
    return rows[parity(rows) == 0]


def composition(rows: Int[np.ndarray, "m n"]) -> Int[np.ndarray, "m m"]:
    """Table of a set of permutations that is closed under x·y = x after y; rows ascend lexicographically."""
    place = rows.shape[1] ** np.arange(rows.shape[1])[::-1]  # a permutation as one number, in the same order
    numbers = rows @ place
    products = np.zeros((len(rows), len(rows)), dtype=int)
    for i, weight in enumerate(place):
        products += weight * rows[:, rows[:, i]]
    return np.searchsorted(numbers, products)


@dataclass(frozen=True)
class Family:
    """Groups that differ by a number."""

    make: Callable[[int], Table]
    order: Callable[[int], int]
    smallest: int
    """The least number it is defined for."""


FAMILIES = {
    "C": Family(cyclic, lambda n: n, 2),
    "D": Family(dihedral, lambda n: 2 * n, 2),
    "S": Family(symmetric, math.factorial, 2),
    "A": Family(alternating, lambda n: math.factorial(n) // 2, 3),
}
"""By the letter that their names begin with; Q8 stands alone."""

LARGEST_ORDER = 1024
"""Elements of a group that is named or written out, at most."""


def factors(name: str) -> list[tuple[str, int]]:
    """Letter and number of each factor of "S3xC4"; ValueError, a sentence that begins with "should", for no such name."""
    found = []
    for word in name.split("x"):
        match = re.fullmatch(r"([CDSAQ])([1-9][0-9]{0,3})", word)
        letter, number = (match[1], int(match[2])) if match else ("", 0)
        if letter == "Q" and number == 8:
            pass
        elif letter not in FAMILIES:
            raise ValueError(
                "should be C, D, S or A with a number, such as S5, A5, D59 or C113, Q8, or a product: S3xC4"
            )
        elif number < FAMILIES[letter].smallest:
            raise ValueError(f"should have a number from {FAMILIES[letter].smallest} up behind {letter}")
        found.append((letter, number))
    return found


def order(name: str) -> int:
    """How many elements a named group has; ValueError as `factors`, and for more than LARGEST_ORDER."""
    n = 1
    for letter, number in factors(name):
        # 7! is too many already, and 9999! takes a while
        n *= 8 if letter == "Q" else FAMILIES[letter].order(min(number, 7) if letter in "SA" else number)
        if n > LARGEST_ORDER:
            raise ValueError(f"should have at most {LARGEST_ORDER:,} elements")
    return n


def named_group(name: str) -> Table:
    """The table of "S5", "A5", "D59", "C113", "Q8" or a direct product such as "S3xC4"; errors as those of `order`."""
    order(name)
    tables = [quaternion() if letter == "Q" else FAMILIES[letter].make(number) for letter, number in factors(name)]
    return functools.reduce(direct_product, tables)


# Groups that are written out


def is_written(group: str) -> bool:
    """Whether this is a table with several entries, and no name."""
    return re.search(r"[\s,;]", group.strip()) is not None


@functools.lru_cache(maxsize=16)
def read_table(text: str) -> Table:
    """The table written in a text, rows apart by semicolons or new lines, entries by spaces or commas; not to be changed.

    ValueError, a sentence that begins with "should", for what is no group's table.
    """
    rows = [re.split(r"\s*,\s*|\s+", row.strip()) for row in re.split(r"[;\n]", text) if row.strip()]
    if not rows:
        raise ValueError("should be the table of a group, and has no entry")
    if len(rows) > LARGEST_ORDER:
        raise ValueError(f"should have at most {LARGEST_ORDER:,} elements")
    odd = next((entry for row in rows for entry in row if not re.fullmatch(r"-?[0-9]{1,9}", entry)), None)
    if odd is not None:
        raise ValueError(f"should be the table of a group, its elements numbered from 0, and has the entry {odd!r:.40}")
    wrong = next((number for number, row in enumerate(rows) if len(row) != len(rows)), None)
    if wrong is not None:
        raise ValueError(
            f"should be the table of a group, with as many entries in a row as there are rows, and has {len(rows)} rows, "
            f"and {len(rows[wrong])} entries in row {wrong}"
        )
    table = np.array(rows, dtype=int)
    try:
        check_table(table)
    except ValueError as error:
        raise ValueError(f"should be the table of a group, and this one is none ({error})") from error
    table.setflags(write=False)
    return table


def write_table(table: Table) -> str:
    """The text that `read_table` reads, the same for every way to write the table."""
    return "; ".join(" ".join(map(str, row)) for row in table.tolist())


# Classes, subgroups, cosets


def conjugates(table: Table) -> Table:
    """g·x·g⁻¹ at [g, x]."""
    return table[table, inverses(table)[:, None]]


def conjugacy_classes(table: Table) -> Int[np.ndarray, " n"]:
    """Number of every element's class, classes in the order of their first elements."""
    return np.unique(conjugates(table).min(axis=0), return_inverse=True)[1]


def subgroup_classes(
    table: Table, most_pairs: int = 10_000
) -> tuple[list[Bool[np.ndarray, "conjugate n"]], Literal[1, 2]]:
    """Subgroups that few elements generate, and how few: one class of conjugates a mask, by ascending order.

    Two generators give every subgroup of a cyclic or dihedral group and of S5, and 1,370 of the 1,455 of S6; (C2)³ is one
    that they miss. The first is taken up to conjugation. Where more than `most_pairs` pairs of cyclic subgroups would have
    to be tried, one generator is all.
    """
    conjugate, elements = conjugates(table), np.arange(len(table))
    classes: list[np.ndarray] = []
    number: dict[bytes, int] = {}

    def class_of(members: Elements) -> int:
        """Number of a subgroup's class, which is known or new."""
        mask = np.isin(elements, members)
        if mask.tobytes() not in number:
            every = np.unique(mask[conjugate], axis=0)
            number.update(dict.fromkeys((each.tobytes() for each in every), len(classes)))
            classes.append(every)
        return number[mask.tobytes()]

    by_subgroup = {generated(table, [x]).tobytes(): x for x in range(len(table))}
    by_class = {class_of(generated(table, [x])): x for x in by_subgroup.values()}
    both = len(by_class) * len(by_subgroup) <= most_pairs
    for x, y in itertools.product(by_class.values(), by_subgroup.values()) if both else ():
        class_of(generated(table, [x, y]))
    class_of(elements)
    return sorted(classes, key=lambda every: (every[0].sum(), len(every), (~every).tobytes())), 2 if both else 1


def cosets(table: Table, subgroup: Elements, side: Literal["left", "right"]) -> Int[np.ndarray, " n"]:
    """Number of every element's coset, xH on the left and Hx on the right, in the order of their first elements."""
    together = table[:, subgroup] if side == "left" else table[subgroup].T
    return np.unique(together.min(axis=1), return_inverse=True)[1]
