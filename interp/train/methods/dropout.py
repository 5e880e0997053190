"""Residual dropout: some of what each sublayer adds to the residual stream is left out (Power et al. 2022, figure 2).

A difference to the code of that paper (openai/grok): there dropout does not act on what attention adds.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.config import RunConfig
from interp.recipe import TrainConfig
from interp.train.methods.chance import DROPOUT, stream
from interp.train.methods.method import Method


class Dropout(Method):
    """Factors 0 or 1/(1 − p) on what is added to the residual stream, drawn for every prompt, position and update."""

    varies = True

    @classmethod
    def asked(cls, train: TrainConfig) -> bool:
        """Whether anything is left out."""
        return train.dropout > 0

    def factors(self, step: int, n: int, places: int, width: int) -> Float[Tensor, "runs n places width"]:
        """The factors of this update."""
        return dropout(self.side.configs, step, n, places, width).to(self.side.rates.device)


def dropout(
    configs: Sequence[RunConfig], step: int, n: int, places: int, width: int
) -> Float[Tensor, "runs n places d_model"]:
    """Factors of dropout, 1/(1 − p) with probability 1 − p, else 0, for every number added to the residual stream of a prompt.

    The first prompts get the same factors whatever n is, because runs in a batch are padded to the largest n.
    """
    factors = []
    for config in configs:
        numbers = stream(config.seeds.noise, DROPOUT, step).random((n, places, width), dtype=np.float32)
        factors.append(torch.from_numpy(numbers >= config.train.dropout) * (1 / (1 - config.train.dropout)))
    return torch.stack(factors)
