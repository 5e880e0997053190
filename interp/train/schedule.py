"""Schedules: learning rates, logged steps, checkpoints, mini-batches. Pure functions of the step."""

import math
from functools import lru_cache
from itertools import pairwise

import numpy as np
from jaxtyping import Int

from interp.config import TrainConfig


def learning_rate(step: int, config: TrainConfig) -> float:
    """Learning rate of the update after `step` updates: lr · min(step / warmup_steps, 1).

    With schedule "cosine" it is lr_end + (lr − lr_end)·(1 + cos πt)/2 after the warm-up. t is the share of the updates after
    the warm-up that are done, so the rate reaches lr_end after the last update. With "inverse_root" it is lr/√(1 + ⌊step/T⌋).
    """
    if step < config.warmup_steps:
        return config.lr * step / config.warmup_steps
    if config.schedule == "constant":
        return config.lr
    if config.schedule == "inverse_root":
        return config.lr / math.sqrt(1 + step // config.schedule_period)
    done = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return config.lr_end + (config.lr - config.lr_end) * (1 + math.cos(math.pi * done)) / 2


def checkpoint_steps(config: TrainConfig) -> list[int]:
    """Steps with a checkpoint: logarithmic until the gaps reach `checkpoint_every`, then linear; 0 and the last too.

    If `checkpoint_steps` are given, they are those, 0 and the last.
    """
    every, total = config.checkpoint_every, config.steps
    if config.checkpoint_steps:
        return sorted({0, *config.checkpoint_steps, total})
    n_decades = np.log10(max(total, 1))
    early = sorted(
        {
            round(10 ** (i / config.checkpoints_per_decade))
            for i in range(int(config.checkpoints_per_decade * n_decades) + 2)
        }
    )
    last_dense = next((step for step, following in pairwise([0, *early]) if following - step >= every), early[-1])
    linear = range((last_dense // every + 1) * every, total, every)
    return sorted({0, total, *(step for step in early if step <= min(last_dense, total)), *linear})


def is_logged(step: int, config: TrainConfig, with_checkpoint: set[int]) -> bool:
    """Whether a step has a row in the history: every `log_every`-th step, and every step with a checkpoint."""
    return step % config.log_every == 0 or step in with_checkpoint


def batch_rows(step: int, n: int, batch_size: int, seed: int) -> Int[np.ndarray, " batch"]:
    """Rows of the training set for the update after `step` updates.

    Each epoch is a new permutation drawn from (seed, epoch), so that any step can be computed without the steps before it.
    The last batch of an epoch has what is left.
    """
    epoch, position = divmod(step, -(-n // batch_size))
    return permutation(n, seed, epoch)[position * batch_size : (position + 1) * batch_size]


@lru_cache(maxsize=256)  # one for each run of a batch
def permutation(n: int, seed: int, epoch: int) -> Int[np.ndarray, " n"]:
    """Order of the training set in one epoch."""
    return np.random.default_rng([seed, epoch]).permutation(n)
