"""What a worker of a cluster knows of the studies whose clients it has heard of, and the processes that it runs for them.

Nothing heavy is imported here: a worker is asked in its event loop.
"""

import time
from dataclasses import dataclass, field
from typing import Protocol


class Stoppable(Protocol):
    """A process that can be asked to save and end, or be ended."""

    def stop(self) -> None:
        """Ask it to save and end."""

    def kill(self) -> None:
        """End it."""


@dataclass
class Study:
    """A study as this worker knows it."""

    heard: float = field(default_factory=time.monotonic)
    """When its client was last heard of."""
    halted: bool = False
    processes: set[Stoppable] = field(default_factory=set)


STUDIES: dict[str, Study] = {}
"""Studies that this worker has heard of."""


def hear(study: str, threads: int, dask_worker: object) -> int:
    """Take note that the client of a study is there; returns the number of processes of so many threads that there is room for.

    That is 0 where dask has paused the worker.
    """
    known = STUDIES.setdefault(study, Study())
    known.heard, known.halted = time.monotonic(), False
    status, state = getattr(dask_worker, "status", None), getattr(dask_worker, "state", None)
    running = getattr(status, "name", "running") == "running"
    return getattr(state, "nthreads", 0) // threads if running else 0


def halt(study: str, kill: bool) -> None:
    """Ask the processes of a study to save and end, those that are still to start too; or end them."""
    known = STUDIES.setdefault(study, Study())
    known.halted = True
    for process in [*known.processes]:
        process.kill() if kill else process.stop()
