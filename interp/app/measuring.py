"""Measurements for the live page: kept ones at once, others in a process of their own, one after another."""

import multiprocessing
import threading
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

from interp import analyze, kept
from interp.base import UserError
from interp.store import Run, open_run
from interp.store.layout import HISTORY
from interp.views import watched

if TYPE_CHECKING:
    from collections.abc import Generator

    import plotly.graph_objects as go
    import xarray as xr

MOST = 16
"""Measurements that are held in memory."""


class Asked(NamedTuple):
    """An analysis of a run."""

    path: Path
    name: str


class Held(NamedTuple):
    """A measurement with its figure."""

    of: object
    """What it was made from, as far as a look at the run tells: its checkpoints, or the size and time of its history."""
    found: "xr.Dataset"
    figure: "go.Figure"


@dataclass
class State:
    """How far a measurement is that was asked for."""

    done: int = 0
    total: int = 0
    trouble: str = ""
    """Why it could not be made, in a sentence."""


@dataclass
class Measurements:
    """Measurements that the page shows, and the one that is being made."""

    states: dict[Asked, State] = field(default_factory=dict)
    """Those that were asked for and are not there yet, or failed."""
    _held: dict[Asked, Held] = field(default_factory=dict)
    _looked: dict[Asked, object] = field(default_factory=dict)
    """What a run had when it was last looked whether a measurement is kept."""
    _queue: "SimpleQueue[Asked]" = field(default_factory=SimpleQueue)
    _thread: threading.Thread | None = None

    def of(self, path: Path, name: str) -> Held | None:
        """The measurement if it is there: of the history as it is now; of weights as held, or as kept beside the run."""
        asked, run = Asked(path, name), open_run(path)
        held, now = self._held.get(asked), stamp(run, name)
        if held is not None and held.of == now:
            return held
        if not analyze.ANALYSES.find(name).view.reads_weights:
            return self.hold(asked, now, analyze.measure(run, name))
        if (
            self._looked.get(asked) == now
        ):  # to tell whether what is kept is still so takes the digest of every checkpoint
            return held
        found, self._looked[asked] = kept.known(run, name), now
        return held if found is None else self.hold(asked, now, found)

    def held(self, path: Path, name: str) -> Held | None:
        """The measurement that is shown, without a look at the run."""
        return self._held.get(Asked(path, name))

    def hold(self, asked: Asked, now: object, found: "xr.Dataset") -> Held:
        """Hold a measurement in memory; the one that was asked for first goes."""
        self._held[asked] = held = Held(now, found, analyze.draw(found))
        for older in list(self._held)[:-MOST]:
            del self._held[older]
        return held

    def is_of_all(self, path: Path, name: str) -> bool:
        """Whether what is held is of everything that the run has now."""
        held = self._held.get(Asked(path, name))
        return held is None or held.of == stamp(open_run(path), name)

    def ask(self, path: Path, name: str) -> None:
        """Measure it as soon as those that were asked for before are done; nothing if it is asked for already."""
        asked = Asked(path, name)
        if asked in self.states and not self.states[asked].trouble:
            return
        self.states[asked] = State()
        self._queue.put(asked)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, daemon=True)
            self._thread.start()

    def _work(self) -> None:
        """Make what was asked for, one after another, for as long as the page is served."""
        while True:
            asked = self._queue.get()
            state = self.states[asked]
            run = open_run(asked.path)
            found = in_a_process(asked, lambda done, total, state=state: vars(state).update(done=done, total=total))
            if isinstance(found, str):
                state.trouble = found
            else:
                self.hold(asked, stamp(run, asked.name), found)
                del self.states[asked]


def stamp(run: Run, name: str) -> object:
    """What a measurement of the run would be made from, as far as a look at its files tells."""
    if analyze.ANALYSES.find(name).view.reads_weights:
        return run.steps
    history = run.path / HISTORY
    state = history.stat() if history.exists() else None
    return state and (state.st_mtime_ns, state.st_size)


def in_a_process(asked: Asked, watcher: Callable[[int, int], None]) -> "xr.Dataset | str":
    """The measurement, made in another process so that the page goes on to answer; a sentence if it could not be made."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=measured, args=(asked.path, asked.name, there), daemon=True)
    process.start()
    there.close()
    try:
        while True:
            kind, value = here.recv()
            if kind == "done":
                watcher(*value)
                continue
            process.join()
            return value
    except EOFError:
        process.join()
        return f"measuring ended without a result (exit code {process.exitcode}); python -m interp.analyze says why"


def measured(path: Path, name: str, pipe: Any) -> None:
    """Measure in this process, and send how far it is, and then the measurement or a sentence."""

    @contextmanager
    def telling() -> "Generator[None]":
        with watched.by(lambda done, total: pipe.send(("done", (done, total)))):
            yield

    try:
        pipe.send(("found", kept.measure(open_run(path), name, shown=telling).found))
    except UserError as error:
        pipe.send(("trouble", str(error)))
