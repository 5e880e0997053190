"""Examples, and their split into training and test examples."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int


@dataclass(frozen=True)
class Examples:
    """Examples, one row each: prompts and their answers, or vectors and what they should become."""

    inputs: Int[np.ndarray, "n n_ctx"] | Float[np.ndarray, "n feature"]
    targets: Int[np.ndarray, "n ..."] | Float[np.ndarray, "n output"]
    """Answers: one for a prompt, or one for each of the task's positions if there are several; IGNORED means no answer."""

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, rows: Int[np.ndarray, " m"] | slice) -> "Examples":
        inputs = self.inputs[rows]
        return Examples(inputs, inputs if self.targets is self.inputs else self.targets[rows])


@dataclass(frozen=True)
class Split:
    """A task's examples split into training and test examples."""

    train: Examples
    test: Examples
    train_index: Int[np.ndarray, " n_train"]
    """Rows of the full table that are trained on, ascending; Fourier measures and excluded loss need them. For a task without
    a table: rows of the examples that were drawn."""
    true_targets: Int[np.ndarray, "n_train ..."] | Float[np.ndarray, "n_train output"]
    """Right answers of the training examples. They differ from the answers that are trained on if labels were corrupted."""

    @property
    def corrupted(self) -> Bool[np.ndarray, " n_train"]:
        """Mask of the training examples that have a wrong answer."""
        return (self.train.targets != self.true_targets).reshape(len(self.true_targets), -1).any(axis=1)


def split_examples(table: Examples, train_fraction: float, seed: int) -> Split:
    """A split of the table: floor(train_fraction · n) rows to train on, drawn without replacement, and the rest to test on.

    `ceil` or `round` would differ from the published splits by one row: Nanda et al. (2023) train on 3,830 of
    12,769 prompts at 30 %, which is the floor.
    """
    n_train = int(train_fraction * len(table))
    order = np.random.default_rng(seed).permutation(len(table))
    train, test = np.sort(order[:n_train]), np.sort(order[n_train:])
    return Split(table[train], table[test], train, table.targets[train])
