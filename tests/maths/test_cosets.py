import math
from typing import Literal

import numpy as np
import pytest
import torch

from interp.maths import groups
from interp.maths.cosets import Cosets, coset_r2

ROUNDING = 1e-10  # sums of at most some thousand float64 products of order 1


def random_tensor(*size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def partitions(table, side: Literal["left", "right"] = "left"):
    """Cosets of every subgroup but the trivial one."""
    classes, _ = groups.subgroup_classes(table)
    return [(mask, groups.cosets(table, np.flatnonzero(mask), side)) for c in classes for mask in c if mask.sum() > 1]


@pytest.mark.parametrize("side", ["left", "right"])
def test_what_is_constant_on_cosets_is_explained_by_them_and_by_finer_ones(side):
    every = partitions(groups.named_group("S4"), side)
    labels = torch.from_numpy(np.stack([cosets for _, cosets in every]))
    for mask, cosets in every:
        if mask.sum() == 24:
            continue
        values = random_tensor(int(cosets.max()) + 1, 1)[torch.from_numpy(cosets)]
        r2 = coset_r2(values, labels)[:, 0]
        for (other, _), found in zip(every, r2, strict=True):
            if not (other & ~mask).any():  # a subgroup of this one has cosets within its cosets
                assert found.item() == pytest.approx(1)
        assert (r2 < 1 + ROUNDING).all()
        assert r2[[other.sum() == 24 for other, _ in every]].item() == pytest.approx(0, abs=ROUNDING)


def test_cosets_explain_nothing_of_a_random_function_on_average():
    labels = torch.from_numpy(np.stack([cosets for _, cosets in partitions(groups.named_group("S4"))]))
    mean = coset_r2(random_tensor(24, 20_000), labels).mean(dim=-1)
    # Single values scatter by up to 0.3 (twelve cosets of two), the mean of 20,000 by 0.002.
    torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0, atol=0.012)


def test_adjusted_r2_is_that_of_a_regression_on_indicators():
    values, labels = random_tensor(2, 6, 3), torch.tensor([[0, 1, 2, 0, 1, 2], [0, 0, 0, 1, 1, 1]])
    found = coset_r2(values, labels)
    assert found.shape == (2, 2, 3)
    for partition, each in enumerate(labels):
        design = torch.nn.functional.one_hot(each).double()
        rest = values - design @ (torch.linalg.pinv(design) @ values)
        unexplained = rest.square().sum(dim=1) / (6 - design.shape[1]) / (values.var(dim=1))
        torch.testing.assert_close(found[:, partition], 1 - unexplained, rtol=0, atol=ROUNDING)


def test_the_standard_error_of_random_cosets_is_their_spread_over_seeds():
    """64 Gaussian functions on S4, by 40 seeds: the error that each tells is the spread of their means."""
    cosets = Cosets(groups.symmetric(4))
    means, errors = np.array([cosets.of_random(seed) for seed in range(40)]).T
    assert errors.mean() == pytest.approx(means.std(ddof=1), rel=0.4)  # three and a half deviations of 1/√80


def test_a_constant_is_explained_by_no_cosets():
    assert math.isnan(coset_r2(torch.ones(6, 1), torch.zeros(1, 6, dtype=torch.long)).item())
