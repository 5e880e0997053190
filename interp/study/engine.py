"""Trains many runs, on this machine or a cluster: a process for each batch, a limited number at a time.

Why so: docs/decisions/0008 and 0018.
"""

import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from interp.base import UserError
from interp.config import RunConfig
from interp.store import Run, open_run
from interp.store.directory import claim, clear, release
from interp.store.writer import saved_step
from interp.study.display import display
from interp.study.here import Here, Place
from interp.study.ongoing import Stopped, do_all
from interp.study.plan import Job, Plan, is_finished, plan
from interp.study.process import Ended, Errand, event
from interp.study.worker import Order


@dataclass(frozen=True)
class Outcome:
    """What became of a study: its finished runs, and why others are not finished."""

    plan: Plan
    runs: dict[str, Run]
    """Finished runs by name, in the order of the configurations."""
    failures: dict[str, str]
    """Why each other run is not finished, one sentence by name of the run; empty after a dry run."""


def run_all(
    configs: Mapping[str, RunConfig],
    out: str | Path,
    processes: int | None = None,
    *,
    dry_run: bool = False,
    overwrite: bool = False,
    device: str = "cpu",
    at_once: int | None = None,
    threads: int | None = None,
    on: str | None = None,
    leave: bool = False,
) -> Outcome:
    """Train each configuration into `out`/NAME, in several processes; returns the finished runs, and why others failed.

    Finished runs are kept and stopped ones go on: the same call again trains what is left. A run that diverges, is damaged,
    or whose process dies is named in the outcome; all others are trained. The same call on the same machine gives the same
    bytes, also across a stop. A run trained in a batch equals the run trained alone to rounding. Which runs share a batch
    depends on the number of processes.

    Args:
        configs: configurations by name, such as `interp.grid` makes.
        out: directory of the runs' directories.
        processes: number of processes at a time; by default one for each core, and one on a GPU. In a cluster: at most so
            many, by default as many as its workers have threads for.
        dry_run: say what would be done, and how long it would take; write nothing.
        overwrite: begin all runs anew.
        device: a torch device, such as "cpu" or "cuda".
        at_once: runs in a batch; by default as many as are fast and give every process work.
        threads: threads of each process; by default cores ÷ processes, and 1 in a cluster.
        on: a cluster in place of this machine, which needs the extra `cluster`: the address of a dask scheduler
            ("tcp://…"), a YAML file of dask-jobqueue's configuration, or "local:4". All its machines see `out`.
        leave: what runs in the cluster goes on when this process is stopped or dies; by default it saves and ends.

    Raises:
        UserError: an argument makes no sense, a directory holds something else, or the disk has too little room;
            nothing is trained then. Or the cluster was lost.
        Stopped: SIGINT or SIGTERM came.
    """

    def say(words: object) -> None:
        print(words, file=sys.stdout if dry_run else sys.stderr, flush=True)

    if on is not None and not overwrite and all_finished(configs, Path(out)):
        on, leave = None, False  # nothing to ask a cluster for
    with opened(on, Path(out), processes, threads, device, leave=leave, dry_run=dry_run) as place:
        todo = plan(configs, out, device=device, at_once=at_once, overwrite=overwrite, told=say, place=place)
        say(todo)
        if dry_run:
            return Outcome(todo, {name: open_run(todo.out / name) for name in todo.finished}, {})
        for name in configs if overwrite else ():
            begin_anew(todo.out / name)
        failures = carry_out(todo, place) if todo.jobs else {}
    if failures:
        print(f"{len(failures)} of {len(configs)} runs failed; the same again tries them once more:", file=sys.stderr)
        for name, reason in failures.items():
            print(f"  {name}: {reason}", file=sys.stderr)
    return Outcome(todo, {name: open_run(todo.out / name) for name in configs if name not in failures}, failures)


def all_finished(configs: Mapping[str, RunConfig], out: Path) -> bool:
    """Whether nothing is left to train."""
    return all(is_finished(out / name, saved_step(out / name, config), config) for name, config in configs.items())


def opened(
    on: str | None, out: Path, processes: int | None, threads: int | None, device: str, *, leave: bool, dry_run: bool
) -> Place:
    """The place that `on` names, for a study in `out`."""
    if on is not None:
        from interp.study.cluster import Cluster

        if device != "cpu":
            raise UserError(f"device is {device}, and a cluster trains on CPUs so far; take cpu, or leave --on out")
        return Cluster(on, out, processes, threads or 1, leave=leave, dry_run=dry_run)
    if leave:
        raise UserError("--leave is for a cluster, and --on is not given; processes on this machine end with this one")
    return Here(processes, threads, device)


def begin_anew(path: Path) -> None:
    """Clear the directory of a run, so that it begins anew."""
    lock = claim(path, overwrite=True)
    try:
        clear(path)
    finally:
        release(lock, path)


def carry_out(todo: Plan, place: Place) -> dict[str, str]:
    """Train all runs of a plan in a place; returns why runs failed, by name, in the order of the plan's configurations."""
    jobs = {errand(todo, job, place.patience): job for job in todo.jobs}
    failures = dict[str, str]()
    with display(todo) as shown:

        def told(about: Errand, line: str) -> None:
            step = event(line)
            if step is None:
                shown.say(line)
            elif "step" in step:
                shown.reached(jobs[about], step["step"])

        def over(about: Errand, ended: Ended) -> None:
            failed = dict.fromkeys(jobs[about].names if ended.code else (), ended.word) | ended.failed
            failures.update(failed)
            shown.ended(jobs[about], len(failed))

        def furthest(about: Errand) -> object:
            with suppress(UserError):  # which whoever goes on is told
                return [saved_step(todo.out / name, todo.configs[name]) for name in jobs[about].names]
            return None

        left = do_all([*jobs], place, told, over, furthest, shown.say)
        if left is not None:
            unfinished = len(todo.configs) - shown.whole.finished
            raise Stopped(
                f"{left}; {unfinished} of {len(todo.configs)} runs are left: go on with the same again, without --overwrite"
            )
    return {name: failures[name] for name in todo.configs if name in failures}


def errand(todo: Plan, job: Job, patience: float) -> Errand:
    """What the process of a job is to do: its order is one line of JSON."""
    configs = {name: todo.configs[name].model_dump(mode="json") for name in job.names}
    order = Order(str(todo.out.absolute()), configs, todo.device, sys.argv, patience)
    return Errand(" ".join(job.names), ("-m", "interp.study.worker"), json.dumps(vars(order)) + "\n")
