"""A study on several hosts whose workers, processes and whole hosts are killed all the time: nothing is lost, nothing differs."""

import os
import random
import shutil
import signal
import subprocess
import threading
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest
from clusters import Started, kill, training
from faults.common import FULL, SEED, Count, smallest
from helpers import files

from interp.recipe import TrainConfig
from interp.study.engine import run_all
from interp.study.grid import grid

RUNS, ALIKE = (200, 5) if FULL else (12, 3)
"""Runs, and how many train side by side."""
TRAIN = TrainConfig(steps=1500, lr=3e-3, log_every=50, checkpoint_every=250)
HOSTS = 3


def may_make_hosts():
    """Whether this machine lets us give processes networks of their own."""
    return os.geteuid() == 0 and shutil.which("ip") is not None


@contextmanager
def hosts(number):
    """Hosts with addresses of their own on a bridge of this machine, as (name, address); without names where it allows none."""
    if not may_make_hosts():
        yield [("", "127.0.0.1")] * number
        return

    def ip(words, check=True):
        subprocess.run(["ip", *words.split()], check=check, stderr=None if check else subprocess.DEVNULL)

    names = [f"interp{place}" for place in range(number)]
    with ExitStack() as made:
        made.callback(ip, "link del interpbr", check=False)
        ip("link del interpbr", check=False)
        ip("link add interpbr type bridge")
        ip("addr add 10.77.0.1/24 dev interpbr")
        ip("link set interpbr up")
        for place, name in enumerate(names):
            ip(f"netns del {name}", check=False)
            ip(f"netns add {name}")
            made.callback(ip, f"netns del {name}", check=False)
            ip(f"link add {name}b type veth peer name eth0 netns {name}")
            ip(f"link set {name}b master interpbr up")
            ip(f"-n {name} addr add 10.77.0.{place + 2}/24 dev eth0")
            ip(f"-n {name} link set eth0 up")
            ip(f"-n {name} link set lo up")
        yield [(name, f"10.77.0.{place + 2}") for place, name in enumerate(names)]


def inside(name):
    """Words before a command that runs on a host."""
    return ("ip", "netns", "exec", name) if name else ()


class Killer(threading.Thread):
    """Every few seconds kills a worker, a process that trains, or all that runs on a host, and starts a worker there again."""

    def __init__(self, dask, places, chance):
        super().__init__(daemon=True)
        self.dask, self.places, self.chance, self.over = dask, places, chance, threading.Event()
        self.workers = {place: self.begun(place) for place in places}
        self.kills = dict.fromkeys(("worker", "process", "host"), 0)

    def begun(self, place):
        return self.dask.worker(inside(place[0]), place[1])

    def run(self):
        while not self.over.wait(self.chance.uniform(2, 5)):
            place, how = self.chance.choice(self.places), self.chance.choice([*self.kills])
            trains = training_on(self.dask, place[0])
            if how == "process" and trains:
                with suppress(ProcessLookupError):
                    os.kill(self.chance.choice(trains), signal.SIGKILL)
            elif how != "process":
                kill(self.workers[place])
                for process in trains if how == "host" else ():
                    with suppress(ProcessLookupError):
                        os.kill(process, signal.SIGKILL)
                self.workers[place] = self.begun(place)
            else:
                continue
            self.kills[how] += 1


def training_on(dask, name):
    """Processes that train on a host."""
    mine = training(dask.home)
    if not name:
        return mine
    there = subprocess.run(["ip", "netns", "pids", name], stdout=subprocess.PIPE, text=True).stdout.split()
    return [process for process in mine if str(process) in there]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_study_on_hosts_that_are_killed_all_the_time_ends_as_one_on_a_quiet_machine(tmp_path, record_property):
    configs, how = grid(smallest(TRAIN), seeds=RUNS), dict[str, Any](at_once=ALIKE, threads=1)
    with hosts(HOSTS) as ((first, address), *others):
        dask = Started(tmp_path, inside(first), address)
        with dask.stack:
            killer = Killer(dask, [(name, where) for name, where in others], random.Random(f"{SEED} cluster"))
            killer.start()
            found = run_all(configs, tmp_path / "there", on=dask.address, **how)
            killer.over.set()
            killer.join()
    whole = run_all(configs, tmp_path / "here", processes=2, **how)
    faults = [f"{name}: {why}" for name, why in found.failures.items()]
    faults += [name for name, run in found.runs.items() if files(run) != files(whole.runs[name])]
    for (
        name,
        run,
    ) in found.runs.items():  # a session that begins where the one before had not been yet has lost something
        begun = [session.from_step for session in run.record.sessions]
        faults += [f"{name} began at {begun}"] if begun != sorted(begun) or begun.count(TRAIN.steps) else []
    again = sum(len(run.record.sessions) - 1 for run in found.runs.values())
    kills = ", ".join(f"{number} × {what}" for what, number in killer.kills.items())
    count = Count(record_property, "cluster", "own hosts" if may_make_hosts() else "one host", len(configs))
    count.judge(faults, f"{sum(killer.kills.values())} kills ({kills}); {again} times a run went on")
