"""Starts: runs that begin with the weights of a checkpoint of another run."""

from collections.abc import Sequence
from pathlib import Path

from interp.base import UserError
from interp.config import RunConfig, Start
from interp.store.files import CheckpointError
from interp.store.layout import checkpoint_steps
from interp.store.opening import open_run
from interp.store.run import Checkpoint
from interp.store.tensors import Tensors, digest


def start_from(where: str | Path) -> Start:
    """The start from a checkpoint, given as DIR@STEP; as DIR alone, from the last one.

    >>> config.but(start=interp.start_from("checkpoints/quick@300"), seeds=Seeds(split=1))

    Raises:
        UserError: there is no such checkpoint, or it is damaged.
    """
    return as_start(checkpoint_at(where))


def checkpoint_at(where: str | Path) -> Checkpoint:
    """The checkpoint given as DIR@STEP; as DIR alone, the last one. UserError if there is none."""
    path, at, step = str(where).rpartition("@")
    if at and step.isascii() and step.isdecimal() and not Path(where).is_dir():
        return open_run(path).at(int(step))
    return open_run(where).final


def as_start(checkpoint: Checkpoint) -> Start:
    """Where the weights of a checkpoint are, and their digest."""
    return Start(path=str(checkpoint.run.path), step=checkpoint.step, sha256=digest(checkpoint.weights, {}))


def starting_weights(path: Path, config: RunConfig) -> Tensors | None:
    """Weights that the run in `path`, which may not be there yet, begins with; None if they are initial weights.

    A run that has begun has them in its first checkpoint, and does not need the other run any more.

    Raises:
        UserError: the other run is gone or has other weights by now, or they do not fit the run's model and task.
    """
    if not config.start:
        return None
    if 0 in checkpoint_steps(path):
        try:
            return as_begun(open_run(path).at(0), config)
        except CheckpointError:  # the checkpoint is damaged, or of the run that is to be replaced
            pass
    return as_begun(open_run(config.start.path).at(config.start.step), config)


def as_begun(checkpoint: Checkpoint, config: RunConfig) -> Tensors:
    """Weights of a checkpoint; CheckpointError if they are not those that the run begins with, UserError if they do not fit."""
    weights, name = checkpoint.weights, f"{checkpoint.run.path}@{checkpoint.step}"
    if digest(weights, {}) != config.start.sha256:
        raise CheckpointError(f"{name} has other weights than those that the run begins with; restore it")
    shapes = config.model.tensor_shapes(config.task.shape)
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    for odd in (tensor for tensor in found | shapes if found.get(tensor) != shapes.get(tensor)):
        theirs, ours = (" × ".join(map(str, each[odd])) if odd in each else "none" for each in (found, shapes))
        raise UserError(
            f"{name} does not fit the run that is to begin from it: its {odd} is {theirs}, and {ours} is needed; take a task "
            "with as many tokens and answers, and a model of the same size"
        )
    for tensor, kept in config.model.fixed_norms(config.task.shape).items():
        if abs(float(weights[tensor].norm()) / kept - 1) > 1e-4:
            raise UserError(
                f"{name} has a {tensor} of norm {float(weights[tensor].norm()):.4g}, and model.directions computes with norm "
                f"{kept:.4g}, another function; begin from a run with directions, or leave them out"
            )
    return weights


def refuse_to_replace_a_start(configs: Sequence[RunConfig], outs: Sequence[Path]) -> None:
    """Raise UserError if one of the directories that are to be overwritten holds the weights that a run begins with."""
    replaced = {out.resolve() for out in outs}
    for config in configs:
        if config.start and Path(config.start.path).resolve() in replaced:
            raise UserError(
                f"--overwrite would delete {config.start.path}, from which the run is to begin; choose another --out"
            )
