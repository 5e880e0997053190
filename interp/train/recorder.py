"""A recorder for any loop: somebody's own module, optimiser and loss; the run directory, and what it survives, are ours."""

import math
import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import nn

from interp.base import UserError, near_miss
from interp.config import RunConfig
from interp.models.module.adapted import Adapted, adapt, adapted
from interp.models.module.seen import refuse_change, tensors_of
from interp.recipe import LOGGED, TrainConfig
from interp.store import RunWriter, open_record
from interp.store.history import CHECK, start
from interp.store.layout import RECORD, SPLIT, is_there
from interp.store.record import Origin, Session, fields
from interp.store.split import write_split
from interp.tasks import Split, Task, UnknownTask
from interp.train.kept import give_back, put_together, state_of, taken_apart
from interp.train.schedule import Schedule, schedule

OPEN_END: int = 100_000_000
"""Steps of a run of which nobody has said how long it will be: the most that a configuration may have."""

ADAPT = ("embedding", "neurons", "readout", "unembedding", "inputs", "outputs", "loss")
"""Names of the roles that `interp.adapt` takes."""

USUAL = schedule(log=10, every=100)


def record(
    path: str | Path,
    model: nn.Module | Adapted,
    *,
    task: Task | None = None,
    split: Split | Iterable[int] | None = None,
    schedule: Schedule = USUAL,
    state: Sequence[Any] = (),
    roles: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> "Recorder":
    """Recorder of a run in `path`, for a `with` around somebody's own loop.

    >>> with interp.record("checkpoints/mine", model, state=[optimizer]) as run:
    ...     for step in range(run.resume(), 1001):
    ...         if step > 0:
    ...             loss = update()
    ...         run.step(step, train_loss=loss)

    Args:
        path: directory of the run.
        model: any torch module, or one with roles from `interp.adapt`, which are recorded as far as they are in words. Compiled
            or parallel ones are recorded as what they wrap. With several processes, record in one.
        task: the task, if it is one of interp's.
        split: what was trained on: the task's own split, or rows of its table.
        schedule: steps at which weights are saved, as of `interp.schedule`.
        state: optimisers, schedules of rates and generators, whose states `run.resume()` gives back.
        roles: arguments of `interp.adapt`, for a model that is made elsewhere, as by a trainer: `{"embedding": "embed.weight"}`.
        overwrite: replace the run in the directory.

    Raises:
        UserError: the module cannot be recorded, or the directory cannot be written, is in use, or holds something else.
    """
    if roles and (odd := next((name for name in roles if name not in ADAPT), None)):
        raise UserError(f"roles has {odd!r:.60}{near_miss(odd, ADAPT)}")
    given = adapted(model) if roles is None else adapt(adapted(model).module, **roles)
    return Recorder(Path(path), given, task, split, schedule, state, overwrite)


class Recorder:
    """Recorder of a run beside a loop. What `step` has returned for is on the disk, whatever happens next."""

    def __init__(
        self,
        path: Path,
        given: Adapted,
        task: Task | None,
        split: Split | Iterable[int] | None,
        schedule: Schedule,
        state: Sequence[Any],
        overwrite: bool,
    ):
        """Check everything, and claim the directory."""
        self.path, self.schedule = path, schedule
        self._module, self._state, self._spec = given.module, tuple(state), given.spec
        for thing in self._state:
            state_of(thing)
        self._train_index = None if split is None else rows_of(task, split)
        self._goes_on = not overwrite and is_there(path / RECORD)
        name = open_record(path).config.name if self._goes_on else re.sub(r"[^\w.+=@-]|^\.", "_", path.name)[:100]
        loss = self._spec.loss
        learning = [name for name in fields("train") if name != "train.loss"] if loss else ["train"]
        unknown = ("model.code", *learning, "seeds", *(["task"] if task is None else []))
        task = task or UnknownTask()
        train = TrainConfig(steps=OPEN_END, batch_size=1 if task.endless else "full", loss=loss or "cross_entropy")
        config = RunConfig(name=name or "run", task=task, model=self._spec, train=train)
        origin = Origin(
            layout="a loop of its own",
            files={},
            unknown=unknown,
            history=start(LOGGED),
            checkpoints=0,
            knows_split=self._train_index is not None,
            recorded=True,
        )
        self._writer = RunWriter(path, config, resume=not overwrite, overwrite=overwrite, origin=origin)
        self._begun = False
        self._last = -1

    def __enter__(self) -> "Recorder":
        if not self._goes_on:
            self._begin()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._close()

    def _close(self) -> None:
        """Release the directory; nothing more is recorded."""
        self._writer.release()
        self._begun = self._goes_on = False

    def _begin(self) -> None:
        """Write what the run is, or cut the run that is there to its newest state."""
        self._writer.__enter__()
        self._last = -1 if self._writer.resume_step is None else self._writer.resume_step
        if self._writer.resume_step is None and self._train_index is not None:
            write_split(self.path / SPLIT, self._writer.record.config_sha256, self._train_index)
        device = str(next(iter(tensors_of(self._module).values())).device)
        self._writer.begin(Session.begin(self._last + 1, device, torch.get_num_threads()))
        self._begun = True

    def resume(self) -> int:
        """The step to go on with, after weights and states were given back as they were; 0 of a new run.

        Call it before the first step. What was recorded after the last saved weights is dropped, and recorded again.

        Raises:
            UserError: another module or task was recorded there, or nothing is there to go on from.
        """
        if self._begun:
            return self._last + 1
        self._refuse_closed()
        self._begin()
        if self._last < 0:
            return 0
        saved = self._writer.resume_saved()
        kept = saved.header.get("kept", [])
        if len(kept) != len(self._state):
            raise UserError(
                f"{self.path} has the states of {len(kept)} objects, and state has {len(self._state)}; give as many, in the "
                "same order"
            )
        with torch.no_grad():
            for name, tensor in tensors_of(self._module).items():
                tensor.copy_(saved.tensors[f"model/{name}"])
        for thing, plain in zip(self._state, kept, strict=True):
            try:
                give_back(thing, put_together(plain, saved.tensors))
            except (ValueError, TypeError, KeyError, RuntimeError) as error:
                raise UserError(
                    f"{self.path} has the state of something else in the place of a {type(thing).__name__} ({error!s:.200}); "
                    "give state the objects that it was recorded with, in the same order"
                ) from error
        return self._last + 1

    def step(self, step: int, /, **columns: Any) -> bool:
        """Append a row of numbers to the history, and save the weights if the schedule says so; returns whether they were.

        `step` is the number of updates that the weights have had. Columns may be numbers, or tensors of one number, and may begin
        at any step. A step without columns has a row only if its weights are saved.

        Raises:
            UserError: the step does not come after the last one, a column is no number, or the module has changed.
        """
        self._refuse_closed()
        if not self._begun:
            raise UserError(
                f"{self.path} holds a run already; go on with it by run.resume() before the first step, or replace it by "
                "overwrite=True"
            )
        step = whole(step)
        if step <= self._last:
            raise UserError(f"step {step:,} comes after step {self._last:,}; give each step once, in ascending order")
        row = {"step": step, **{name: number(name, value) for name, value in columns.items()}}
        saves = step in self.schedule
        tensors = tensors_of(self._module) if saves else {}
        if saves:
            refuse_change(self._spec, tensors)
        try:
            if columns or saves:
                self._writer.log(row)
            if saves:
                self._save(step, tensors)
        except BaseException:  # half of a row may be there, which only going on anew can cut off
            self._close()
            raise
        self._last = step
        return saves

    def _save(self, step: int, tensors: dict[str, torch.Tensor]) -> None:
        """Save a checkpoint, and what the run goes on from: the weights in their own precision, and the states."""
        weights = {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}
        self._writer.checkpoint(step, weights)
        apart = [taken_apart(state_of(thing), f"state/{i}") for i, thing in enumerate(self._state)]
        state = {f"model/{name}": tensor for name, tensor in weights.items()}
        for _, more in apart:
            state |= more
        self._writer.save_resume(step, state, kept=[plain for plain, _ in apart])

    def _refuse_closed(self) -> None:
        """Raise UserError outside of the `with`, and after a failure to write."""
        if not (self._begun or self._goes_on):
            raise UserError(f"the recorder of {self.path} is not open; call it inside its with, or open another one")


def rows_of(task: Task | None, split: Split | Iterable[int]) -> np.ndarray:
    """Rows of the task's table that were trained on; UserError if they cannot be."""
    if task is None:
        raise UserError("split is given without a task, of whose table it has rows; give the task, or leave split out")
    rows = np.unique(split.train_index if isinstance(split, Split) else np.fromiter(split, dtype=np.int64))
    n = len(task.table())
    if not len(rows) or rows[0] < 0 or rows[-1] >= n:
        raise UserError(
            f"split has {len(rows):,} rows, and the task's table rows 0 to {n - 1:,}; give rows of the table"
        )
    return rows


def whole(step: Any) -> int:
    """A step as a whole number from 0 up; UserError for anything else."""
    try:
        found = operator.index(step)
    except TypeError:
        found = -1
    if not 0 <= found <= OPEN_END:
        raise UserError(f"step is {step!r:.60}; take a whole number from 0 to {OPEN_END:,}")
    return found


def number(name: str, value: Any) -> float:
    """A column's value as a float, NaN and infinity included; UserError if name or value cannot be in a history."""
    if not re.fullmatch(r"[A-Za-z0-9_./@+-]{1,80}", name) or name in ("step", CHECK):
        raise UserError(
            f'{name!r:.100} is no name of a column; take letters, digits and _./@+-, not "step" or "{CHECK}"'
        )
    try:
        return float(value.detach() if isinstance(value, torch.Tensor) else value)
    except (TypeError, ValueError, RuntimeError):
        raise UserError(f"{name} is {value!r:.60}; take one number, or a tensor of one number") from None
    except OverflowError:
        return math.inf if value > 0 else -math.inf
