"""What several tests make."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from interp.config import RunConfig
from interp.models import TransformerSpec
from interp.recipe import TrainConfig
from interp.store import Run
from interp.store.layout import resume_files
from interp.store.record import Origin
from interp.tasks import ModularTask


def tiny_config(**parts) -> RunConfig:
    """p = 11, d_model 16: trains in a second."""
    whole = {
        "name": "tiny",
        "task": ModularTask(p=11, train_fraction=0.5),
        "model": TransformerSpec(n_heads=2, d_model=16, d_head=8, d_mlp=24),
        "train": TrainConfig(steps=40, lr=3e-3, checkpoint_every=10, checkpoints_per_decade=3, log_every=5),
    }
    return RunConfig(**(whole | parts))


class StopAt:
    """A watcher that sends this process a Ctrl-C at one step."""

    def __init__(self, step):
        self.at = step

    def __call__(self, total, start, label):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def step(self, step):
        if step == self.at:
            os.kill(os.getpid(), signal.SIGINT)

    def rows(self, rows):
        pass


def files(run) -> dict[str, bytes]:
    """Everything that training decides. run.json also says when and where; the state before the last is where the clock
    put it."""
    older = resume_files(run.path)[1:]
    return {
        str(file.relative_to(run.path)): file.read_bytes()
        for file in run.path.rglob("*")
        if file.is_file() and file.name not in ("run.json", ".lock") and file not in older
    }


def origin(run: Run) -> Origin:
    """What a converted run says of the files that it comes from."""
    assert run.record.origin is not None
    return run.record.origin


VARIABLE = "INTERP_REFERENCE_DIR"
needs_published = pytest.mark.skipif(
    not os.environ.get(VARIABLE),
    reason=f"needs files that other people published, which the project may not carry: set {VARIABLE} to the folder that "
    "holds progress-measures/, clock-pizza/ and rep-theory/, as .ci/run does",
)


def published(name) -> Path:
    """A file or folder that other people published."""
    return Path(os.environ[VARIABLE]) / name


SHORT: dict[str, dict[str, float]] = {
    "ablate": {"repeats": 2, "draws": 1, "checkpoints": 3},
    "llc": {"chains": 2, "draws": 20, "burn_in": 4, "checkpoints": 1, "epsilon": 1e-6},
    "curvature": {"at_most": 12, "probes": 2, "density_steps": 2, "checkpoints": 3},
    "sharpness": {"iterations": 1, "draws": 2, "checkpoints": 3},
    "plane": {"points": 3},
    "complexity": {"checkpoints": 3},
    "lazy": {"checkpoints": 3},
    "readout": {"checkpoints": 3, "draws": 2},
}
"""Options by which long analyses are short, where what they find is no part of the claim."""


def when(condition, act):
    """Do something in another thread as soon as a condition holds."""

    def watch():
        while not condition():
            time.sleep(0.01)
        act()

    threading.Thread(target=watch, daemon=True).start()
