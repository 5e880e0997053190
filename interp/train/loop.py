"""The training loop. Steps are the same whether a run is stopped and resumed or not, alone or side by side with others."""

import math
import re
import resource
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from interp.base import UserError
from interp.config import RunConfig
from interp.denormals import flushed
from interp.machine import keep_freed_memory
from interp.store import Run, RunWriter, open_run
from interp.store.directory import refuse_what_is_there
from interp.store.history import Row
from interp.store.record import Session
from interp.store.start import refuse_to_replace_a_start, starting_weights
from interp.store.tensors import Tensors
from interp.train.learner import Learner, beside, together
from interp.train.memory import refuse_too_much, training_bytes
from interp.train.schedule import checkpoint_steps, is_logged
from interp.train.watching import Silent, Watcher

RESUME_SECONDS = 5
"""Most seconds of training that a kill can cost. Saving with every checkpoint would cost `quick` a tenth of its time."""

PROMPTS_AT_ONCE = 2**16
"""Training prompts of a batch on a CPU, summed over its runs, about, for prompts of a few tokens; bounds memory."""

PROMPTS_AT_ONCE_ON_GPU = 2**18
"""Training prompts of a batch on a GPU, summed over its runs, about: 68 runs at p = 113."""

MOST_AT_ONCE = 128
"""Most runs of a batch, however small they are."""

SPARE_FILES = 100
"""Number of open files that are not locks of runs: libraries, standard streams, files being written."""


class Interrupted(Exception):
    """Raised when training stopped on request after `step` updates. The state of every run in `paths` is saved."""

    def __init__(self, paths: Sequence[Path], step: int):
        super().__init__(f"stopped at step {step}")
        self.paths, self.step = paths, step


class Diverged(UserError):
    """Raised when the loss of some runs is no longer a number: an error by directory of the run. The other runs are finished."""

    def __init__(self, lost: Mapping[Path, UserError], runs: int):
        others = f" And {len(lost) - 1} more of {runs} runs diverged." * (len(lost) > 1)
        super().__init__(f"{next(iter(lost.values()))}{others}")
        self.lost = lost


def train(config: RunConfig, out: str | Path, **how: Any) -> Run:
    """Train the configured model on the configured task, with checkpoints and history in `out`; returns the run.

    The same configuration, machine and thread count give the same bytes, also across a stop and `resume=True`.
    Further arguments and errors are those of `train_many`.
    """
    return train_many([config], [out], **how)[0]


def train_many(
    configs: Sequence[RunConfig],
    outs: Sequence[str | Path],
    *,
    resume: bool = False,
    overwrite: bool = False,
    device: str = "cpu",
    at_once: int | None = None,
    watcher: Callable[[int, int, str], Any] | None = None,
) -> list[Run]:
    """Train each configuration into its directory; returns the runs. Runs that fit together are one batched computation.

    A run in a batch takes the same steps as alone, to rounding (1e-5 over 100 steps).

    Args:
        resume: go on where the runs in `outs` stopped. A run that is not there is started, a finished one is returned.
        overwrite: replace the runs in `outs`.
        device: a torch device, such as "cpu" or "cuda".
        at_once: runs in a batch; by default 17 at p = 113 on a CPU, more if they are smaller or on a GPU.
        watcher: function from (total steps, first step, names of runs) to a context manager that is told steps and rows.

    Raises:
        UserError: a directory cannot be written, is in use, or holds another run; nothing is trained then.
        Diverged: some runs diverged; the others are trained to the end.
        Interrupted: SIGINT or SIGTERM came; the state is saved.
    """
    refuse_nonsense(configs, outs, device, at_once, resume=resume, overwrite=overwrite)
    starts = {Path(out): starting_weights(Path(out), config) for config, out in zip(configs, outs, strict=True)}
    keep_freed_memory()
    with ExitStack() as stack:
        stack.enter_context(flushed())
        writers: list[RunWriter] = []
        for config, out in zip(configs, outs, strict=True):
            writers.append(RunWriter(Path(out), config, resume=resume, overwrite=overwrite))
            stack.callback(writers[-1].release)
        for writer in writers:  # all are ours before anything in any of them is touched
            stack.enter_context(writer)
        unfinished = [writer for writer in writers if writer.resume_step != writer.config.train.steps]
        diverged: dict[Path, UserError] = {}
        with interruptible() as interrupted:
            for label, batch in batches(unfinished, device, at_once):
                diverged |= Batch(batch, device, interrupted, watcher, label, starts).learn()
    if diverged:
        raise Diverged(diverged, len(configs))
    return [open_run(out) for out in outs]


def refuse_nonsense(
    configs: Sequence[RunConfig],
    outs: Sequence[str | Path],
    device: str,
    at_once: int | None,
    *,
    resume: bool,
    overwrite: bool,
) -> None:
    """Raise UserError for what cannot be done, before any directory is changed."""
    if odd := [config for config in configs if not config.model.has_code]:
        raise UserError(
            f"the model is {odd[0].model.about}, whose code is not known here; train it in its own loop, with interp.record"
        )
    if at_once is not None and at_once < 1:
        raise UserError(f"at_once is {at_once}; it should be at least 1")
    if device != "cpu" and not (re.fullmatch(r"cuda(:\d+)?", device) and torch.cuda.is_available()):
        raise UserError(f'device is "{device}", and torch finds no such GPU here; take "cpu"')
    counts = Counter(Path(out).absolute() for out in outs)
    if twice := [out for out, count in counts.items() if count > 1]:
        raise UserError(f"{twice[0]} is to hold two runs; give each a directory of its own")
    for out in outs:
        refuse_what_is_there(Path(out), resume, overwrite)
    if overwrite:
        refuse_to_replace_a_start(configs, [Path(out) for out in outs])
    for config in configs if device == "cpu" else ():
        refuse_too_much(
            training_bytes([config]),
            "a run",
            "take mini-batches (train.batch_size), a smaller model, or fewer examples",
        )
    raise_file_limit(len(outs) + SPARE_FILES)


def raise_file_limit(needed: int) -> None:
    """Raise the limit of open files to hold a lock on every run; UserError if the system allows no more."""
    allowed, at_most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY or allowed >= needed:
        return
    if at_most != resource.RLIM_INFINITY and at_most < needed:
        raise UserError(
            f"so many runs need {needed:,} open files, and the system allows {at_most:,}; train them in smaller grids"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, at_most))


def batches(writers: Sequence[RunWriter], device: str, at_once: int | None) -> Iterator[tuple[str, list[RunWriter]]]:
    """Batches of runs that train side by side, each with a name; the name is empty if there is only one batch."""
    done, total = 0, len(writers)
    by_kind = sorted(writers, key=lambda writer: together(writer.config))  # stable: the order within a kind stays
    for _, kind in groupby(by_kind, key=lambda writer: together(writer.config)):
        members = beside(kind, lambda writer: writer.config)
        size = at_once or runs_at_once([writer.config for writer in members], device)
        for begin in range(0, len(members), size):
            batch = members[begin : begin + size]
            first, done = done + 1, done + len(batch)
            which = f"run {done}" if len(batch) == 1 else f"runs {first}–{done}"
            yield ("" if total == 1 else f"{which} of {total}"), batch


def runs_at_once(configs: Sequence[RunConfig], device: str) -> int:
    """Number of these runs to train side by side."""
    batch = configs[0].train.batch_size
    largest = max(config.task.n_train for config in configs)
    size = configs[0].model.size(configs[0].task.shape)
    prompts = (PROMPTS_AT_ONCE if device == "cpu" else PROMPTS_AT_ONCE_ON_GPU) // size
    return min(MOST_AT_ONCE, max(1, prompts // (largest if batch == "full" else min(batch, largest))))


@dataclass
class Batch:
    """Runs that train side by side."""

    writers: Sequence[RunWriter]
    device: str
    interrupted: threading.Event
    watcher: Callable[[int, int, str], Any] | None
    label: str
    starts: Mapping[Path, Tensors | None]
    """Weights of the runs that do not begin with initial ones."""
    lost: dict[RunWriter, UserError] = field(default_factory=dict)
    """Runs that diverged, with their errors."""

    def learn(self) -> dict[Path, UserError]:
        """Train all runs to the end; returns the errors of those that diverged, by directory.

        If runs were stopped at different steps (a kill between two saves), those furthest behind catch up first.
        """
        total, begun = self.writers[0].config.train.steps, set()
        while unfinished := [run for run in self.writers if run not in self.lost and run.resume_step != total]:
            behind = min(unfinished, key=position).resume_step
            members = [run for run in unfinished if run.resume_step == behind]
            ahead = [run.resume_step for run in unfinished if run not in members and run.resume_step is not None]
            for run in members:
                if run not in begun:
                    run.begin(Session.begin(run.resume_step or 0, self.device, torch.get_num_threads()))
            begun.update(members)
            self.steps(members, behind, min([*ahead, total]))
        return {writer.path: error for writer, error in self.lost.items()}

    def steps(self, writers: list[RunWriter], first: int | None, until: int) -> None:
        """Train these runs from step `first` to step `until`, writing rows, checkpoints and states when they are due."""
        starts = [self.starts[writer.path] for writer in writers]
        learner = Learner.make([writer.config for writer in writers], self.device, starts)
        config = writers[0].config.train
        with_checkpoint, saved_at = set(checkpoint_steps(config)), time.monotonic()
        if first is not None:
            for run, writer in enumerate(writers):
                learner.restore(run, writer.resume_state())
        with self.watcher(config.steps, first or 0, self.label) if self.watcher else silently() as watching:
            for step in range(first or 0, until + 1):
                stopping = self.interrupted.is_set()
                if step != first:  # what is due at the step of a resumed state was done before it was saved
                    if is_logged(step, config, with_checkpoint):
                        watching.rows(self.log(writers, learner.rows(step)))
                    if step in with_checkpoint:
                        for run, writer in self.sound(writers):
                            writer.checkpoint(step, learner.network(run))
                    # At step 0 too: a run with a step beyond it always has a state to go on from.
                    if step == 0 or stopping or step == until or time.monotonic() - saved_at > RESUME_SECONDS:
                        for run, writer in self.sound(writers):
                            writer.save_resume(step, learner.state(run))
                        saved_at = time.monotonic()
                if step == until or not self.sound(writers):
                    break
                if stopping:
                    raise Interrupted([writer.path for writer in self.writers], step)
                learner.update(step)
                watching.step(step + 1)

    def sound(self, writers: list[RunWriter]) -> list[tuple[int, RunWriter]]:
        """Runs that have not diverged, with their indices in the batch."""
        return [(run, writer) for run, writer in enumerate(writers) if writer not in self.lost]

    def log(self, writers: list[RunWriter], rows: list[Row]) -> list[Row]:
        """Write a row of each run; returns those of the runs that have not diverged."""
        for run, writer in self.sound(writers):
            if math.isfinite(rows[run]["train_loss"]):
                writer.log(rows[run])
            else:
                self.lost[writer] = divergence(rows[run], writer.path)
                if len(self.writers) > 1:
                    print(self.lost[writer], file=sys.stderr)  # at once: others may train for hours
        return [rows[run] for run, _ in self.sound(writers)]


def position(writer: RunWriter) -> int:
    """Number of steps that a run has done; −1 if it is new."""
    return -1 if writer.resume_step is None else writer.resume_step


def divergence(row: Row, path: Path) -> UserError:
    """The error for a run whose training loss is no longer a number, which no later step can mend."""
    return UserError(
        f"training diverged: the train loss is {row['train_loss']} at step {row['step']:,}; take a smaller --train.lr. "
        f"What came before is in {path}"
    )


@contextmanager
def silently() -> Generator[Watcher]:
    """A context with a watcher that prints nothing."""
    yield Silent()


@contextmanager
def interruptible() -> Generator[threading.Event]:
    """A context with an event that SIGINT and SIGTERM set, so that the current step is finished first. A second signal kills.

    Only the main thread receives signals; in other threads the event is never set.
    """
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def stop(number: int, frame: Any) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
