"""Sparse features, to be told from fewer numbers (Elhage et al. 2022; Henighan et al. 2023)."""

from typing import Any, Literal

import numpy as np
import tyro
from jaxtyping import Float
from pydantic import Field, field_validator, model_validator

from interp.base import TaskShape
from interp.tasks.drawn import MOST, Count, DrawnTask
from interp.tasks.split import Examples

BLOCK = 1 << 22
"""Numbers that are drawn at a time: bounds memory beside the examples."""

MOST_NUMBERS = 1 << 31
"""In all examples, at most."""


class SparseFeaturesTask(DrawnTask):
    """Learn to give vectors back of whose features few are not 0.

    Each feature is 0 with the chance of `sparsity` and otherwise uniform in [0, 1), as in "Toy Models of Superposition"
    (Elhage et al. 2022, transformer-circuits.pub/2022/toy_model); `normalised` to length 1 as in "Superposition,
    Memorization, and Double Descent" (Henighan et al. 2023, transformer-circuits.pub/2023/toy-double-descent).
    """

    kind: tyro.conf.Suppress[Literal["sparse"]] = "sparse"
    n_features: int = Field(default=1000, ge=2, le=1_000_000)
    """Features, the length of a vector."""
    sparsity: float = Field(default=0.99, ge=0, lt=1)
    """Chance that a feature is 0, from 0 to less than 1."""
    importance: tuple[float, ...] = ()
    """Weight of each feature's squared error: none for 1 each, one number r for r⁰, r¹, r² …, or as many as features."""
    sets: Literal["none", "together", "apart"] = "none"
    """Whether features come in sets: all of one are there or none is, values independent (together); at most one is (apart)."""
    set_size: int = Field(default=2, ge=2)
    """Features in a set, neighbours in the vector; without sets of no account."""
    normalised: bool = False
    """Whether vectors are scaled to length 1; one without features stays 0."""
    examples: Count = 1000
    """Different examples that are trained on, or `endless`: fresh ones for every update."""
    repeated: int = Field(default=0, ge=0)
    """So many of them, the first, stand in the training set several times."""
    copies: int = Field(default=1, ge=1)
    """How often those stand there."""
    test_examples: int = Field(default=2000, ge=1, le=MOST)
    """Examples that are tested."""

    @field_validator("importance")
    @classmethod
    def _is_positive(cls, importance: tuple[float, ...]) -> tuple[float, ...]:
        if any(each < 0 for each in importance) or (importance and not any(importance)):
            raise ValueError("should have no number below 0, and one above")
        return importance

    @model_validator(mode="after")
    def _can_be_drawn(self) -> "SparseFeaturesTask":
        self.check_examples()
        if len(self.importance) not in (0, 1, self.n_features):
            raise ValueError(
                f"task.importance has {len(self.importance)} numbers and task.n_features is {self.n_features}; give none, one "
                "number r for r⁰, r¹, r² …, or one for each feature"
            )
        if self.sets != "none" and self.n_features % self.set_size:
            raise ValueError(
                f"task.n_features is {self.n_features}, which sets of {self.set_size} do not divide; take another task.set_size"
            )
        if self.sets == "apart" and self.set_size * (1 - self.sparsity) > 1 + 1e-9:
            raise ValueError(
                f"task.sets is apart with {self.set_size} features in a set, each there with chance {1 - self.sparsity:g}, "
                f"which is more than 1 in all; take task.sparsity at least {1 - 1 / self.set_size:g}"
            )
        if (self.repeated > 0) != (self.copies > 1) or self.repeated > self.n_train:
            raise ValueError(
                f"task.repeated is {self.repeated} and task.copies {self.copies}; give both, such as 1 and 5, with no more "
                "repeated than there are examples, or neither"
            )
        if self.repeated and self.endless:
            raise ValueError(f'task.repeated is {self.repeated} and task.examples "endless"; take a number of examples')
        if (self.n_train + self.test_examples) * self.n_features > MOST_NUMBERS:
            raise ValueError(
                f"{self.n_train + self.test_examples:,} examples of {self.n_features:,} features are more than {MOST_NUMBERS:,} "
                "numbers; take fewer"
            )
        return self

    @property
    def density(self) -> float:
        """Chance that a feature is there."""
        return 1 - self.sparsity

    @property
    def about(self) -> str:
        """In a few words."""
        sets = "" if self.sets == "none" else f" in sets of {self.set_size} that are {self.sets}"
        length = " of length 1" if self.normalised else ""
        again = f", {self.repeated} of them {self.copies} times" if self.repeated else ""
        vectors = f"vectors{length} of {self.n_features:,} features{sets}, {self.sparsity:.4g} of them 0"
        return f"{self.from_what(vectors)}{again}"

    @property
    def shape(self) -> TaskShape:
        """A vector in, a vector out."""
        return TaskShape(n_ctx=1, d_vocab=self.n_features, d_vocab_out=self.n_features, kind="vectors")

    @property
    def n_train(self) -> int:
        """Examples that are trained on, copies included; of an endless stream those that stand for it when it is evaluated."""
        return super().n_train + self.repeated * (self.copies - 1)

    @property
    def importances(self) -> Float[np.ndarray, " feature"]:
        """I_i of each feature."""
        if len(self.importance) == 1:
            return self.importance[0] ** np.arange(self.n_features, dtype=np.float32)
        return np.array(self.importance or [1] * self.n_features, dtype=np.float32)

    def different(self, n: int, numbers: np.random.Generator) -> Examples:
        """So many examples, the repeated ones first and as often as they stand there."""
        drawn = self.drawn(n - self.repeated * (self.copies - 1), numbers)
        times = np.where(np.arange(len(drawn)) < self.repeated, self.copies, 1)
        return drawn if self.repeated == 0 else drawn[np.repeat(np.arange(len(drawn)), times)]

    def drawn(self, n: int, numbers: np.random.Generator) -> Examples:
        """So many independent vectors, float32, which are to be given back as they are."""
        vectors = np.empty((n, self.n_features), dtype=np.float32)
        rows = max(1, BLOCK // self.n_features)
        for begin in range(0, n, rows):
            part = self.block(min(rows, n - begin), numbers)
            if self.normalised:
                part /= np.maximum(np.linalg.norm(part, axis=1, keepdims=True), np.finfo(np.float32).tiny)
            vectors[begin : begin + rows] = part
        return Examples(vectors, vectors)

    def block(self, n: int, numbers: np.random.Generator) -> Float[np.ndarray, "n feature"]:
        """The same in float64, not scaled."""
        if self.sets == "none":
            # One number decides both: below the density the feature is there, and where below is uniform.
            chance = numbers.random((n, self.n_features))
            return np.where(chance < self.density, chance / self.density, 0.0)
        chance = numbers.random((n, self.n_features // self.set_size, 1))
        values = numbers.random((n, self.n_features // self.set_size, self.set_size))
        # Of features that are there together the first stands for all; of those apart, the number says which.
        which = 0 if self.sets == "together" else np.arange(self.set_size)
        there = np.floor(chance / self.density) == which
        return np.where(there, values, 0.0).reshape(n, self.n_features)

    def loss(self, outputs: Any, targets: Any) -> Any:
        """Σ_i I_i·(x_i − x'_i)², the mean over examples [..., batch, feature] (Henighan et al. 2023), in float64."""
        import torch  # here, so that describing a task costs none

        from interp.maths.losses import squared_error

        return squared_error(outputs, targets, torch.from_numpy(self.importances).to(outputs))

    def accuracy(self, outputs: Any, targets: Any) -> Any:
        """Not a number: there is nothing to be right about."""
        return self.loss(outputs, targets) * float("nan")

    def of_zero(self, targets: Float[np.ndarray, "n feature"]) -> float:
        """The loss of answering 0 to all of these: what every loss is held against. 1 for vectors of length 1, I = 1."""
        weights, rows = self.importances.astype(np.float64), max(1, BLOCK // self.n_features)
        parts = [targets[begin : begin + rows] for begin in range(0, len(targets), rows)]
        return sum(float((np.square(part, dtype=np.float64) @ weights).sum()) for part in parts) / len(targets)
