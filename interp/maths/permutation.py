"""Permutation tests of whether runs in one setting come later than in another, of runs that may be censored.

What is counted are pairs of runs in different settings: those of which it is known that the later setting's run comes later,
less those of which it is known that it comes earlier (Gehan 1965, doi 10.2307/2333825; without censored runs this is the
statistic of Mann and Whitney, of ordered settings that of Jonckheere and Terpstra). Its distribution is that over all ways
to deal the settings to the runs, within strata. So p is exact at any number of runs, also with ties.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float, Int

Stratum = tuple[Int[np.ndarray, "run run"], Int[np.ndarray, " run"]]
"""Runs among which settings are dealt: which is known to come later, and the number of each run's setting, 0, 1, …"""

Ways = dict[int, int]
"""Numbers of ways to deal the settings, by the statistic that they give."""


@dataclass(frozen=True)
class Verdict:
    """What a permutation test says."""

    statistic: int
    """Pairs of which it is known that the run of the later setting comes later, less those where it comes earlier."""
    pairs: int
    """Pairs of runs in different settings."""
    p: float
    """Share of the ways to deal the settings that give a statistic at least as far from 0."""
    p_error: float
    """Standard error of p by the draws; 0 if all ways were counted."""
    least_p: float
    """Smallest p that so many runs can give, in any order without ties: 2 ÷ the number of ways."""


def later(values: Float[np.ndarray, " run"], until: Float[np.ndarray, " run"]) -> Int[np.ndarray, "run run"]:
    """1 where the run of the row is known to come after that of the column, −1 where before, 0 where equal or not known.

    A run without a value (NaN) comes after each run that has arrived by the step `until` which it was watched; of others
    nothing is known. The permutations are exact if runs of all settings were watched for as long.
    """
    arrived = ~np.isnan(values)
    step = np.where(arrived, values, until)
    passed = np.where(arrived[:, None], step[:, None] > step, step[:, None] >= step) & arrived
    return passed.astype(int) - passed.T.astype(int)


def counted(order: Int[np.ndarray, "run run"], labels: Int[np.ndarray, "way run"]) -> Int[np.ndarray, " way"]:
    """The statistic of each way to deal the settings: pairs whose later setting comes later, less those where earlier."""
    total = np.zeros(len(labels), dtype=int)
    for setting in np.unique(labels)[:-1]:
        here, above = (labels == setting).astype(int), (labels > setting).astype(int)
        total += ((above @ order) * here).sum(axis=1)
    return total


def ways_of_two(order: Int[np.ndarray, "run run"], labels: Bool[np.ndarray, " run"]) -> Ways:
    """Ways to deal two settings by their statistic, without listing them: pairs within a setting cancel, so it is a sum of
    scores over the runs of the second, and numbers of sets with one sum add up run by run."""
    found = [Counter({0: 1}), *(Counter[int]() for _ in range(int(labels.sum())))]
    for score in order.sum(axis=1).tolist():
        for size in range(len(found) - 1, 0, -1):
            for total, number in found[size - 1].items():
                found[size][total + score] += number
    return dict(found[-1])


def dealt(numbers: Sequence[int], free: tuple[int, ...]) -> Iterator[dict[int, int]]:
    """Every way to deal settings to the runs `free`, `numbers` of them each; a setting by run."""
    if len(numbers) == 1:
        yield dict.fromkeys(free, 0)
        return
    for chosen in combinations(free, numbers[-1]):
        rest = tuple(run for run in free if run not in chosen)
        for way in dealt(numbers[:-1], rest):
            yield way | dict.fromkeys(chosen, len(numbers) - 1)


def number_of_ways(labels: Int[np.ndarray, " run"]) -> int:
    """Number of ways to deal the settings to the runs."""
    return math.factorial(len(labels)) // math.prod(math.factorial(number) for number in np.bincount(labels).tolist())


def ways(order: Int[np.ndarray, "run run"], labels: Int[np.ndarray, " run"]) -> Ways:
    """Ways to deal the settings to the runs of one stratum by their statistic, all of them."""
    numbers = np.bincount(labels).tolist()
    if len(numbers) == 2:
        return ways_of_two(order, labels == 1)
    every = [[way[run] for run in range(len(labels))] for way in dealt(numbers, tuple(range(len(labels))))]
    return dict(Counter(counted(order, np.array(every)).tolist()))


def together(strata: Iterable[Ways]) -> Ways:
    """Ways of all strata by the sum of their statistics."""
    found = {0: 1}
    for each in strata:
        sums = Counter[int]()
        for one, number in found.items():
            for other, times in each.items():
                sums[one + other] += number * times
        found = dict(sums)
    return found


def permuted(strata: Sequence[Stratum], limit: int = 100_000, draws: int = 100_000, seed: int = 0) -> Verdict:
    """Two-sided permutation test over strata; exact of two settings, and of several up to `limit` ways in a stratum.

    Beyond, settings are dealt at random `draws` times, with this seed; p counts the order that was found as one of them.
    """
    statistic = sum(int(counted(order, labels[None])[0]) for order, labels in strata)
    numbers = [number_of_ways(labels) for _, labels in strata]
    least = min(1.0, 2 / math.prod(numbers))
    pairs = sum((len(labels) ** 2 - int((np.bincount(labels) ** 2).sum())) // 2 for _, labels in strata)
    if all(number <= limit or labels.max() == 1 for number, (_, labels) in zip(numbers, strata, strict=True)):
        found = together(ways(order, labels) for order, labels in strata)
        far = sum(number for sums, number in found.items() if abs(sums) >= abs(statistic))
        return Verdict(statistic, pairs, far / sum(found.values()), 0.0, least)
    rng = np.random.default_rng(seed)
    sums = np.zeros(draws, dtype=int)
    for order, labels in strata:
        sums += counted(order, rng.permuted(np.tile(labels, (draws, 1)), axis=1))
    p = float(1 + (abs(sums) >= abs(statistic)).sum()) / (1 + draws)
    return Verdict(statistic, pairs, p, math.sqrt(p * (1 - p) / draws), least)


def holm(p: Float[np.ndarray, " test"]) -> Float[np.ndarray, " test"]:
    """Holm's corrected p: whatever of the tests is below α then, the chance of one false among them is at most α."""
    order = np.argsort(p)
    steps = np.maximum.accumulate(np.arange(len(p), 0, -1) * p[order])
    return np.minimum(1, steps)[np.argsort(order)]
