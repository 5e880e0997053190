"""Schedules: learning rates, logged steps, checkpoints, mini-batches. Pure functions of the step."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain, count, pairwise
from typing import Any

import numpy as np
from jaxtyping import Int

from interp.base import UserError
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


@dataclass(frozen=True)
class Schedule:
    """Steps at which weights are saved: `step in schedule` says whether it is one. `schedule` makes one."""

    log: int = 0
    """Number of steps in each factor of 10, evenly spaced in the logarithm of the step; 0: none are so."""
    every: int = 0
    """Distance of evenly spaced steps; 0: none are so."""
    at: tuple[int, ...] = ()
    """Further steps."""

    def __contains__(self, step: int) -> bool:
        if step in self.at or (step == 0 and (self.log or self.every)):
            return True
        if self.log and (not self.every or step <= self._last_dense):
            near = round(self.log * math.log10(step)) if step > 0 else -1
            return any(self._early(i) == step for i in range(max(0, near - 1), near + 2))
        return bool(self.every) and step % self.every == 0

    def _early(self, i: int) -> int:
        """The i-th of the steps that are evenly spaced in the logarithm; the first ones coincide."""
        return round(10 ** (i / self.log))

    @cached_property
    def _last_dense(self) -> int:
        """The last of the steps spaced by the logarithm: the first from which the next is `every` or more away."""
        early = chain([0], map(self._early, count()))
        return next(step for step, following in pairwise(early) if following - step >= self.every)

    def up_to(self, last: int) -> list[int]:
        """The steps from 0 to `last`, ascending."""
        early = (self._early(i) for i in range(int(self.log * math.log10(max(last, 1))) + 2)) if self.log else ()
        even = range(0, last + 1, self.every) if self.every else ()
        return sorted({step for step in (0, *early, *even, *self.at) if 0 <= step <= last and step in self})


def schedule(*, log: int = 0, every: int = 0, at: Iterable[int] = ()) -> Schedule:
    """Steps at which to save weights: spaced by the logarithm, evenly, or listed.

    >>> schedule(log=3, every=100, at=[450]).up_to(500)
    [0, 1, 2, 5, 10, 22, 46, 100, 200, 300, 400, 450, 500]

    Args:
        log: number of steps in each factor of 10; 0 for none.
        every: distance of evenly spaced steps, which follow once the others are as far apart; 0 for none.
        at: further steps, such as the last one.

    Raises:
        UserError: a number is negative or not whole, or no step is asked for.
    """
    steps = tuple(at)
    given: list[tuple[str, Any]] = [("log", log), ("every", every), *(("at", step) for step in steps)]
    for name, number in given:
        if not isinstance(number, int) or isinstance(number, bool) or number < 0:
            raise UserError(f"{name} of a schedule has {number!r:.60}; take whole numbers from 0 up")
    if not (log or every or steps):
        raise UserError("the schedule has no step; give log, every or at, such as interp.schedule(log=10, every=100)")
    return Schedule(log, every, steps)


def checkpoint_steps(config: TrainConfig) -> list[int]:
    """Steps with a checkpoint: logarithmic until the gaps reach `checkpoint_every`, then linear; 0 and the last too.

    If `checkpoint_steps` are given, they are those, 0 and the last.
    """
    total = config.steps
    if config.checkpoint_steps:
        return sorted({0, *config.checkpoint_steps, total})
    return Schedule(config.checkpoints_per_decade, config.checkpoint_every, (total,)).up_to(total)


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
