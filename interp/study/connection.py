"""How a cluster is reached, by what `--on` names: a scheduler's address, a file of dask-jobqueue's configuration, `local:N`."""

import logging
import math
import re
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from interp.base import UserError

SECONDS_TO_ANSWER = 30.0
"""Seconds that a scheduler has to answer, and an address to have its first worker."""


def is_address(on: str) -> bool:
    """Whether `on` is the address of a scheduler."""
    return re.match(r"(tcp|tls|ucx)://", on) is not None


def begins_at_once(on: str) -> bool:
    """Whether the workers of a cluster are there at once, or never: those of a queue come later."""
    return is_address(on) or on.startswith("local")


def refuse_without_dask() -> None:
    """Raise UserError where dask is not installed."""
    try:
        import distributed
    except ImportError as error:
        raise UserError("--on needs dask; install it with: pip install 'interp[cluster]'") from error
    del distributed


@contextmanager
def connected(on: str, processes: int | None, jobs: int | None, threads: int) -> Generator[Any]:
    """A client of the cluster that `on` names, which is closed at the end, with the cluster if it began with us.

    A queue is asked for jobs with room for `jobs` processes; `processes` is what the command says.
    """
    from distributed import Client

    with ExitStack() as opened:
        target: Any = on
        if not is_address(on):
            target = begun(on, processes, jobs, threads)
            opened.callback(closed, target)
        try:
            client = Client(target, timeout=SECONDS_TO_ANSWER, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:  # the last of tls:// without certificates
            raise UserError(
                f"no dask scheduler answers at {on}; start one (dask scheduler --host ADDRESS), or see its address"
            ) from error
        opened.callback(closed, client)
        yield client


def closed(one: Any) -> None:
    """Close a client or a cluster; one whose scheduler is gone, or whose queue has refused, complains."""
    with suppress(Exception):
        one.close(timeout=5)


def begun(on: str, processes: int | None, jobs: int | None, threads: int) -> Any:
    """A cluster that begins and ends with us: in this process, or the jobs of a queue."""
    if (words := re.fullmatch(r"local(?::(.*))?", on)) is not None:
        from distributed import LocalCluster

        number = words[1] or ""
        if not number.isdecimal() or not 0 < int(number) < 10_000:
            raise UserError(f"--on is {on}; write local:4 for four workers on this machine")
        # Workers that are threads: each process that trains is started by them, so they need none of their own.
        how: dict[str, Any] = {"dashboard_address": None, "memory_limit": 0, "silence_logs": logging.CRITICAL}
        return LocalCluster(n_workers=int(number), threads_per_worker=1, processes=False, **how)
    if processes is None:
        refuse_no_file(Path(on))
        raise UserError(f"--on is {on}, and nothing says how many processes to ask the queue for; give --processes")
    return of_queue(Path(on), jobs or processes, threads)


QUEUES = {
    "slurm": "SLURMCluster", "pbs": "PBSCluster", "sge": "SGECluster", "lsf": "LSFCluster", "oar": "OARCluster",
    "moab": "MoabCluster", "htcondor": "HTCondorCluster",
}  # fmt: skip
"""Classes of dask-jobqueue by the name of the queue in its configuration."""


def refuse_no_file(file: Path) -> None:
    """Raise UserError for what names no cluster."""
    if file.suffix not in (".yaml", ".yml") or not file.is_file():
        raise UserError(
            f"--on is {file}, which is no file; give the address of a scheduler (tcp://…), a file of dask-jobqueue's "
            "configuration (slurm.yaml), or local:4"
        )


def of_queue(file: Path, processes: int, threads: int) -> Any:
    """A cluster of jobs of a queue with room for so many processes, from a file of dask-jobqueue's own configuration."""
    refuse_no_file(file)
    try:
        import dask.config
        import dask_jobqueue
        import yaml
    except ImportError as error:
        raise UserError("--on FILE.yaml needs dask-jobqueue; install it with: pip install 'interp[cluster]'") from error
    try:
        found = yaml.safe_load(file.read_text())
        (queue,) = found["jobqueue"]
        kind, options = getattr(dask_jobqueue, QUEUES[queue]), dict(found["jobqueue"][queue])
    except (yaml.YAMLError, OSError, UnicodeDecodeError, TypeError, KeyError, ValueError) as error:
        raise UserError(
            f"{file} is no configuration of dask-jobqueue; it should have jobqueue: and under it one of {', '.join(QUEUES)} "
            "with what a job is to be"
        ) from error
    dask.config.update(dask.config.config, found, priority="new")
    scheduler = {"dashboard_address": "127.0.0.1:0", **(options.get("scheduler-options") or {})}
    cluster: Any = None
    try:
        # One worker a job: where there are more, no job that is over is followed by another.
        cluster = kind(processes=1, scheduler_options=scheduler)
        # Counted here: findings/cores_of_a_configuration_are_unreachable.sh
        jobs = math.ceil(processes / max(1, int(dask.config.get(f"jobqueue.{queue}.cores")) // threads))
        cluster.adapt(minimum_jobs=jobs, maximum_jobs=jobs)  # a job that is over is followed by another
    except Exception as error:  # whatever the queue's programs and dask say of it
        if cluster is not None:
            with suppress(Exception):
                cluster.close(timeout=5)
        words = " ".join(str(error).split())
        raise UserError(f"{file}: the queue was asked and answers {words[-300:] or type(error).__name__}") from error
    return cluster


@contextmanager
def quiet(*names: str) -> Generator[None]:
    """A context in which some loggers say nothing: what matters of it is told in sentences of ours."""
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


@contextmanager
def overheard(*names: str) -> Generator[list[str]]:
    """A context with what some loggers are told of exceptions, a line each, which they then do not print.

    A queue's refusal reaches nobody otherwise: dask asks it for jobs in callbacks of its own.
    """
    said: list[str] = []

    class Hearing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines = str(record.exc_info[1] if record.exc_info else record.getMessage()).strip().splitlines()
            line = lines[-1].strip() if lines else ""
            if line and line not in said:
                said.append(line)

    hearing, loggers = Hearing(), [logging.getLogger(name) for name in names]
    before = [(logger.propagate, [*logger.handlers]) for logger in loggers]
    for logger in loggers:
        logger.propagate, logger.handlers = False, [hearing]
    try:
        yield said
    finally:
        for logger, (propagate, handlers) in zip(loggers, before, strict=True):
            logger.propagate, logger.handlers = propagate, handlers
