"""Matrices in words: products of a module's tensors, as `mlp.out.weight.T @ unembed.weight.T`."""

import re
from itertools import pairwise
from typing import NamedTuple

from interp.models.family import Sizes, words

FORM = (
    'a tensor\'s name, ".T" to turn it, "[0:113]" for some rows and "@" for a product, such as "fc1.weight.T[0:113]" or '
    '"out.weight.T @ head.weight.T"'
)
"""What may be said, for messages."""


class Factor(NamedTuple):
    """One tensor of a product: turned or not, and which of its rows."""

    name: str
    turned: bool = False
    begin: int = 0
    end: int | None = None

    def size(self, sizes: Sizes) -> tuple[int, int]:
        """Rows and columns; ValueError if there is no such tensor, it is no matrix, or has no such rows."""
        if self.name not in sizes:
            raise ValueError(f"has {self.name[:100]!r}, and the module's tensors are {', '.join(sizes)[:300]}")
        size = sizes[self.name]
        if len(size) != 2:
            raise ValueError(f"has {self.name}, which is {words(size)} and no matrix; take a function of the weights")
        rows, columns = size[::-1] if self.turned else size
        end = rows if self.end is None else self.end
        if not 0 <= self.begin < end <= rows:
            raise ValueError(f"has rows {self.begin:,} to {end:,} of {self.name}, and there are {rows:,}")
        return end - self.begin, columns


def factors(said: str) -> tuple[Factor, ...]:
    """Factors of a product in words; ValueError if they cannot be read."""
    found = []
    for term in said.split("@"):
        match = re.fullmatch(r"\s*([\w.]+?)(\.T)?\s*(?:\[\s*(\d{0,9})\s*:\s*(\d{0,9})\s*\])?\s*", term)
        if match is None:
            raise ValueError(f"cannot be read; take {FORM}")
        name, turned, begin, end = match.groups()
        found.append(Factor(name, bool(turned), int(begin or 0), int(end) if end else None))
    return tuple(found)


def size(said: str, sizes: Sizes) -> tuple[int, int]:
    """Rows and columns of a product in words; ValueError if the tensors give none."""
    each = [(factor.name, factor.size(sizes)) for factor in factors(said)]
    for (left, (_, columns)), (right, (rows, _)) in pairwise(each):
        if columns != rows:
            raise ValueError(f"multiplies {columns:,} columns of {left} by {rows:,} rows of {right}; turn one by .T")
    return each[0][1][0], each[-1][1][1]
