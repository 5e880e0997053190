"""Curves as event files for TensorBoard (extra interp[tensorboard])."""

import shlex
from collections.abc import Mapping
from pathlib import Path

from torch.utils.tensorboard.writer import SummaryWriter

from interp.base import UserError
from interp.store import Run
from interp.store.files import told_in_a_sentence


def write(run: Run, rows: Mapping[int, Mapping[str, float]], out: Path | None, project: str) -> str:
    """Write one event file into the folder of the run's name; returns the command that shows it.

    Raises:
        UserError: the folder has event files already, whose curves TensorBoard would mix with these, or cannot be written.
    """
    place = (out or Path("tensorboard")) / run.path.absolute().name
    if any(place.glob("events.out.tfevents.*")):
        raise UserError(f"{place} has event files already; move them away, or choose another --out")
    with told_in_a_sentence(place):
        place.mkdir(parents=True, exist_ok=True)
        with SummaryWriter(str(place)) as writer:
            writer.add_text("configuration", f"```json\n{run.config.model_dump_json(indent=2)}\n```")
            for step, values in rows.items():
                for name, value in values.items():
                    writer.add_scalar(name, value, step)
    return f"tensorboard --logdir {shlex.quote(str(place.parent))}"
