"""A run and its checkpoints, as they are read from a run directory."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from interp.base import DoesNotApply, Shown, UserError
from interp.config import RunConfig
from interp.machine import memory_size, quarter_of_ram
from interp.models import Family, TensorSpec
from interp.store.between import Between
from interp.store.files import REMEDY, CheckpointError, identity
from interp.store.history import Position, read_history
from interp.store.layout import (
    HISTORY,
    SPLIT,
    checkpoint_file,
    checkpoint_header,
    checkpoint_steps,
    is_there,
    resume_file,
)
from interp.store.record import Record
from interp.store.resume import known_position, read_resume
from interp.store.split import read_split
from interp.store.summary import summary
from interp.store.tensors import Tensors, Weights, map_tensors, read_header, read_tensors
from interp.tasks import Examples, Split, Task

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens import ActivationCache


class Newest(NamedTuple):
    """Weights of a run's newest resume state. They are kept in memory, because a run that trains replaces its states."""

    step: int
    weights: Tensors


@dataclass(frozen=True, repr=False)
class Checkpoint(Shown):
    """The network after `step` optimiser updates. Files are read when asked for, and nothing is kept in memory."""

    run: "Run" = field(repr=False)
    step: int

    @property
    def path(self) -> Path:
        """Path of the safetensors file."""
        return (checkpoint_file if self.kept is None else resume_file)(self.run.path, self.step)

    @property
    def kept(self) -> Tensors | None:
        """Weights that the run has in memory, of its newest resume state (`Run.with_newest`); None at every other step."""
        newest = self.run.newest
        return newest.weights if newest is not None and newest.step == self.step else None

    @property
    def weights(self) -> Weights:
        """Weights: every parameter by HookedTransformer's name, verified against digest and configuration.

        Raises:
            CheckpointError: the file is missing, truncated, altered, of another model, or its numbers are not finite.
        """
        return self.read()

    def read(self, remedy: str = REMEDY) -> Weights:
        """Weights, as `weights` has them; an error names what is to be done with a damaged file."""
        if self.kept is not None:
            return Weights(self.kept)
        header = checkpoint_header(self.run.record.config_sha256, self.step)
        tensors = read_tensors(self.path, header, self.run.tensor_shapes, remedy)
        # A buffer of somebody's own may be meant to be infinite, as a mask of attention is.
        known, table = self.run.config.model.has_code, self.run.tensors
        finite = {name: tensor for name, tensor in tensors.items() if known or table[name].role != "buffer"}
        refuse_infinite(self.path, finite, remedy)
        return Weights(tensors)

    def mapped(self) -> Tensors:
        """Weights as views of the mapped file. Its content is hashed only if `run` has not seen the file before.

        A file that was found whole is recognised by its inode, size and times, and taken to be whole still. So measuring a
        run five times hashes its files once.
        """
        if self.kept is not None:
            return self.kept
        header, seen = checkpoint_header(self.run.record.config_sha256, self.step), identity(self.path)
        if seen and self.run.found_whole.get(self.path) == seen:
            return map_tensors(self.path, header, self.run.tensor_shapes)[0]
        tensors = self.weights
        self.run.found_whole[self.path] = seen
        return tensors

    @property
    def digest(self) -> str:
        """Digest of the file's content, as its header has it; verified as in `mapped`, with the same errors."""
        seen, known = identity(self.path), self.run.kept.get(bytes(self.path))
        if seen and known is not None and known[0] == seen:
            return known[1]
        self.mapped()
        found = str(read_header(self.path)["sha256"])
        self.run.kept[bytes(self.path)] = (seen, found)
        return found

    @property
    def metrics(self) -> dict[str, float]:
        """Train and test loss (nats, or squared error) and accuracy at this step; empty if the history has no such row."""
        history = self.run.history
        return history.loc[self.step].to_dict() if self.step in history.index else {}

    def cells(self) -> list[tuple[str, ...]]:
        """Step, file, and what the history has at that step."""
        logged = ((name.replace("_", " "), f"{value:.4g}") for name, value in self.metrics.items())
        return [("step", f"{self.step:,}"), ("file", str(self.path)), *logged]

    def __repr__(self) -> str:
        return self._text()

    @property
    def model(self) -> Any:
        """The model in eval mode with these weights, ready for run_with_cache: a HookedTransformer, or its family's own.

        Of a run that was opened with somebody's own module it is a copy of that. It takes numpy arrays too, such as
        `run.split.test.inputs`.

        Raises:
            UserError: files of others, or a recorder, do not tell what the model computes.
        """
        from interp.models.arrays import takes_arrays  # here: looking at a run's curves costs no torch
        from interp.models.network import load

        if self.run.module is not None:
            from interp.models.module.given import with_weights

            return takes_arrays(with_weights(self.run.module, self.weights))
        return takes_arrays(load(self.run.known_model, self.run.task.shape, self.weights))

    def cache(self, names: Callable[[str], bool] | Sequence[str] | None = None) -> "ActivationCache":
        """Activations over the task's whole table, in its order; over the test examples if the task draws its examples.

        If `names` is given, only the hooks that it names are kept.
        """
        import torch

        model = self.model
        if not hasattr(model, "run_with_cache"):
            raise DoesNotApply(
                f"{type(model).__name__} has no run_with_cache; put forward hooks of torch on run.at({self.step}).model"
            )
        with torch.inference_mode():
            return model.run_with_cache(self.run.examples.inputs, names_filter=names)[1]


def refuse_infinite(path: Path, weights: Tensors, remedy: str) -> None:
    """Raise CheckpointError if weights have numbers that are not finite."""
    odd = next((name for name, tensor in weights.items() if not tensor.isfinite().all()), None)
    if odd is not None:
        raise CheckpointError(f"{path} has {odd} with numbers that are not finite: training had diverged; {remedy}")


@dataclass(frozen=True)
class Run(Shown):
    """A run: its configuration, its history and its checkpoints, in a directory that training wrote."""

    path: Path
    record: Record
    steps: tuple[int, ...]
    """Steps of the checkpoints in view, ascending."""
    view: tuple[str, ...] = ()
    """How the checkpoints in view were chosen, as options of the command line."""
    newest: Newest | None = field(default=None, repr=False, compare=False)
    """Weights of the newest resume state, where they are in view; put there by `with_newest`."""
    memory: int = field(default_factory=quarter_of_ram, repr=False, compare=False)
    """Most bytes of memory that measuring may take, beside Python and its libraries; set by `within`."""
    module: Any = field(default=None, repr=False, compare=False)
    """Somebody's own module, given when the run was opened (`open_run`): what the weights of a recorded run are for."""
    found_whole: dict[Path, tuple[int, ...]] = field(default_factory=dict, repr=False, compare=False)
    """Identity (inode, size, times) of every file whose digest was right. All views of a run share it."""
    kept: dict[bytes, Any] = field(default_factory=dict, repr=False, compare=False)
    """What was found for one analysis and is kept for the next, by a digest of what it was found from. All views share it."""

    @property
    def config(self) -> RunConfig:
        """Configuration of the run: the hyperparameters that were really used."""
        return self.record.config

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.config.name

    @property
    def task(self) -> Task:
        """Task that the run was trained on."""
        return self.config.task

    @property
    def between(self) -> Between | None:
        """What the path is that the checkpoints lie on, between two networks; None of a run that learns."""
        return self.record.origin.between if self.record.origin else None

    @property
    def known_model(self) -> Family:
        """Specification of the model; DoesNotApply if files of others leave open what it computes, or it cannot be computed."""
        for name in self.config.model.computes:
            self.needs(f"model.{name}", f"its {name}", f"--model.{name.replace('_', '-')}")
        self.refuse_absent("its code", "model", "task")
        self.config.model.check_code(self.task.shape)
        return self.config.model

    @cached_property
    def examples(self) -> Examples:
        """Every example of the task, in its order; of a task that draws them, those that are tested."""
        try:
            return self.task.table()
        except DoesNotApply:
            return self.split.test

    @cached_property
    def split(self) -> Split:
        """Training and test prompts; DoesNotApply if files of others do not tell them."""
        if is_there(self.path / SPLIT):
            return read_split(self.path / SPLIT, self.record.config_sha256, self.task.table())
        self.needs("seeds.split", "which prompts were trained on", "a file that holds them")
        return self.config.split()

    @cached_property
    def table(self) -> Examples:
        """All prompts of the task, in its order, with their answers.

        Training examples are as they are trained on: with a wrong answer if the label was corrupted, with the noise of their
        inputs if the task has any.
        """
        table = self.task.table()
        if not (self.config.corruption or self.task.changes_inputs):
            return table
        train, rows = self.split.train, self.split.train_index
        inputs, targets = table.inputs, table.targets.copy()
        targets[rows] = train.targets
        if self.task.changes_inputs:
            inputs = inputs.copy()
            inputs[rows] = train.inputs
        return Examples(inputs, targets)

    def needs(self, field: str, what: str, remedy: str) -> None:
        """Raise DoesNotApply if a field of the configuration is not known, because files of others do not tell it."""
        origin = self.record.origin
        self.refuse_absent(what, *{"model": ("model", "task"), "seeds": ("task",)}.get(field.split(".")[0], ()))
        if origin is not None and origin.recorded and not origin.tells(field):
            raise DoesNotApply(f"{self.path} was recorded beside a loop of its own, which does not tell {what}")
        if origin is not None and not origin.tells(field):
            raise DoesNotApply(
                f"{self.path} was converted from files that do not tell {what}; convert it with {remedy}"
            )

    def refuse_absent(self, what: str, *parts: str) -> None:
        """Raise DoesNotApply if a part of the configuration is of a package that is not here, so that `what` is not known."""
        absent = self.record.absent
        if why := next((absent[part] for part in parts if part in absent), ""):
            raise DoesNotApply(f"{self.path} cannot tell {what}: {why}; install that package, or add the class first")

    @cached_property
    def tensors(self) -> dict[str, TensorSpec]:
        """Every parameter of the run's model by name."""
        return self.config.model.tensors(self.task.shape)

    @cached_property
    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter of the run's model, by name."""
        return self.config.model.tensor_shapes(self.task.shape)

    @property
    def history(self) -> "pd.DataFrame":
        """Train and test loss and accuracy at every logged step, indexed by step; with norms, if they were logged."""
        record = self.record
        origin, checked = record.origin, record.format_version >= 2
        recorded = origin is not None and origin.recorded
        reaches = origin.history if origin else None
        if origin is None or recorded:
            reaches = known_position(self.path, record.config_sha256, self.config, self.found_whole)
        if recorded and reaches:
            reaches = Position(reaches.rows, None)
        train = self.config.train
        columns = None if recorded else train.columns
        return read_history(self.path / HISTORY, train.steps + 1, reaches, checked, columns=columns)

    @property
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """Checkpoints in view, by ascending step."""
        return tuple(Checkpoint(self, step) for step in self.steps)

    @property
    def final(self) -> Checkpoint:
        """The last checkpoint in view."""
        return Checkpoint(self, self.with_checkpoints().steps[-1])

    @property
    def first(self) -> Checkpoint:
        """The run's first checkpoint, in view or not; step 0 for every run that was trained here."""
        return Checkpoint(self, checkpoint_steps(self.with_checkpoints().path)[0])

    def with_checkpoints(self) -> "Run":
        """The run itself; DoesNotApply if it was converted from learning curves alone, or has no weights yet."""
        if not self.steps and self.record.origin is not None and self.record.origin.recorded:
            raise DoesNotApply(f"{self.path} has no weights yet: no step that was recorded is in its schedule")
        if not self.steps:
            raise DoesNotApply(f"{self.path} has learning curves and no weights: what it was converted from held none")
        return self

    def at(self, step: int | Literal["first", "last"]) -> Checkpoint:
        """The checkpoint at exactly `step`; UserError with the nearest steps if there is none."""
        if isinstance(step, str):
            if step not in ("first", "last"):
                raise UserError(f'no checkpoint "{step}"; take a step, "first" or "last"')
            return self[0] if step == "first" else self[-1]
        if step not in self.with_checkpoints().steps:
            nearest = sorted(sorted(self.steps, key=lambda known: abs(known - step))[:2])
            raise UserError(
                f"{self.path} has no checkpoint at step {step}; the nearest are at {' and '.join(map(str, nearest))}"
            )
        return Checkpoint(self, step)

    def __iter__(self) -> Iterator[Checkpoint]:
        return iter(self.checkpoints)

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, number: int) -> Checkpoint:
        """The checkpoint of that number in view; −1 is the last. `at` takes steps."""
        return Checkpoint(self, self.with_checkpoints().steps[number])

    def select(self, *, every: int = 1, last: int | Literal["all"] = "all", steps: Sequence[int] = ()) -> "Run":
        """A view of the run with fewer checkpoints: every `every`-th from the first, and the last; then the last `last` of these.

        `steps` gives the steps one by one instead. A step without a checkpoint is a UserError.
        """
        if every < 1:
            raise UserError(f"--every is {every}; it should be at least 1")
        if last != "all" and last < 1:
            raise UserError(f'--last is {last}; it should be at least 1, or "all"')
        thinned = tuple(dict.fromkeys([*self.steps[::every], *self.steps[-1:]]))
        chosen = tuple(self.at(step).step for step in sorted(set(steps))) if steps else thinned
        words = (
            *([f"--every {every}"] if every > 1 and not steps else []),
            *([f"--last {last}"] if last != "all" else []),
            *([f"--steps {' '.join(map(str, chosen))}"] if steps else []),
        )
        return replace(self, steps=chosen if last == "all" else chosen[-last:], view=(*self.view, *words))

    def with_newest(self) -> "Run":
        """A view of the run in which the newest saved weights are the last checkpoint.

        Those of a run that was stopped between two checkpoints, or is in training, are in its resume state. The view is the
        run itself where the last checkpoint is as new. There need be no row of the history at that step.

        Raises:
            CheckpointError: the resume state is damaged, or its numbers are not finite.
        """
        if self.record.origin is not None or (self.newest is not None and self.newest.step in self.steps):
            return self
        saved, faults = read_resume(self.path, self.record.config_sha256, self.config)
        if faults:
            raise faults[0]
        if saved is None or saved.step <= max(checkpoint_steps(self.path), default=-1):
            return self
        tensors = {name: tensor for name, tensor in saved.tensors.items() if name.startswith("model/")}
        weights = {name.removeprefix("model/"): tensor.float().clone() for name, tensor in tensors.items()}
        refuse_infinite(resume_file(self.path, saved.step), weights, "leave out --with-newest")
        view = (*self.view, "--with-newest")
        return replace(self, steps=(*self.steps, saved.step), newest=Newest(saved.step, weights), view=view)

    def within(self, memory: int | str) -> "Run":
        """A view of the run that analyses measure in at most `memory`, a number of bytes or a size such as "2GiB".

        It belongs to the run and not to the options of an analysis, because it decides how checkpoints are read. It changes
        no result.
        """
        return replace(self, memory=memory_size(memory))

    def stacked(self, names: Callable[[str], bool] = lambda name: True) -> Tensors:
        """Weights of all checkpoints in view, [step, …]. Only parameters whose name passes `names` are copied from the files.

        Raises:
            CheckpointError: a file is missing, damaged or of another model.
        """
        import torch

        stack = {name: torch.empty(len(self), *shape) for name, shape in self.tensor_shapes.items() if names(name)}
        for index, checkpoint in enumerate(self.checkpoints):
            tensors = checkpoint.mapped()
            for name, rows in stack.items():
                rows[index] = tensors[name]
        return stack

    def without_broken(self) -> tuple["Run", list[CheckpointError]]:
        """A view of the run with only the readable checkpoints, and the errors of the others."""
        readable, faults = [], []
        for checkpoint in self.checkpoints:
            try:
                checkpoint.mapped()
                readable.append(checkpoint.step)
            except CheckpointError as error:
                faults.append(error)
        if faults and not readable:
            raise CheckpointError(f"{self.path} has no readable checkpoint: {faults[0]}")
        return replace(self, steps=tuple(readable), view=(*self.view, "--skip-broken")), faults

    def summary(self) -> dict[str, str]:
        """Summary of the run in a few words, by topic, as shown by IPython and `python -m interp.probe`."""
        return summary(self.path, self.record, self.steps, lambda: self.history)

    def cells(self) -> list[tuple[str, ...]]:
        """Rows of the summary."""
        return list(self.summary().items())

    def __repr__(self) -> str:
        return self._text()
