"""A run whose examples have right answers: loss and accuracy of each of them, at any checkpoint."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.base import IGNORED, DoesNotApply, once
from interp.config import flatten
from interp.models.network import Weights
from interp.shape import Classes
from interp.tasks import Examples
from interp.views.prompts import Prompts
from interp.views.view import Checkpoints


@dataclass(frozen=True)
class Answers(Checkpoints):
    """A run on right answers among classes, whose training and test examples are known."""

    def check(self) -> None:
        """Nothing; DoesNotApply when there are no answers, or files of others leave the examples or the network open."""
        super().check()
        _ = self.classes, self.run.known_model, self.run.split

    @property
    def classes(self) -> Classes:
        """What the network answers; DoesNotApply when the task has no right answers."""
        outputs = self.run.task.shape.outputs
        if outputs.kind != "classes":
            raise DoesNotApply(
                f'{self.run.path} was trained on "{self.run.task.kind}", which has no right answers; {self.asked} needs some'
            )
        return self.run.task.shape.classes

    def over(self, examples: Examples, part: int) -> "Answered":
        """The network over some examples, in parts of so many."""
        prompts = Prompts(self.run, torch.from_numpy(examples.inputs), part)
        return Answered(self, prompts, torch.from_numpy(examples.targets))


@dataclass(frozen=True)
class Kinds(Answers):
    """Such a run with wrong labels, of several operations, or of a symmetric one: its examples are of several kinds."""

    def check(self) -> None:
        """Nothing; DoesNotApply when all examples are of one kind."""
        if not (self.run.config.corruption or self.run.task.parts()) and self.run.task.mirrored() is None:
            raise DoesNotApply(
                f"{self.run.path} has neither corrupted labels nor several operations nor one with x ∘ y = y ∘ x; "
                f'{self.asked} needs one of them, and "curves" has the loss and accuracy of training and test set'
            )
        super().check()

    @property
    def parts(self) -> list[str]:
        """The operations that are learned jointly, each by the fields of its task in which they differ; none of one alone."""
        fields = [flatten(part.model_dump()) for part in self.run.task.parts()]
        names = dict.fromkeys(name for each in fields for name in each)
        differ = [name for name in names if len({str(each.get(name)) for each in fields}) > 1]
        return [" ".join(str(each[name]) for name in differ if name in each) for each in fields]


@dataclass(frozen=True)
class Sequences(Answers):
    """Such a run with several answers a prompt."""

    def check(self) -> None:
        """Nothing; DoesNotApply when every prompt has one answer."""
        if self.run.task.answer_names() is None:
            raise DoesNotApply(
                f'{self.run.path} was trained on "{self.run.task.kind}", with one answer a prompt; {self.asked} needs several'
            )
        super().check()

    @property
    def names(self) -> list[str]:
        """What is answered at each position, in a word."""
        return self.run.task.answer_names() or []


@dataclass(frozen=True)
class Answered:
    """The network over some examples in parts, with their right answers."""

    seen: Answers
    prompts: Prompts
    targets: Int[Tensor, "n ..."]

    @once
    def known(self) -> Bool[Tensor, "n answers"]:
        """Which answers there are."""
        return (self.targets != IGNORED).view(len(self.targets), -1)

    def each(
        self, weights: Weights, *targets: Int[Tensor, "n ..."]
    ) -> Iterator[list[Float[Tensor, "loss_and_right part answers"]]]:
        """For every part, loss and rightness (1 or 0) of each answer, 0 where there is none, float64; against these targets."""
        for logits, *some in self.prompts.each(weights, *(targets or (self.targets,))):
            yield [self.of_answers(logits, each) for each in some]

    def of_answers(
        self, logits: Float[Tensor, "n ... answer"], targets: Int[Tensor, "n ..."]
    ) -> Float[Tensor, "loss_and_right n answers"]:
        """Loss of every answer and whether it is right, 0 where there is none."""
        known = targets != IGNORED
        both = self.seen.losses_and_right(logits.flatten(0, -2), targets.where(known, 0).flatten())
        return torch.stack(both).double().where(known.flatten(), 0).unflatten(1, (len(targets), -1))

    @property
    def bytes(self) -> int:
        """Bytes that it takes at work: the network over a part with its margins, and what is kept of all."""
        answers, n = self.known.shape[1], len(self.targets)
        logits = 5 * 4 * answers * self.seen.run.task.shape.outputs.n * min(n, self.prompts.part or n)
        return self.prompts.bytes + logits + 100 * n * answers


def part_of_prompts(inputs: np.ndarray, most: int) -> int:
    """How many prompts are computed at a time, where `most` of three tokens are."""
    return max(1, most // max(1, inputs.shape[1] // 3))
