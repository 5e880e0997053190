"""A stop at any step, by Ctrl-C or by a kill, once or several times: the run ends bit for bit as one that was not stopped."""

import os
import random
import shutil
import signal
from pathlib import Path

import pytest
from faults.common import HOW, SEED, Count, Whole, ended, forked, how_many, saving_every, smallest, unsound
from helpers import StopAt

from interp.store import CheckpointError, open_run
from interp.train import loop


class SignalAt(StopAt):
    """A watcher that sends this process a signal at one step."""

    def __init__(self, step: int, number: int):
        super().__init__(step)
        self.number = number

    def step(self, step):
        if step == self.at:
            os.kill(os.getpid(), self.number)


def stopped(config, path, step: int, number: int, seconds: float) -> int:
    """Train until a signal comes at a step; the exit code of the process."""

    def work(tell):
        with saving_every(seconds):
            try:
                loop.train(config, path, resume=True, watcher=SignalAt(step, number))
            except loop.Interrupted as stop:
                assert stop.step == step

    return ended(*forked(work))[0]


@pytest.mark.parametrize("how", HOW)
def test_a_run_stopped_at_any_steps_ends_as_one_that_was_not(how, tmp_path, record_property):
    chance = random.Random(f"{SEED} resume {how}")
    whole = Whole.train(smallest(HOW[how]), tmp_path / "whole")
    count, faults = Count(record_property, "resume", how), []
    signals = [signal.SIGINT, signal.SIGTERM, signal.SIGKILL]
    for number in range(how_many(3, 20)):
        path = tmp_path / f"run {number}"
        stops = sorted(chance.sample(range(1, whole.config.train.steps), chance.choice([1, 1, 1, 2, 3])))
        for stop in stops:
            kind = signals[(count.tried) % 3]
            code = stopped(whole.config, path, stop, kind, chance.choice([0, 0.003, 5]))
            if code != (-kind if kind == signal.SIGKILL else 0):
                faults.append(f"{path}: stopped at {stop} by {kind!r} it ended with {code}")
            faults += unsound(path, {}, whole)
            count.tried += 1
        loop.train(whole.config, path, resume=True)
        faults += [f"{fault} after stops at {stops}" for fault in whole.differs(open_run(path))]
    count.judge(
        faults, f"stops of {how_many(3, 20)} runs by SIGINT, SIGTERM and SIGKILL in turn, each compared at its end"
    )


def test_resuming_a_run_without_its_resume_states_begins_nothing_again(tmp_path, record_property):
    """Stopped anywhere and robbed of its states: refused, unless it is finished or has nothing but step 0. No file changes."""
    chance = random.Random(f"{SEED} without states")
    whole = Whole.train(smallest(), tmp_path / "whole")
    count, faults, last = Count(record_property, "resume", "resume/ deleted"), [], whole.config.train.steps
    stops = [0, 2, last, *(chance.randrange(3, last) for _ in range(how_many(3, 40)))]
    for number, stop in enumerate(stops):
        path = tmp_path / f"run {number}"
        kind = chance.choice([signal.SIGINT, signal.SIGKILL])
        if stop == last:
            loop.train(whole.config, path)
        elif stop:
            stopped(whole.config, path, stop, kind, 0)
        else:
            robbed_of_all_but_step_0(whole, path)
        shutil.rmtree(path / "resume")
        before = contents(path)
        try:
            loop.train(whole.config, path, resume=True)
            said = ""
        except CheckpointError as error:
            said = str(error)
        count.tried += 1
        if 0 < stop < last:
            faults += [] if "has no resume state, so training cannot go on" in said else [f"{path}: it said {said!r}"]
            faults += [] if contents(path) == before else [f"{path}, stopped at {stop} by {kind!r}, was changed"]
        else:
            faults += [f"{path}: {said}"] if said else []
            if stop:
                faults += [] if contents(path) == before else [f"{path}, which is finished, was changed"]
            else:
                faults += whole.differs(open_run(path))
    count.judge(faults, "refused between, returned when finished, begun where there is nothing but step 0")


def robbed_of_all_but_step_0(whole: Whole, path: Path) -> None:
    """A run as a kill leaves it just before its first resume state: its record, one row, one checkpoint."""
    run = loop.train(whole.config, path)
    for step in run.steps[1:]:
        run.at(step).path.unlink()
    rows = (path / "history.csv").read_text().splitlines(keepends=True)
    (path / "history.csv").write_text("".join(rows[:2]))


def contents(path: Path) -> dict[str, bytes]:
    """Every file of a run, save the lock."""
    found = (file for file in path.rglob("*") if file.is_file() and file.name != ".lock")
    return {str(file.relative_to(path)): file.read_bytes() for file in found}
