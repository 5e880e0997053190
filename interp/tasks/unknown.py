"""Tasks that are not known: of a run that others trained, its shape is; of one from a package that is not installed, its name."""

from typing import Literal, NoReturn

import tyro
from pydantic import Field

from interp.base import DoesNotApply
from interp.shape import Shape
from interp.tasks.task import Task


class UnknownTask(Task):
    """A task of which only the numbers of tokens and answers are known, from the shapes of weights.

    It has no prompts and no answers. Weights can be measured; whatever needs prompts raises DoesNotApply.
    """

    kind: tyro.conf.Suppress[Literal["unknown"]] = "unknown"
    n_ctx: int = Field(default=0, ge=0, le=1 << 20)
    """Most tokens in a prompt; 0 if not known."""
    d_vocab: int = Field(default=0, ge=0, le=1 << 20)
    """Number of distinct input tokens; 0 if not known."""
    d_vocab_out: int = Field(default=0, ge=0, le=1 << 20)
    """Number of distinct answers; 0 if not known."""

    @property
    def shape(self) -> Shape:
        """Shape of the task, as far as the weights tell it."""
        return Shape.of_tokens(self.n_ctx, self.d_vocab, self.d_vocab_out)

    @property
    def about(self) -> str:
        """The task in a few words: that it is not known."""
        if not self.d_vocab:
            return "not known"
        return f"not known: prompts of {self.n_ctx} out of {self.d_vocab:,} tokens, {self.d_vocab_out:,} answers"

    @property
    def n_train(self) -> NoReturn:
        """Raise DoesNotApply: the files do not tell it."""
        raise self.unknown("how much of it was trained on")

    def table(self) -> NoReturn:
        """Raise DoesNotApply: the files do not tell it."""
        raise self.unknown("its prompts")

    def split(self, seed: int) -> NoReturn:
        """Raise DoesNotApply: the files do not tell it."""
        raise self.unknown("which prompts were trained on")

    def unknown(self, what: str) -> DoesNotApply:
        """The error that says that `what` is not known."""
        return DoesNotApply(
            f"the task of this run is not known, so neither is {what}; convert the run again and name the task, "
            "such as --task.operation add --task.p 113"
        )


class AbsentTask(UnknownTask):
    """A task from a package that is not installed: its name is known, and nothing else. Weights can be measured."""

    kind: tyro.conf.Suppress[Literal["absent"]] = "absent"  # type: ignore[assignment]
    named: str = ""
    """The task in the run's run.json, in words: its kind and its fields."""
    why: str = ""
    """Why it is not here, in a sentence."""

    @property
    def about(self) -> str:
        """The task in a few words: what run.json says of it."""
        return f"{self.named}, of a package that is not installed"

    def unknown(self, what: str) -> DoesNotApply:
        """The error that says that `what` is not known."""
        return DoesNotApply(f"{self.why}, which leaves open {what}; install that package, or add the class first")
