"""A batch of runs in a process of its own: `python -m interp.study.worker`, which `engine` starts.

On stdin comes one line of JSON, an `Order`. On stdout goes a line of JSON for every event, marked by a first character that
no other line has; whatever else is printed, on stderr too, is for a person.
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

MARK = "\x1e"
"""ASCII's record separator."""

SECONDS_BETWEEN = 0.2
"""Of two words on how far a batch is."""

STOPPED = 130
"""The exit code after SIGINT or SIGTERM, as that of a shell."""


@dataclasses.dataclass(frozen=True)
class Order:
    """What to train, and how."""

    out: str
    configs: dict[str, dict[str, Any]]
    """By name, which is that of the directory in `out`; as JSON has them."""
    device: str
    command: list[str]
    """That a person gave, for the record."""


def event(line: str) -> dict[str, Any] | None:
    """What a line of a worker tells the engine: `step`, how far its batch is, or `failed`, a sentence for each run by
    name. None when it is for a person.
    """
    return json.loads(line[1:]) if line.startswith(MARK) else None


class Teller:
    """Watches training and tells the engine of it."""

    def __init__(self) -> None:
        self._channel, self._last = sys.stdout, 0.0

    def __call__(self, total: int, start: int, label: str) -> "Teller":
        """Itself: it tells of all stretches alike."""
        return self

    def __enter__(self) -> "Teller":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def step(self, step: int) -> None:
        """Every now and then. Once the engine is gone this raises BrokenPipeError, which ends the worker."""
        if time.monotonic() - self._last > SECONDS_BETWEEN:
            self._last = time.monotonic()
            self.tell(step=step)

    def rows(self, rows: Sequence[Row]) -> None:
        """Nothing."""

    def tell(self, **what: Any) -> None:
        """One event."""
        self._channel.write(f"{MARK}{json.dumps(what)}\n")
        self._channel.flush()


def work(order: Order, teller: Teller) -> int:
    """Train the runs that can be trained, side by side, and tell why others cannot; the exit code."""
    from interp.store import RunWriter
    from interp.train.loop import Diverged, Interrupted, train_many

    configs: dict[str, RunConfig] = {}
    for name, fields in order.configs.items():
        config = RunConfig(**fields)
        try:
            with RunWriter(Path(order.out) / name, config, resume=True):
                configs[name] = config
        except UserError as error:  # a run that is damaged or in use: the others need not wait for it
            teller.tell(failed={name: str(error)})
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
    """Do what stdin says; the exit code."""
    order = Order(**json.loads(sys.stdin.readline()))
    teller, sys.stdout, sys.argv = Teller(), sys.stderr, order.command
    return work(order, teller)


if __name__ == "__main__":
    sys.exit(main())
