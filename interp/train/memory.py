"""Memory that training takes, estimated before it begins."""

from collections.abc import Sequence

from interp.base import UserError
from interp.config import RunConfig
from interp.machine import ram, readable_size
from interp.objective.runs import CHUNK

OF_AN_UPDATE = 2.5
"""Memory of an update in units of a forward pass alone, about; 2.2 to 2.4 in benchmarks/results/size.md, from p = 199 on."""

OF_A_PROCESS = 1 << 29
"""Bytes of Python and its libraries, about."""


def training_bytes(configs: Sequence[RunConfig]) -> int:
    """Bytes that a process takes to train these runs side by side, about."""
    return OF_A_PROCESS + sum(run_bytes(config) for config in configs)


def run_bytes(config: RunConfig) -> int:
    """Bytes of one run in training: the larger of an update, and of an evaluation of the training set in its parts."""
    n, size = config.task.n_train, config.train.batch_size
    cost = config.model.cost(config.task.shape)
    update = cost.bytes(n if size == "full" else size)
    part = max(1, CHUNK // config.model.size(config.task.shape))
    return int(max(OF_AN_UPDATE * update, cost.bytes(n, part)))


def refuse_too_much(needed: int, what: str, remedy: str) -> None:
    """Raise UserError if the machine has less memory than is needed."""
    if needed > ram():
        raise UserError(
            f"{what} needs about {readable_size(needed)} of memory, and this machine has {readable_size(ram())}; {remedy}"
        )
