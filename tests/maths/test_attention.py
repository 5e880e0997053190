from math import pi

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.maths.attention import difference_shares, read_frequency

ROUNDING = 1e-12  # sums of at most some hundred float64 products of order 1
examples = settings(max_examples=25, deadline=None, derandomize=True)


def random_tensor(*size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def form(p, k, alpha, beta):
    """½ + α(cos w_k a − cos w_k b) + β(sin w_k a − sin w_k b)."""
    wave = 2 * pi * k * torch.arange(p).double() / p
    difference = [wave.cos()[:, None] - wave.cos(), wave.sin()[:, None] - wave.sin()]
    return 0.5 + alpha * difference[0] + beta * difference[1]


@pytest.mark.parametrize("p, k", [(11, 3), (12, 4), (12, 6)])
def test_the_published_form_is_explained_wholly_at_its_frequency(p, k):
    shares = difference_shares(form(p, k, 0.1, -0.2))
    assert read_frequency(shares) == k
    assert shares[k - 1].item() == pytest.approx(1, abs=ROUNDING)


def test_two_frequencies_share_by_their_squares():
    shares = difference_shares(form(13, 2, 0.3, 0) + form(13, 5, 0, 0.4))
    assert shares[1].item() == pytest.approx(9 / 25, abs=ROUNDING)
    assert shares[4].item() == pytest.approx(16 / 25, abs=ROUNDING)


def test_a_wave_of_a_alone_is_half_explained():
    """cos a = ½(cos a − cos b) + ½(cos a + cos b)."""
    wave = (2 * pi * 3 * torch.arange(11).double() / 11).cos()[:, None].expand(11, 11)
    assert difference_shares(wave)[2].item() == pytest.approx(1 / 2, abs=ROUNDING)


@examples
@given(p=st.integers(4, 9), seed=st.integers(0, 99))
def test_shares_are_those_of_a_least_squares_fit(p, seed):
    weights = random_tensor(2, p, p, seed=seed)
    shares = difference_shares(weights)
    for head in range(2):
        for k in range(1, p // 2 + 1):
            columns = [torch.ones(p * p).double(), *((form(p, k, *one) - 0.5).flatten() for one in ((1, 0), (0, 1)))]
            matrix = torch.stack(columns[: 2 if 2 * k == p else 3], dim=1)
            target = weights[head].flatten()
            left = target - matrix @ torch.linalg.lstsq(matrix, target[:, None]).solution[:, 0]
            slow = 1 - left.square().sum() / (target - target.mean()).square().sum()
            assert shares[head, k - 1].item() == pytest.approx(slow.item(), abs=1e-9)


def test_random_weights_lie_at_chance():
    """2 directions of p² − 1; 200 draws scatter by 1 %."""
    shares = difference_shares(random_tensor(200, 13, 13))
    assert shares.mean().item() == pytest.approx(2 / (13**2 - 1), rel=0.05)


def test_weights_that_never_vary_have_no_frequency():
    shares = difference_shares(torch.full((2, 7, 7), 0.1))
    assert shares.isnan().all()
    assert read_frequency(shares).tolist() == [0, 0]
