"""Images to be told apart: scikit-learn's 1,797 handwritten digits of 8 × 8 pixels."""

from functools import cache
from typing import Literal

import numpy as np
import tyro
from jaxtyping import Float, Int
from pydantic import Field

from interp.shape import Classes, Shape, Vectors
from interp.tasks.split import Examples, Split
from interp.tasks.task import Task

DIGITS, PIXELS = 1_797, 64


class ImagesTask(Task):
    """Tell ten digits apart (Alpaydin and Kaynak 1998, UCI, test part; it comes with scikit-learn).

    Pixels are divided by 16, so that they lie in [0, 1]. Training and test images are drawn at random: those of one writer stand
    together in the file, and a split by halves of it would test on other writers.
    """

    kind: tyro.conf.Suppress[Literal["images"]] = "images"
    examples: int = Field(default=1_000, ge=1, lt=DIGITS)
    """Number of images to train on; all others are tested on."""

    @property
    def about(self) -> str:
        """The task in a few words."""
        return f"digits of 8 × 8 pixels, from {self.examples:,} of {DIGITS:,}"

    @property
    def shape(self) -> Shape:
        """Shape of the task: pixels in, ten classes out."""
        return Shape(inputs=Vectors(width=PIXELS), outputs=Classes(n=10))

    @property
    def n_train(self) -> int:
        """Number of training images."""
        return self.examples

    def table(self) -> Examples:
        """All images with their digits, in the file's order."""
        return Examples(*digits())

    def split(self, seed: int) -> Split:
        """Images to train and to test on, drawn from `seed`."""
        order, table = np.random.default_rng(seed).permutation(DIGITS), self.table()
        train, test = np.sort(order[: self.examples]), np.sort(order[self.examples :])
        return Split(table[train], table[test], train, table.targets[train])


@cache
def digits() -> tuple[Float[np.ndarray, "n pixel"], Int[np.ndarray, " n"]]:
    """Pixels in [0, 1] and the digit of each image."""
    from sklearn.datasets import load_digits

    pixels, targets = load_digits(return_X_y=True)
    return (np.asarray(pixels) / 16).astype(np.float32), np.asarray(targets).astype(np.int64)
