from math import pi

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.maths.logits import form_products, form_variance, frequency_variance, in_and_out_of_phase, sum_share

ROUNDING = 1e-10  # sums of at most some thousand float64 products of order 1
examples = settings(max_examples=25, deadline=None, derandomize=True)


def random_tensor(*size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def axes(p):
    """a, b and c, each along its axis of the cube."""
    n = torch.arange(p).double()
    return n[:, None, None], n[None, :, None], n[None, None, :]


def clock(p, k):
    a, b, c = axes(p)
    return (2 * pi * k / p * (a + b - c)).cos()


def pizza(p, k):
    a, b, _ = axes(p)
    return (pi * k / p * (a - b)).cos().abs() * clock(p, k)


def explained(logits):
    """By each form, of the variance at each frequency and of all."""
    u, v = in_and_out_of_phase(logits)
    by_form, at_frequency = form_variance(u), frequency_variance(u, v)
    return by_form / at_frequency, by_form.sum(dim=1) / at_frequency.sum()


@pytest.mark.parametrize("p, ks", [(11, (2, 5)), (12, (1, 6)), (13, (3,))])
def test_a_sum_of_clocks_is_all_clock_with_shares_of_their_squares(p, ks):
    sizes = [2.0, 1.0][: len(ks)]
    logits = torch.stack([size * clock(p, k) for size, k in zip(sizes, ks, strict=True)]).sum(dim=0)
    u, v = in_and_out_of_phase(logits)
    shares = form_products(u)[0].square() / logits.square().sum()
    assert shares.sum().item() == pytest.approx(1, abs=ROUNDING)
    # the cosine of p/2 is ±1 and has twice the squares of the others
    power = [size**2 * (2 if 2 * k == p else 1) for size, k in zip(sizes, ks, strict=True)]
    for k, one in zip(ks, power, strict=True):
        assert shares[k - 1].item() == pytest.approx(one / sum(power), abs=ROUNDING)
        torch.testing.assert_close(
            u[..., k - 1], torch.full((p, p), sizes[ks.index(k)]).double(), rtol=0, atol=ROUNDING
        )
    assert v.abs().max() < ROUNDING


@pytest.mark.parametrize("p, k", [(11, 3), (12, 6), (12, 4)])
def test_each_form_explains_itself_wholly_and_the_mixture_both(p, k):
    at = k - 1
    for logits, wholly in ((clock(p, k), (0, 2)), (pizza(p, k), (1, 2)), (3 * clock(p, k) - pizza(p, k), (2,))):
        by_frequency, _ = explained(logits)
        for form in range(3):
            assert (by_frequency[form, at].item() > 1 - ROUNDING) == (form in wholly)


def test_a_pizza_is_by_eight_over_pi_squared_a_clock():
    """|cos| has mean 2/π and mean square 1/2; a sum over 113 distances is near that integral."""
    by_frequency, _ = explained(pizza(113, 5))
    assert by_frequency[0, 4].item() == pytest.approx(8 / pi**2, abs=1e-3)


@examples
@given(p=st.integers(3, 9), seed=st.integers(0, 99))
def test_products_and_fits_are_those_of_whole_cubes(p, seed):
    logits = random_tensor(p, p, p, seed=seed)
    centred = logits - logits.mean(dim=-1, keepdim=True)
    u, v = in_and_out_of_phase(logits)
    assert frequency_variance(u, v).sum().item() == pytest.approx(centred.square().sum().item(), rel=1e-9)
    spectrum = torch.fft.fft(logits, dim=-1).abs().square().sum(dim=(0, 1)) / p
    products, fits = form_products(u), form_variance(u)
    for k in range(1, p // 2 + 1):
        both = torch.stack([clock(p, k).flatten(), pizza(p, k).flatten()], dim=1)
        torch.testing.assert_close(
            products[:, k - 1], (both / both.norm(dim=0)).T @ centred.flatten(), rtol=0, atol=ROUNDING
        )
        for form, columns in enumerate(([0], [1], [0, 1])):
            fitted = both[:, columns] @ torch.linalg.lstsq(both[:, columns], centred.flatten()[:, None]).solution
            assert fits[form, k - 1].item() == pytest.approx(fitted.square().sum().item(), abs=1e-8)
        assert frequency_variance(u, v)[k - 1].item() == pytest.approx(
            spectrum[k].item() * (1 if 2 * k == p else 2), rel=1e-9
        )


def test_random_logits_lie_at_chance():
    """⌊p/2⌋ directions of p²(p − 1); the shares of 20 draws scatter by 2 %, sum_share by less."""
    p, draws = 23, [random_tensor(23, 23, 23, seed=seed) for seed in range(20)]
    clocks = [explained(logits)[1][0].item() for logits in draws]
    assert sum(clocks) / 20 == pytest.approx((p // 2) / (p**2 * (p - 1)), rel=0.25)
    assert sum(sum_share(logits).item() for logits in draws) / 20 == pytest.approx(1 / (p + 1), rel=0.02)


def test_what_changes_no_loss_changes_nothing():
    logits, added = random_tensor(7, 7, 7), 100 * random_tensor(7, 7, 1, seed=1)
    for before, after in zip(explained(logits), explained(logits + added), strict=True):
        torch.testing.assert_close(before, after, rtol=0, atol=1e-9)
    torch.testing.assert_close(sum_share(logits), sum_share(logits + added), rtol=0, atol=1e-9)


def test_any_function_of_a_plus_b_is_a_function_of_the_sum_and_one_of_the_difference_is_none():
    p, f = 11, random_tensor(11, 11)
    a = torch.arange(p)
    bias = random_tensor(p, seed=2)
    assert sum_share(f[(a[:, None] + a) % p] + bias).item() == pytest.approx(1, abs=ROUNDING)
    assert sum_share(f[(a[:, None] - a) % p] + bias).item() == pytest.approx(0, abs=ROUNDING)


def test_logits_that_are_all_alike_have_no_shares():
    logits = torch.full((5, 5, 5), 0.1)
    assert explained(logits)[1].isnan().all()
    assert sum_share(logits).isnan()
