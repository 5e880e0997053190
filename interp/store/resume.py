"""Resume states: what training needs to go on as if it had never stopped. The last two of a run are kept."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import torch

from interp.config import RunConfig
from interp.store.files import CheckpointError, identity, told_in_a_sentence
from interp.store.history import Position
from interp.store.layout import RESUME_1, checkpoint_steps, resume_file, resume_files, resume_header, resume_header_1
from interp.store.tensors import MAX_BYTES, Header, Shapes, Tensors, read_header, read_tensors, write_tensors

KEPT = 2
PARTS = ("model", "optimizer")
"""Parts of a state; names of its tensors begin with one of these."""
REMEDY = "restore it, or begin the run again with --overwrite"


class Saved(NamedTuple):
    """A resume state that was verified."""

    step: int
    history: Position | None
    """Position of the history at this step; None in format 1."""
    checkpoints: int
    """Number of checkpoints committed so far, this step's included; in format 1 the number of those that are there."""
    tensors: Tensors
    header: Header


def write_resume(
    run: Path, config_sha256: str, step: int, state: Tensors, history: Position, checkpoints: int, **more: Any
) -> None:
    """Commit a state, then delete all but the last two. The rows up to `history` must be on the disk already.

    `more` are JSON values for its header.
    """
    header = resume_header(config_sha256) | {"step": step, "history": list(history), "checkpoints": checkpoints} | more
    write_tensors(resume_file(run, step), state, header)
    for old in resume_files(run)[KEPT:]:
        with told_in_a_sentence(old):
            old.unlink(missing_ok=True)


def read_resume(run: Path, config_sha256: str, config: RunConfig) -> tuple[Saved | None, list[CheckpointError]]:
    """The newest state that is whole (None if there never was one), and the errors of newer states.

    Raises:
        CheckpointError: there are states, and none is whole.
    """
    faults: list[CheckpointError] = []
    for path in resume_files(run):
        try:
            return read_state(path, config_sha256, config), faults
        except CheckpointError as error:
            faults.append(error)
    if faults:
        raise faults[0]
    return None, []


def read_state(path: Path, config_sha256: str, config: RunConfig) -> Saved:
    """The resume state in a file; CheckpointError if it is not whole, or not of this configuration and model."""
    shapes, recorded = config.model.tensor_shapes(config.task.shape), not config.model.has_code
    most = MAX_BYTES if recorded else largest(shapes, config)
    tensors = read_tensors(path, expected_header(path, config_sha256), remedy=REMEDY, at_most=most)
    weights = {key.removeprefix("model/"): tuple(t.shape) for key, t in tensors.items() if key.startswith("model/")}
    odd = [name for name in shapes.keys() | weights.keys() if weights.get(name) != shapes.get(name)]
    odd += [] if recorded else beside_weights(tensors, shapes, config)
    if odd:
        raise CheckpointError(f"{path} does not fit its run: {min(odd)!r:.100} is missing or misshapen; {REMEDY}")
    header = read_header(path, REMEDY)
    return Saved(*position(path, header), count(path, header), tensors, header)


def beside_weights(tensors: Tensors, shapes: Shapes, config: RunConfig) -> list[str]:
    """Names of tensors that training would not have written: misshapen ones of the optimiser, and any of another type."""
    kept = [(key.split("/", 2)[-1], tuple(t.shape)) for key, t in tensors.items() if key.startswith("optimizer/")]
    several = config.train.window
    odd = [name for name, shape in kept if shape and shape not in (shapes.get(name), several + shapes.get(name, ()))]
    dtype = torch.float64 if config.train.precision == "float64" else torch.float32
    wrong = [key for key, t in tensors.items() if t.dtype != (torch.float32 if t.ndim == 0 else dtype)]
    odd += [*wrong, *(key for key in tensors if key.split("/")[0] not in PARTS)]
    return odd + one_sided(tensors, config)


def largest(shapes: Shapes, config: RunConfig) -> int:
    """Most bytes of a state: weights, what optimiser and gradient filter keep of each, and counts of steps."""
    size = 8 if config.train.precision == "float64" else 4
    return size * sum(config.train.kept * math.prod(shape) + 1 for shape in shapes.values())


def one_sided(tensors: Tensors, config: RunConfig) -> list[str]:
    """Names of parameters for which the optimiser has one kind of tensor and lacks another; Muon has kinds of its own."""
    keys = [key.split("/", 2)[1:] for key in tensors if key.startswith("optimizer/") and key.count("/") > 1]
    odd: list[str] = []
    for muon in (False, True):
        of_one = [(kind, name) for kind, name in keys if (name in config.moved_by_muon) == muon]
        kinds = {kind: {name for each, name in of_one if each == kind} for kind, _ in of_one}
        odd += [name for names in kinds.values() for name in set().union(*kinds.values()) - names]
    return odd


def expected_header(path: Path, config_sha256: str) -> Header:
    """Header that a state with this file name must have."""
    if path.name == RESUME_1:
        return resume_header_1(config_sha256)
    return resume_header(config_sha256) | {"step": int(path.name.split(".")[0])}


def position(path: Path, header: Header) -> tuple[int, Position | None]:
    """Step of a state, and position of the history at that step (None in format 1)."""
    step, history = header.get("step"), header.get("history")
    whole = path.name == RESUME_1 or (isinstance(history, list) and [type(each) for each in history] == [int, int])
    if type(step) is not int or step < 0 or not whole:
        raise CheckpointError(f"{path} is damaged: its header has no step or no place in the history; {REMEDY}")
    return step, Position(*history) if isinstance(history, list) else None


def count(path: Path, header: Header) -> int:
    """Number of committed checkpoints, according to a state."""
    if path.name == RESUME_1:
        return sum(step <= header["step"] for step in checkpoint_steps(path.parent))
    number = header.get("checkpoints")
    if type(number) is not int or number < 0:
        raise CheckpointError(f"{path} is damaged: its header has no count of checkpoints; {REMEDY}")
    return number


def known_position(
    run: Path, config_sha256: str, config: RunConfig, found_whole: dict[Path, tuple[int, ...]]
) -> Position | None:
    """Position up to which the history is certainly whole, from the newest state that is whole; None if unknown.

    A run in training replaces its states meanwhile, so if some are gone the directory is read again. Files in `found_whole`
    are not hashed again; other files that are whole are added to it.
    """
    for _ in range(3):
        found = resume_files(run)
        for path in found:
            try:
                seen = identity(path)
                if not seen or found_whole.get(path) != seen:
                    read_state(path, config_sha256, config)
                    found_whole[path] = seen
                return position(path, read_header(path, REMEDY))[1]
            except CheckpointError:
                continue
        if all(path.exists() for path in found):
            break
    return None
