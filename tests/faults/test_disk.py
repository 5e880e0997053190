"""A disk that is full, a file that may not grow, a directory that may not be written: one sentence, and nothing is lost."""

import ctypes
import errno
import gc
import os
import random
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import pytest
from faults.common import (
    FULL,
    SEED,
    STEPS,
    Calls,
    Count,
    Whole,
    ended,
    forked,
    how_many,
    saving_every,
    sha256,
    smallest,
    unsound,
)

from interp.base import UserError
from interp.store import RunWriter, open_run
from interp.store.layout import checkpoint_file, resume_file
from interp.train import loop

SHORT = STEPS.but(steps=5)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Whole:
    return Whole.train(smallest(SHORT), tmp_path_factory.mktemp("whole") / "run")


@contextmanager
def remembered(announced: dict[str, str], monkeypatch):
    """Every file that a writer has committed, by its digest."""
    real = {"checkpoint": RunWriter.checkpoint, "save_resume": RunWriter.save_resume}

    def committed(name, where):
        def work(self, step, content):
            real[name](self, step, content)
            file = where(self.path, step)
            announced[str(file.relative_to(self.path))] = sha256(file.read_bytes())

        return work

    with monkeypatch.context() as patched:
        patched.setattr(RunWriter, "checkpoint", committed("checkpoint", checkpoint_file))
        patched.setattr(RunWriter, "save_resume", committed("save_resume", resume_file))
        yield


def attempt(whole: Whole, path: Path, announced: dict[str, str], monkeypatch) -> str:
    """Train into a place that may refuse; what was said, nothing when the run reached its end."""
    with remembered(announced, monkeypatch), saving_every(0):
        try:
            loop.train(whole.config, path, resume=True)
        except UserError as error:
            return str(error)
    return ""


def after(whole: Whole, path: Path, announced: dict[str, str], said: str, expected: str) -> list[str]:
    """What is wrong with a run that could not be written any further, and with its end when it is resumed."""
    faults = [] if expected in said and "cannot write" in said else [f"{path}: said {said!r}"]
    faults += unsound(path, announced, whole)
    loop.train(whole.config, path, resume=True)
    return faults + whole.differs(open_run(path))


FAILING = ("open", "write", "fsync", "replace", "mkdir", "chmod")
"""Calls that need room on a disk."""


@pytest.mark.parametrize("how", ["from one call on", "at one call"])
def test_a_full_disk_at_any_call_is_a_sentence_and_costs_nothing(how, whole, tmp_path, monkeypatch, record_property):
    with saving_every(0), Calls().watched() as calls:
        loop.train(whole.config, tmp_path / "counted", resume=True)
    chosen = [number for number, name in enumerate(calls.names, start=1) if name in FAILING]
    if not FULL:
        chosen = sorted(random.Random(f"{SEED} disk {how}").sample(chosen, 20))
    count, faults, unharmed = Count(record_property, "disk", f"no space left {how}"), [], 0
    for number in chosen:

        def act(now, name, number=number):
            if name not in FAILING or now < number or (how == "at one call" and now > number):
                return None
            if how == "from one call on" and now == number and name == "write":
                return 40  # a part fits
            raise OSError(errno.ENOSPC, "No space left on device")

        path, announced = tmp_path / f"full {number}", {}
        with Calls(act).watched():
            said = attempt(whole, path, announced, monkeypatch)
        count.tried += 1
        if said:
            faults += after(
                whole, path, announced, said, "no space left on device; make room, then go on with --resume"
            )
        else:  # the call only let go of a finished run
            unharmed += 1
            faults += whole.differs(open_run(path)) + unsound(path, announced, whole)
        shutil.rmtree(path, ignore_errors=True)
    count.judge(faults, f"{unharmed} ended nevertheless, the others were resumed; all compared at their end")
    assert unharmed < 4


MAY_NOT_MOUNT = "this process may not mount; unshare -Urm make torture may"


def mounted(path: Path, size: str) -> bool:
    """A disk of that size in memory; whether this process may mount one."""
    path.mkdir(exist_ok=True)
    return (
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", path], capture_output=True).returncode
        == 0
    )


def unmounted(path: Path) -> None:
    """Take the disk away; weights that nobody holds any more may still map its files."""
    gc.collect()
    subprocess.run(["umount", path], check=True)


def test_a_real_disk_of_any_size(whole, tmp_path, monkeypatch, record_property):
    disk = tmp_path / "disk"
    count = Count(record_property, "disk", "a tmpfs of every size in steps of 4 KiB")
    faults, ended_whole, size = [], 0, 4
    step = how_many(12, 4)
    while not ended_whole:
        if not mounted(disk, f"{size}k"):
            return count.judge([], f"not shown here: {MAY_NOT_MOUNT}")
        try:
            path, announced = disk / "run", {}
            said = attempt(whole, path, announced, monkeypatch)
            count.tried += 1
            if said:
                subprocess.run(["mount", "-o", "remount,size=4m", disk], check=True)
                faults += after(whole, path, announced, said, "no space left on device; make room")
            else:
                ended_whole += 1
                faults += whole.differs(open_run(path))
        finally:
            unmounted(disk)
        size += step
    count.judge(faults, f"up to {size - step} KiB, where the run fits; the disk was then enlarged and the run resumed")
    return None


def limited(whole: Whole, path: Path, before: Callable[[], object]) -> list[str]:
    """What a process says that trains after it has bound itself."""

    def work(tell):
        before()
        with saving_every(0):
            try:
                loop.train(whole.config, path, resume=True)
            except UserError as error:
                tell(f"= {error}")

    code, lines = ended(*forked(work))
    return lines if code == 0 else [*lines, f"! ended with {code}"]


def test_a_file_that_may_not_grow(whole, tmp_path, record_property):
    count, faults = Count(record_property, "disk", "a limit on the size of a file (EFBIG)"), []
    for size in range(0, 16_000, how_many(3000, 250)):
        path = tmp_path / f"limit {size}"
        said = "".join(limited(whole, path, lambda size=size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))))
        count.tried += 1
        if said:
            faults += after(whole, path, {}, said, "file too large; allow larger files (ulimit -f)")
        else:
            faults += whole.differs(open_run(path))
    count.judge(faults, "from 0 to 16,000 bytes")


def bound_by_permissions() -> None:
    """Give up root's right to pass over permissions (CAP_DAC_OVERRIDE), and nothing else.

    Another user might not be allowed to read this environment, and Python imports and looks up packages at any time.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    header, rights = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    if libc.capget(header, rights) != 0:
        raise OSError(ctypes.get_errno(), "capget")
    rights[0] &= ~(1 << 1)  # of the effective ones
    if libc.capset(header, rights) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def test_a_directory_that_may_not_be_written(whole, tmp_path, record_property):
    """Before a run begins, before it goes on, in part; and as a mount that is read-only."""
    count, faults, notes = Count(record_property, "disk", "a directory that may not be written"), [], []
    for part in (None, "", "steps", "resume"):
        count.tried += 1
        place = tmp_path / f"in {part}"
        place.mkdir()
        faults += closed(whole, place / "run", part)
    notes.append("permissions, then resumed")
    disk, path = tmp_path / "disk", tmp_path / "disk/run"
    if mounted(disk, "4m"):
        try:
            faults += stopped_at_step_3(whole, path)
            subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
            said = "".join(limited(whole, path, lambda: None))
            subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
            count.tried += 1
            faults += after(whole, path, {}, said, "read-only file system; choose another place with --out")
        finally:
            unmounted(disk)
    else:
        notes.append(f"a read-only mount is not shown here: {MAY_NOT_MOUNT}")
    count.judge(faults, "; ".join(notes))


def closed(whole: Whole, path: Path, part: str | None) -> list[str]:
    """What is wrong when a run goes on while a part of it is closed, or begins where the directory above is."""
    faults = stopped_at_step_3(whole, path) if part is not None else []
    directory = path.parent if part is None else path / part
    directory.chmod(0o555)
    said = "".join(limited(whole, path, bound_by_permissions if os.getuid() == 0 else lambda: None))
    directory.chmod(0o755)
    return faults + after(whole, path, {}, said, "permission denied; choose another place with --out")


def stopped_at_step_3(whole: Whole, path: Path) -> list[str]:
    """Train a part of a run."""
    from helpers import StopAt

    with pytest.raises(loop.Interrupted):
        loop.train(whole.config, path, watcher=StopAt(3))
    return unsound(path, {}, whole)


def test_the_command_says_it_in_a_sentence_with_exit_code_2(tmp_path, record_property):
    disk = tmp_path / "disk"
    bound: Callable[[], None] | None = None
    expected = "no space left on device; make room, then go on with --resume"
    if not mounted(disk, "512k"):
        expected = "file too large; allow larger files (ulimit -f), then go on with --resume"

        def bounded():
            resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))

        bound = bounded

    try:
        words = ["quick", "--train.steps", "20", "--threads", "1", "--out", str(disk / "run")]
        done = subprocess.run(
            [sys.executable, "-m", "interp.train", *words],
            preexec_fn=bound,
            capture_output=True,
            text=True,
            timeout=120,
        )
        faults = [] if done.returncode == 2 else [f"exit code {done.returncode}"]
        lines = done.stderr.splitlines()
        if not lines or not lines[-1].startswith("error: cannot write") or expected not in lines[-1]:
            faults.append(done.stderr)
        if "Traceback" in done.stderr:
            faults.append("a traceback")
    finally:
        if bound is None:
            unmounted(disk)
    Count(record_property, "disk", "the command that trains, on a full disk", 1).judge(
        faults, "one sentence, exit code 2"
    )
