"""The place of a study that is a cluster: workers of dask, each on a machine that sees the directory of the runs.

dask finds machines and carries words. A study keeps its own policy: each task is handed to one worker that has room for it, so
that one that dies takes nothing with it but what it was doing, and what becomes of that is decided here. Why so:
docs/decisions/0018.
"""

import asyncio
import hashlib
import json
import sys
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
from interp.study import connection
from interp.study.connection import begins_at_once, connected, is_address, overheard, quiet, refuse_without_dask
from interp.study.fingerprint import fingerprint
from interp.study.here import Batches, Tell, refuse_less_than_one
from interp.study.process import LOST, STOPPED, Ended, Errand, event
from interp.study.timing import Cost, together, work

SECONDS_BETWEEN = 2.0
"""Seconds between two looks at the workers, each of which tells them that we are there."""

SECONDS_UNHEARD = 60.0
"""Seconds after which a process in the cluster saves and ends if we are not heard of."""

SECONDS_TO_SHOW = 10.0
"""Seconds that a shared file system has to show a new file on another machine."""

SECONDS_A_CALL = 10.0
"""Seconds that a scheduler has to answer a look."""

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

    patience = 1e9

    def __init__(
        self,
        on: str,
        out: Path,
        processes: int | None,
        threads: int,
        *,
        about: str = "",
        leave: bool = False,
        dry_run: bool = False,
    ):
        """The cluster that `on` names, for what is done in `out`.

        Args:
            on: the cluster.
            out: directory that all machines see.
            processes: the most at a time; by default as many as the workers have room for.
            threads: threads of each process.
            about: what is done there, if it is not training: studies with the same words share tasks, and a stop.
            leave: what runs goes on without us.
            dry_run: nothing will be begun: `out` is not written, and a queue is asked for one job.
        """
        refuse_less_than_one(processes=processes, threads=threads)
        if leave and not is_address(on):
            raise UserError(
                f"--leave needs the address of a scheduler that stays, and --on is {on}, which ends with us"
            )
        self.on, self.threads, self.about = on, threads, on
        self._out, self._most, self._leave, self._dry_run = out.absolute(), processes, leave, dry_run
        self._study = hashlib.sha256(f"{self._out} {about}".encode()).hexdigest()[:12]
        self._tasks: dict[str, Task] = {}
        self._lost = Counter[str]()
        self._room: dict[str, int] = {}
        self._refused: dict[str, str] = {}
        self._asked: set[str] = set()
        self._news: list[str] = []
        self._answered = time.monotonic()
        self._stopping = self._alone = False
        self._overheard: list[str] = []
        self._lock = threading.Lock()
        self._kept = ExitStack()

    def __enter__(self) -> "Cluster":
        refuse_without_dask()  # which sets up logging as it is loaded
        with ExitStack() as opening:
            opening.enter_context(quiet("distributed", "distributed.client"))
            self._overheard = opening.enter_context(overheard("tornado.application", "asyncio"))
            jobs = 1 if self._dry_run else self._most
            self._client = opening.enter_context(connected(self.on, self._most, jobs, self.threads))
            token = None if self._dry_run else opening.enter_context(shown_in(self._out))
            self._attend = (attending(), self._study, fingerprint(), token, self.threads, SECONDS_TO_SHOW)
            self._answered = time.monotonic()
            from interp.study.node import topic

            self._client.subscribe_topic(topic(self._study), self._hear)
            self._muster()
            opening.enter_context(repeating(self._look_around, SECONDS_BETWEEN))
            self._kept = opening.pop_all()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not self._leave:
            if self._tasks:
                self._tell_all(kill=False)
            with suppress(Exception):  # of a scheduler that is gone
                self._client.cancel([task.future for task in [*self._tasks.values()]])
        self._kept.close()

    @property
    def slots(self) -> int:
        """Number of processes at a time: as many as the workers that are there have threads for."""
        room = sum(self._room.values())
        return room if self._most is None else min(room, self._most)

    @property
    def expected(self) -> int:
        """Number of processes at a time once all workers have come: those that a queue was asked for, or that are there."""
        return self.slots if self._most is None or begins_at_once(self.on) else self._most

    def timings(self, batches: Batches, device: str, told: Callable[[str], None]) -> tuple[list[Cost], int, int]:
        """Cost of each batch, measured on a worker's machine with the threads that a process has."""
        from interp.study.node import timed

        if not batches:
            return [], 0, 0
        places = [(together(batch[0]), work(batch)) for batch in batches]
        alike = dict(zip(places, batches, strict=True))  # equal work is timed once, and sent once
        while not self._with_room():
            self.look()
            time.sleep(0.2)
        where, room = max(self._with_room().items(), key=lambda each: each[1])
        words = [[config.model_dump(mode="json") for config in batch] for batch in alike.values()]
        order = {
            "batches": words, "at_once": [min(room, places.count(each)) for each in alike], "device": device,
            "threads": self.threads,
        }  # fmt: skip
        answer: Any = self._client.run(
            timed, json.dumps(order) + "\n", self.threads, workers=[where], on_error="return"
        ).get(where)
        if not isinstance(answer, tuple):
            raise UserError(f"{self.on} could not time a step: {type(answer).__name__}: {answer}")
        ended, lines, machine = answer
        found = next(filter(None, map(event, lines)), None)
        if found is None:
            raise UserError(f"on {machine}: {ended[1]}")
        for each in found["told"]:
            told(each)
        self.about = f"{machine} in {self.on}"
        known = dict(zip(alike, [Cost(*cost) for cost in found["costs"]], strict=True))
        return [known[each] for each in places], found["timed"], found["kinds"]

    def begin(self, errand: Errand, tell: Tell) -> None:
        """Hand an errand to the worker that has most room."""
        with self._lock:
            busy = Counter(task.where[0] for task in self._tasks.values())
        room = self._with_room()
        if not room:  # the last one went just now
            tell(errand, Ended(LOST, "its worker was lost", {}))
            return
        self._submit(errand, tell, [max(room, key=lambda address: room[address] - busy[address])])

    def _with_room(self) -> dict[str, int]:
        """Workers that are there, with the processes that they have room for."""
        return {address: number for address, number in self._room.items() if number}

    def _submit(self, errand: Errand, tell: Tell, where: list[str]) -> None:
        """Hand an errand to one of some workers. The same errand of a study is the same task: who asks again shares it."""
        from distributed import fire_and_forget

        from interp.study.node import relay

        what = hashlib.sha256(repr((errand.name, errand.words)).encode()).hexdigest()[:16]
        # A key of a task that was lost is cancelled, and takes any new task of its name along.
        key = f"interp-{self._study}-{what}-{self._lost[errand.name]}"
        patience = float("inf") if self._leave else SECONDS_UNHEARD
        whole = (errand.name, errand.words, errand.order, errand.place)
        future = self._client.submit(
            relay, self._study, key, whole, self.threads, patience, key=key, workers=where, pure=False
        )
        with self._lock:
            self._tasks[key] = Task(errand, tell, where, future)
        if self._leave:
            fire_and_forget(future)
        future.add_done_callback(lambda future: self._over(key, future))

    def look(self) -> list[str]:
        """What is new of the workers, in sentences; UserError if the scheduler is gone."""
        silent = time.monotonic() - self._answered
        if silent > connection.SECONDS_TO_ANSWER:
            raise UserError(
                f"the scheduler of {self.on} is gone, it has not answered for {silent:.0f} seconds; what is saved stays, and "
                "processes there save and end: start it again, and give the same command"
            )
        if not self.slots and not self._alone and not self._dry_run:
            self._news.append(f"no worker of {self.on} is there now; waiting for one")
        self._alone = not self.slots
        while self._overheard:
            self._news.append(f"{self.on} answers: {self._overheard.pop()}")
        news, self._news = self._news, []
        return news

    def stop(self) -> None:
        """Ask every process to save and end; those that have not begun will not begin."""
        self._stopping = True

    def kill(self) -> None:
        """End every process."""
        self._tell_all(kill=True)

    def leave(self, rest: Sequence[Errand]) -> bool:
        """Hand over all that is left, and leave it to the cluster, if that was asked for; returns whether it was."""
        if not self._leave:
            return False
        with self._lock:
            known = {task.errand.name for task in self._tasks.values()}
        where = [*self._with_room()]
        for errand in rest if where else ():  # with no worker named dask would take any, also one that was left aside
            if errand.name not in known:
                self._submit(errand, lambda errand, what: None, where)
        self._client.ncores()  # an answer to this says that what was sent before has arrived
        time.sleep(0.5)
        return True

    def _tell_all(self, kill: bool) -> None:
        """Stop or kill what the workers run of the study, as far as they answer soon."""
        from interp.study.heard import halt

        with suppress(Exception):  # of a scheduler that is gone: its workers end by themselves
            self._soon(self._client.run, halt, self._study, kill, workers=[*self._room], on_error="return")

    def _soon(self, act: Callable[..., Any], *words: Any, **how: Any) -> Any:
        """What a method of the client gives, called in its event loop; TimeoutError where it takes long."""

        async def acted() -> Any:
            return await act(*words, **how)

        doing = asyncio.run_coroutine_threadsafe(
            asyncio.wait_for(acted(), SECONDS_A_CALL), self._client.loop.asyncio_loop
        )
        return doing.result(SECONDS_A_CALL + 1)

    def _over(self, key: str, future: Any) -> None:
        """Tell how a task ended. Called by a thread of dask's."""
        try:
            ended = Ended(*future.result(timeout=connection.SECONDS_TO_ANSWER))
        except Exception as error:  # of dask, or of a task of ours that raised what it should not
            ended = Ended(LOST, "its worker was lost", {})
            if future.status == "error" and type(error).__name__ != "KilledWorker":
                ended = Ended(1, f"{type(error).__name__}: {error}", {})
        self._end(key, ended)

    def _end(self, key: str, ended: Ended) -> None:
        """Tell how a task ended, once."""
        with self._lock:
            task = self._tasks.pop(key, None)
        if task is None:
            return
        if ended.code == LOST:  # or dask would hand it over once more should its worker come back
            self._lost[task.errand.name] += 1
            with suppress(Exception):
                self._client.cancel([task.future], force=True)
        task.future.release()
        task.tell(task.errand, ended)

    def _hear(self, said: tuple[float, Any]) -> None:
        """Pass on a line of a process. Called by a thread of dask's."""
        key, line = said[1]
        if (task := self._tasks.get(key)) is not None:
            task.tell(task.errand, line)

    def _muster(self) -> None:
        """Wait for the first worker that fits; UserError if none of those that are there does."""
        began, told = time.monotonic(), False
        while not self.slots:
            self._look_around()
            if self._overheard and not self.slots:
                raise UserError(f"{self.on}: the queue answers: {self._overheard[-1]}")
            if self._refused and not self._asked and not self.slots:
                raise UserError("; ".join(sorted(self._refused.values())))
            waited = time.monotonic() - began
            if is_address(self.on) and waited > connection.SECONDS_TO_ANSWER and not self._asked:
                raise UserError(f"{self.on} has no workers; start some: dask worker {self.on} --nthreads 1")
            if waited > 5 and not told:
                print(f"waiting for the first worker of {self.on}", file=sys.stderr, flush=True)
                told = True
            time.sleep(0 if self.slots else 0.2)

    def _look_around(self) -> None:
        """Look at the workers and what they do; tell them that we are there, or that all is to stop."""
        if self._stopping:
            self._tell_all(kill=False)
        try:
            at_work: dict[str, Any] = self._soon(self._client.processing)
            self._answered = time.monotonic()
        except Exception:  # of dask's, of many kinds; `look` says so once it has lasted
            return
        self._look_for_the_lost({key for keys in at_work.values() for key in keys})
        self._room = {address: room for address, room in self._room.items() if address in at_work}
        self._refused = {address: why for address, why in self._refused.items() if address in at_work}
        for address in at_work:  # each by itself: one that is slow keeps no other from hearing of us
            if address not in self._asked and address not in self._refused and not self._stopping:
                self._asked.add(address)
                asyncio.run_coroutine_threadsafe(self._ask(address), self._client.loop.asyncio_loop)

    async def _ask(self, address: str) -> None:
        """Tell a worker that we are there, and take note of what it has room for. Runs in the client's event loop."""
        from interp.study.heard import hear

        function, *words = self._attend
        if address in self._room:
            function, words = hear, [self._study, self.threads]
        try:
            found = await self._client.run(function, *words, workers=[address], on_error="return")
            answer = found.get(address)
        except Exception as error:  # of dask, or what a worker with other libraries raised: told as its answer
            answer = error
        self._asked.discard(address)
        if isinstance(answer, int):
            self._room = self._room | {address: answer}
        elif answer is not None and address not in self._room:
            self._refused[address] = answer if isinstance(answer, str) else f"{type(answer).__name__}: {answer}"
            self._news.append(f"left aside: {address}: {self._refused[address]}")

    def _look_for_the_lost(self, at_work: set[str]) -> None:
        """End what no worker is at any more. dask would hand it over by itself, at most some times, if its worker came back."""
        for key, task in [*self._tasks.items()]:
            task.unseen = 0 if key in at_work or task.future.status != "pending" else task.unseen + 1
            if task.unseen > 1:
                self._end(key, Ended(STOPPED if self._stopping else LOST, "its worker was lost", {}))


def attending() -> Callable[..., Any]:
    """The function by which a worker is told of a study; it gives the processes that it has room for, or why it has none.

    It is sent as code and not by its name: a worker with another interp may not have it.
    """

    async def attend(
        study: str, wanted: str, token: str | None, threads: int, seconds: float, dask_worker: Any
    ) -> object:
        import asyncio
        import platform
        from pathlib import Path

        try:
            from interp.study.fingerprint import fingerprint
            from interp.study.heard import hear

            there = await asyncio.to_thread(fingerprint)
        except Exception as error:  # of whatever interp is there: a worker answers in a sentence
            return f"{platform.node()} has no interp for clusters ({type(error).__name__}: {error}); it needs {wanted}"
        if there != wanted:
            return f"{platform.node()} has {there}, and here is {wanted}; install the same there, and start its workers again"
        if dask_worker.state.nthreads < threads:
            return f"{platform.node()} has workers of {dask_worker.state.nthreads} threads, and a process is to have {threads}"
        until = asyncio.get_running_loop().time() + seconds
        while token is not None and not Path(token).exists():
            if asyncio.get_running_loop().time() > until:
                home = Path(token).parent
                return f"{platform.node()} does not see {home}; give --out a directory that all machines share"
            await asyncio.sleep(0.2)
        return hear(study, threads, dask_worker)

    return attend


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
