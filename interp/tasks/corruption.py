"""Wrong answers in a training set: how well does a network that must memorise them still understand the rest?

Power et al. (2022, arXiv 2201.02177, figure 6) train with up to 3,000 of them; Doshi et al. (2023, arXiv 2310.13061) ask what
becomes of the wrong answers once the network has understood.
"""

from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Int
from pydantic import Field, model_validator

from interp.base import IGNORED, Frozen, UserError
from interp.tasks.split import Examples, Split


class Corruption(Frozen):
    """How many training examples get a wrong answer."""

    section: ClassVar[str] = "corruption"

    labels: int = Field(default=0, ge=0)
    """Training examples with a wrong answer, drawn anew among the others that the task gives, each as likely."""
    share: float = Field(default=0.0, ge=0, le=1)
    """The same as a share of the training set, from 0 to 1, rounded down; one of the two is 0."""

    @model_validator(mode="after")
    def _is_one_number(self) -> "Corruption":
        if self.labels and self.share:
            raise ValueError(
                f"corruption.labels is {self.labels} and corruption.share is {self.share:g}; give one of the two"
            )
        return self

    def __bool__(self) -> bool:
        """Whether anything is corrupted."""
        return bool(self.labels or self.share)

    def count(self, n_train: int) -> int:
        """How many of so many training examples; UserError when there are not so many, or when it is none."""
        if self.labels > n_train:
            raise UserError(
                f"corruption.labels is {self.labels:,}; the training set has {n_train:,} examples, so take at most as many"
            )
        found = self.labels or int(self.share * n_train)
        if self and not found:
            raise UserError(
                f"corruption.share {self.share:g} of {n_train:,} training examples is none; take at least {1.06 / n_train:.2g}"
            )
        return found

    def of(self, split: Split, seed: int) -> Split:
        """The split with wrong answers in its training set, drawn from `seed` alone; the test set is as it was.

        With one seed fewer corrupted examples are some of more, with the same wrong answers.
        """
        targets, count = split.true_targets, self.count(len(split.train))
        if not count:
            return split
        generator = np.random.default_rng(seed)
        chosen = np.zeros(len(targets), dtype=bool)
        chosen[generator.permutation(len(targets))[:count]] = True
        answers = np.setdiff1d(np.concatenate([targets, split.test.targets]), IGNORED)
        trained = np.where(along(chosen, targets), others(targets, answers, generator), targets)
        return Split(Examples(split.train.inputs, trained), split.test, split.train_index, targets)

    def of_batch(
        self,
        targets: Int[np.ndarray, "n ..."],
        answers: Int[np.ndarray, " m"],
        seed: int,
        step: int,
    ) -> Int[np.ndarray, "n ..."]:
        """Answers of examples that are drawn anew for each update, some of them wrong: each example with probability
        `share`, from (seed, step) alone. UserError for a number of labels, which belongs to a fixed training set."""
        if self.labels:
            raise UserError(
                f"corruption.labels is {self.labels:,}, and this task draws new examples for each update; "
                "take corruption.share"
            )
        generator = np.random.default_rng([seed, step])
        chosen = generator.random(len(targets)) < self.share
        return np.where(along(chosen, targets), others(targets, answers, generator), targets)


def others(
    targets: Int[np.ndarray, "n ..."], answers: Int[np.ndarray, " m"], generator: np.random.Generator
) -> Int[np.ndarray, "n ..."]:
    """For every target one of the other answers (ascending, the target among them), each as likely, independently.

    An example with several answers gets all of them wrong, save those that cannot be known. Of two answers the other one is
    certain: half of the labels wrong say nothing then, and all of them are the same task with its answers exchanged.
    """
    if len(answers) < 2:
        raise UserError(f"the task has {len(answers)} answer, so none is wrong; leave corruption out")
    further = generator.integers(1, len(answers), size=targets.shape)
    wrong = answers[(np.searchsorted(answers, targets) + further) % len(answers)]
    return np.where(targets == IGNORED, IGNORED, wrong)


def along(chosen: Bool[np.ndarray, " n"], targets: Int[np.ndarray, "n ..."]) -> Bool[np.ndarray, "n ..."]:
    """One truth an example, for all its answers."""
    return chosen.reshape(-1, *(1,) * (targets.ndim - 1))
