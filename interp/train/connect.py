"""Connecting two networks by a path, written as a run: its checkpoints are points of the path, so any analysis runs along it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from interp.base import UserError, once
from interp.config import RunConfig, differences
from interp.denormals import flushed
from interp.maths.paths import CURVES, even
from interp.models.network import Weights, effective, symmetries
from interp.objective import evaluate, in_parts, objective
from interp.recipe import LOGGED
from interp.store import Checkpoint, Run, open_run
from interp.store.at_once import write_at_once
from interp.store.between import Between, Curve
from interp.store.directory import claim, clear, refuse_what_is_there, release
from interp.store.history import Row
from interp.store.layout import SPLIT, is_there
from interp.store.start import as_start, checkpoint_at
from interp.store.tensors import Tensors
from interp.tasks import Examples
from interp.train.align import aligned
from interp.train.bend import points, trained_bend
from interp.train.loop import silently
from interp.views.landscape import Landscape

STRAIGHT = Curve()

OF_THE_LOSS = ("loss", "loss_reduction", "output_temperature")
"""Fields of the training that decide the logged loss, in which both ends must agree."""


def connect(
    a: str | Path,
    b: str | Path,
    out: str | Path,
    curve: Curve = STRAIGHT,
    *,
    overwrite: bool = False,
    watcher: Callable[[int, int, str], Any] | None = None,
) -> Run:
    """The path from network A to network B, written as a run whose step is the number of the point.

    Args:
        a: the network at t = 0, as DIR@STEP; DIR alone: its last checkpoint.
        b: the network at t = 1.
        out: directory of the path.
        curve: which curve, and how its bend is trained.
        overwrite: replace the run in `out`.
        watcher: function from (total updates, first update, label) to a context manager that is told of each.

    Raises:
        UserError: A or B is not there, they are no networks of one kind for one task, or `out` cannot be written.
        CheckpointError: a checkpoint is damaged.
    """
    ends, path = Ends(checkpoint_at(a), checkpoint_at(b)), Path(out)
    ends.refuse(curve)
    if inside := [end.run.path for end in ends.both if end.run.path.resolve() == path.resolve()]:
        raise UserError(f"{inside[0]} is an end of the path and cannot hold it; choose another --out")
    refuse_what_is_there(path, resume=False, overwrite=overwrite)
    lock = claim(path, overwrite=overwrite)
    try:
        found = found_path(ends, curve, watcher)
        rows = found.rows()
        if overwrite:  # only now: what is there stays until there is something to put in its place
            clear(path)
        found.write(path, rows)
    finally:
        release(lock, path)
    return open_run(path)


@dataclass(frozen=True)
class Ends:
    """The two networks that a path connects."""

    a: Checkpoint
    b: Checkpoint

    @property
    def both(self) -> tuple[Checkpoint, Checkpoint]:
        """A and B."""
        return self.a, self.b

    def refuse(self, curve: Curve) -> None:
        """Raise UserError unless both are networks of one kind, for one task and one loss, with all that the path needs."""
        for end in self.both:
            _ = Landscape.of(end.run, "a path").parts, end.run.split
        theirs, ours = (of_the_function(end.run.config) for end in self.both)
        if odd := differences(ours, theirs):
            a, b = (f"{end.run.path}@{end.step}" for end in self.both)
            first = odd[0].replace(" there and ", f" in {a} and ").removesuffix(" here") + f" in {b}"
            raise UserError(f"no path leads from a network to one of another kind: {first}; take two of one kind")
        if curve.align:
            symmetries(self.a.run.known_model, self.a.run.task.shape)
        if curve.curve != "line":
            Landscape.of(self.a.run, "a path").examples(curve.over)

    @once
    def notes(self) -> tuple[str, ...]:
        """In what else the ends differ that matters on the path, and what is not as in a network that was trained."""
        run, notes = self.a.run, []
        if run.config.model.buffers(run.task.shape):
            notes.append(
                "running statistics on the path are interpolated and not taken anew at each point, which can raise the loss "
                "between the ends (Jordan et al. 2022, arXiv 2211.08403)"
            )
        a, b = (end.run.split.train_index for end in self.both)
        if a.shape != b.shape or not bool((a == b).all()):
            notes.append("B was trained on other examples than A; training and test set of the path are those of A")
        return tuple(notes)


def of_the_function(config: RunConfig) -> RunConfig:
    """What decides which function of the weights the loss is, save the examples that are drawn: all else is as by default."""
    loss = {name: getattr(config.train, name) for name in OF_THE_LOSS}
    return RunConfig(
        task=config.task, model=config.model.unstarted, corruption=config.corruption,
        train=type(config.train)(**loss, batch_size=1),
    )  # fmt: skip


def config_of(config: RunConfig, name: str, curve: Curve) -> RunConfig:
    """Configuration of a path: that of A, whose training it tells, with as many steps as there are points after the first."""
    plain = type(config.train).model_fields
    free = {n: plain[n].default for n in plain if n.startswith(("constraint", "log_norms"))}
    train = config.train.but(
        **free, steps=curve.points - 1, examples=0, log_every=1, checkpoint_every=1, checkpoint_steps=()
    )
    return config.but(name=name, train=train, start=type(config.start)())


@dataclass(frozen=True)
class Found:
    """A path that was found, ready to be written."""

    ends: Ends
    between: Between
    A: Tensors
    bend: Weights
    B: Tensors

    @once
    def config(self) -> RunConfig:
        """Configuration of the path."""
        curve = self.between.curve
        words = [f"{curve.curve}{'-aligned' * curve.align}", *(f"{e.run.name}@{e.step}" for e in self.ends.both)]
        return config_of(self.ends.a.run.config, re.sub(r"[^\w.+=@-]+", "_", "+".join(words))[:100], curve)

    @once
    def parts(self) -> Tensor:
        """Parts of A, bend and B in each point."""
        return CURVES[self.between.curve.curve](even(self.between.curve.points))

    def at(self, step: int) -> Tensors:
        """Weights of a point, as a checkpoint has them; the ends bit for bit."""
        if step in (0, len(self.parts) - 1):
            return self.A if step == 0 else self.B
        found = points(self.parts[step : step + 1], self.A, self.bend, self.B)
        norms = self.config.model.fixed_norms(self.config.task.shape)
        return {name: tensor[0].contiguous() for name, tensor in effective(found, norms).items()}

    def rows(self) -> list[Row]:
        """The history: losses and accuracies at each point; NaN where there are no examples."""
        split = self.ends.a.run.split
        both = [in_parts([each], [self.config], "cpu") if len(each) else None for each in (split.train, split.test)]
        rows = []
        for step in range(len(self.parts)):
            weights = {name: self.precise(tensor)[None] for name, tensor in self.at(step).items()}
            measured = [([float("nan")],) * 2 if each is None else evaluate(each, weights) for each in both]
            (train_loss, train_accuracy), (test_loss, test_accuracy) = measured
            numbers = (step, *train_loss, *test_loss, *train_accuracy, *test_accuracy)
            rows.append(dict(zip(LOGGED, numbers, strict=True)))
        return rows

    def precise(self, tensor: Tensor) -> Tensor:
        """A tensor in the precision in which the ends were trained."""
        return tensor.double() if self.config.train.precision == "float64" else tensor

    def write(self, path: Path, rows: list[Row]) -> None:
        """Write the path as a run with this history into a directory that is claimed and empty."""
        a = self.ends.a.run
        write_at_once(
            path,
            self.config,
            {step: partial(self.at, step) for step in range(len(self.parts))},
            rows,
            a.split.train_index if is_there(a.path / SPLIT) else None,
            layout="a path between two networks",
            files={f"{end.path}@{end.step}": end.sha256 for end in self.between.ends},
            unknown=a.record.origin.unknown if a.record.origin else (),
            notes=self.ends.notes,
            between=self.between,
        )


def found_path(ends: Ends, curve: Curve, watcher: Callable[[int, int, str], Any] | None) -> Found:
    """The path between two networks, B brought to A first if it is to be, and its bend trained if it has one."""
    A, B, rounds, model = ends.a.weights, ends.b.weights, 0, ends.a.run.known_model
    if curve.align:
        B, rounds = aligned(A, B, symmetries(model, ends.a.run.task.shape))
    between = Between(ends=(as_start(ends.a), as_start(ends.b)), curve=curve, rounds=rounds)
    bend: Mapping[str, Tensor] = A
    if curve.curve != "line":
        seen = Landscape.of(ends.a.run, "a path")
        watching = watcher(curve.steps, 0, "") if watcher else silently()
        loss = minimised(seen.examples(curve.over), ends.a.run.config, curve.draws)
        with flushed():
            bend = trained_bend(A, B, loss, seen.learned, curve, watching)
    return Found(ends, between, A, bend, B)


def minimised(examples: Examples, config: RunConfig, copies: int) -> Callable[[Weights], Tensor]:
    """The loss that training minimises, without weight decay and noise, of so many networks side by side."""
    config = config.but(train=config.train.but(precision="float32"))
    return objective([examples] * copies, [config] * copies, "cpu").minimised
