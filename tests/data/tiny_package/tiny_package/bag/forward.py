"""The network of a bag."""

from dataclasses import dataclass
from typing import Any

import torch

from interp.models.network import Forward, Matrix, Roles


@dataclass(frozen=True)
class BagForward(Forward):
    tokens: Any

    def __call__(self, weights, factors=None):
        if self.tokens.ndim == 2:
            return weights["words"][self.tokens].sum(dim=-2) @ weights["answers"] + weights["offset"]
        runs = zip(weights["words"], self.tokens, strict=True)
        summed = [words[tokens].sum(dim=-2) for words, tokens in runs]
        outputs = [s @ W + b for s, W, b in zip(summed, weights["answers"], weights["offset"], strict=True)]
        return torch.stack(outputs)


def over(spec, shape, inputs, precision="float32", apart=False):
    return BagForward(inputs)


def roles(spec):
    return Roles(embedding=Matrix(("words",), lambda weights: weights["words"], spec.width))
