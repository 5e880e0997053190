"""Parallelograms of a code: sums E_i + E_j that should be equal, and what they leave free (Liu et al. 2022, arXiv 2205.10343).

Two unordered pairs with one answer, {i, j} and {m, n}, are the diagonals of a parallelogram if E_i + E_j = E_m + E_n.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.base import once

SMALL = 1e-9
"""Singular value and residual below which a constraint counts as no new one, in units of the largest."""


@dataclass(frozen=True)
class Pairs:
    """Unordered pairs of symbols that have an answer, in ascending order of the answer."""

    i: Int[np.ndarray, " pair"]
    j: Int[np.ndarray, " pair"]
    answer: Int[np.ndarray, " pair"]
    trained: Bool[np.ndarray, " pair"]
    """Whether the pair is trained on, in either order."""

    @staticmethod
    def of(
        x: Int[np.ndarray, " n"],
        y: Int[np.ndarray, " n"],
        answer: Int[np.ndarray, " n"],
        trained: Bool[np.ndarray, " n"],
    ) -> "Pairs":
        """The pairs of a table; ValueError if x ∘ y and y ∘ x have different answers."""
        low, high = np.minimum(x, y), np.maximum(x, y)
        (low, high), place = np.unique(np.stack([low, high]), axis=1, return_inverse=True)
        place = place.reshape(-1)
        common, both = np.zeros_like(low), np.zeros(len(low), dtype=bool)
        common[place] = answer
        if not np.array_equal(common[place], answer):
            raise ValueError("x ∘ y and y ∘ x have different answers")
        np.logical_or.at(both, place, trained)
        order = np.argsort(common, kind="stable")
        return Pairs(low[order], high[order], common[order], both[order])

    @once
    def alike(self) -> list[Int[np.ndarray, " some"]]:
        """Places of the pairs of each answer."""
        return np.split(np.arange(len(self.answer)), np.flatnonzero(np.diff(self.answer)) + 1)

    @once
    def side_by_side(self) -> Int[np.ndarray, "answer most"]:
        """Places of the pairs of each answer in a row, filled up with −1."""
        found = np.full((len(self.alike), max(map(len, self.alike))), -1)
        for row, some in zip(found, self.alike, strict=True):
            row[: len(some)] = some
        return found

    @once
    def symbols(self) -> Int[np.ndarray, " symbol"]:
        """Symbols that occur, ascending."""
        return np.unique(np.concatenate([self.i, self.j]))

    @once
    def possible(self) -> int:
        """Parallelograms: couples of different pairs with one answer."""
        return sum(len(some) * (len(some) - 1) // 2 for some in self.alike)


def standardised(codes: Float[Tensor, "*n symbol d"]) -> Float[Tensor, "*n symbol d"]:
    """Codes with mean 0 and standard deviation 1 over the symbols, in every dimension; NaN where they do not vary."""
    return (codes - codes.mean(dim=-2, keepdim=True)) / codes.std(dim=-2, keepdim=True, correction=0)


def quality(codes: Float[Tensor, "symbol d"], pairs: Pairs, tolerance: float = 0.01) -> float:
    """Representation quality index (RQI): share of the parallelograms whose sums differ, squared and averaged over dimensions,
    by less than `tolerance`, of codes standardised over the symbols that occur. NaN if these do not vary, or there are none.

    Codes have a row for every symbol, those that occur in no pair too.
    """
    if not pairs.possible:
        return np.nan
    own = codes.double().clone()
    own[pairs.symbols] = standardised(own[pairs.symbols])
    own = own[:, ~own[pairs.symbols].isnan().any(dim=0)]
    if not own.shape[1]:
        return np.nan
    sums = own[pairs.i] + own[pairs.j]
    some = torch.from_numpy(pairs.side_by_side)
    alike = sums[some].masked_fill((some < 0)[..., None], torch.nan)  # NaN is near nothing, itself neither
    apart = torch.cdist(alike, alike, compute_mode="use_mm_for_euclid_dist").square() / own.shape[1]
    satisfied = int((apart < tolerance).sum()) - len(sums)
    return satisfied / 2 / pairs.possible


def effective_loss(codes: Float[Tensor, "symbol d"], pairs: Pairs) -> float:
    """ℓ₀/Z₀: squared differences of the sums of trained pairs with one answer, over all couples, per squared length of the codes
    of all symbols that occur (eq. 5). NaN for codes of length 0.
    """
    codes = codes.double()
    loss = codes.new_zeros(())
    for some in pairs.alike:
        known = some[pairs.trained[some]]
        sums = codes[pairs.i[known]] + codes[pairs.j[known]]
        loss += len(known) * sums.square().sum() - sums.sum(dim=0).square().sum()
    return float(loss / codes[pairs.symbols].square().sum())


@dataclass(frozen=True)
class Reach:
    """What the parallelograms of trained pairs, once they hold, say about all others."""

    ideal_accuracy: float
    """Share of the pairs that are not trained on whose sum must then equal that of a trained pair with the same answer; NaN if
    there are none."""
    free: int
    """Dimensions of the codes (of one dimension each) that satisfy them all: 2, shift and scale, if the code must be linear."""


def reach(pairs: Pairs) -> Reach:
    """What follows from the trained pairs alone, whatever the training: a rank, and a test whether vectors are in a span."""
    place = np.searchsorted(pairs.symbols, np.stack([pairs.i, pairs.j]))
    sums = np.zeros((len(pairs.i), len(pairs.symbols)))
    for each in place:
        np.add.at(sums, (np.arange(len(sums)), each), 1.0)
    groups = [(some[pairs.trained[some]], some[~pairs.trained[some]]) for some in pairs.alike]
    constraints = np.concatenate([sums[known[1:]] - sums[known[:1]] for known, _ in groups])
    basis = null_space(constraints, len(pairs.symbols))
    reached = [
        np.abs((sums[unknown] - sums[known[:1]]) @ basis).max(axis=1, initial=0) < SMALL**0.5
        if len(known)
        else np.zeros(len(unknown), dtype=bool)
        for known, unknown in groups
    ]
    all_reached = np.concatenate(reached)
    return Reach(float(all_reached.mean()) if len(all_reached) else np.nan, basis.shape[1])


def null_space(rows: Float[np.ndarray, "row n"], n: int) -> Float[np.ndarray, "n free"]:
    """Orthonormal basis of the vectors that all rows annihilate."""
    if not len(rows):
        return np.eye(n)
    _, values, V = np.linalg.svd(rows.T @ rows)
    rank = int((values > SMALL * max(values[0], 1.0)).sum())
    return V[rank:].T
