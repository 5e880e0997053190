"""Disk space that a run takes, computed before it is trained."""

from collections.abc import Iterable
from pathlib import Path

from interp.config import RunConfig
from interp.store.history import header
from interp.store.layout import checkpoint_header, resume_header
from interp.store.record import Record, Session
from interp.store.resume import KEPT
from interp.store.tensors import Tensors, packed

NUMBER, CHECK = 18, 10
"""Bytes of a number of the history with its comma, about: in the fewest digits that read back exactly; and of the checksum."""


def run_bytes(config: RunConfig, state: Tensors, checkpoints: int, rows: int, session: Session, block: int) -> int:
    """Bytes that the files of a trained run take, each in whole blocks. Exact to one block a file, and to the rows' digits.

    Args:
        config: configuration of the run.
        state: tensors with the shapes of its resume state. A run keeps two states. In one of less than five seconds the
            first is that of step 0, in which the optimiser has nothing yet.
        checkpoints: number of its checkpoints.
        rows: number of rows of its history.
        session: session as run.json will record it.
        block: bytes of a block of the file system.
    """
    weights = {
        name.removeprefix("model/"): tensor.float() for name, tensor in state.items() if name.startswith("model/")
    }
    at_end = {"step": config.train.steps, "history": [rows, 2**32 - 1], "checkpoints": checkpoints}
    columns = config.train.columns
    record = Record(config=config, config_sha256=config.digest, sessions=(session,))
    sizes = [
        *[len(packed(weights, checkpoint_header(config.digest, config.train.steps)))] * checkpoints,
        *[len(packed(state, resume_header(config.digest) | at_end))] * KEPT,
        len(header(columns)) + (NUMBER * len(columns) + CHECK) * rows,
        len(record.to_json()),
    ]
    return in_blocks(sizes, block)


def held_bytes(path: Path, block: int) -> int:
    """Bytes that the files of a run directory take, each in whole blocks; 0 if there is no directory."""
    return in_blocks((file.stat().st_size for file in path.rglob("*") if file.is_file()), block)


def in_blocks(sizes: Iterable[int], block: int) -> int:
    """Bytes of all blocks that files of these sizes take."""
    return sum(-(-size // block) * block for size in sizes)
