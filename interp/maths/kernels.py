"""Alignment of kernels that are known by random features only, without bias and with an error."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Estimate(NamedTuple):
    """An estimate and its standard error, by the jackknife over the probes."""

    value: Float[Tensor, ""]
    error: Float[Tensor, ""]


def centred_kernels(features: Float[Tensor, "probe n output"]) -> Float[Tensor, "probe n n"]:
    """The kernel V·Vᵀ of each probe's features, centred in rows and columns; their mean estimates the centred kernel."""
    centred = features - features.mean(dim=1, keepdim=True)
    return centred @ centred.mT


def products(one: Float[Tensor, "probe n n"], other: Float[Tensor, "probe n n"]) -> Float[Tensor, " kept"]:
    """⟨K, L⟩ of two kernels from all probes, and then without each one of them; kept is 1 + probes.

    Only pairs of different probes count: their features are independent, even where both kernels have the same probes.
    """
    pairs = one.flatten(1) @ other.flatten(1).T
    apart = pairs - pairs.diagonal().diag()
    n, whole = len(apart), apart.sum()
    less = whole - apart.sum(dim=0) - apart.sum(dim=1)
    return torch.cat([(whole / (n * (n - 1)))[None], less / ((n - 1) * (n - 2))])


def alignment(one: Float[Tensor, "probe n n"], other: Float[Tensor, "probe n n"]) -> Estimate:
    """Centred kernel alignment ⟨K, L⟩ ÷ (‖K‖·‖L‖) (Cortes et al. 2012); NaN where a kernel is 0 or too noisy to tell."""
    return jackknife(products(one, other) / (products(one, one) * products(other, other)).sqrt())


def alignment_with(one: Float[Tensor, "probe n n"], known: Float[Tensor, "n n"]) -> Estimate:
    """Centred kernel alignment with a centred kernel that is known exactly."""
    each = one.flatten(1) @ known.flatten()
    n, whole = len(each), each.sum()
    means = torch.cat([(whole / n)[None], (whole - each) / (n - 1)])
    return jackknife(means / (products(one, one).sqrt() * known.norm()))


def jackknife(values: Float[Tensor, " kept"]) -> Estimate:
    """The first value, and its standard error from those without each probe."""
    without = values[1:]
    n = len(without)
    return Estimate(values[0], ((n - 1) / n * (without - without.mean()).square().sum()).sqrt())
