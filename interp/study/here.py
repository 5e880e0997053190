"""The place of a study that is this machine: so many processes at a time, each read by a thread."""

import heapq
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Protocol

from interp.base import UserError
from interp.config import RunConfig
from interp.machine import readable_size
from interp.study.process import Ended, Errand, Process
from interp.study.timing import Cost, one_process_has, timings
from interp.train.memory import refuse_too_much, training_bytes

MUCH_MEMORY = 2 << 30
"""Bytes from which the memory is told before steps are timed."""

Tell = Callable[[Errand, "str | Ended"], None]
"""What a place calls, from any thread, with a line of an errand's process, and with how it ended."""

Batches = Sequence[Sequence[RunConfig]]
"""Runs that train side by side, for each process."""


class Place(Protocol):
    """Where the processes of a study run. A context: on leaving it, nothing runs any more, unless it was left to."""

    threads: int
    """Threads of each process."""
    about: str
    """Where that is, in words: "this machine"."""
    patience: float
    """Seconds that a process there waits for a run to which another still writes, as one may of whose end nobody knows yet."""

    @property
    def slots(self) -> int:
        """Number of processes at a time, now."""
        ...

    @property
    def expected(self) -> int:
        """Number of processes at a time for which to plan."""
        ...

    def timings(self, batches: Batches, device: str, told: Callable[[str], None]) -> tuple[list[Cost], int, int]:
        """Cost of each batch there, number of kinds timed, number of kinds. `told` is told first what needs much memory.

        Raises UserError if the memory is too small.
        """
        ...

    def begin(self, errand: Errand, tell: Tell) -> None:
        """Begin an errand; how it goes is told by `tell`."""
        ...

    def look(self) -> list[str]:
        """What is new of the place, in sentences; UserError if it is gone."""
        ...

    def stop(self) -> None:
        """Ask every process to save and end."""
        ...

    def kill(self) -> None:
        """End every process."""
        ...

    def leave(self, rest: Sequence[Errand]) -> bool:
        """Let what runs go on without us, and `rest` after it, if that was asked for; returns whether it was."""
        ...

    def __enter__(self) -> "Place": ...

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


class Here:
    """This machine."""

    about = "this machine"
    patience = 0.0

    def __init__(self, processes: int | None = None, threads: int | None = None, device: str = "cpu"):
        """`processes` is by default one for each core, and one on a GPU; `threads` is cores ÷ processes."""
        refuse_less_than_one(processes=processes, threads=threads)
        cores = len(os.sched_getaffinity(0))
        if processes is None:
            processes = 1 if device != "cpu" else max(1, cores // (threads or 1))
        self.slots = self.expected = processes
        self.threads = threads or max(1, cores // processes)
        self._pool = ThreadPoolExecutor(processes)
        self._running: set[Process] = set()

    def __enter__(self) -> "Here":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pool.shutdown()

    def timings(self, batches: Batches, device: str, told: Callable[[str], None]) -> tuple[list[Cost], int, int]:
        """Cost of each batch, measured with the threads that a process has."""
        if device == "cpu":
            look_at_memory(batches, self.slots, told)
        with one_process_has(self.threads):
            return timings(batches, device)

    def begin(self, errand: Errand, tell: Tell) -> None:
        """Start a process for an errand."""
        process = Process(errand, self.threads)
        self._running.add(process)

        def read() -> None:
            try:
                ended = process.read(lambda line: tell(errand, line))
            except Exception as error:  # a fault of ours, which must not leave the errand without an end
                process.kill()
                ended = Ended(1, f"{type(error).__name__}: {error}", {})
            self._running.discard(process)
            tell(errand, ended)

        self._pool.submit(read)

    def look(self) -> list[str]:
        """Nothing: this machine is there."""
        return []

    def stop(self) -> None:
        """Ask every process to save and end."""
        for process in [*self._running]:
            process.stop()

    def kill(self) -> None:
        """End every process."""
        for process in [*self._running]:
            process.kill()

    def leave(self, rest: Sequence[Errand]) -> bool:
        """False: processes here end with the one that reads them."""
        return False


def refuse_less_than_one(**numbers: int | None) -> None:
    """Raise UserError for a number below 1, by its name."""
    for name, number in numbers.items():
        if number is not None and number < 1:
            raise UserError(f"{name} is {number}; it should be at least 1")


def look_at_memory(batches: Batches, processes: int, told: Callable[[str], None]) -> None:
    """Tell the memory of the largest batches that train at a time, if it is much; UserError if the machine has less."""
    largest = heapq.nlargest(processes, map(training_bytes, batches))
    needed = sum(largest)
    what = f"{len(largest)} process{'es' * (len(largest) != 1)}"
    refuse_too_much(needed, f"training in {what}", "take fewer --processes, a smaller --at-once, or mini-batches")
    if needed > MUCH_MEMORY:
        told(f"about {readable_size(needed)} of memory in {what}; timing a few steps")
