"""Sparse features: vectors to be reconstructed from fewer hidden numbers (Elhage et al. 2022; Henighan et al. 2023)."""

from typing import Literal

import numpy as np
import tyro
from jaxtyping import Float
from pydantic import Field, field_validator, model_validator

from interp.shape import Shape
from interp.tasks.drawn import MOST, Count, DrawnTask
from interp.tasks.split import Examples
from interp.tasks.task import BLOCK

MOST_NUMBERS = 1 << 31
"""Most numbers in all examples together."""


class SparseFeaturesTask(DrawnTask):
    """Learn to reconstruct vectors of sparse features, most of which are 0.

    Each feature is 0 with probability `sparsity`, otherwise uniform in [0, 1), as in "Toy Models of Superposition"
    (Elhage et al. 2022, transformer-circuits.pub/2022/toy_model). Vectors are `normalised` to length 1 in "Superposition,
    Memorization, and Double Descent" (Henighan et al. 2023, transformer-circuits.pub/2023/toy-double-descent).
    """

    kind: tyro.conf.Suppress[Literal["sparse"]] = "sparse"
    n_features: int = Field(default=1000, ge=2, le=1_000_000)
    """Number of features: components of a vector."""
    sparsity: float = Field(default=0.99, ge=0, lt=1)
    """Probability that a feature is 0, in [0, 1)."""
    importance: tuple[float, ...] = ()
    """Weight of each feature's squared error. Nothing: 1 each. One number r: r⁰, r¹, r² … Else one number for each feature."""
    sets: Literal["none", "together", "apart"] = "none"
    """Sets of features. together: all features of a set are on or none is, values independent. apart: at most one is on."""
    set_size: int = Field(default=2, ge=2)
    """Number of features in a set, which are neighbours in the vector. Used only with task.sets."""
    normalised: bool = False
    """Scale vectors to length 1. A vector without features stays 0."""
    examples: Count = 1000
    """Number of different examples to train on, or `endless`: new examples for every update."""
    repeated: int = Field(default=0, ge=0)
    """Number of examples that are in the training set several times (task.copies): the first ones."""
    copies: int = Field(default=1, ge=1)
    """Number of times that each repeated example is in the training set."""
    test_examples: int = Field(default=2000, ge=1, le=MOST)
    """Number of examples to test on."""

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
        """Probability that a feature is not 0."""
        return 1 - self.sparsity

    @property
    def about(self) -> str:
        """The task in a few words."""
        sets = "" if self.sets == "none" else f" in sets of {self.set_size} that are {self.sets}"
        length = " of length 1" if self.normalised else ""
        again = f", {self.repeated} of them {self.copies} times" if self.repeated else ""
        vectors = f"vectors{length} of {self.n_features:,} features{sets}, {self.sparsity:.4g} of them 0"
        return f"{self.from_what(vectors)}{again}"

    @property
    def shape(self) -> Shape:
        """Shape of the task: a vector in, a vector of the same length out."""
        return Shape.of_vectors(self.n_features)

    @property
    def n_train(self) -> int:
        """Number of training examples, copies included; for an endless stream, of those on which training loss is evaluated."""
        return super().n_train + self.repeated * (self.copies - 1)

    @property
    def importances(self) -> Float[np.ndarray, " feature"]:
        """Importance I_i of each feature, the weight of its squared error."""
        if len(self.importance) == 1:
            return self.importance[0] ** np.arange(self.n_features, dtype=np.float32)
        return np.array(self.importance or [1] * self.n_features, dtype=np.float32)

    def different(self, n: int, numbers: np.random.Generator) -> Examples:
        """`n` examples, the repeated ones first, each as often as `copies` says."""
        drawn = self.drawn(n - self.repeated * (self.copies - 1), numbers)
        times = np.where(np.arange(len(drawn)) < self.repeated, self.copies, 1)
        return drawn if self.repeated == 0 else drawn[np.repeat(np.arange(len(drawn)), times)]

    def drawn(self, n: int, numbers: np.random.Generator) -> Examples:
        """`n` independent vectors, float32; each is its own target."""
        vectors = np.empty((n, self.n_features), dtype=np.float32)
        rows = max(1, BLOCK // self.n_features)
        for begin in range(0, n, rows):
            part = self.block(min(rows, n - begin), numbers)
            if self.normalised:
                part /= np.maximum(np.linalg.norm(part, axis=1, keepdims=True), np.finfo(np.float32).tiny)
            vectors[begin : begin + rows] = part
        return Examples(vectors, vectors)

    def block(self, n: int, numbers: np.random.Generator) -> Float[np.ndarray, "n feature"]:
        """`n` independent vectors in float64, before they are scaled to length 1."""
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
