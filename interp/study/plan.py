"""What a study is about to do: which runs are finished, which train side by side, how much disk and how many minutes."""

import heapq
import math
import os
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from interp.base import UserError
from interp.config import RunConfig
from interp.machine import readable_size
from interp.store.layout import checkpoint_file
from interp.store.record import Session
from interp.store.size import held_bytes, run_bytes
from interp.store.start import starting_weights
from interp.store.tensors import Tensors
from interp.store.writer import saved_step
from interp.study.here import Here, Place
from interp.study.timing import Cost
from interp.train.learner import Learner, beside, together
from interp.train.loop import refuse_nonsense, runs_at_once
from interp.train.schedule import checkpoint_steps, is_logged

SECONDS_TO_START = 2.0
"""Seconds until a new process takes its first step, about; it loads torch."""

Left = dict[str, int | None]
"""Runs that are to be trained, by name, with the step from which each goes on; None for a new run."""


@dataclass(frozen=True)
class Job:
    """Runs that one process trains side by side, and how long it will take."""

    names: tuple[str, ...]
    begin: int
    """Step from which the run that is furthest behind goes on."""
    end: int
    seconds: float

    @property
    def updates(self) -> int:
        """Updates that are left, summed over the job's runs."""
        return (self.end - self.begin) * len(self.names)


@dataclass(frozen=True)
class Plan:
    """What a study will do: runs, processes, bytes and seconds. `str()` gives it as one sentence."""

    configs: Mapping[str, RunConfig]
    out: Path
    finished: tuple[str, ...]
    stopped: tuple[str, ...]
    """Names of the runs that go on from where they stopped."""
    jobs: tuple[Job, ...]
    """Jobs, those that take longest first."""
    processes: int
    threads: int
    """Threads of each process."""
    device: str
    place: str
    """Where the processes run: "this machine"."""
    bytes: int
    """Bytes that all runs will take on the disk when they are finished, in whole blocks."""
    seconds: float
    """Seconds from the start to the end of the last process, estimated."""
    timed: int
    """Number of kinds of runs whose steps were timed."""
    kinds: int
    """Number of kinds of runs to train. Those that were not timed are taken to cost what lies between
    timed ones of less and of more work."""

    @property
    def updates(self) -> int:
        """Updates that are left, summed over all runs to train."""
        return sum(job.updates for job in self.jobs)

    def __str__(self) -> str:
        left = len(self.configs) - len(self.finished)
        words = [f"{len(self.finished)} finished"] * bool(self.finished) + [f"{left} to train"] * bool(left)
        words += [f"{len(self.stopped)} of them from where they stopped"] * bool(self.stopped)
        runs = f"{counted(len(self.configs), 'run')} ({', '.join(words)}) in {self.out}: {readable_size(self.bytes)}"
        if not left:
            return f"{runs}; nothing is left to train"
        where = counted(self.processes, "process", "es") + (f" of {self.threads} threads" if self.threads > 1 else "")
        measured = f"by steps timed on {self.place} now"
        if self.timed < self.kinds:
            measured += f" ({self.timed} of {self.kinds} kinds of runs; the others by their work)"
        return f"{runs}, about {lasting(self.seconds)} in {where} on {self.device}, {measured}"


def counted(number: int, thing: str, more: str = "s") -> str:
    """A number and its thing in words: `1 run`, `2 runs`."""
    return f"{number:,} {thing}{more if number != 1 else ''}"


def lasting(seconds: float) -> str:
    """Seconds as people say them: `40 seconds`, `14 minutes`, `3.5 hours`."""
    if seconds < 90:
        return counted(max(1, round(seconds)), "second")
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"


def plan(
    configs: Mapping[str, RunConfig],
    out: str | Path,
    processes: int | None = None,
    device: str = "cpu",
    *,
    at_once: int | None = None,
    threads: int | None = None,
    overwrite: bool = False,
    told: Callable[[str], None] = lambda words: None,
    place: Place | None = None,
) -> Plan:
    """The plan of what `run_all` would do with the same arguments. Writes nothing; takes a few seconds of timing.

    `told` is told before the timing how much memory is needed, if that is much: steps of large runs take minutes. `place` is
    where processes run; by default this machine with `processes` of so many `threads`.

    Raises:
        UserError: an argument makes no sense, a directory holds something else, or memory or disk have too little room.
    """
    out, place = Path(out), place or Here(processes, threads, device)
    if not configs:
        raise UserError("there are no runs to train; give at least one configuration")
    outs = [out / name for name in configs]
    refuse_nonsense(list(configs.values()), outs, device, at_once, resume=not overwrite, overwrite=overwrite)
    for path, config in zip(outs, configs.values(), strict=True):
        starting_weights(path, config)  # which says itself what is wrong
    slots = max(1, place.expected)
    left: Left = {name: None if overwrite else saved_step(out / name, config) for name, config in configs.items()}
    finished = tuple(name for name, step in left.items() if is_finished(out / name, step, configs[name]))
    left = {name: step for name, step in left.items() if name not in finished}
    cut = share_out(configs, left, slots, device, at_once)
    size = refuse_a_full_disk(configs, out, finished, Session.begin(0, device, place.threads))
    costs, timed, kinds = place.timings([[configs[name] for name in names] for names in cut], device, told)
    jobs = [job(names, configs, left, cost) for names, cost in zip(cut, costs, strict=True)]
    jobs.sort(key=lambda each: -each.seconds)
    processes = min(slots, max(1, len(jobs)))
    return Plan(
        configs=configs,
        out=out,
        finished=finished,
        stopped=tuple(name for name, step in left.items() if step is not None),
        jobs=tuple(jobs),
        processes=processes,
        threads=place.threads,
        device=device,
        place=place.about,
        bytes=size,
        seconds=makespan([each.seconds for each in jobs], processes),
        timed=timed,
        kinds=kinds,
    )


def is_finished(path: Path, step: int | None, config: RunConfig) -> bool:
    """Whether a run that goes on from a step has nothing left to do."""
    return step == config.train.steps and checkpoint_file(path, config.train.steps).exists()


def share_out(
    configs: Mapping[str, RunConfig], left: Left, processes: int, device: str, at_once: int | None
) -> list[tuple[str, ...]]:
    """Batches of runs (by name) that train side by side, so that every process has work.

    Batches are formed from all runs, the finished ones too: a study that was stopped goes on with the same batches, and so
    to the same bytes. Only if processes would be idle are batches split: first new runs from those that have begun, then new
    runs from each other.
    """
    kinds: dict[str, list[str]] = {}
    for name, config in configs.items():
        kinds.setdefault(together(config), []).append(name)
    found: list[tuple[str, ...]] = []
    for kind in kinds.values():
        names = beside(kind, configs.__getitem__)
        most = at_once or runs_at_once([configs[name] for name in names], device)
        number = math.ceil(len(names) / most)
        if at_once is None:
            number = min(len(names), processes * math.ceil(number / processes))
        bounds = [len(names) * index // number for index in range(number + 1)]
        cut = [names[first:last] for first, last in pairwise(bounds)]
        found += filter(None, (tuple(name for name in each if name in left) for each in cut))
    while at_once is None and len(found) < processes:
        new = {names: tuple(name for name in names if left[name] is None) for names in found if len(names) > 1}
        largest = max(new, key=lambda names: len(new[names]), default=())
        if not largest or not new[largest]:
            break
        part = new[largest] if len(new[largest]) < len(largest) else largest[: len(largest) // 2]
        found.remove(largest)
        found += [tuple(name for name in largest if name not in part), part]
    return found


def job(names: tuple[str, ...], configs: Mapping[str, RunConfig], left: Left, cost: Cost) -> Job:
    """Job of a batch of runs, with the seconds that its remaining steps will take."""
    train = configs[names[0]].train
    begin = min(left[name] or 0 for name in names)
    with_checkpoint = set(checkpoint_steps(train))
    rows = sum(is_logged(step, train, with_checkpoint) for step in range(begin + 1, train.steps + 1))
    saved = sum(step > begin for step in with_checkpoint)
    seconds = (train.steps - begin) * cost.update + rows * cost.rows + saved * cost.checkpoint
    return Job(names, begin, train.steps, SECONDS_TO_START + seconds)


def makespan(seconds: Sequence[float], processes: int) -> float:
    """Seconds until the last process ends, if each takes the next job as soon as it is free."""
    free = [0.0] * processes
    for each in seconds:
        heapq.heapreplace(free, free[0] + each)
    return max(free)


def refuse_a_full_disk(configs: Mapping[str, RunConfig], out: Path, finished: Collection[str], session: Session) -> int:
    """Bytes of all runs when they are finished; UserError if the disk lacks room for what is still to be written."""
    place = next(parent for parent in (out.absolute(), *out.absolute().parents) if parent.is_dir())
    block = os.statvfs(place).f_frsize
    known: dict[object, int] = {}
    missing = total = 0
    for name, config in configs.items():
        key = shapes_key(config)
        if key not in known:
            with_checkpoint = set(checkpoint_steps(config.train))
            rows = sum(is_logged(step, config.train, with_checkpoint) for step in range(config.train.steps + 1))
            known[key] = run_bytes(config, state_like(config), len(with_checkpoint), rows, session, block)
        total += known[key]
        if name not in finished:
            missing += max(0, known[key] - held_bytes(out / name, block))
    free = shutil.disk_usage(place).free
    if missing > free:
        raise UserError(
            f"the runs need {readable_size(missing)} more in {out}, and its disk has {readable_size(free)} free; save fewer "
            "checkpoints by a larger --train.checkpoint-every, make room, or choose another --out"
        )
    return total


def shapes_key(config: RunConfig) -> object:
    """A key that is equal for runs whose files have equal sizes: shapes, counts, kinds, and which real numbers are 0."""
    train = {name: bool(value) if isinstance(value, float) else value for name, value in config.train}
    return repr((config.task.shape, config.model.but(init_scale=1.0), train))


def state_like(config: RunConfig) -> Tensors:
    """A resume state with the shapes that this run's will have, made by one update on two prompts.

    One alone would have no variance for a batch normalisation.
    """
    size = 1 if config.train.batch_size == 1 else 2
    learner = Learner.make([config.but(train=config.train.but(batch_size=size))], "cpu")
    learner.update(0)
    return learner.state(0)
