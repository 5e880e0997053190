"""Trains many runs on this machine: a process for each batch, a limited number at a time. Why so: docs/decisions/0008."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from interp.config import RunConfig
from interp.store import Run, open_run
from interp.store.directory import claim, clear, release
from interp.study.display import Display, display
from interp.study.plan import Job, Plan, plan
from interp.study.worker import STOPPED, Order, event
from interp.train.loop import interruptible


class Stopped(KeyboardInterrupt):
    """Raised when a study was stopped on request; the state of every run is saved. Its text says how to go on."""


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
) -> Outcome:
    """Train each configuration into `out`/NAME, in several processes; returns the finished runs, and why others failed.

    Finished runs are kept and stopped ones go on: the same call again trains what is left. A run that diverges, is damaged,
    or whose process dies is named in the outcome; all others are trained. The same call on the same machine gives the same
    bytes, also across a stop. A run trained in a batch equals the run trained alone to rounding. Which runs share a batch
    depends on the number of processes.

    Args:
        configs: configurations by name, such as `interp.grid` makes.
        out: directory of the runs' directories.
        processes: number of processes at a time; by default one for each core, and one on a GPU.
        dry_run: say what would be done, and how long it would take; write nothing.
        overwrite: begin all runs anew.
        device: a torch device, such as "cpu" or "cuda".
        at_once: runs in a batch; by default as many as are fast and give every process work.
        threads: threads of each process; by default cores ÷ processes.

    Raises:
        UserError: an argument makes no sense, a directory holds something else, or the disk has too little room;
            nothing is trained then.
        Stopped: SIGINT or SIGTERM came.
    """

    def say(words: object) -> None:
        print(words, file=sys.stdout if dry_run else sys.stderr, flush=True)

    todo = plan(configs, out, processes, device, at_once=at_once, threads=threads, overwrite=overwrite, told=say)
    say(todo)
    if dry_run:
        return Outcome(todo, {name: open_run(todo.out / name) for name in todo.finished}, {})
    for name in configs if overwrite else ():
        begin_anew(todo.out / name)
    failures = carry_out(todo) if todo.jobs else {}
    if failures:
        print(f"{len(failures)} of {len(configs)} runs failed; the same again tries them once more:", file=sys.stderr)
        for name, reason in failures.items():
            print(f"  {name}: {reason}", file=sys.stderr)
    return Outcome(todo, {name: open_run(todo.out / name) for name in configs if name not in failures}, failures)


def begin_anew(path: Path) -> None:
    """Clear the directory of a run, so that it begins anew."""
    lock = claim(path, overwrite=True)
    try:
        clear(path)
    finally:
        release(lock, path)


def carry_out(todo: Plan) -> dict[str, str]:
    """Train all runs of a plan; returns why runs failed, by name, in the order of the plan's configurations."""
    with interruptible() as stopping, display(todo) as shown, ThreadPoolExecutor(todo.processes) as pool:
        workers = [Worker(todo, job, shown, stopping) for job in todo.jobs]
        pending = {pool.submit(worker.work) for worker in workers}
        try:
            while pending:
                done, pending = wait(pending, timeout=0.1)
                for future in done:
                    future.result()  # what a thread raises is a fault of ours
                if stopping.is_set():
                    for worker in workers:
                        worker.stop()
        except BaseException:  # such as a second Ctrl-C
            stopping.set()
            for worker in workers:
                worker.kill()
            raise
        if stopping.is_set() and any(worker.stopped for worker in workers):
            left = len(todo.configs) - shown.whole.finished
            raise Stopped(
                f"stopped, everything is saved; {left} of {len(todo.configs)} runs are left: go on with the same again, "
                "without --overwrite"
            )
    failures = {name: reason for worker in workers for name, reason in worker.failures.items()}
    return {name: failures[name] for name in todo.configs if name in failures}


@dataclass
class Worker:
    """A job in a process of its own. `work` is called by a thread of its own, all else by the main thread."""

    plan: Plan
    job: Job
    shown: Display
    stopping: threading.Event
    failures: dict[str, str] = field(default_factory=dict)
    """Why runs failed: a sentence by the name of each run."""
    stopped: bool = False
    """Whether the job was left unfinished on request."""
    process: "subprocess.Popen[str] | None" = None
    asked: bool = False
    """Whether the process was asked to stop. It is asked once: a second signal would not let it save."""

    def work(self) -> None:
        """Train the job's runs until each is finished or has failed, or until the job is to stop."""
        code, last = self.attempt()
        if died(code) and not self.stopping.is_set():
            self.shown.say(f"{death(code)}; {' '.join(self.job.names)}: going on from what was saved")
            code, last = self.attempt()
        if self.stopping.is_set() and code != 0:
            self.stopped = True
            return
        if died(code):
            last = f"{death(code)}, twice; if memory ran out, take fewer --processes or a smaller --at-once"
        if code != 0:
            self.failures = dict.fromkeys(self.job.names, last) | self.failures
        self.shown.ended(self.job, len(self.failures))

    def attempt(self) -> tuple[int, str]:
        """Start the process and read it to its end; returns its exit code, and the last line that it wrote for a person."""
        if self.stopping.is_set():
            return STOPPED, ""
        last, self.failures = "its process ended without a word", {}
        with self.started() as self.process:
            assert self.process.stdin is not None
            assert self.process.stdout is not None
            with suppress(BrokenPipeError):  # of a process that is dead already: its exit code tells more
                self.process.stdin.write(self.order)
                self.process.stdin.close()
            for line in self.process.stdout:
                told = event(line)
                if told is None:
                    last = line.strip() or last
                    if not self.stopping.is_set():  # from then on it may but complain of the signal
                        self.shown.say(line.rstrip())
                    continue
                self.failures |= told.get("failed", {})
                if "step" in told:
                    self.shown.reached(self.job, told["step"])
        return self.process.returncode, last

    @property
    def order(self) -> str:
        """The order that the process reads on its stdin, one line of JSON."""
        configs = {name: self.plan.configs[name].model_dump(mode="json") for name in self.job.names}
        return json.dumps(vars(Order(str(self.plan.out), configs, self.plan.device, sys.argv))) + "\n"

    def started(self) -> "subprocess.Popen[str]":
        """The process, started in a group of its own: Ctrl-C in a terminal reaches only the engine, which passes it on once."""
        return subprocess.Popen(
            [sys.executable, "-m", "interp.study.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env=os.environ | {"OMP_NUM_THREADS": str(self.plan.threads)},
        )

    def stop(self) -> None:
        """Ask the process to save and end."""
        if self.process is not None and not self.asked:
            self.asked = True
            self.process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()


def died(code: int) -> bool:
    """Whether an exit code says that the process was ended by somebody else."""
    return code < 0 or code == STOPPED


def death(code: int) -> str:
    """How a process was ended, in words, from its exit code."""
    return f"its process was killed by {signal.Signals(-code).name}" if code < 0 else "its process was told to stop"
