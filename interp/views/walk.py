"""Walks over checkpoints in bounded memory: a measure of weights at every one of them, several chunks at a time."""

import math
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from interp.base import UserError
from interp.denormals import flushed
from interp.machine import give_back_freed_memory, keep_freed_memory, readable_size
from interp.store import Run
from interp.store.tensors import Tensors
from interp.views import watched

Value = TypeVar("Value")

CHUNK = 1 << 23
"""Bytes of weights in a chunk, at most: larger ones leave the processor's cache and are no faster."""


def over_checkpoints(
    run: Run,
    measure: Callable[[Tensors], Mapping[str, Tensor]],
    *,
    each: int,
    beside: int = 0,
    names: Callable[[str], bool] = lambda name: True,
    at_most: int | None = None,
) -> dict[str, np.ndarray]:
    """Apply `measure` to the weights of all checkpoints in view, stacked along a leading step axis.

    `measure` receives a chunk of checkpoints (`at_most` so many) and returns named tensors with the same leading axis,
    which are joined; only weights whose name passes `names` are read. Beside twice those, a checkpoint takes `each` bytes
    at work, and a chunk takes `beside` more, however small. Several chunks are measured at a time, each on one thread,
    while all of them fit into the run's memory.
    """
    keep_freed_memory()
    run = run.with_checkpoints()
    size = bytes_read(run, names)
    workers, chunk = shares(run, 2 * size + each, beside, at_most or CHUNK // size)
    views = [replace(run, steps=run.steps[begin : begin + chunk]) for begin in range(0, len(run), chunk)]

    def measured(view: Run) -> Mapping[str, Tensor]:
        """Results of one chunk."""
        with torch.inference_mode():  # a property of the thread
            return measure(view.stacked(names))

    parts: list[Mapping[str, Tensor]] = []
    with single_threads() as initialise, ThreadPoolExecutor(workers, initializer=initialise) as pool:
        try:
            for part in pool.map(measured, views):
                parts.append(part)
                watched.tell(sum(len(next(iter(each.values()))) for each in parts), len(run))
        except BaseException:  # a Ctrl-C or a damaged file: do not measure the rest first
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    give_back_freed_memory()
    return {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}


def each_checkpoint(
    run: Run, measure: Callable[[Tensors], Mapping[str, Tensor | float]], *, needs: int
) -> dict[str, np.ndarray]:
    """Apply `measure` to one checkpoint at a time, which takes `needs` bytes at work; [step, …] of what it returns.

    For measures of the activations over a whole table, which are large beside the weights.
    """

    def measured(stack: Tensors) -> dict[str, Tensor]:
        """Results of a chunk of one checkpoint."""
        found = measure({name: tensor[0] for name, tensor in stack.items()})
        return {name: torch.as_tensor(value, dtype=wide(value))[None] for name, value in found.items()}

    return over_checkpoints(run, measured, each=needs, at_most=1)


def wide(value: Tensor | float) -> torch.dtype:
    """What a result is kept in: numbers in float64, counts and answers to yes-or-no questions as they are."""
    return value.dtype if isinstance(value, Tensor) and not value.is_floating_point() else torch.float64


def bytes_read(run: Run, names: Callable[[str], bool] = lambda name: True) -> int:
    """Bytes of the weights of one checkpoint whose name passes `names`."""
    return 4 * sum(math.prod(shape) for name, shape in run.tensor_shapes.items() if names(name))


def needs_memory(run: Run, needed: int) -> None:
    """UserError when the least that measuring takes is more than the run's memory."""
    if run.memory < needed:
        raise UserError(
            f"--memory is {readable_size(run.memory)}; measuring {run.path} takes at least {readable_size(needed)}"
        )


def shares(run: Run, each: int, beside: int, at_most: int) -> tuple[int, int]:
    """How many chunks to measure at a time, and of how many checkpoints, in the run's memory."""
    needs_memory(run, each + beside)
    workers = min(torch.get_num_threads(), run.memory // (each + beside), len(run))
    fitting = (run.memory // workers - beside) // each
    return workers, max(1, min(fitting, at_most, -(-len(run) // workers)))


@contextmanager
def single_threads() -> Generator[Callable[[], None]]:
    """Within, torch computes on one thread, and denormals are 0; yields what a new thread calls for the first of these.

    Many small decompositions gain nothing from the threads of a single one, and all from standing side by side.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with flushed():
            yield lambda: torch.set_num_threads(1)
    finally:
        torch.set_num_threads(before)


def evenly(run: Run, at_most: int) -> Run:
    """The run with at most so many of its checkpoints in view, evenly spread, the last one among them."""
    chosen = np.unique(np.linspace(len(run) - 1, 0, min(at_most, len(run))).round().astype(int))
    return replace(run, steps=tuple(run.steps[index] for index in chosen))


def beforehand(work: Callable[[], Value]) -> Value:
    """What is found out before checkpoints are measured, on one thread under inference mode as they are.

    What it frees is given back: it would stay with its thread, and seldom goes to a later one.
    """
    keep_freed_memory()

    def worked() -> Value:
        """Inference mode is a property of the thread."""
        with torch.inference_mode():
            return work()

    with single_threads() as initialise, ThreadPoolExecutor(1, initializer=initialise) as pool:
        value = pool.submit(worked).result()
    give_back_freed_memory()
    return value
