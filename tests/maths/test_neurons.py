from math import pi

import pytest
import torch
from closed_forms import quadratic_hidden, quadratic_network
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.maths.neurons import block_parts, block_shares, cluster_sizes, neuron_frequency, waves_at, wrapped

ROUNDING = 1e-12  # sums of at most some hundred float64 products of order 1
examples = settings(max_examples=25, deadline=None, derandomize=True)


def random_tensor(*size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cos(k, p, of="a"):
    """cos(2πk·a/p) or cos(2πk·b/p) over the table."""
    wave = (2 * pi * k * torch.arange(p).double() / p).cos()
    return (wave[:, None] if of == "a" else wave[None]).expand(p, p)


def sin(k, p, of="a"):
    wave = (2 * pi * k * torch.arange(p).double() / p).sin()
    return (wave[:, None] if of == "a" else wave[None]).expand(p, p)


def of_one(neuron):
    """Shares of a single neuron."""
    return block_shares(neuron[..., None])[0]


@pytest.mark.parametrize("p", [11, 12])
@pytest.mark.parametrize("k", [1, 4, 5])
def test_a_neuron_of_one_frequency_has_all_its_variance_there(p, k):
    ones = torch.zeros(p // 2, dtype=torch.float64)
    ones[k - 1] = 1
    a_b = (cos(k, p), cos(k, p, "b"), sin(k, p), sin(k, p, "b"))
    for neuron in (a_b[0] + a_b[1], a_b[0] * a_b[1], a_b[2] * a_b[1], 5 + a_b[0] - 2 * a_b[3] + a_b[2] * a_b[3]):
        torch.testing.assert_close(of_one(neuron), ones, rtol=0, atol=ROUNDING)


def test_for_even_p_the_last_frequency_has_no_sine_and_its_block_four_waves():
    p = 8
    last = torch.tensor([0, 0, 0, 1.0], dtype=torch.float64)
    for neuron in (cos(4, p) + 1, cos(4, p, "b") * cos(4, p)):
        torch.testing.assert_close(of_one(neuron), last, rtol=0, atol=ROUNDING)


def test_shares_are_those_of_the_squares_and_a_product_of_two_frequencies_is_in_no_block():
    p = 11
    neuron = 3 * cos(2, p) + 4 * cos(5, p, "b")
    torch.testing.assert_close(of_one(neuron), torch.tensor([0, 0.36, 0, 0, 0.64]).double(), rtol=0, atol=1e-7)
    assert of_one(cos(2, p) * cos(5, p, "b")).abs().max() < ROUNDING
    half = cos(2, p) * cos(5, p, "b") + cos(3, p) * sin(3, p, "b")
    torch.testing.assert_close(of_one(half), torch.tensor([0, 0, 0.5, 0, 0]).double(), rtol=0, atol=ROUNDING)


@examples
@given(p=st.integers(3, 10), seed=st.integers(0, 99))
def test_shares_are_the_variance_that_a_regression_on_the_block_explains(p, seed):
    neurons = random_tensor(2, p, p, 3, seed=seed) + 4
    shares = block_shares(neurons)
    assert shares.shape == (2, 3, p // 2)
    for k in range(1, p // 2 + 1):
        one = torch.ones(p, p, dtype=torch.float64)
        alone = [[one, cos(k, p, of), sin(k, p, of)] for of in "ab"]
        design = torch.stack([(f * g).flatten() for f in alone[0] for g in alone[1]], dim=1)
        flat = neurons.flatten(1, 2)
        rest = flat - design @ (torch.linalg.pinv(design) @ flat)
        explained = 1 - rest.var(dim=1) / flat.var(dim=1)
        torch.testing.assert_close(shares[..., k - 1], explained, rtol=0, atol=1e-10)


def test_a_random_neuron_has_the_share_of_eight_waves_among_all():
    p = 13
    mean = block_shares(random_tensor(p, p, 2000)).mean(dim=0)
    # A share scatters by about √(2/8) of itself, so the mean of 2,000 by 1.1 %; six frequencies within five of those.
    torch.testing.assert_close(mean, torch.full_like(mean, 8 / (p**2 - 1)), rtol=0.055, atol=0)


@examples
@given(p=st.integers(3, 12), seed=st.integers(0, 99))
def test_shares_sum_to_one_at_most_and_know_nothing_of_scale_and_offset(p, seed):
    neurons = random_tensor(p, p, 4, seed=seed)
    shares = block_shares(neurons)
    assert (shares >= 0).all() and (shares.sum(dim=-1) <= 1 + ROUNDING).all()
    torch.testing.assert_close(block_shares(3 * neurons - 7), shares, rtol=0, atol=1e-10)


def test_each_neuron_has_its_frequency_and_one_that_never_varies_has_none():
    p = 11
    neurons = torch.stack([cos(4, p) + cos(4, p, "b"), torch.full((p, p), 0.1).double(), sin(1, p), cos(5, p)], dim=-1)
    assert neuron_frequency(block_shares(neurons)).tolist() == [4, 0, 1, 5]


def test_a_cluster_has_the_neurons_above_the_threshold():
    p = 11
    pure, mixed = cos(3, p) * cos(3, p, "b"), 3 * cos(3, p) + 1.2 * cos(2, p)  # .862 of the second at k = 3
    silent = torch.zeros(p, p, dtype=torch.float64)
    shares = block_shares(torch.stack([pure, mixed, silent, cos(5, p)], dim=-1))
    assert cluster_sizes(shares).tolist() == [0, 0, 2, 0, 1]
    assert cluster_sizes(shares, threshold=0.9).tolist() == [0, 0, 1, 0, 1]


def test_the_order_of_a_and_b_is_that_of_the_table():
    """Only then is a neuron of a + b one of a table in lexicographic order."""
    p = 7
    a, b = torch.arange(p * p) // p, torch.arange(p * p) % p
    flat = (2 * pi * 2 * (a + b).double() / p).cos()[:, None] + (2 * pi * 3 * a.double() / p).sin()[:, None]
    shares = block_shares(flat.unflatten(-2, (p, p)))
    torch.testing.assert_close(shares, torch.tensor([[0, 0.5, 0.5]]).double(), rtol=0, atol=ROUNDING)


def test_a_neuron_of_one_wave_is_linear_and_one_of_a_product_is_quadratic():
    p, k = 11, 3
    wave = torch.cos(2 * pi * k * torch.arange(p).double() / p)
    table = torch.stack([wave[:, None] + 2 * wave, wave[:, None] * wave, (wave[:, None] + wave).square()], dim=-1)
    linear, quadratic = block_parts(table)
    assert linear[:2, k - 1].tolist() == pytest.approx([1, 0], abs=1e-12)
    assert quadratic[:2, k - 1].tolist() == pytest.approx([0, 1], abs=1e-12)
    # (x + y)² = x² + y² + 2xy: the squares are waves of 2k, of variance 1/8 each, beside 2xy of variance 1.
    assert quadratic[2, k - 1].item() == pytest.approx(1 / (1 + 2 / 8))


def test_the_phases_of_gromovs_network_add_up():
    p, width = 23, 50
    on_a, on_b, out = quadratic_network(p, width, seed=0)
    k = torch.arange(width) % (p // 2) + 1
    hidden = quadratic_hidden(on_a, on_b)
    assert (neuron_frequency(block_parts(hidden)[1]) == k).all()
    mismatch = wrapped(waves_at(on_a.T, k)[1] + waves_at(on_b.T, k)[1] - waves_at(out, k)[1])
    assert mismatch.abs().max() < 1e-9


@pytest.mark.parametrize("phase", [-3.0, 0.0, 1.0, 3.1])
def test_the_phase_and_size_of_a_wave_are_found(phase):
    p, k, x = 13, 5, torch.arange(13).double()
    wave = 0.3 + 2 * torch.cos(2 * pi * k * x / p - phase)[:, None]
    amplitude, found = waves_at(wave, torch.tensor([k]))
    assert (amplitude.item(), found.item()) == (pytest.approx(2), pytest.approx(phase))
    for values, frequency in ((wave, 0), (torch.zeros(p, 1), k)):
        amplitude, found = waves_at(values, torch.tensor([frequency]))
        assert amplitude.item() == 0
        assert found.isnan().all()


def test_a_wave_of_half_an_even_p_has_its_size():
    wave = 3 * torch.tensor([1.0, -1.0]).repeat(6)[:, None]
    assert waves_at(wave, torch.tensor([6]))[0].item() == pytest.approx(3)
