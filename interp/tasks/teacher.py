"""A teacher to be learned from: the outputs of a random network on random inputs (Liu et al. 2023, "Omnigrok")."""

import math
from itertools import pairwise
from typing import Literal

import numpy as np
import tyro
from jaxtyping import Float
from pydantic import Field, model_validator

from interp.shape import Shape, Values, Vectors
from interp.tasks.drawn import MOST, Count, DrawnTask
from interp.tasks.split import Examples


class TeacherTask(DrawnTask):
    """Learn what a teacher answers: a tanh MLP with torch's usual initial weights, on inputs of independent N(0, 1).

    The sizes are those of Omnigrok (Liu et al. 2023, arXiv 2210.01117): 5-100-100-5, 100 examples to train and 100 to test on.
    """

    kind: tyro.conf.Suppress[Literal["teacher"]] = "teacher"
    n_inputs: int = Field(default=5, ge=1, le=10_000)
    """Numbers in an input."""
    n_outputs: int = Field(default=5, ge=1, le=10_000)
    """Numbers that the teacher answers."""
    teacher_width: int = Field(default=100, ge=1, le=65536)
    """Neurons of a hidden layer of the teacher."""
    teacher_layers: int = Field(default=2, ge=1, le=64)
    """Hidden layers of the teacher."""
    teacher_seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of the teacher's weights; the split's seed draws the inputs."""
    examples: Count = 100
    """Number of examples to train on, or `endless`: new examples for every update."""
    test_examples: int = Field(default=100, ge=1, le=MOST)
    """Number of examples to test on."""

    @model_validator(mode="after")
    def _can_be_drawn(self) -> "TeacherTask":
        self.check_examples()
        return self

    @property
    def about(self) -> str:
        """The task in a few words."""
        layers = "-".join(map(str, [self.n_inputs, *[self.teacher_width] * self.teacher_layers, self.n_outputs]))
        return f"answers of a tanh teacher {layers} to {self.from_what('inputs')}"

    @property
    def shape(self) -> Shape:
        """Shape of the task: a vector in, another out."""
        return Shape(inputs=Vectors(width=self.n_inputs), outputs=Values(n=self.n_outputs))

    def drawn(self, n: int, numbers: np.random.Generator) -> Examples:
        """`n` independent inputs with the teacher's answers, float32."""
        inputs = numbers.standard_normal((n, self.n_inputs))
        return Examples(inputs.astype(np.float32), self.answers(inputs).astype(np.float32))

    def answers(self, inputs: Float[np.ndarray, "n input"]) -> Float[np.ndarray, "n output"]:
        """The teacher's answers. Weights and biases of a layer are uniform within ±1/√(its inputs), as nn.Linear draws them."""
        numbers, x = np.random.default_rng(self.teacher_seed), inputs
        widths = [self.n_inputs, *[self.teacher_width] * self.teacher_layers, self.n_outputs]
        for layer, (before, after) in enumerate(pairwise(widths)):
            bound = 1 / math.sqrt(before)
            W, b = numbers.uniform(-bound, bound, (before, after)), numbers.uniform(-bound, bound, after)
            x = (np.tanh(x) if layer else x) @ W + b
        return x
