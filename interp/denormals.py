"""Numbers that are too small for the usual form of a float (below 1.2e-38 in float32), taken as 0 while networks are trained.

A network that is certain of its training set has gradients of which many are that small. Intel's processors take some hundred
times as long for each, so that a step takes three to four times as long from memorising on (benchmarks/denormals.py).
"""

import ctypes
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any


@contextmanager
def flushed() -> Generator[None]:
    """A region in which such numbers are 0: for this thread, those that it starts, and those of torch's pool."""
    before = are_zero()
    set_everywhere(True)
    try:
        yield
    finally:
        set_everywhere(before)


def are_zero() -> bool:
    """Whether such numbers are 0 in this thread; torch can set that and not tell it."""
    smallest = 2.0**-1022  # of the usual form, in float64
    return smallest / 2 == 0


def set_everywhere(on: bool) -> None:
    """Set whether they are 0 in this thread, and in all others of OpenMP's pool, where GNU's is torch's.

    The processor keeps the setting by thread. Those of the pool have that of the thread which started them, and torch alone would
    change this one's, so that the parts of one tensor would differ.
    """
    import torch

    torch.set_flush_denormal(on)
    runtime = openmp()
    if runtime is not None and torch.get_num_threads() > 1:
        called = CALLED(lambda _: torch.set_flush_denormal(on))
        runtime.GOMP_parallel(called, None, torch.get_num_threads(), 0)


CALLED = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
"""Type of what OpenMP calls in every thread."""


@cache
def openmp() -> Any:
    """GNU's OpenMP runtime that came with torch and is loaded; None if another one is."""
    import torch

    own, maps = Path(torch.__file__).resolve().parent, Path("/proc/self/maps")  # which has no links
    if not maps.exists():
        return None
    files = {line.split(maxsplit=5)[-1] for line in maps.read_text().splitlines() if "libgomp" in line}
    found = sorted(
        file for file in files if own in Path(file).parents or own.parent / "torch.libs" in Path(file).parents
    )
    return ctypes.CDLL(found[0]) if found else None
