"""What the user asks of a conversion: the steps that files do not tell, and what a broken file costs."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from interp.base import UserError
from interp.store.files import CheckpointError
from interp.store.foreign.contents import MOST_UPDATES, Contents
from interp.store.foreign.steps import Stated, stated_by_pattern


@dataclass
class Asked:
    """What is asked of one conversion, and what came of it."""

    step: int | None = None
    """Number of updates that the user tells of weights whose files do not tell it."""
    pattern: str = ""
    """Name of files with STEP where their number of updates stands, such as model_STEP.pt."""
    skip_broken: bool = False
    used: bool = False
    """Whether the step was taken for a file."""
    left_out: list[str] = field(default_factory=list)
    """A sentence for every broken file that was left out; names files, not places."""

    @staticmethod
    def of(step: str | None, skip_broken: bool = False) -> "Asked":
        """What is asked, from the word after --step: a number, or a name with STEP in it."""
        if step is None:
            return Asked(skip_broken=skip_broken)
        if step.isdecimal() and int(step) <= MOST_UPDATES:
            return Asked(step=int(step), skip_broken=skip_broken)
        if step.count("STEP") == 1:
            return Asked(pattern=step, skip_broken=skip_broken)
        raise UserError(
            f"--step is {step!r:.60}; give the number of updates, or the files' names with STEP for it, such as model_STEP.pt"
        )

    def told(self, path: Path) -> Stated | None:
        """The step that the user tells of a file by the pattern of names."""
        step = stated_by_pattern(self.pattern, path.name) if self.pattern else None
        self.used = self.used or step is not None
        return None if step is None else Stated(step, "--step")

    @contextmanager
    def costs_itself(self, path: Path) -> Generator[None]:
        """A context for reading one file of several: if it is broken, it is left out, or named with the way to leave it out."""
        try:
            yield
        except CheckpointError as error:
            if not self.skip_broken:
                raise CheckpointError(f"{error}, or leave it out with --skip-broken") from error
            self.left_out.append(f"{path.name} is left out: {told_by(error, path)}")


def told_by(error: CheckpointError, path: Path) -> str:
    """What an error says of a file, without the place where it lies."""
    return str(error).replace(str(path), "it").replace(f"{path.parent}/", "")


def with_step(found: list[Contents], asked: Asked, source: Path) -> None:
    """Put the step that the user tells where the files tell none, or tell another of their one state dict.

    Raises:
        UserError: there are no weights, or several whose steps are told already, or none in files of the names that are told.
    """
    if asked.pattern and not asked.used:
        raise UserError(f"--step {asked.pattern} cannot be used: {source} has no weights in a file of such a name")
    if asked.step is None or asked.used:
        return
    if len(found) != 1 or len(found[0].states) != 1:
        steps = sorted({step for contents in found for step in contents.states})
        has = f"weights of steps {', '.join(f'{step:,}' for step in steps[:6])}" if steps else "no weights"
        runs = f" in {len(found)} runs" if len(found) > 1 else ""
        raise UserError(f"--step {asked.step} cannot be used: {source} has {has}{runs}; leave it out")
    contents = found[0]
    ((step, saved),) = contents.states.items()
    if contents.knows_steps and step != asked.step:
        contents.tell(f"step {asked.step} is given, where the files say {step}")
    contents.states, contents.knows_steps = {asked.step: saved}, True
