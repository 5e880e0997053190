"""What a study is about to do: which runs are finished, who trains with whom, how much disk and how many minutes."""

import heapq
import math
import os
import shutil
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import torch

from interp.base import UserError, readable_size
from interp.config import RunConfig
from interp.models.products import keep_freed_memory
from interp.store.layout import checkpoint_file, checkpoint_header
from interp.store.record import Session
from interp.store.size import held_bytes, run_bytes
from interp.store.tensors import Tensors, packed
from interp.store.writer import saved_step
from interp.train.learner import Learner, together
from interp.train.loop import refuse_nonsense, runs_at_once
from interp.train.schedule import checkpoint_steps, is_logged

SECONDS_TO_TIME = 4.0
"""Of timing, about, whatever there is to train."""

SECONDS_A_KIND = 0.4
"""Of these, for one kind of runs."""

SECONDS_TO_START = 2.0
"""Until a new process takes its first step, about: it loads torch."""

Left = dict[str, int | None]
"""The runs that are to be trained, with the step from which each goes on; None for a new one."""


@dataclass(frozen=True)
class Job:
    """Runs that one process trains side by side, and how long it will take."""

    names: tuple[str, ...]
    begin: int
    """The step of the run that is furthest behind."""
    end: int
    seconds: float

    @property
    def updates(self) -> int:
        """Of all its runs together."""
        return (self.end - self.begin) * len(self.names)


@dataclass(frozen=True)
class Plan:
    """What is to be done; as text, one sentence that says it."""

    configs: Mapping[str, RunConfig]
    out: Path
    finished: tuple[str, ...]
    stopped: tuple[str, ...]
    """Runs that will go on from where they stopped."""
    jobs: tuple[Job, ...]
    """Those that take longest first."""
    processes: int
    threads: int
    """Of each process."""
    device: str
    bytes: int
    """That all runs will take on the disk when they are finished, in whole blocks."""
    seconds: float
    """From the start to the end of the last process."""
    timed: int
    """Kinds of runs whose steps were timed."""
    kinds: int
    """Kinds of runs there are to train; those that were not timed are taken to be as fast by prompt as the largest."""

    @property
    def updates(self) -> int:
        """Of all runs that are to be trained."""
        return sum(job.updates for job in self.jobs)

    def __str__(self) -> str:
        left = len(self.configs) - len(self.finished)
        words = [f"{len(self.finished)} finished"] * bool(self.finished) + [f"{left} to train"] * bool(left)
        words += [f"{len(self.stopped)} of them from where they stopped"] * bool(self.stopped)
        runs = f"{counted(len(self.configs), 'run')} ({', '.join(words)}) in {self.out}: {readable_size(self.bytes)}"
        if not left:
            return f"{runs}; nothing is left to train"
        where = counted(self.processes, "process", "es") + (f" of {self.threads} threads" if self.threads > 1 else "")
        measured = "by steps timed on this machine now"
        if self.timed < self.kinds:
            measured += f" ({self.timed} of {self.kinds} kinds of runs; the others by their prompts)"
        return f"{runs}, about {lasting(self.seconds)} in {where} on {self.device}, {measured}"


def counted(number: int, thing: str, more: str = "s") -> str:
    """`1 run`, `2 runs`."""
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
) -> Plan:
    """What `run_all` would do with the same arguments; writes nothing, and takes a few seconds of timing.

    Raises:
        UserError: an argument makes no sense, a directory holds something else, or the disk has too little room.
    """
    out, cores = Path(out), len(os.sched_getaffinity(0))
    for name, number in {"processes": processes, "threads": threads}.items():
        if number is not None and number < 1:
            raise UserError(f"{name} is {number}; it should be at least 1")
    if not configs:
        raise UserError("there are no runs to train; give at least one configuration")
    refuse_nonsense([out / name for name in configs], device, at_once, resume=not overwrite, overwrite=overwrite)
    if processes is None:
        processes = 1 if device != "cpu" else max(1, cores // (threads or 1))
    threads = threads or max(1, cores // processes)
    left: Left = {name: None if overwrite else saved_step(out / name, config) for name, config in configs.items()}
    finished = tuple(name for name, step in left.items() if is_finished(out / name, step, configs[name]))
    left = {name: step for name, step in left.items() if name not in finished}
    cut = share_out(configs, left, processes, device, at_once)
    size = refuse_a_full_disk(configs, out, finished, Session.begin(0, device, threads))
    with one_process_has(threads):
        costs, timed, kinds = timings([[configs[name] for name in names] for names in cut], device)
    jobs = [job(names, configs, left, cost) for names, cost in zip(cut, costs, strict=True)]
    jobs.sort(key=lambda each: -each.seconds)
    processes = min(processes, max(1, len(jobs)))
    return Plan(
        configs=configs,
        out=out,
        finished=finished,
        stopped=tuple(name for name, step in left.items() if step is not None),
        jobs=tuple(jobs),
        processes=processes,
        threads=threads,
        device=device,
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
    """Names of runs that train side by side, so that every process has work.

    Who trains with whom is decided over all runs, the finished ones too: a study that was stopped goes on with the same
    batches, and so to the same bytes. Only where processes would be idle do new runs part, first from those that have
    begun, then from each other.
    """
    kinds: dict[str, list[str]] = {}
    for name, config in configs.items():
        kinds.setdefault(together(config), []).append(name)
    found: list[tuple[str, ...]] = []
    for names in kinds.values():
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


def job(names: tuple[str, ...], configs: Mapping[str, RunConfig], left: Left, cost: "Cost") -> Job:
    """A batch with what its remaining steps will take."""
    train = configs[names[0]].train
    begin = min(left[name] or 0 for name in names)
    with_checkpoint = set(checkpoint_steps(train))
    rows = sum(is_logged(step, train, with_checkpoint) for step in range(begin + 1, train.steps + 1))
    saved = sum(step > begin for step in with_checkpoint)
    seconds = (train.steps - begin) * cost.update + rows * cost.rows + saved * cost.checkpoint
    return Job(names, begin, train.steps, SECONDS_TO_START + seconds)


def makespan(seconds: Sequence[float], processes: int) -> float:
    """When the last process ends, if each takes the next job as soon as it is free."""
    free = [0.0] * processes
    for each in seconds:
        heapq.heapreplace(free, free[0] + each)
    return max(free)


class Cost(NamedTuple):
    """Seconds of one update of a batch, of evaluating a row of each of its runs, and of packing a checkpoint of each."""

    update: float
    rows: float
    checkpoint: float


def timings(batches: Sequence[Sequence[RunConfig]], device: str) -> tuple[list[Cost], int, int]:
    """What each batch costs, how many kinds were timed, and how many there are.

    The largest batch of each kind is timed, the largest kinds first, until the time is up; other batches cost as much by
    prompt.
    """
    kinds: dict[str, Sequence[RunConfig]] = {}
    for batch in sorted(batches, key=prompts, reverse=True):
        kinds.setdefault(together(batch[0]), batch)
    known: dict[str, tuple[Cost, int]] = {}
    began = time.monotonic()
    for kind, batch in kinds.items():
        if not known or time.monotonic() - began < SECONDS_TO_TIME:
            known[kind] = timed(batch, device), prompts(batch)
    found = []
    for batch in batches:
        cost, of = known.get(together(batch[0])) or next(iter(known.values()))
        found.append(Cost(*(seconds * prompts(batch) / of for seconds in cost)))
    return found, len(known), len(kinds)


def prompts(batch: Sequence[RunConfig]) -> int:
    """Of all its runs in one update."""
    sizes = [config.task.n_train for config in batch]
    size = batch[0].train.batch_size
    return sum(sizes if size == "full" else [min(size, each) for each in sizes])


def timed(configs: Sequence[RunConfig], device: str) -> Cost:
    """What these runs cost side by side: a few real steps after a warm-up, in memory."""

    def lasts(act, at_most: int = 100) -> float:
        act(0)
        began, done = time.monotonic(), 0
        while done < 2 or (done < at_most and time.monotonic() - began < SECONDS_A_KIND / 3):
            act(done)
            done += 1
        if device != "cpu":
            torch.cuda.synchronize()
        return (time.monotonic() - began) / done

    def pack(step: int) -> None:
        for run, config in enumerate(configs):
            packed(learner.parameters(run), checkpoint_header(config.digest, step))

    learner = Learner.make(configs, device)
    return Cost(lasts(learner.update), lasts(learner.rows), lasts(pack))


@contextmanager
def one_process_has(threads: int) -> Iterator[None]:
    """Torch with so many threads and memory kept as in training, for as long as it lasts."""
    before = torch.get_num_threads()
    keep_freed_memory()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def refuse_a_full_disk(configs: Mapping[str, RunConfig], out: Path, finished: Collection[str], session: Session) -> int:
    """Bytes of all runs when they are finished; UserError when the disk has not the room that is still needed."""
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
    """What decides the sizes of a run's files: shapes, counts and kinds, and of a real number whether it is 0."""
    train = {name: bool(value) if isinstance(value, float) else value for name, value in config.train}
    return repr((config.task.shape, config.model.but(init_scale=1.0), train))


def state_like(config: RunConfig) -> Tensors:
    """A resume state of the shapes that this run's will have: that after one update on one prompt."""
    learner = Learner.make([config.but(train=config.train.but(batch_size=1))], "cpu")
    learner.update(0)
    return learner.state(0)
