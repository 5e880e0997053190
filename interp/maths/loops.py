"""Loops over numbers, compiled at their first call by numba. The result is kept on disk: later processes only load it.

They do in one pass what torch does operation by operation, where a training step's tensors are large and its sums short. What
they compute is said once more in torch's words where they are called, and is equal to rounding (tests/maths/test_loops.py).
"""

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from interp.base import IGNORED

try:
    import numba
except ImportError:  # as on a Python that it does not know yet
    numba = None

SUMMED = {"reassoc", "contract", "nsz", "arcp"}
"""What the compiler may do: add in any order, so that sums are taken several numbers at a time. NaN and infinity remain."""
AS_WRITTEN = {"contract"}


def compiled(allowed: set[str]) -> Callable[[Callable[..., Any]], Any]:
    """A decorator: the function compiled for the types of its first call, without Python's lock while it runs."""

    def decorate(function: Callable[..., Any]) -> Any:
        if numba is None:
            return function
        function = inspect.unwrap(function)  # checks of shapes, which tests add, are no loops
        options: dict[str, Any] = {"nogil": True, "fastmath": allowed, "error_model": "numpy"}
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:  # there is no directory in which it could be kept
            return numba.njit(**options)(function)

    return decorate


HIGH, LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
"""ln 2 in two parts. The first has few digits, so that its multiples are exact."""
ROUNDS = 1.5 * 2.0**52
"""Added to a small number, it leaves the nearest integer in the last bits."""
LEAST = -708.0
"""Argument below which exp is no normal number; here it stays the exp of this one, 3e-308."""


@compiled(AS_WRITTEN)
def exp(x: float) -> float:
    """exp(x) in float64 for x ≤ 0 to 2 units in the last place: 2ⁿ·exp(r), |r| ≤ ln 2 / 2, by its series.

    The library's function takes one number at a time; this one is compiled into loops that take several.
    """
    x = LEAST if x < LEAST else x
    shifted = x * 1.4426950408889634 + ROUNDS
    n = shifted - ROUNDS
    r = (x - n * HIGH) - n * LOW
    series = 1 / 6227020800.0
    series = series * r + 1 / 479001600.0
    series = series * r + 1 / 39916800.0
    series = series * r + 1 / 3628800.0
    series = series * r + 1 / 362880.0
    series = series * r + 1 / 40320.0
    series = series * r + 1 / 5040.0
    series = series * r + 1 / 720.0
    series = series * r + 1 / 120.0
    series = series * r + 1 / 24.0
    series = series * r + 1 / 6.0
    series = series * r + 0.5
    series = series * r + 1.0
    series = series * r + 1.0
    bits = np.float64(shifted).view(np.int64)
    return series * np.int64((bits + 1023) << 52).view(np.float64)


@compiled(SUMMED)
def cross_entropies(
    logits: Float[np.ndarray, "n answer"],
    targets: Int[np.ndarray, " n"],
    shares: Float[np.ndarray, " n"],
    losses: Float[np.ndarray, " n"],
    gradients: Float[np.ndarray, "n answer"],
) -> None:
    """Set the cross-entropy of every row in nats, and the gradient of the sum of `shares` × losses by the logits, both as
    float64 computes them; 0 where there is no target."""
    powers = np.empty(logits.shape[1])
    for i in range(len(targets)):
        target = targets[i]
        if target == IGNORED:
            losses[i] = 0
            for c in range(len(powers)):
                gradients[i, c] = 0
            continue
        largest = logits[i, 0]
        for c in range(len(powers)):
            largest = logits[i, c] if logits[i, c] > largest else largest
        top, total = np.float64(largest), 0.0
        for c in range(len(powers)):
            power = exp(np.float64(logits[i, c]) - top)
            powers[c] = power
            total += power
        losses[i] = math.log(total) - (np.float64(logits[i, target]) - top)
        factor = shares[i] / total
        for c in range(len(powers)):
            gradients[i, c] = powers[c] * factor
        gradients[i, target] = (powers[target] / total - 1) * shares[i]


@compiled(SUMMED)
def gathered_softmax(
    scores: Float[np.ndarray, "run_head queries rows"],
    queries: Int[np.ndarray, "runs out"],
    keys: Int[np.ndarray, "runs out seen"],
    pattern: Float[np.ndarray, "runs out head seen"],
) -> None:
    """Set the softmax over the scores of those keys that each output row sees. Queries and keys are numbered through all runs."""
    for run in range(pattern.shape[0]):
        for i in range(pattern.shape[1]):
            query = queries[run, i] - run * scores.shape[1]
            for head in range(pattern.shape[2]):
                row, largest, total = run * pattern.shape[2] + head, -np.float32(np.inf), np.float32(0)
                for j in range(pattern.shape[3]):
                    score = scores[row, query, keys[run, i, j] - run * scores.shape[2]]
                    pattern[run, i, head, j] = score
                    largest = score if score > largest else largest
                for j in range(pattern.shape[3]):
                    pattern[run, i, head, j] = math.exp(pattern[run, i, head, j] - largest)
                    total += pattern[run, i, head, j]
                for j in range(pattern.shape[3]):
                    pattern[run, i, head, j] /= total


@compiled(SUMMED)
def scattered_gradient(
    pattern: Float[np.ndarray, "runs out head seen"],
    gradient: Float[np.ndarray, "runs out head seen"],
    queries: Int[np.ndarray, "runs out"],
    keys: Int[np.ndarray, "runs out seen"],
    by_scores: Float[np.ndarray, "run_head queries rows"],
) -> None:
    """Add the gradient by the scores of `gathered_softmax`, from that by its `pattern`."""
    for run in range(pattern.shape[0]):
        for i in range(pattern.shape[1]):
            query = queries[run, i] - run * by_scores.shape[1]
            for head in range(pattern.shape[2]):
                row, mean = run * pattern.shape[2] + head, np.float32(0)
                for j in range(pattern.shape[3]):
                    mean += pattern[run, i, head, j] * gradient[run, i, head, j]
                for j in range(pattern.shape[3]):
                    change = pattern[run, i, head, j] * (gradient[run, i, head, j] - mean)
                    by_scores[row, query, keys[run, i, j] - run * by_scores.shape[2]] += change


@compiled(SUMMED)
def rectified_sums(
    weights: Float[np.ndarray, "n j"],
    columns: Int[np.ndarray, "n j"],
    table: Float[np.ndarray, "rows width"],
    labels: Int[np.ndarray, " n"],
    sums: Float[np.ndarray, "label width"],
) -> None:
    """Add max(0, x_i) to the sums of the label of each i, where x_i is the sum of `weights` × the table rows `columns` of i."""
    few = weights.shape[1] % 4
    x, zero = np.empty(table.shape[1], np.float32), np.float32(0)
    for i in range(len(labels)):
        x[:] = zero
        for j in range(0, weights.shape[1] - few, 4):  # four at a time, since x is read and written for each
            a, b, c, d = weights[i, j], weights[i, j + 1], weights[i, j + 2], weights[i, j + 3]
            A, B, C, D = (
                table[columns[i, j]],
                table[columns[i, j + 1]],
                table[columns[i, j + 2]],
                table[columns[i, j + 3]],
            )
            for k in range(len(x)):
                x[k] += a * A[k] + b * B[k] + c * C[k] + d * D[k]
        for j in range(weights.shape[1] - few, weights.shape[1]):
            a, A = weights[i, j], table[columns[i, j]]
            for k in range(len(x)):
                x[k] += a * A[k]
        total = sums[labels[i]]
        for k in range(len(x)):
            total[k] += max(x[k], zero)
