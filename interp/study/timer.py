"""Times steps in a process of its own: `python -m interp.study.timer`, which a machine of a cluster starts for a plan.

It reads one line of JSON from stdin, an `Order`, and writes an event with the costs (`worker` has the form of events).
"""

import json
import sys
from dataclasses import dataclass
from typing import Any

from interp.base import UserError
from interp.config import RunConfig
from interp.study.here import look_at_memory
from interp.study.process import MARK
from interp.study.timing import one_process_has, timings


@dataclass(frozen=True)
class Order:
    """What is to be timed."""

    batches: list[list[dict[str, Any]]]
    """Configurations as JSON, of runs that train side by side."""
    at_once: list[int]
    """Number of batches like each that this machine may train at a time."""
    device: str
    threads: int


def main() -> int:
    """Do what the order on stdin says; returns the exit code."""
    order = Order(**json.loads(sys.stdin.readline()))
    runs, told = [[RunConfig(**fields) for fields in batch] for batch in order.batches], list[str]()
    try:
        if order.device == "cpu":
            every = [batch for batch, number in zip(runs, order.at_once, strict=True) for _ in range(number)]
            look_at_memory(every, max(order.at_once, default=1), told.append)
        with one_process_has(order.threads):
            costs, timed, kinds = timings(runs, order.device)
    except UserError as error:
        print(error)
        return 2
    print(f"{MARK}{json.dumps({'costs': costs, 'timed': timed, 'kinds': kinds, 'told': told})}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
