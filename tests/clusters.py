"""A dask scheduler and workers in processes of their own, as somebody would start them in terminals; to be killed."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from distributed import Client


class Started:
    """A scheduler and its workers. Each worker may be given a host's prefix, such as `ip netns exec NAME`, and its address."""

    def __init__(self, home, prefix=(), address="127.0.0.1"):
        self.home, self.stack, self.workers = home, ExitStack(), []
        self.file = home / "scheduler.json"
        words = ["scheduler", "--host", address, "--port", "0", "--dashboard-address", "127.0.0.1:0", "--no-jupyter"]
        self.scheduler = self.run([*words, "--scheduler-file", str(self.file)], prefix)
        until = time.monotonic() + 60
        while not self.file.exists() or not self.file.read_text().endswith("}"):
            assert time.monotonic() < until
            time.sleep(0.05)
        self.address = json.loads(self.file.read_text())["address"]

    def run(self, words, prefix=(), env=None):
        """A process of dask's command line, which is killed at the end with all that it started."""
        log = self.stack.enter_context((self.home / f"{len(self.workers)}.log").open("ab"))
        mark = {"INTERP_TEST": str(self.home)}
        process = subprocess.Popen(
            [*prefix, sys.executable, "-m", f"distributed.cli.dask_{words[0]}", *words[1:]],
            stdout=log, stderr=log, start_new_session=True, cwd=self.home, env=os.environ | mark | (env or {}),
        )  # fmt: skip
        self.stack.callback(process.wait)
        self.stack.callback(kill, process)
        return process

    def worker(self, prefix=(), address="127.0.0.1", env=None):
        """A new worker of one thread, which no nanny starts again."""
        words = ["worker", self.address, "--nthreads", "1", "--host", address, "--no-nanny", "--no-dashboard"]
        process = self.run([*words, "--local-directory", str(self.home / "scratch")], prefix, env)
        self.workers.append(process)
        return process


def training(home):
    """Processes that train for the workers of a cluster whose home this is."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command, words = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes().split(b"\0")
            if b"interp.study.worker" in command and f"INTERP_TEST={home}".encode() in words:
                found.append(int(entry.name))
    return found


def kill(process):
    """Kill a process with all that is in its session; nothing if it is dead."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def started(home, workers, **how):
    """A scheduler with so many workers."""
    home.mkdir(parents=True, exist_ok=True)
    found = Started(home, **how)
    with found.stack:
        for _ in range(workers):
            found.worker()
        if workers:
            with Client(found.address, set_as_default=False) as client:
                client.wait_for_workers(workers, timeout=60)
        yield found
