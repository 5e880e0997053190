"""A process of a study: started from nothing but the interpreter, given one line on its stdin, read to its end."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

MARK = "\x1e"
"""First character of a line that is an event: ASCII's record separator."""

STOPPED = 130
"""Exit code after SIGINT or SIGTERM, as in a shell."""

LOST = -1000
"""Code of a process of which nothing more is known: the worker of a cluster that had it is gone."""


THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Variables by which libraries know their threads. dask sets them to 1 for its workers, and torch heeds the second first."""


@dataclass(frozen=True)
class Errand:
    """What one process is to do."""

    name: str
    """What it is about, in words. No two errands of a study share one."""
    words: tuple[str, ...]
    """Words of its command line after the interpreter, such as ("-m", "interp.study.worker")."""
    order: str = ""
    """What it reads on its stdin."""
    place: str | None = None
    """Directory in which it works, if that matters."""


class Ended(NamedTuple):
    """How a process ended."""

    code: int
    """Exit code; below 0 the signal that killed it, or LOST."""
    word: str
    """Last line that it wrote for a person."""
    failed: dict[str, str]
    """Why runs failed, as it told: one sentence by name."""

    @property
    def died(self) -> bool:
        """Whether it was ended by somebody else."""
        return self.code < 0 or self.code == STOPPED

    @property
    def death(self) -> str:
        """How it was ended by somebody else, in words."""
        if self.code == LOST:
            return "its worker was lost"
        if self.code < 0:
            return f"its process was killed by {signal.Signals(-self.code).name}"
        return "its process was told to stop"


def event(line: str) -> dict[str, Any] | None:
    """The event that a line of a process' output holds; None if the line is for a person.

    `step` says how far its batch is. `failed` has a sentence for each run that failed, by name.
    """
    return json.loads(line[1:]) if line.startswith(MARK) else None


class Process:
    """A process with an errand. It is read by one thread; others may ask it to stop, or kill it."""

    def __init__(self, errand: Errand, threads: int):
        self.errand, self._asked = errand, False
        # In a group of its own: Ctrl-C in a terminal reaches only the engine, which passes it on once.
        self._process = subprocess.Popen(
            [sys.executable, *errand.words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=errand.place,
            start_new_session=True,
            env=os.environ | dict.fromkeys(THREADS, str(threads)),
        )

    def read(self, say: Callable[[str], None]) -> Ended:
        """Read the process to its end, with every line to `say`; returns how it ended."""
        last, failed = "its process ended without a word", dict[str, str]()
        with self._process as process:
            assert process.stdin is not None
            assert process.stdout is not None
            with suppress(BrokenPipeError):  # of a process that is dead already: its exit code tells more
                process.stdin.write(self.errand.order)
                process.stdin.close()
            for line in process.stdout:
                told = event(line)
                if told is None:
                    last = line.strip() or last
                else:
                    failed |= told.get("failed", {})
                say(line.rstrip("\n"))
        return Ended(process.returncode, last, failed)

    @property
    def over(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    def stop(self) -> None:
        """Ask the process to save and end. It is asked once: a second signal would not let it save."""
        if not self._asked:
            self._asked = True
            self._process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """End the process."""
        self._process.kill()
