"""What a study does on a machine of a cluster: it starts processes there and passes on what they say.

A task runs in a thread of a dask worker, where no signal arrives and where an exception may not survive the way back. So
training has a process of its own, as on one machine, and what comes back are plain values.
"""

import asyncio
import platform
import threading
import time

from distributed import get_worker

from interp.study.heard import STUDIES, Study
from interp.study.process import STOPPED, Ended, Errand, Process, event

SECONDS_BETWEEN = 1.0
"""Least seconds between two events that say how far a process is: a scheduler hears hundreds of them."""


def relay(
    study: str, key: str, errand: tuple[str, tuple[str, ...], str, str | None], threads: int, patience: float
) -> Ended:
    """Do an errand in a process on this machine, with its lines as events for the client; returns how it ended.

    If the client is not heard of for `patience` seconds the process saves and ends.
    """
    known, worker = STUDIES.setdefault(study, Study()), get_worker()
    if known.halted:
        return Ended(STOPPED, "its study was stopped", {})
    known.heard = time.monotonic()  # an order is a word from the client too
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
        return Ended(1, f"no process could be started on {platform.node()}: {error}", {})
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


async def timed(order: str, threads: int) -> tuple[Ended, list[str], str]:
    """How the process ended that times steps, its lines, and the name of this machine. Takes no thread of a worker's."""
    lines: list[str] = []
    process = Process(Errand("timing", ("-m", "interp.study.timer"), order), threads)
    return await asyncio.to_thread(process.read, lines.append), lines, platform.node()
