"""How far measuring has come: a bar in a terminal, a plain line every few seconds elsewhere; on stderr, not stdout."""

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar

from interp import bars

Watcher = Callable[[int, int], None]
"""Told how many checkpoints are measured, of how many."""

_WATCHER: ContextVar[Watcher] = ContextVar("watcher", default=lambda done, total: None)

SECONDS = 5.0
"""Between two plain lines."""


def tell(done: int, total: int) -> None:
    """So many checkpoints are measured: shown where someone watches, silent as a library."""
    _WATCHER.get()(done, total)


@contextmanager
def shown(name: str) -> Generator[None]:
    """Show what is told meanwhile, under the name of an analysis."""
    with bar(name) if sys.stderr.isatty() else lines(name) as watcher, by(watcher):
        yield


@contextmanager
def by(watcher: Watcher) -> Generator[None]:
    """Have a function told meanwhile how far measuring is."""
    token = _WATCHER.set(watcher)
    try:
        yield
    finally:
        _WATCHER.reset(token)


@contextmanager
def bar(name: str) -> Generator[Watcher]:
    """A bar with the checkpoints done and the time left, gone when all are."""
    with bars.bar(*bars.LEFT, gone=True) as progress:
        task = progress.add_task(f"measuring {name}", total=None)

        def watch(done: int, total: int) -> None:
            description = f"measuring {name}: {done}/{total} checkpoints"
            progress.update(task, completed=done, total=total, description=description)

        yield watch


@contextmanager
def lines(name: str) -> Generator[Watcher]:
    """A line at the beginning, and one every few seconds when it takes longer."""
    began = last = time.monotonic()
    print(f"measuring {name}", file=sys.stderr)

    def watch(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= SECONDS and done < total:
            left = (now - began) / done * (total - done)
            print(f"measuring {name}: {done} of {total} checkpoints, {left:.0f} s left", file=sys.stderr)
            last = now

    yield watch
