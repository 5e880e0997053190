"""Names of the files in a run directory (described for readers in checkpoints/README.md)."""

import os
import re
from pathlib import Path

from interp.store.tensors import Header

RECORD = "run.json"
HISTORY = "history.csv"
RESUME = "resume"
RESUME_1 = "resume.safetensors"
"""Name of the file with the one resume state of a run of format 1."""
SPLIT = "split.safetensors"
LOCK = ".lock"
STEPS = "steps"
ANALYSIS = "analysis"
PART = "part"
"""Name of the folder in it for results of some checkpoints only, which so do not replace those of all."""
KEPT = "kept"
"""Name of the folder in it for measurements that are answered again (interp/kept)."""

SHOWN = "shown"
"""Name of the folder in it for the pages of figures that were shown."""


def file_of(step: int) -> str:
    """File name of a step; zero-padding makes names sort as steps do."""
    return f"{step:08d}.safetensors"


def checkpoint_file(run: Path, step: int) -> Path:
    """Path of the checkpoint: weights after `step` updates."""
    return run / STEPS / file_of(step)


def resume_file(run: Path, step: int) -> Path:
    """Path of the resume state from which training goes on after `step` updates."""
    return run / RESUME / file_of(step)


def checkpoint_header(config_sha256: str, step: int) -> Header:
    """Header of a checkpoint: what the file says of itself."""
    return {"format": "interp checkpoint 1", "step": step, "config": config_sha256}


def resume_header(config_sha256: str) -> Header:
    """Header that all resume states of a run share. Each also has its step, and the position of the history."""
    return {"format": "interp resume 2", "config": config_sha256}


def resume_header_1(config_sha256: str) -> Header:
    """Header of a resume state of format 1, which also has its step."""
    return {"format": "interp resume 1", "config": config_sha256}


def split_header(config_sha256: str) -> Header:
    """Header of the list of trained prompts of a converted run."""
    return {"format": "interp split 1", "config": config_sha256}


def is_of_a_step(name: str) -> bool:
    """Whether a file has a name as `file_of` gives to a step."""
    return re.fullmatch(r"([0-9]{8}|[1-9][0-9]{8,11})\.safetensors", name) is not None


def steps_in(directory: Path) -> list[int]:
    """Steps that have a file in a directory, ascending."""
    names = (file.name for file in directory.glob("*.safetensors"))
    return sorted(int(name[:-12]) for name in names if is_of_a_step(name))


def checkpoint_steps(run: Path) -> list[int]:
    """Steps that have a checkpoint file, ascending."""
    return steps_in(run / STEPS)


def resume_files(run: Path) -> list[Path]:
    """Paths of the resume states of a run, newest first."""
    newest_first = [resume_file(run, step) for step in reversed(steps_in(run / RESUME))]
    return newest_first + [run / RESUME_1] * is_there(run / RESUME_1)


def is_there(path: Path) -> bool:
    """Whether anything is at a path, a broken link included: that is damage, not absence."""
    return os.path.lexists(path)
