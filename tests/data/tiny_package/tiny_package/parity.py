"""Parity: how many of some bits are 1, modulo 2."""

from typing import Literal

import numpy as np

from interp.shape import Shape
from interp.tasks.split import Examples
from interp.tasks.table import FiniteTask


class ParityTask(FiniteTask):
    """Learn the parity of a few bits from part of all prompts."""

    kind: Literal["parity"] = "parity"
    bits: int = 5
    train_fraction: float = 0.6

    @property
    def about(self) -> str:
        return f"parity of {self.bits} bits"

    @property
    def shape(self) -> Shape:
        return Shape.of_tokens(self.bits, d_vocab=2, answers=2)

    @property
    def n_prompts(self) -> int:
        return 2**self.bits

    def table(self) -> Examples:
        inputs = np.arange(self.n_prompts)[:, None] >> np.arange(self.bits) & 1
        return Examples(inputs, inputs.sum(axis=1) % 2)
