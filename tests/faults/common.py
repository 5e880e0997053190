"""What the faults share: tiny runs, processes that can be killed, calls that can be made to fail, and the count."""

import hashlib
import io
import itertools
import os
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from helpers import files, tiny_config

from interp.base import UserError
from interp.config import RunConfig
from interp.models import TransformerSpec
from interp.recipe import TrainConfig
from interp.store import CheckpointError, Run, open_run
from interp.store.layout import HISTORY, RESUME, checkpoint_steps, steps_in
from interp.store.verify import verify
from interp.tasks import ModularTask
from interp.train import loop

FULL = os.environ.get("INTERP_FAULTS") == "full"
"""Whether to run the full counts, as `make torture` does."""

SEED = int(os.environ.get("INTERP_FAULTS_SEED", "0"))

STEPS = TrainConfig(steps=16, lr=3e-3, log_every=2, checkpoint_every=4, checkpoints_per_decade=3)
HOW = {
    "adamw, full batch": STEPS,
    "adamw, mini-batch": STEPS.but(batch_size=7),
    "adam, full batch": STEPS.but(optimizer="adam", weight_decay=1e-3),
    "adam, mini-batch": STEPS.but(optimizer="adam", weight_decay=1e-3, batch_size=7),
    "sgd with momentum, full batch": STEPS.but(optimizer="sgd", lr=0.1, weight_decay=0.0),
    "sgd with momentum, mini-batch": STEPS.but(optimizer="sgd", lr=0.1, weight_decay=0.0, batch_size=7),
    "adamw, full batch, noise and dropout": STEPS.but(noise="weights", noise_scale=0.02, dropout=0.2),
    "adamw, mini-batch, noise and dropout": STEPS.but(noise="updates", noise_scale=0.5, dropout=0.2, batch_size=7),
}


def smallest(train: TrainConfig = STEPS, **parts: Any) -> RunConfig:
    """p = 7, d_model 8: trains in 50 ms, and a save takes most of a step."""
    model = TransformerSpec(n_heads=1, d_model=8, d_head=8, d_mlp=8)
    return tiny_config(train=train, task=ModularTask(p=7, train_fraction=0.5), model=model, **parts)


def how_many(small: int, full: int) -> int:
    """A count, as `make test` or as `make torture` has it."""
    return full if FULL else small


@dataclass
class Count:
    """How often something was tried, and what went wrong: a row of the table."""

    record: Callable[[str, object], None]
    part: str
    kind: str
    tried: int = 0

    def judge(self, faults: list[str], note: str = "") -> None:
        """Write the row; AssertionError with the first faults when there are any."""
        self.record("faults", [self.part, self.kind, self.tried, len(faults), note])
        assert not faults, f"{len(faults)} faults in {self.tried}, the first: " + "\n".join(faults[:5])


@dataclass(frozen=True)
class Whole:
    """A run that nothing interrupted: what every other one must equal, bit for bit."""

    config: RunConfig
    files: dict[str, bytes]

    @staticmethod
    def train(config: RunConfig, path: Path) -> "Whole":
        """Train it; what every run of a process needs once is done then, and forks inherit it."""
        torch.set_num_threads(1)
        return Whole(config, files(loop.train(config, path)))

    def differs(self, run: Run) -> list[str]:
        """In what a run that reached its end is another."""
        found = files(run)
        odd = [name for name in sorted(found.keys() | self.files) if found.get(name) != self.files.get(name)]
        return [f"{run.path} ended with another {', '.join(odd)}"] if odd else []


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def unsound(path: Path, announced: dict[str, str], whole: Whole) -> list[str]:
    """What is wrong with a run that was stopped anywhere, given the files that were announced, by their digests."""
    faults = []
    for name, digest in announced.items():
        if name.startswith(RESUME):
            continue  # replaced by later ones
        found = (path / name).read_bytes() if (path / name).exists() else b""
        if sha256(found) != digest or found != whole.files[name]:
            faults.append(f"{path / name} was announced and is {'another' if found else 'gone'}")
    try:
        faults += [f"verify: {verdict.fault}" for verdict in verify(path) if verdict.fault]
        run = open_run(path)
    except CheckpointError as error:
        return [*faults, str(error)]
    except UserError as error:
        early = any(
            words in str(error) for words in ("no checkpoint yet", "no run.json", "is empty", "is no directory")
        )
        return faults if early and not announced else [*faults, str(error)]
    steps = list(run.history.index)
    if any(later <= step for step, later in itertools.pairwise(steps)):
        faults.append(f"{path}: the steps of the history do not ascend")
    rows = (path / HISTORY).read_bytes()
    if not whole.files[HISTORY].startswith(rows[: rows.rfind(b"\n") + 1]):
        faults.append(f"{path}: the history is another")
    states = [int(Path(name).stem) for name in announced if name.startswith(RESUME)]
    if states and max(steps_in(path / RESUME), default=-1) < max(states):
        faults.append(f"{path}: the resume state of step {max(states)} was announced and is gone")
    if states and (not steps or steps[-1] < last_row(whole, max(states))):
        faults.append(f"{path}: the history ends at {steps[-1:]}, before step {max(states)}, which was announced")
    for step in checkpoint_steps(path):
        faults += [] if run.at(step).weights.keys() == run.tensor_shapes.keys() else [f"step {step} is incomplete"]
    return faults


def last_row(whole: Whole, at_most: int) -> int:
    """The last logged step up to one."""
    steps = [int(line.split(",")[0]) for line in whole.files[HISTORY].decode().splitlines()[1:]]
    return max(step for step in steps if step <= at_most)


def forked(work: Callable[[Callable[[str], object]], None]) -> tuple[int, int]:
    """A process that does this work, telling what it does line by line; its id, and where to read the lines.

    It ends without cleaning up, as the parent's tests and files are not its own.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    os.close(reading)
    code = 1
    try:
        work(lambda line: os.write(writing, f"{line}\n".encode()))
        code = 0
    except BaseException:
        os.write(writing, f"! {traceback.format_exc()[-1500:]!r}\n".encode())
    finally:
        os._exit(code)


def ended(child: int, reading: int, heard: bytes = b"") -> tuple[int, list[str]]:
    """The exit code of a process (negative: the signal that killed it), and all of its lines, given those heard before."""
    with os.fdopen(reading, "rb") as pipe:
        lines = (heard + pipe.read()).decode().split("\n")
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), lines[:-1]


class Calls:
    """Every call by which a save changes the disk, numbered from 1 and given to `act` before it is made.

    `act` may raise, kill the process, or return the number of bytes that a write may write at most.
    """

    def __init__(self, act: Callable[[int, str], int | None] = lambda number, name: None):
        self.act, self.names = act, []

    def __call__(self, name: str) -> int | None:
        self.names.append(name)
        return self.act(len(self.names), name)

    @contextmanager
    def watched(self) -> Iterator["Calls"]:
        """All of this process pass through here."""
        real = {name: getattr(os, name) for name in ("open", "fsync", "replace", "chmod", "mkdir", "unlink")}
        real_open = io.open

        def system_call(name: str) -> Callable:
            def call(*args: Any, **kwargs: Any) -> Any:
                if name != "open" or (len(args) > 1 and args[1] & os.O_CREAT):
                    self(name)
                return real[name](*args, **kwargs)

            return call

        def opened(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            if not set(mode) & set("wax"):
                return real_open(file, mode, *args, **kwargs)
            if not isinstance(file, int):
                self("open")
            buffer = io.BufferedWriter(Counted(self, file, mode.replace("b", "").replace("t", "")))
            return buffer if "b" in mode else io.TextIOWrapper(buffer, encoding="utf-8")

        counted: dict[str, Any] = {name: system_call(name) for name in real}
        with mock.patch.multiple(os, **counted), mock.patch("io.open", opened):
            yield self


class Counted(io.FileIO):
    """A file whose every write is a call."""

    def __init__(self, calls: Calls, file: Any, mode: str):
        super().__init__(file, mode)
        self.calls = calls

    def write(self, data: Any) -> int:
        most = self.calls("write")
        return super().write(data if most is None else memoryview(data)[:most])


def die() -> None:
    """As a power switch does it: no handler runs, nothing is flushed."""
    os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def saving_every(seconds: float) -> Iterator[None]:
    """Resume states so often, instead of every five seconds."""
    with mock.patch.object(loop, "RESUME_SECONDS", seconds):
        yield
