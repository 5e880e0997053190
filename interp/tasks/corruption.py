"""Wrong answers in a training set: how well does a network that must memorise them generalise to the rest?

Label noise comes in two conventions, and 20 % of one is 18 % of the other among ten classes, so a run says which it has.
Power et al. (2022, arXiv 2201.02177, figure 6) train with up to 3,000 wrong answers. Doshi et al. (2023, arXiv 2310.13061)
ask what becomes of them once the network has generalised.
"""

from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Int
from pydantic import Field, model_validator

from interp.base import IGNORED, Frozen, UserError
from interp.tasks.split import Examples, Split


class Corruption(Frozen):
    """Corruption of labels: how many training examples get another answer, and how it is drawn."""

    section: ClassVar[str] = "corruption"

    labels: int = Field(default=0, ge=0)
    """Number of training examples whose answer is drawn."""
    share: float = Field(default=0.0, ge=0, le=1)
    """Share of the training set whose answer is drawn, 0 to 1; the number is rounded down. Give this or corruption.labels, not
    both."""
    drawn: Literal["wrong_class", "redraw"] = "wrong_class"
    """Answers from which it is drawn, uniformly. wrong_class: all but the right one, so that it is always wrong (Nakkiran et al.
    2019). redraw: all of them, so that of ten classes a tenth of the drawn ones are right (Zhang et al. 2017)."""

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
        """Number of wrong answers among `n_train` training examples; UserError if it is 0, or more than there are."""
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
        """The split with other answers in its training set, drawn from `seed` alone; the test set is unchanged.

        With one seed, the corrupted examples of a smaller number are among those of a larger one, with the same wrong answers.
        """
        targets, count = split.true_targets, self.count(len(split.train))
        if not count:
            return split
        generator = np.random.default_rng(seed)
        chosen = np.zeros(len(targets), dtype=bool)
        chosen[generator.permutation(len(targets))[:count]] = True
        answers = np.setdiff1d(np.concatenate([targets, split.test.targets]), IGNORED)
        trained = np.where(along(chosen, targets), self.draws(targets, answers, generator), targets)
        return Split(Examples(split.train.inputs, trained), split.test, split.train_index, targets)

    def of_batch(
        self,
        targets: Int[np.ndarray, "n ..."],
        answers: Int[np.ndarray, " m"],
        seed: int,
        step: int,
    ) -> Int[np.ndarray, "n ..."]:
        """Answers of examples that are drawn anew for each update, wrong with probability `share` for each example.

        Drawn from (seed, step) alone. UserError if `labels` is set, which is for a fixed training set."""
        if self.labels:
            raise UserError(
                f"corruption.labels is {self.labels:,}, and this task draws new examples for each update; "
                "take corruption.share"
            )
        generator = np.random.default_rng([seed, step])
        chosen = generator.random(len(targets)) < self.share
        return np.where(along(chosen, targets), self.draws(targets, answers, generator), targets)

    def draws(
        self, targets: Int[np.ndarray, "n ..."], answers: Int[np.ndarray, " m"], generator: np.random.Generator
    ) -> Int[np.ndarray, "n ..."]:
        """Another answer for every target, as `drawn` says."""
        if self.drawn == "wrong_class":
            return others(targets, answers, generator)
        return np.where(targets == IGNORED, IGNORED, generator.choice(answers, size=targets.shape))


def others(
    targets: Int[np.ndarray, "n ..."], answers: Int[np.ndarray, " m"], generator: np.random.Generator
) -> Int[np.ndarray, "n ..."]:
    """Wrong answers: for every target one of the other `answers`, uniform and independent.

    `answers` ascend and contain the targets. An example with several answers gets all of them wrong, except those that are
    IGNORED. If there are only two answers, the wrong one is certain: half of the labels wrong then tell nothing, and all of
    them wrong are the same task with its answers exchanged.
    """
    if len(answers) < 2:
        raise UserError(f"the task has {len(answers)} answer, so none is wrong; leave corruption out")
    further = generator.integers(1, len(answers), size=targets.shape)
    wrong = answers[(np.searchsorted(answers, targets) + further) % len(answers)]
    return np.where(targets == IGNORED, IGNORED, wrong)


def along(chosen: Bool[np.ndarray, " n"], targets: Int[np.ndarray, "n ..."]) -> Bool[np.ndarray, "n ..."]:
    """Mask over examples, in a shape that broadcasts against their answers."""
    return chosen.reshape(-1, *(1,) * (targets.ndim - 1))
