"""How much of a disk a run takes, before it is trained."""

from collections.abc import Iterable
from pathlib import Path

from interp.config import RunConfig
from interp.store.history import HEADER
from interp.store.layout import checkpoint_header, resume_header
from interp.store.record import Record, Session
from interp.store.resume import KEPT
from interp.store.tensors import Tensors, packed

ROW = 100
"""Bytes of a row of the history, about: five numbers in the fewest digits that read back exactly, and the check."""


def run_bytes(config: RunConfig, state: Tensors, checkpoints: int, rows: int, session: Session, block: int) -> int:
    """Bytes that the files of a trained run take, each in whole blocks: exact to a block a file, and to the rows' digits.

    Args:
        config: the run.
        state: tensors of the shapes of its resume state, of which it keeps two; one that took less than five seconds
            has but the last.
        checkpoints: how many it will have.
        rows: how many its history will have.
        session: as run.json will record it.
        block: bytes of a block of the file system.
    """
    weights = {
        name.removeprefix("model/"): tensor.float() for name, tensor in state.items() if name.startswith("model/")
    }
    at_end = {"step": config.train.steps, "history": [rows, 2**32 - 1], "checkpoints": checkpoints}
    record = Record(config=config, config_sha256=config.digest, sessions=(session,))
    sizes = [
        *[len(packed(weights, checkpoint_header(config.digest, config.train.steps)))] * checkpoints,
        *[len(packed(state, resume_header(config.digest) | at_end))] * KEPT,
        len(HEADER) + ROW * rows,
        len(record.to_json()),
    ]
    return in_blocks(sizes, block)


def held_bytes(path: Path, block: int) -> int:
    """Bytes that the files of a run directory take, each in whole blocks; 0 where there is none."""
    return in_blocks((file.stat().st_size for file in path.rglob("*") if file.is_file()), block)


def in_blocks(sizes: Iterable[int], block: int) -> int:
    """Bytes of the blocks that files of these sizes take."""
    return sum(-(-size // block) * block for size in sizes)
