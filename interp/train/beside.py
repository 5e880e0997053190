"""A recorder beside somebody else's trainer: what trainers of several libraries need alike."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from torch import nn

from interp.base import UserError
from interp.train.recorder import Recorder, record

OPEN: "WeakValueDictionary[Path, Beside]" = WeakValueDictionary()
"""Recorders that hold a directory, by its absolute path."""


class Beside:
    """A recorder that a trainer tells what it logs, and when it has reached a step; further arguments are those of `record`.

    A step is recorded when the next one begins: until then its losses may still be logged, and its weights stay.
    """

    def __init__(self, path: str | Path, names: Mapping[str, str], how: Mapping[str, Any]):
        self.path, self._names, self._how = Path(path), names, how
        self._recorder: Recorder | None = None
        self._columns: dict[str, Any] = {}
        self._next = 0
        self._taken = False

    def begin(self, model: nn.Module, optimizers: Iterable[Any], step: int) -> None:
        """Open the recorder of a model that has had so many updates.

        A recorder of this process that still holds the directory gives it up. Some trainers do not tell a callback that training
        raised, so it would be held until the process ends.

        Raises:
            UserError: as `record`; or a run is there whose last saved weights have had another number of updates.
        """
        if (earlier := OPEN.get(self.path.absolute())) is not None:
            earlier.close()
            earlier._taken = True
        self._taken = False
        OPEN[self.path.absolute()] = self
        self._recorder = record(self.path, model, state=list(optimizers), **self._how).__enter__()
        self._next = self._recorder.resume()
        if self._next and self._next - 1 != step:
            self.close()
            raise UserError(
                f"{self.path} has a run whose last saved weights are those of step {self._next - 1:,}, and the trainer begins at "
                f"step {step:,}; let both save at the same steps, or take overwrite=True"
            )

    def tell(self, logged: Mapping[str, Any]) -> None:
        """Keep what was logged of the step that was reached last."""
        self._columns |= {self._names.get(name, name): value for name, value in logged.items()}

    def reach(self, step: int) -> None:
        """Record the step, once; UserError where another training of this process records into the directory since."""
        if self._taken:
            raise UserError(f"another training began to record into {self.path}; give each a directory of its own")
        if self._recorder is not None and step >= self._next:
            self._recorder.step(step, **self._columns)
            self._columns, self._next = {}, step + 1

    def close(self) -> None:
        """Release the directory."""
        if self._recorder is not None:
            self._recorder.__exit__(None, None, None)
            self._recorder = None
            self._columns = {}
            OPEN.pop(self.path.absolute(), None)
