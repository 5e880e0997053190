"""Irreps of a finite group, given by its table: its real irreducible representations, with their characters and usual names.

They are to its functions what waves are to those of the residues of p (fourier.py).
"""

import math
import string
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.maths import groups

SEED = 0
"""Seed of the random matrix whose eigenspaces are the irreps; fixed, so that a table always gives the same basis."""

DIVISIONS = {1: "real", 2: "complex", 4: "quaternionic"}
"""Division algebra of the matrices that commute with a real irrep, by the mean square of its character (Schur's lemma, ℝ)."""


@dataclass(frozen=True)
class Irreps:
    """The real irreducible representations (irreps) of a group up to equivalence, the trivial one first.

    A pair {ρ, ρ̄} of complex irreps is one real irrep of twice the dimension. So is a quaternionic irrep.
    """

    table: Int[np.ndarray, "n n"]
    names: tuple[str, ...]
    dimensions: tuple[int, ...]
    divisions: tuple[str, ...]
    """Type of each irrep: `real`, `complex` or `quaternionic`."""
    characters: Float[Tensor, "irrep n"]
    """Character χ(g) = tr ρ(g) of each irrep, in float64."""
    basis: Float[Tensor, "n n"]
    """Orthonormal functions on the group, one a row, irrep after irrep. The rows of ρ span the functions that the entries of ρ
    span: d², d²/2 or d²/4 rows for a real, complex or quaternionic ρ of dimension d."""
    of_row: Int[Tensor, " n"]
    """Index of the irrep that each row of the basis belongs to."""

    def by_irrep(self, power: Float[Tensor, "... n"]) -> Float[Tensor, "... irrep"]:
        """Power of each irrep: the sum of the power over its rows of the basis."""
        return power @ torch.nn.functional.one_hot(self.of_row, len(self.names)).to(power)

    def projection(self, chosen: Bool[Tensor, " irrep"]) -> Float[Tensor, "n n"]:
        """The projector onto the functions of the chosen irreps."""
        rows = self.basis[chosen[self.of_row]]
        return rows.mT @ rows

    def matrices(self, name: str) -> Float[Tensor, "n d d"]:
        """Orthogonal matrices ρ(g) of one irrep for every g: ρ(x·y) = ρ(x)ρ(y)."""
        irrep = self.names.index(name)
        # The first d rows of an irrep are one invariant subspace of the left regular representation (L_g v)(x) = v(g⁻¹x).
        v = self.basis[self.of_row == irrep][: self.dimensions[irrep]]
        moved = [v[:, torch.from_numpy(row)] for row in self.table[groups.inverses(self.table)]]
        return torch.stack([v @ each.mT for each in moved])


def real_irreps(table: Int[np.ndarray, "n n"], name: str = "") -> Irreps:
    """Every real irrep of a group, to rounding; given the `name` of a named group, with their usual names.

    Method: right multiplications R_g commute with the left regular representation. A random symmetric one, Σ x_g R_g with
    x_g = x_{g⁻¹} drawn from SEED, has the irreps as its eigenspaces, each d times (d/2 if complex, d/4 if quaternionic).
    Characters tell them apart (Serre 1977, Linear Representations of Finite Groups, 2.4, 13.2).

    Names, each found by its character. Every group: "trivial". Cyclic: "k=3", the frequency. Dihedral: "sign"; "k=3", which turns
    by 2π·3/n; for even n "sign r", which is −1 on the rotation r. Permutations: "sign"; "standard" (fixed points − 1);
    "sign⊗standard". Products: a name for each factor, "standard × k=1". A table without a name is known as cyclic or dihedral,
    by its first generators, and has a "sign" if there is one homomorphism onto ±1. All others: by dimension, "6d"; several of
    one name also by a letter, "5d_a", larger characters first.
    """
    spaces = invariant_spaces(table)
    classes = torch.from_numpy(groups.conjugacy_classes(table))
    characters = torch.stack([character(space, classes, groups.identity(table)) for space in spaces])
    same = characters @ characters.mT / len(table) > 0.5  # different irreps are orthogonal
    first = same.int().argmax(dim=1)
    found = first.unique()
    namer = names_of(table, name)
    generator = None if name and not is_cyclic(name) else groups.cyclic_generator(table)

    def place(i: int) -> tuple[int | float, ...]:
        """Sort key of irrep i: by dimension, then larger characters first; in a cyclic group by frequency."""
        relative = (characters[i] / len(spaces[i])).round(decimals=6) + 0.0
        return (len(spaces[i]), *(-relative).tolist()) if generator is None else (-float(relative[generator]),)

    kinds = sorted(found.tolist(), key=place)
    members = [[spaces[j] for j in (first == i).nonzero().flatten()] for i in kinds]
    characters = characters[kinds]
    return Irreps(
        table=table,
        names=distinct([namer(each) or f"{round(float(each.max()))}d" for each in characters]),
        dimensions=tuple(len(spaces[i]) for i in kinds),
        divisions=tuple(DIVISIONS[round(float(each.square().mean()))] for each in characters),
        characters=characters,
        basis=torch.cat([space for each in members for space in each]),
        of_row=torch.cat([torch.full((sum(map(len, each)),), i) for i, each in enumerate(members)]),
    )


def invariant_spaces(table: Int[np.ndarray, "n n"]) -> list[Float[Tensor, "_ n"]]:
    """Invariant subspaces of the left regular representation, one real irrep each, as orthonormal rows.

    They are the eigenspaces of a random symmetric combination of right multiplications (`real_irreps`)."""
    x = torch.randn(len(table), generator=torch.Generator().manual_seed(SEED), dtype=torch.float64)
    inverse = torch.from_numpy(groups.inverses(table))
    element = (x + x[inverse])[torch.from_numpy(table)[inverse]]  # [x, y]: the coefficient of x⁻¹y
    eigenvalues, vectors = torch.linalg.eigh(element)
    apart = (eigenvalues.diff() > 1e-9 * eigenvalues.abs().max()).nonzero().flatten() + 1
    spaces = [space.mT for space in vectors.tensor_split(apart.tolist(), dim=1)]
    classes = torch.from_numpy(groups.conjugacy_classes(table))
    characters = [character(space, classes, groups.identity(table)) for space in spaces]
    sizes = [round(float(each.square().mean()), 6) for each in characters]
    assert set(sizes) <= set(DIVISIONS), "two irreps have one eigenvalue by accident"
    return spaces


def character(space: Float[Tensor, "d n"], classes: Int[Tensor, " n"], identity: int) -> Float[Tensor, " n"]:
    """Character tr ρ(g) of the irrep on an eigenspace: n times the mean of its projector over g's conjugacy class.

    The projector at [x, y] depends on x⁻¹y alone."""
    kernel = space[:, identity] @ space
    sums = torch.zeros(int(classes.max()) + 1, dtype=torch.float64).index_add(0, classes, kernel)
    return len(classes) * (sums / torch.bincount(classes))[classes]


# Names

Namer = Callable[[Float[Tensor, " n"]], str]
"""A function from an irrep's character to its name, "" if it has none."""


def names_of(table: Int[np.ndarray, "n n"], group: str) -> Namer:
    """The function that names the irreps of a group by its name, or by its table if it has none; "" where it knows no name."""
    parts = groups.factors(group) if group else []
    if len(parts) > 1:
        return product_names(group.split("x"))
    if parts and parts[0][0] in NAMERS:
        return NAMERS[parts[0][0]](parts[0][1])
    if not group and (generator := groups.cyclic_generator(table)) is not None:
        return cyclic_names(len(table), generator)
    if not group and (both := groups.dihedral_generators(table)) is not None:
        return dihedral_names(len(table) // 2, *both)
    sign = groups.only_sign(table)
    return matching({"trivial": 1.0} | ({} if sign is None else {"sign": torch.from_numpy(1.0 * sign)}))


def is_cyclic(group: str) -> bool:
    """Whether a name is that of one cyclic group, such as C113."""
    return [letter for letter, _ in groups.factors(group)] == ["C"]


def matching(known: dict[str, Float[Tensor, " n"] | float]) -> Namer:
    """A function that names an irrep by the first known character equal to its own."""

    def name(character: Float[Tensor, " n"]) -> str:
        same = (which for which, values in known.items() if bool(((character - values).abs() < 1e-6).all()))
        return next(same, "")

    return name


def frequency(value: Float[Tensor, ""], n: int) -> int:
    """Frequency k, 0 to n/2, of which `value` is cos(2πk/n)."""
    return round(n * math.acos(max(-1.0, min(1.0, float(value)))) / (2 * math.pi))


def cyclic_names(n: int, generator: int = 1) -> Namer:
    """A function that names the irreps of C_n by their frequency k: χ(generator) = d·cos(2πk/n)."""

    def name(character: Float[Tensor, " n"]) -> str:
        k = frequency(character[generator] / character.max(), n)
        return f"k={k}" if k else "trivial"

    return name


def dihedral_names(n: int, rotation: int | None = None, reflection: int | None = None) -> Namer:
    """A function that names the irreps of D_n: dimension 1 by the signs of r and f, 2 by the frequency k, χ(r) = 2cos(2πk/n).

    The rotation r and the reflection f are elements 1 and n of the named group, if no others are given.
    """
    signs = {(1, 1): "trivial", (1, -1): "sign", (-1, 1): "sign r", (-1, -1): "sign r⊗sign"}
    at_r, at_f = 1 if rotation is None else rotation, n if reflection is None else reflection

    def name(character: Float[Tensor, " n"]) -> str:
        r, f = character[at_r], character[at_f]
        if round(float(character.max())) == 1:
            return signs[round(float(r)), round(float(f))]
        return f"k={frequency(r / 2, n)}"

    return name


def product_names(parts: list[str]) -> Namer:
    """A function that names the irreps of a direct product by what they are on each factor: "standard × k=1".

    On the elements of one factor an irrep is a multiple of one irrep of that factor, which has the same character ÷ dimension.
    """
    known, each = [], [real_irreps(groups.named_group(part), part) for part in parts]
    after = math.prod(len(irreps.table) for irreps in each)
    for irreps in each:
        after //= len(irreps.table)  # elements of this factor stand so far apart
        relative = irreps.characters / irreps.characters.amax(dim=1, keepdim=True)
        known.append((after * torch.arange(len(irreps.table)), relative, irreps.names))

    def name(character: Float[Tensor, " n"]) -> str:
        found = []
        for elements, relative, names in known:
            there = character[elements] / character.max()
            found.append(names[int((relative - there).abs().amax(dim=1).argmin())])
        return "trivial" if set(found) == {"trivial"} else " × ".join(found)

    return name


def permutation_names(rows: Int[np.ndarray, "m points"]) -> Namer:
    """A function that names the irreps of a permutation group: trivial, sign, standard, sign⊗standard."""
    sign = torch.from_numpy(1.0 - 2.0 * groups.parity(rows))
    standard = torch.from_numpy((rows == np.arange(rows.shape[1])).sum(axis=1) - 1.0)
    return matching({"trivial": 1.0, "sign": sign, "standard": standard, "sign⊗standard": standard * sign})


NAMERS: dict[str, Callable[[int], Namer]] = {
    "C": cyclic_names,
    "D": dihedral_names,
    "S": lambda n: permutation_names(groups.permutations(n)),
    "A": lambda n: permutation_names(groups.even(groups.permutations(n))),
}
"""Functions that make the namer of a named group from its number, by the letter of its family."""


def distinct(names: list[str]) -> tuple[str, ...]:
    """Names made distinct: a letter is added to each that occurs several times; 5d, 5d become 5d_a, 5d_b."""
    counts, used, letters = Counter(names), Counter(), string.ascii_lowercase
    suffixes = [*letters, *(one + other for one, other in product(letters, letters))]
    found = []
    for name in names:
        found.append(f"{name}_{suffixes[used[name]]}" if counts[name] > 1 else name)
        used[name] += 1
    return tuple(found)
