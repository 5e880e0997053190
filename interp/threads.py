"""How long torch's idle threads spin. Imports the standard library alone, because `import interp` runs it."""

import os
import sys

SPINS = "1000"
"""Turns that an idle thread waits before it sleeps: some microseconds, as long as the gaps within an update."""


def share_the_processor() -> None:
    """Let torch's idle threads sleep soon. Changes no result; does nothing once torch is imported, or where it is set already.

    A thread that is done spins until the others are. GNU OpenMP's own 300,000 turns take the cores from every other process, and
    from the thread that all are waiting for (benchmarks/busy.py).
    """
    if "torch" not in sys.modules and "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
