"""What training costs on this machine now: some batches are timed, and others are placed between them by their work."""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch

from interp.config import RunConfig
from interp.machine import keep_freed_memory
from interp.store.layout import checkpoint_header
from interp.store.tensors import packed
from interp.train.learner import Learner, together

SECONDS_TO_TIME = 4.0
"""Seconds that all timing of steps may take, about, however many runs there are."""

SECONDS_A_KIND = 0.4
"""Seconds of timing for one kind of runs, about."""

Batch = Sequence[RunConfig]
"""Runs that train side by side."""


class Cost(NamedTuple):
    """Seconds that a batch takes: for one update, for a row of the history of each run, for packing a checkpoint of each run."""

    update: float
    rows: float
    checkpoint: float


def timings(batches: Sequence[Batch], device: str) -> tuple[list[Cost], int, int]:
    """Cost of each batch, number of kinds that were timed, number of kinds that there are.

    The largest batch of each kind stands for it. Of each family, networks with the same tensors, the kinds of most and of least
    work are timed first and then those between, until the time is up. A batch of a timed kind costs as much for its work.
    One of another kind costs what lies between the timed ones of less and of more work.
    """
    kinds: dict[str, Batch] = {}
    for batch in sorted(batches, key=work, reverse=True):
        kinds.setdefault(together(batch[0]), batch)
    timed_kinds: dict[str, Timed] = {}
    began = time.monotonic()
    for kind in in_turn(kinds):
        if not timed_kinds or time.monotonic() - began < SECONDS_TO_TIME:
            timed_kinds[kind] = Timed(family(kinds[kind]), work(kinds[kind]), timed(kinds[kind], device))
    found: list[Cost] = []
    for batch in batches:
        own = timed_kinds.get(together(batch[0]))
        alike = [each for each in timed_kinds.values() if each.family == family(batch)]
        found.append(between([own] if own else alike or list(timed_kinds.values())[:1], work(batch)))
    return found, len(timed_kinds), len(kinds)


def family(batch: Batch) -> tuple[str, ...]:
    """Names of the tensors of a batch's networks: work is compared within one architecture."""
    return tuple(batch[0].model.tensors(batch[0].task.shape))


class Timed(NamedTuple):
    """A batch that was timed."""

    family: tuple[str, ...]
    work: int
    cost: Cost


def in_turn(kinds: dict[str, Batch]) -> list[str]:
    """The kinds in the order of timing: of each family the one of most work, then of least, then halfway, and so on."""
    families: dict[tuple[str, ...], list[str]] = {}
    for kind, batch in kinds.items():
        families.setdefault(family(batch), []).append(kind)
    ordered = [[each[place] for place in halving(len(each))] for each in families.values()]
    return [each[turn] for turn in range(max(map(len, ordered), default=0)) for each in ordered if turn < len(each)]


def halving(n: int) -> list[int]:
    """Places 0 … n − 1 in an order that has the ends first, and then always the middle of a gap."""
    found, gaps = sorted({0, n - 1}, key=lambda place: place > 0), [(0, n - 1)]
    for low, high in gaps:
        middle = (low + high) // 2
        if low < middle < high:
            found.append(middle)
            gaps += [(low, middle), (middle, high)]
    return found


def between(known: Sequence[Timed], amount: int) -> Cost:
    """Cost of so much work: between the costs of less and of more work on logarithmic axes, beyond them in proportion."""
    points = sorted({each.work: each.cost for each in known}.items())
    works, costs = np.array([each for each, _ in points], dtype=float), np.array([cost for _, cost in points])
    inside = float(np.clip(amount, works[0], works[-1]))
    part = [np.exp(np.interp(np.log(inside), np.log(works), np.log(np.maximum(each, 1e-12)))) for each in costs.T]
    return Cost(*(float(each) * amount / inside for each in part))


def work(batch: Batch) -> int:
    """Work of one update: prompts times numbers of the network, summed over the runs."""
    size, total = batch[0].train.batch_size, 0
    for config in batch:
        examples = config.task.n_train if size == "full" else min(size, config.task.n_train)
        numbers = sum(int(np.prod(each)) for each in config.model.tensor_shapes(config.task.shape).values())
        total += examples * numbers
    return total


def timed(configs: Batch, device: str) -> Cost:
    """Measured cost of training these runs side by side: a few real steps in memory, after a warm-up."""

    def lasts(act: Callable[[int], object], at_most: int = 100) -> float:
        act(0)
        began, done = time.monotonic(), 0
        while done < 2 or (done < at_most and time.monotonic() - began < SECONDS_A_KIND / 3):
            act(done)
            done += 1
        if device != "cpu":
            torch.cuda.synchronize()
        return (time.monotonic() - began) / done

    def pack(step: int) -> None:
        for run, config in enumerate(configs):
            packed(learner.parameters(run), checkpoint_header(config.digest, step))

    learner = Learner.make(configs, device)
    return Cost(lasts(learner.update), lasts(learner.rows), lasts(pack))


@contextmanager
def one_process_has(threads: int) -> Generator[None]:
    """A context in which torch has `threads` threads, and keeps memory as in training."""
    before = torch.get_num_threads()
    keep_freed_memory()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
