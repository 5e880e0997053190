"""What it costs to train many runs in processes, here and in a cluster: per job, by number of workers, and for 10,000 jobs.

    python benchmarks/grid.py          # writes benchmarks/results/grid.md; about ten minutes on a quiet machine

Three tables. What a job costs beyond its training: a process that does nothing, a run of one update. How well 1, 2, 4 and 8
workers of one thread share a grid out, against one process that trains it: runs of one size, each a job of its own. And how long
dask and the study's own policy take to hand 10,000 jobs over, where each takes no time and where each takes a second of sleep in
place of training: what is then lost is the cluster's.
"""

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import common
from distributed import LocalCluster

import interp.study.node as node
from interp.config import RunConfig
from interp.models import TransformerSpec
from interp.recipe import TrainConfig
from interp.study.cluster import Cluster
from interp.study.engine import run_all
from interp.study.grid import grid
from interp.study.here import Here
from interp.study.ongoing import do_all
from interp.study.process import Ended, Errand
from interp.tasks import ModularTask

ROUNDS = 5
RUNS, STEPS = 8, 3_000
WORKERS = (1, 2, 4, 8)
JOBS, SLOTS = 10_000, (64, 256)


def config(steps: int) -> RunConfig:
    """A run mod 23 that saves its end alone."""
    return RunConfig(
        task=ModularTask(p=23, train_fraction=0.5),
        model=TransformerSpec(d_model=32, n_heads=2, d_head=16, d_mlp=64),
        train=TrainConfig(steps=steps, checkpoint_every=max(1, steps), log_every=max(1, steps // 10)),
    )


def do(place: Any, errands: list[Errand]) -> None:
    """Have a place do errands."""
    with place:
        ended: list[Ended] = []
        do_all(errands, place, nothing, lambda _, how: ended.append(how), lambda _: None, nothing)
        assert not any(each.code for each in ended), ended[0]
        assert len(ended) == len(errands)


def nothing(*_: object) -> None:
    """Do nothing."""


def of_a_job() -> list[list[str]]:
    """Rows: seconds of a job by what it does, on this machine and in a cluster on it."""
    idle, torch = ("-c", "pass"), ("-c", "import torch")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)

        def place(kind: str) -> Any:
            return Here(1, 1) if kind == "here" else Cluster("local:1", home, None, 1)

        cases: dict[str, Callable[[], object]] = {
            f"{what}, {kind}": lambda words=words, kind=kind: do(
                place(kind), [Errand(str(n), words) for n in range(10)]
            )
            for what, words in {"a process that does nothing": idle, "one that loads torch": torch}.items()
            for kind in ("here", "local:1")
        }
        opened: dict[str, Callable[[], object]] = {
            f"no job, {kind}": lambda kind=kind: do(place(kind), []) for kind in ("here", "local:1")
        }
        seconds = common.interleaved(cases | opened, ROUNDS, warm_up=1)
    rows = []
    for name, times in seconds.items():
        kind = name.rsplit(", ", 1)[1]
        alone = sorted(seconds[f"no job, {kind}"])[ROUNDS // 2]
        each = [(value - alone) / 10 for value in times] if not name.startswith("no job") else times
        rows.append([name, common.spread(each, "ms")])
    return rows


def by_workers() -> list[list[str]]:
    """Rows: seconds of a grid whose runs are jobs of their own, by number of workers, and efficiency against one process."""

    def train(on: str | None) -> None:
        with tempfile.TemporaryDirectory() as folder:
            run_all(grid(config(STEPS), seeds=RUNS), folder, processes=None if on else 1, on=on, threads=1, at_once=1)

    cases = {"one process, one after another": lambda: train(None)}
    cases |= {f"local:{number}": lambda number=number: train(f"local:{number}") for number in WORKERS}
    seconds = common.interleaved(cases, 3, warm_up=0)
    first = seconds["one process, one after another"]
    rows = []
    for name, times in seconds.items():
        number = int(name.partition(":")[2] or 1)
        cores = min(number, 2)
        rows.append(
            [
                name,
                common.spread(times, "s"),
                f"{common.ratio(first, times):.2f}",
                f"{common.ratio(first, times) / cores:.0%}",
            ]
        )
    return rows


class Sleeper:
    """A process that is none: it sleeps."""

    seconds = 0.0
    over = True

    def __init__(self, errand: Errand, threads: int):
        pass

    def read(self, say: Callable[[str], None]) -> Ended:
        """Sleep, and end well."""
        time.sleep(self.seconds)
        return Ended(0, "", {})

    def stop(self) -> None:
        """Do nothing."""


def by_the_thousand() -> list[list[str]]:
    """Rows: jobs a second that a scheduler hands over, and what is lost of the time of so many slots."""
    real: Any = node.Process
    node.Process = Sleeper  # type: ignore[misc, assignment]
    rows = []
    try:
        for slots in SLOTS:
            for seconds in (0.0, 1.0):
                Sleeper.seconds = seconds
                how: dict[str, Any] = {"dashboard_address": None, "host": "127.0.0.1", "protocol": "tcp://"}
                two = LocalCluster(n_workers=2, threads_per_worker=slots // 2, processes=False, **how)
                with two, tempfile.TemporaryDirectory() as folder:
                    place = Cluster(two.scheduler_address, Path(folder), None, 1)
                    begin = time.perf_counter()
                    do(place, [Errand(str(number), ("-c", "pass")) for number in range(JOBS)])
                    took = time.perf_counter() - begin
                share = seconds * JOBS / slots / took
                rows.append(
                    [
                        f"{slots}",
                        f"{seconds:g}",
                        f"{took:.1f}",
                        f"{JOBS / took:,.0f}",
                        f"{share:.0%}" if seconds else "–",
                    ]
                )
    finally:
        node.Process = real
    return rows


def main() -> None:
    """Write the tables."""
    tables: Mapping[str, tuple[list[str], list[list[str]]]] = {
        "grid_jobs": (["10 jobs one after another; of one, opening left out", "ms"], of_a_job()),
        "grid_workers": (
            [f"{RUNS} runs of {STEPS:,} updates mod 23", "s", "as fast as one process", "of its cores"],
            by_workers(),
        ),
        "grid_scheduler": (
            [f"slots, {JOBS:,} jobs", "seconds of a job", "s in all", "jobs a second", "of the slots' time"],
            by_the_thousand(),
        ),
    }
    about = {
        "grid_jobs": f"{ROUNDS} of each in turn; quartiles in brackets",
        "grid_workers": "3 of each in turn; a machine of two cores, so 4 and 8 workers share them",
        "grid_scheduler": "two workers of many threads, one process with the scheduler; jobs sleep: the rest is dask's and ours",
    }
    for name, (head, rows) in tables.items():
        common.write(name, about[name], head, rows)


if __name__ == "__main__":
    main()
