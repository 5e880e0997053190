"""Random numbers apart from those of a run, and how far a mean over draws is from the mean over all there is."""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


def generator(seed: int, *purpose: int) -> torch.Generator:
    """Random numbers for one purpose of one seed.

    torch's own numbers of a seed are those that a run draws its initial weights from, if its seed is equal: a direction drawn so
    would point along them.
    """
    return torch.Generator().manual_seed(
        int(np.random.SeedSequence([seed, *purpose]).generate_state(1, np.uint64)[0] >> 1)
    )


def standard_error(drawn: Float[Tensor, "... n"], of: int | None = None) -> Float[Tensor, "..."]:
    """Standard error s/√n of the mean of n draws, in float64, s their standard deviation (÷ n − 1); NaN for one draw.

    `of` is the number of things that are drawn from, if it is finite and none is put back: the error is √(1 − n/of) times that,
    and 0 if all of them are drawn (Cochran 1977, Sampling Techniques, 2.6).
    """
    n = drawn.shape[-1]
    if n == of:
        return torch.zeros(drawn.shape[:-1], dtype=torch.float64)
    if n == 1:
        return torch.full(drawn.shape[:-1], torch.nan, dtype=torch.float64)
    left = 1.0 if of is None else 1 - n / of
    return drawn.double().std(dim=-1) * math.sqrt(left / n)
