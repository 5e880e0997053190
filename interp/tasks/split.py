"""Examples, and their division into those a network trains on and those it is tested on."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int


@dataclass(frozen=True)
class Examples:
    """Prompts and their right answers, one row each; or vectors, and what they should become."""

    inputs: Int[np.ndarray, "n n_ctx"] | Float[np.ndarray, "n feature"]
    targets: Int[np.ndarray, "n ..."] | Float[np.ndarray, "n feature"]
    """One a prompt, or one at each of the task's positions where those are several; IGNORED where there is none."""

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, rows: Int[np.ndarray, " m"] | slice) -> "Examples":
        return Examples(self.inputs[rows], self.targets[rows])


@dataclass(frozen=True)
class Split:
    """A task's examples divided in two."""

    train: Examples
    test: Examples
    train_index: Int[np.ndarray, " n_train"]
    """Rows of the full table that are trained on, ascending: Fourier and excluded loss need to know which. Of a task
    without a table, those of the examples that were drawn."""
    true_targets: Int[np.ndarray, "n_train ..."] | Float[np.ndarray, "n_train feature"]
    """Right answers of the training examples: those that they are trained on, save where labels were corrupted."""

    @property
    def corrupted(self) -> Bool[np.ndarray, " n_train"]:
        """Which training examples have a wrong answer."""
        return (self.train.targets != self.true_targets).reshape(len(self.true_targets), -1).any(axis=1)


def split_examples(table: Examples, train_fraction: float, seed: int) -> Split:
    """Draw floor(train_fraction · n) rows of the table to train on, without replacement; the rest is the test.

    `ceil` or `round` would differ from the published splits by one row: Nanda et al. (2023) train on 3,830 of
    12,769 prompts at 30 %, which is the floor.
    """
    n_train = int(train_fraction * len(table))
    order = np.random.default_rng(seed).permutation(len(table))
    train, test = np.sort(order[:n_train]), np.sort(order[n_train:])
    return Split(table[train], table[test], train, table.targets[train])
