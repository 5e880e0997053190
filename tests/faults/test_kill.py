"""A kill at any moment: what was announced is there, whole and the same, and the run goes on to the same end."""

import os
import random
import signal
import time
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from faults.common import (
    FULL,
    HOW,
    SEED,
    STEPS,
    Calls,
    Count,
    Whole,
    die,
    ended,
    forked,
    how_many,
    saving_every,
    sha256,
    smallest,
    unsound,
)

from interp.store import RunWriter, open_run
from interp.store.layout import checkpoint_file, resume_file
from interp.train import loop

LONGEST = 0.12
"""Seconds from a fork to its kill; a whole run takes about as long."""

WORKS = ("_open", "begin", "log", "checkpoint", "save_resume")
"""What a writer does."""


def announcing(tell):
    """Each work of a RunWriter told before it begins, `> log`, and after it returned, `< log`; files with their digests."""

    def told(name):
        real = getattr(RunWriter, name)

        def work(self, *args, **kwargs):
            tell(f"> {name}")
            result = real(self, *args, **kwargs)
            if name in ("checkpoint", "save_resume"):
                where = checkpoint_file if name == "checkpoint" else resume_file
                file = where(self.path, args[0])
                tell(f"= {file.relative_to(self.path)} {sha256(file.read_bytes())}")
            tell(f"< {name}")
            return result

        return work

    works: dict[str, Any] = {name: told(name) for name in WORKS}
    return mock.patch.multiple(RunWriter, **works)


def write(config, path: Path, seconds: float, act=None):
    """The work of a process that trains, or goes on with training."""

    def work(tell):
        with announcing(tell), saving_every(seconds), Calls(act or (lambda *_: None)).watched():
            loop.train(config, path, resume=True)

    return work


class Killed:
    """Runs of one configuration, killed again and again until each has reached its end."""

    def __init__(self, whole: Whole, directory: Path):
        self.whole, self.directory = whole, directory
        self.faults: list[str] = []
        self.kills = self.mid_write = self.mid_work = self.finished = 0
        self.new()

    def new(self):
        """Begin another run."""
        self.path = self.directory / f"run {self.finished}"
        self.announced: dict[str, str] = {}

    def writer(self, seconds: float, act=None) -> tuple[int, int]:
        return forked(write(self.whole.config, self.path, seconds, act))

    def judge(self, code: int, lines: list[str]):
        """Look at what a dead writer left, and at all that it ever announced."""
        said = [line.split(" ", 1) for line in lines]
        self.faults += [f"{self.path}: {words}" for mark, words in said if mark == "!"]
        self.announced |= dict(words.rsplit(" ", 1) for mark, words in said if mark == "=")
        if code == -signal.SIGKILL:
            self.kills += 1
            self.mid_write += any(self.path.rglob(".*.tmp"))
            self.mid_work += bool(said) and said[-1][0] == ">"
        elif code != 0:
            self.faults.append(f"{self.path}: the writer ended with {code}")
        self.faults += unsound(self.path, self.announced, self.whole)
        if code == 0:
            self.faults += self.whole.differs(open_run(self.path))
            self.finished += 1
            self.new()

    def finish(self):
        """Let the last run reach its end."""
        done = self.finished
        self.judge(*ended(*self.writer(0)))
        if self.finished == done:
            self.faults.append(f"{self.path} does not reach its end")

    def note(self) -> str:
        return (
            f"{self.mid_write} with a temporary file half written, {self.mid_work} inside a work of the writer; "
            f"{self.finished} runs compared at their end"
        )


@pytest.mark.parametrize("how", HOW)
def test_a_kill_at_a_random_moment_loses_nothing_that_was_announced(how, tmp_path, record_property):
    chance = random.Random(f"{SEED} kill {how}")
    killed = Killed(Whole.train(smallest(HOW[how]), tmp_path / "whole"), tmp_path)
    deadline = time.monotonic() + how_many(30, 240)
    while killed.kills < how_many(4, 125) and time.monotonic() < deadline:
        child, reading = killed.writer(chance.choice([0, 0, 0.002, 0.01]))
        heard = b""
        if chance.random() < 0.5:
            time.sleep(chance.uniform(0, LONGEST))
        else:  # just after it said that it begins something
            heard = listened(reading, works=chance.randrange(1, 40))
            time.sleep(chance.uniform(0, 0.001))
        os.kill(child, signal.SIGKILL)
        killed.judge(*ended(child, reading, heard))
    killed.finish()
    Count(record_property, "kill", how, killed.kills).judge(killed.faults, killed.note())
    assert killed.mid_work or not FULL


def listened(reading: int, works: int) -> bytes:
    """What a writer says until it has begun so many works, or ends."""
    heard = b""
    while heard.count(b">") < works and (more := os.read(reading, 64)):
        heard += more
    return heard


def test_a_file_is_on_the_disk_before_it_has_its_name_and_the_name_before_it_is_announced(tmp_path):
    """All that can be shown of a power cut without one: the order of the calls."""
    order, announced = [], []
    calls = Calls(lambda number, name: order.append(name))
    with announcing(lambda line: order.append(line)), saving_every(0), calls.watched():
        loop.train(smallest(STEPS.but(steps=5)), tmp_path / "run", resume=True)
    for at, name in enumerate(order):
        if name == "replace":
            assert order[at - 3 : at + 2] == ["write", "fsync", "chmod", "replace", "fsync"]
        if name.startswith("= steps"):
            begun = max(i for i in range(at) if order[i] == "> checkpoint")
            assert "fsync" in order[begun : order.index("write", begun)], "its row of the history comes first"
            announced.append(name)
    assert len(announced) == 4  # steps 0, 1, 2, 5


@pytest.mark.parametrize("written", ["nothing", "half"])
def test_a_kill_at_every_call_loses_nothing_that_was_announced(written, tmp_path, record_property):
    """Before each of the calls of one run, and in the middle of each write."""
    whole = Whole.train(smallest(STEPS.but(steps=5)), tmp_path / "whole")
    with saving_every(0), Calls().watched() as calls:
        loop.train(whole.config, tmp_path / "counted", resume=True)
    chosen = range(1, len(calls.names) + 1)
    if written == "half":
        chosen = [number for number in chosen if calls.names[number - 1] == "write"]
    if not FULL:
        chosen = random.Random(f"{SEED} calls").sample(list(chosen), 10)
    killed = Killed(whole, tmp_path)
    for number in chosen:

        def act(now, name, number=number):
            if now == number and written == "nothing":
                die()
            if now == number:
                return 40
            if now == number + 1 and written == "half":
                die()
            return None

        for how in (act, None):
            child, reading = killed.writer(0, how)
            killed.judge(*ended(child, reading))
    kind = "before each call" if written == "nothing" else "in the middle of each write"
    Count(record_property, "kill", kind, killed.kills).judge(killed.faults, killed.note())
    assert killed.kills >= len(chosen)
