"""Rate of training beside another process that computes, and how long idle threads may spin before they sleep.

Each case trains in a process of its own, quiet and beside each neighbour in turn, so that a change of the machine falls on all.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Generator

import common

SPINS = {
    "as torch comes": {"GOMP_SPINCOUNT": "300000"},
    "interp": {},
    "always asleep": {"OMP_WAIT_POLICY": "PASSIVE"},
}
"""Environment of the training process by case. 300,000 turns are GNU OpenMP's own number where threads do not outnumber cores."""

NEIGHBOURS = {"nothing": None, "one thread": 1, "two threads": 2}
"""Threads of the other process: products of 512 × 512 matrices, torch as it comes."""

TRAINING = """
import time, sys, interp, torch
from interp.machine import keep_freed_memory
from interp.train.learner import Learner
keep_freed_memory()
torch.set_num_threads(2)
learner = Learner.make([interp.preset("nanda").config], "cpu")
for step in range(20):
    learner.update(step)
count, begin = 0, time.perf_counter()
while time.perf_counter() - begin < float(sys.argv[1]):
    learner.update(20 + count)
    count += 1
print(count / (time.perf_counter() - begin))
"""
NEIGHBOUR = """
import torch, sys
torch.set_num_threads(int(sys.argv[1]))
matrix = torch.randn(512, 512) / 23
while True:
    matrix = torch.tanh(matrix @ matrix)
"""


def rate(environment: dict[str, str], seconds: float) -> float:
    """Updates a second at p = 113 (preset nanda) on two threads, in a process of its own."""
    clean = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", TRAINING, str(seconds)],
        env=clean | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(ran.stdout)


@contextlib.contextmanager
def beside(threads: int | None) -> Generator[None]:
    """A neighbour of so many threads while the context lasts."""
    if threads is None:
        yield
        return
    clean = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    with subprocess.Popen([sys.executable, "-c", NEIGHBOUR, str(threads)], env=clean) as neighbour:
        time.sleep(4)  # until it has loaded torch
        try:
            yield
        finally:
            neighbour.kill()


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="turns of every case")
    parser.add_argument("--seconds", type=float, default=8, help="length of each")
    asked = parser.parse_args()
    rates: dict[tuple[str, str], list[float]] = {}
    for _ in range(asked.rounds):
        for neighbour, threads in NEIGHBOURS.items():
            with beside(threads):
                for case, environment in SPINS.items():
                    rates.setdefault((case, neighbour), []).append(rate(environment, asked.seconds))
    quiet = statistics.median(rates["as torch comes", "nothing"])
    rows = []
    for case in SPINS:
        cells = [case]
        for neighbour in NEIGHBOURS:
            each = rates[case, neighbour]
            middle = statistics.median(each)
            cells.append(f"{middle:.1f} ({min(each):.1f}–{max(each):.1f}), {middle / quiet:.0%}")
        rows.append(cells)
    common.write(
        "busy",
        f"updates a second at p = 113 on two threads, beside another process; median of {asked.rounds} turns of "
        f"{asked.seconds:g} s, range in brackets, and the share of the quiet rate of torch as it comes",
        ["idle threads", *(f"beside {neighbour}" for neighbour in NEIGHBOURS)],
        rows,
    )


if __name__ == "__main__":
    main()
