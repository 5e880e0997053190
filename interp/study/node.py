"""What a study does on a machine of a cluster: it starts processes there, passes on what they say, and knows who asked for them.

A task runs in a thread of a dask worker, where no signal arrives and where an exception may not survive the way back. So
training has a process of its own, as on one machine, and what comes back are plain values.
"""

import platform
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from distributed import get_worker

from interp.base import UserError
from interp.config import RunConfig
from interp.study.here import look_at_memory
from interp.study.process import STOPPED, Ended, Errand, Process, event
from interp.study.timing import Cost, one_process_has, timings

SECONDS_BETWEEN = 1.0
"""Least seconds between two events that say how far a process is: a scheduler hears hundreds of them."""


@dataclass
class Study:
    """A study as this worker knows it."""

    heard: float = field(default_factory=time.monotonic)
    """When its client was last heard of."""
    halted: bool = False
    processes: set[Process] = field(default_factory=set)


STUDIES: dict[str, Study] = {}
"""Studies that this worker has heard of."""


def hear(study: str) -> bool:
    """Take note that the client of a study is there; returns whether it was known."""
    before, known = study in STUDIES, STUDIES.setdefault(study, Study())
    known.heard, known.halted = time.monotonic(), False
    return before


def halt(study: str, kill: bool) -> None:
    """Ask the processes of a study to save and end, those that are still to start too; or end them."""
    known = STUDIES.setdefault(study, Study())
    known.halted = True
    for process in [*known.processes]:
        process.kill() if kill else process.stop()


def relay(
    study: str, key: str, errand: tuple[str, tuple[str, ...], str, str | None], threads: int, patience: float
) -> Ended:
    """Do an errand in a process on this machine, with its lines as events for the client; returns how it ended.

    If the client is not heard of for `patience` seconds the process saves and ends.
    """
    known, worker = STUDIES.setdefault(study, Study()), get_worker()
    if known.halted:
        return Ended(STOPPED, "its study was stopped", {})
    last = 0.0

    def say(line: str) -> None:
        nonlocal last
        told = event(line)
        if told is not None and "step" in told and time.monotonic() - last < SECONDS_BETWEEN:
            return
        last = time.monotonic()
        worker.log_event(topic(study), [key, line])

    try:
        process = Process(Errand(*errand), threads)
    except OSError as error:  # such as too many processes; exceptions of some libraries cannot be sent at all
        return Ended(1, f"no process could be started on {worker.address}: {error}", {})
    known.processes.add(process)
    threading.Thread(target=watch, args=(known, process, patience), daemon=True).start()
    try:
        return process.read(say)
    finally:
        known.processes.discard(process)


def watch(study: Study, process: Process, patience: float) -> None:
    """Ask a process to save and end once its study is halted, or its client has not been heard of for so long."""
    while not process.over:
        if study.halted or time.monotonic() - study.heard > patience:
            process.stop()
        time.sleep(0.5)


def topic(study: str) -> str:
    """Topic of the events of a study."""
    return f"interp-{study}"


def timed_here(
    batches: list[list[dict[str, Any]]], device: str, threads: int, processes: int
) -> tuple[list[Cost], int, int, list[str], str] | str:
    """Cost of each batch on this machine, number of kinds timed, number of kinds, words on the memory, and the machine's name.

    A sentence in their place if the memory is too small for so many processes.
    """
    runs, words = [[RunConfig(**fields) for fields in batch] for batch in batches], list[str]()
    try:
        if device == "cpu":
            look_at_memory(runs, processes, words.append)
        with one_process_has(threads):
            return *timings(runs, device), words, platform.node()
    except UserError as error:
        return f"on {platform.node()}: {error}"
