"""The task of a run that others trained, when their files do not tell it: nothing but its shape."""

from typing import Any, ClassVar, Literal, NoReturn

import tyro
from pydantic import Field

from interp.base import DoesNotApply, Frozen, TaskShape


class UnknownTask(Frozen):
    """What a network was trained on, as far as the shapes of its weights tell. It has no prompts and no answers.

    Weights can be measured; whatever needs prompts raises DoesNotApply.
    """

    section: ClassVar[str] = "task"

    kind: tyro.conf.Suppress[Literal["unknown"]] = "unknown"
    n_ctx: int = Field(default=0, ge=0, le=1 << 20)
    """Tokens in a prompt, at most; 0: not known either."""
    d_vocab: int = Field(default=0, ge=0, le=1 << 20)
    """Distinct input tokens; 0: not known either."""
    d_vocab_out: int = Field(default=0, ge=0, le=1 << 20)
    """Distinct answers; 0: not known either."""

    @property
    def shape(self) -> TaskShape:
        """What the weights tell."""
        return TaskShape(n_ctx=self.n_ctx, d_vocab=self.d_vocab, d_vocab_out=self.d_vocab_out)

    @property
    def about(self) -> str:
        """In a few words."""
        if not self.d_vocab:
            return "not known"
        return f"not known: prompts of {self.n_ctx} out of {self.d_vocab:,} tokens, {self.d_vocab_out:,} answers"

    @property
    def n_train(self) -> NoReturn:
        """DoesNotApply: not known."""
        raise self.unknown("how much of it was trained on")

    def table(self) -> NoReturn:
        """DoesNotApply: not known."""
        raise self.unknown("its prompts")

    def split(self, seed: int) -> NoReturn:
        """DoesNotApply: not known."""
        raise self.unknown("which prompts were trained on")

    def loss(self, logits: Any, targets: Any) -> NoReturn:
        """DoesNotApply: not known."""
        raise self.unknown("its loss")

    def accuracy(self, logits: Any, targets: Any) -> NoReturn:
        """DoesNotApply: not known."""
        raise self.unknown("its answers")

    def unknown(self, what: str) -> DoesNotApply:
        """What to say."""
        return DoesNotApply(
            f"the task of this run is not known, so neither is {what}; convert the run again and name the task, "
            "such as --task.operation add --task.p 113"
        )
