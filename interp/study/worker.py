"""A batch of runs in a process of its own: `python -m interp.study.worker`, which `engine` starts.

It reads one line of JSON from stdin, an `Order`. It writes a line of JSON to stdout for every event, marked by a first
character that no other line has. All else that it prints, on stderr too, is for a person.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from interp.base import UserError
from interp.config import RunConfig
from interp.store.history import Row
from interp.study.process import MARK, STOPPED

SECONDS_BETWEEN = 0.2
"""Least seconds between two events that say how far a batch is."""


@dataclasses.dataclass(frozen=True)
class Order:
    """What a worker is to train, and how."""

    out: str
    configs: dict[str, dict[str, Any]]
    """Configurations as JSON, by name; the name is that of the directory in `out`."""
    device: str
    command: list[str]
    """Command that a person gave, for the record of the run."""
    patience: float = 0
    """Seconds to wait for another process that still writes to a run, as one may whose node is cut off."""


class Teller:
    """Watches training and tells the engine how far it is."""

    def __init__(self) -> None:
        self._channel, self._last = sys.stdout, 0.0

    def __call__(self, total: int, start: int, label: str) -> "Teller":
        """The teller itself: it treats all stretches of training alike."""
        return self

    def __enter__(self) -> "Teller":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def step(self, step: int) -> None:
        """Tell the step, every now and then. Once the engine is gone this raises BrokenPipeError, which ends the worker."""
        if time.monotonic() - self._last > SECONDS_BETWEEN:
            self._last = time.monotonic()
            self.tell(step=step)

    def rows(self, rows: Sequence[Row]) -> None:
        """Do nothing with the rows of the history."""

    def tell(self, **what: Any) -> None:
        """Write one event."""
        self._channel.write(f"{MARK}{json.dumps(what)}\n")
        self._channel.flush()


def work(order: Order, teller: Teller) -> int:
    """Train the runs that can be trained, side by side, and tell why others cannot; returns the exit code."""
    from interp.store import RunWriter
    from interp.store.directory import InUse
    from interp.train.loop import Diverged, Interrupted, train_many

    configs: dict[str, RunConfig] = {}
    until = time.monotonic() + order.patience
    for name, fields in order.configs.items():
        config = RunConfig(**fields)
        while name not in configs:
            try:
                with RunWriter(Path(order.out) / name, config, resume=True):
                    configs[name] = config
            except UserError as error:  # a run that is damaged or in use: the others need not wait for it
                if isinstance(error, InUse) and time.monotonic() < until:
                    time.sleep(1)
                    continue
                teller.tell(failed={name: str(error)})
                break
    paths = {Path(order.out) / name: name for name in configs}
    try:
        if paths:
            how: dict[str, Any] = {"device": order.device, "at_once": len(paths), "watcher": teller}
            train_many(list(configs.values()), list(paths), resume=True, **how)
    except Interrupted:
        return STOPPED
    except Diverged as error:
        teller.tell(failed={paths[path]: str(reason) for path, reason in error.lost.items()})
    except UserError as error:  # such as a full disk
        teller.tell(failed={name: str(error) for name in configs})
    return 0


def main() -> int:
    """Do what the order on stdin says; returns the exit code."""
    order = Order(**json.loads(sys.stdin.readline()))
    teller, sys.stdout, sys.argv = Teller(), sys.stderr, order.command
    return work(order, teller)


if __name__ == "__main__":
    sys.exit(main())
