"""Random numbers of an update: from a run's seed and the step alone.

No generator lives from one update to the next. So a resumed run draws as one that never stopped, and a run in a batch as it
does alone. The CPU draws, so that a GPU gets the same numbers.
"""

import numpy as np

NOISE, DROPOUT = 0, 1
"""Purposes of a stream of random numbers; streams for different purposes are independent, with one seed and step too."""


def stream(seed: int, purpose: int, step: int) -> np.random.Generator:
    """Random generator for one seed and purpose, for the update after `step` others."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(purpose, step)))
