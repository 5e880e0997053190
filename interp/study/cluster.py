"""The place of a study that is a cluster: workers of dask, each on a machine that sees the directory of the runs.

dask finds machines and carries words. A study keeps its own policy: each task is handed to one worker that has room for it, so
that one that dies takes nothing with it but what it was doing, and what becomes of that is decided here. Why so:
docs/decisions/0018.
"""

import hashlib
import logging
import math
import re
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from interp.base import UserError
from interp.study.fingerprint import fingerprint
from interp.study.here import Batches, Tell, refuse_less_than_one
from interp.study.process import LOST, STOPPED, Ended, Errand
from interp.study.timing import Cost, together, work

SECONDS_BETWEEN = 2.0
"""Seconds between two looks at the workers, each of which tells them that we are there."""

SECONDS_UNHEARD = 60.0
"""Seconds after which a process in the cluster saves and ends if we are not heard of."""

SECONDS_TO_ANSWER = 30.0
"""Seconds that a scheduler has to answer, and an address to have its first worker."""

SECONDS_TO_TIME = 600.0
"""Seconds that a worker has to time steps, which takes a few if it is idle."""

TOKEN = ".study-"
"""Beginning of the name of a file in the directory of the runs by which a worker sees that it has that directory too."""


@dataclass
class Task:
    """An errand that was handed over."""

    errand: Errand
    tell: Tell
    where: list[str]
    """Addresses of the workers one of which has it."""
    future: Any
    unseen: int = 0
    """Number of looks since it was last seen at a worker."""


class Cluster:
    """A cluster of dask workers: a scheduler's address, a file of dask-jobqueue's configuration, or `local:N`."""

    def __init__(
        self, on: str, out: Path, processes: int | None, threads: int, *, leave: bool = False, writes: bool = True
    ):
        """`processes` is the most at a time. With `writes` workers are asked whether they see `out`."""
        refuse_less_than_one(processes=processes, threads=threads)
        self.on, self.threads, self.about = on, threads, on
        self._out, self._most, self._leave, self._writes = out.absolute(), processes, leave, writes
        self._study = hashlib.sha256(str(self._out).encode()).hexdigest()[:12]
        self._tasks: dict[str, Task] = {}
        self._attempts: dict[Errand, int] = {}
        self._room: dict[str, int] = {}
        self._refused: set[str] = set()
        self._news: list[str] = []
        self._gone = ""
        self._stopping = False
        self._kept = ExitStack()
        if leave and not is_address(on):
            raise UserError(
                f"--leave needs the address of a scheduler that stays, and --on is {on}, which ends with us"
            )

    def __enter__(self) -> "Cluster":
        with ExitStack() as opening:
            opening.enter_context(quiet("distributed"))
            self._client = opening.enter_context(connected(self.on, self._most, self.threads))
            token = opening.enter_context(shown_in(self._out)) if self._writes else None
            self._attend = (attending(), self._study, fingerprint(), token, self.threads)
            self._client.subscribe_topic(f"interp-{self._study}", self._hear)
            self._muster()
            opening.enter_context(repeating(self._look_around, SECONDS_BETWEEN))
            self._kept = opening.pop_all()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not self._leave:
            with suppress(Exception):  # of a scheduler that is gone
                self._client.cancel([task.future for task in self._tasks.values()])
        self._kept.close()

    @property
    def slots(self) -> int:
        """Number of processes at a time: as many as the workers that are there have threads for."""
        room = sum(self._room.values())
        return room if self._most is None else min(room, self._most)

    @property
    def expected(self) -> int:
        """Number of processes at a time once all workers have come: those that a queue was asked for, or that are there."""
        return self.slots if self._most is None or is_address(self.on) else self._most

    def timings(self, batches: Batches, device: str, told: Callable[[str], None]) -> tuple[list[Cost], int, int]:
        """Cost of each batch, measured by a worker with the threads that a process has."""
        from interp.study.node import timed_here

        if not batches:
            return [], 0, 0
        places = [(together(batch[0]), work(batch)) for batch in batches]
        alike = dict(zip(places, batches, strict=True))  # equal work is timed once, and sent once
        words = [[config.model_dump(mode="json") for config in batch] for batch in alike.values()]
        where = max(self._room, key=self._room.__getitem__)
        try:
            future = self._client.submit(
                timed_here, words, device, self.threads, self._room[where], workers=[where], pure=False
            )
            found = future.result(timeout=SECONDS_TO_TIME)
        except Exception as error:
            raise UserError(f"{self.on} could not time a step: {type(error).__name__}: {error}") from error
        if isinstance(found, str):
            raise UserError(found)
        costs, timed, kinds, memory, machine = found
        for each in memory:
            told(each)
        self.about = f"{machine} in {self.on}"
        known = dict(zip(alike, costs, strict=True))
        return [known[each] for each in places], timed, kinds

    def begin(self, errand: Errand, tell: Tell) -> None:
        """Hand an errand to the worker that has most room."""
        busy = Counter(task.where[0] for task in self._tasks.values())
        where = max(self._room, key=lambda address: self._room[address] - busy[address])
        self._submit(errand, tell, [where])

    def _submit(self, errand: Errand, tell: Tell, where: list[str]) -> None:
        """Hand an errand to one of some workers. The same errand of a study is the same task: who asks again shares it."""
        from distributed import fire_and_forget

        from interp.study.node import relay

        attempt = self._attempts[errand] = self._attempts.get(errand, -1) + 1
        what = hashlib.sha256(repr((errand.name, errand.words)).encode()).hexdigest()[:16]
        key = f"interp-{self._study}-{what}-{attempt}"
        patience = float("inf") if self._leave else SECONDS_UNHEARD
        whole = (errand.name, errand.words, errand.order, errand.place)
        future = self._client.submit(
            relay, self._study, key, whole, self.threads, patience, key=key, workers=where, pure=False
        )
        self._tasks[key] = Task(errand, tell, where, future)
        if self._leave:
            fire_and_forget(future)
        future.add_done_callback(lambda future: self._over(key, future))

    def look(self) -> list[str]:
        """What is new of the workers, in sentences; UserError if the scheduler is gone."""
        if self._gone:
            raise UserError(self._gone)
        news, self._news = self._news, []
        return news

    def stop(self) -> None:
        """Ask every process to save and end; those that have not begun will not begin."""
        self._stopping = True

    def kill(self) -> None:
        """End every process."""
        from interp.study.node import halt

        with suppress(Exception):  # of a scheduler that is gone: its workers end by themselves
            self._client.run(halt, self._study, True, on_error="return")

    def leave(self, rest: Sequence[Errand]) -> bool:
        """Hand over all that is left, and leave it to the cluster, if that was asked for; returns whether it was."""
        if not self._leave:
            return False
        for errand in rest:
            self._submit(errand, lambda errand, what: None, [*self._room])
        self._client.ncores()  # an answer to this says that what was sent before has arrived
        time.sleep(0.5)
        return True

    def _over(self, key: str, future: Any) -> None:
        """Tell how a task ended. Called by a thread of dask's."""
        try:
            ended = Ended(*future.result(timeout=SECONDS_TO_ANSWER))
        except Exception as error:  # of dask, or of a task of ours that raised what it should not
            ended = Ended(LOST, "its worker was lost", {})
            if future.status == "error" and type(error).__name__ != "KilledWorker":
                ended = Ended(1, f"{type(error).__name__}: {error}", {})
        self._end(key, ended)

    def _end(self, key: str, ended: Ended) -> None:
        """Tell how a task ended, once."""
        task = self._tasks.pop(key, None)
        if task is not None:
            task.future.release()
            task.tell(task.errand, ended)

    def _hear(self, said: tuple[float, Any]) -> None:
        """Pass on a line of a process. Called by a thread of dask's."""
        key, line = said[1]
        if key in self._tasks:
            task = self._tasks[key]
            task.tell(task.errand, line)

    def _look_for_the_lost(self) -> None:
        """End what no worker is at any more. dask would hand it over by itself, at most some times, if its worker came back."""
        at_work = {key for keys in self._client.processing().values() for key in keys}
        for key, task in [*self._tasks.items()]:
            task.unseen = 0 if key in at_work or task.future.status != "pending" else task.unseen + 1
            if task.unseen > 1:
                self._end(key, Ended(STOPPED if self._stopping else LOST, "its worker was lost", {}))

    def _muster(self) -> None:
        """Wait for the first worker that fits; UserError if none does."""
        began, told = time.monotonic(), False
        while not self.slots:
            self._look_around()
            if self._refused and not self.slots:
                raise UserError("; ".join(sorted(self._refused)))
            waited = time.monotonic() - began
            if is_address(self.on) and waited > SECONDS_TO_ANSWER:
                raise UserError(f"{self.on} has no workers; start some: dask worker {self.on} --nthreads 1")
            if waited > 5 and not told:
                logging.getLogger("interp").warning("waiting for the first worker of %s", self.on)
                told = True
            if not self.slots:
                time.sleep(0.2)

    def _look_around(self) -> None:
        """Tell every worker that we are there, or that all is to stop; take note of those that came and went."""
        from interp.study.node import halt

        try:
            self._look_for_the_lost()
            if self._stopping:
                self._client.run(halt, self._study, False, on_error="return")
                return
            function, *arguments = self._attend
            found = self._client.run(function, *arguments, on_error="return")
        except Exception as error:
            self._gone = (
                f"the scheduler of {self.on} is gone ({type(error).__name__}); what is saved stays, processes there save and "
                "end: start it again, and give the same command"
            )
            return
        self._room = {address: room for address, room in found.items() if isinstance(room, int)}
        for address, why in found.items():
            if isinstance(why, str) and why not in self._refused:
                self._refused.add(why)
                self._news.append(f"left aside: {address}: {why}")


def attending() -> Callable[..., Any]:
    """The function by which a worker is told of a study; it gives the processes that it has room for, or why it has none.

    It is sent as code and not by its name: a worker with another interp may not have it.
    """

    async def attend(study: str, wanted: str, token: str | None, threads: int, dask_worker: Any) -> object:
        import asyncio
        import platform
        from pathlib import Path

        try:
            from interp.study.fingerprint import fingerprint
            from interp.study.node import hear
        except ImportError:
            return f"{platform.node()} has no interp with clusters; it needs {wanted}"
        if (there := fingerprint()) != wanted:
            return f"{platform.node()} has {there}, and here is {wanted}; install the same there"
        if not hear(study):
            for _ in range(20):  # a shared file system may take a moment to show a new file
                if token is None or Path(token).exists():
                    break
                await asyncio.sleep(0.25)
            else:
                home = Path(token or "").parent
                return f"{platform.node()} does not see {home}; give --out a directory that all machines share"
        return max(1, dask_worker.state.nthreads // threads)

    return attend


def is_address(on: str) -> bool:
    """Whether `on` is the address of a scheduler."""
    return re.match(r"(tcp|tls|ucx)://", on) is not None


@contextmanager
def connected(on: str, processes: int | None, threads: int) -> Generator[Any]:
    """A client of the cluster that `on` names, which is closed at the end, with the cluster if it began with us."""
    try:
        from distributed import Client
    except ImportError as error:
        raise UserError("--on needs dask; install it with: pip install 'interp[cluster]'") from error
    with ExitStack() as opened:
        target: Any = on
        if not is_address(on):
            target = opened.enter_context(begun(on, processes, threads))
        try:
            client = Client(target, timeout=SECONDS_TO_ANSWER, set_as_default=False)
        except (OSError, ValueError) as error:
            raise UserError(
                f"no dask scheduler answers at {on}; start one (dask scheduler --host ADDRESS), or see its address"
            ) from error
        opened.callback(client.close, timeout=5)
        yield client


def begun(on: str, processes: int | None, threads: int) -> Any:
    """A cluster that begins and ends with us: in this process, or the jobs of a queue."""
    if (words := re.fullmatch(r"local(?::(.*))?", on)) is not None:
        from distributed import LocalCluster

        number = words[1] or ""
        if not number.isdecimal() or not 0 < int(number) < 10_000:
            raise UserError(f"--on is {on}; write local:4 for four workers on this machine")
        # Workers that are threads: each process that trains is started by them, so they need none of their own.
        how: dict[str, Any] = {"dashboard_address": None, "memory_limit": 0, "silence_logs": logging.CRITICAL}
        return LocalCluster(n_workers=int(number), threads_per_worker=1, processes=False, **how)
    return of_queue(Path(on), processes, threads)


def of_queue(file: Path, processes: int | None, threads: int) -> Any:
    """A cluster of jobs of a queue, from a file of dask-jobqueue's own configuration."""
    if file.suffix not in (".yaml", ".yml") or not file.is_file():
        raise UserError(
            f"--on is {file}, which is no file; give the address of a scheduler (tcp://…), a file of dask-jobqueue's "
            "configuration (slurm.yaml), or local:4"
        )
    try:
        import dask.config
        import dask_jobqueue.local
        import yaml
    except ImportError as error:
        raise UserError("--on FILE.yaml needs dask-jobqueue; install it with: pip install 'interp[cluster]'") from error
    kinds = {
        "slurm": "SLURMCluster", "pbs": "PBSCluster", "sge": "SGECluster", "lsf": "LSFCluster", "oar": "OARCluster",
        "moab": "MoabCluster", "htcondor": "HTCondorCluster", "local": "LocalCluster",
    }  # fmt: skip
    try:
        found = yaml.safe_load(file.read_text())
        queues = [*found["jobqueue"]]
        (queue,) = queues
        kind: Any = getattr(dask_jobqueue, kinds[queue], None) or getattr(dask_jobqueue.local, kinds[queue])
    except (yaml.YAMLError, OSError, UnicodeDecodeError, TypeError, KeyError, ValueError) as error:
        raise UserError(
            f"{file} is no configuration of dask-jobqueue; it should have jobqueue: and under it one of {', '.join(kinds)}"
        ) from error
    if processes is None:
        raise UserError(f"--on is {file}, and nothing says how many processes to ask the queue for; give --processes")
    dask.config.update(dask.config.config, found, priority="new")
    local = {"dashboard_address": "127.0.0.1:0"}
    options = {**local, **(found["jobqueue"][queue].get("scheduler-options") or {})}
    try:
        cluster = kind(scheduler_options=options)
        # Counted here: findings/cores_of_a_configuration_are_unreachable.sh
        jobs = math.ceil(processes * threads / found["jobqueue"][queue]["cores"])
        cluster.adapt(
            minimum_jobs=jobs, maximum_jobs=jobs
        )  # a job that is over, as by its walltime, is followed by another
    except Exception as error:  # whatever the queue's programs and dask say of it
        raise UserError(
            f"{file}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        ) from error
    return cluster


@contextmanager
def shown_in(out: Path) -> Generator[str]:
    """A context with a file in a directory by which others see that they have that directory."""
    from interp.store.files import told_in_a_sentence

    file = out / f"{TOKEN}{uuid.uuid4().hex[:12]}"
    with told_in_a_sentence(out):
        out.mkdir(parents=True, exist_ok=True)
        file.touch()
    try:
        yield str(file)
    finally:
        with suppress(OSError):
            file.unlink()


@contextmanager
def repeating(act: Callable[[], None], seconds: float) -> Generator[None]:
    """A context during which a thread does something every so many seconds."""
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(seconds):
            act()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(timeout=5)


@contextmanager
def quiet(name: str) -> Generator[None]:
    """A context in which a library logs nothing: what matters of it is told in sentences of ours."""
    logger = logging.getLogger(name)
    before, logger.level = logger.level, logging.CRITICAL + 1
    try:
        yield
    finally:
        logger.level = before
