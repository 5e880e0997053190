from math import pi

import numpy as np
import pytest
import torch
from closed_forms import quadratic_network
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from interp.maths.fourier import (
    above_largest_gap,
    above_quarter_of_largest,
    agreement,
    component_norms,
    far_out,
    fewest_with_share,
    frequency_norms,
    frequency_power,
    gini,
    inverse_participation_ratio,
    network_participation,
    neuron_participation,
    real_fourier_basis,
    wave_directions,
)

KEY_RULES = (above_quarter_of_largest, above_largest_gap, fewest_with_share)
ROUNDING = 1e-12  # sums of at most some hundred float64 products of order 1
examples = settings(max_examples=40, deadline=None, derandomize=True)


def random_matrix(*size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_rotation(d, seed=0):
    return torch.linalg.qr(random_matrix(d, d, seed=seed)).Q


def planted(p, frequencies):
    """Residues on one circle of radius 1 for each frequency, each in dimensions of its own."""
    angle = 2 * pi * torch.tensor(sorted(frequencies)).double() * torch.arange(p)[:, None] / p
    return torch.cat([angle.cos(), angle.sin()], dim=1)


def named(key):
    """The frequencies that a mask over k = 1, 2, … marks."""
    return {int(k) + 1 for k in key.nonzero()}


@examples
@given(p=st.integers(1, 60))
def test_the_waves_are_orthonormal_for_odd_and_even_p(p):
    basis = real_fourier_basis(p)
    assert basis.shape == (p, p)
    torch.testing.assert_close(basis @ basis.T, torch.eye(p, dtype=torch.float64), rtol=0, atol=ROUNDING)


def test_the_waves_are_the_constant_then_cosine_and_sine_of_each_frequency():
    x = 2 * pi * torch.arange(4, dtype=torch.float64) / 4
    waves = torch.stack([torch.ones_like(x) / 2, x.cos() / 2**0.5, x.sin() / 2**0.5, (2 * x).cos() / 2])
    torch.testing.assert_close(real_fourier_basis(4), waves, rtol=0, atol=ROUNDING)


def test_the_waves_of_a_large_p_are_as_exact_as_those_of_a_small_one():
    # The angle 2πkx/p itself reaches 10⁷ at p = 4,099: unless k·x is reduced first, its sine has lost eight digits.
    basis = real_fourier_basis(4099)[[0, 1, 2, 4095, 4096, 4097, 4098]]
    torch.testing.assert_close(basis @ basis.T, torch.eye(7, dtype=torch.float64), rtol=0, atol=ROUNDING)


@examples
@given(p=st.integers(2, 40), seed=st.integers(0, 99))
def test_no_power_is_lost_between_the_mean_and_the_frequencies(p, seed):
    matrix = random_matrix(p, 3, seed=seed)
    of_the_mean = p * matrix.mean(dim=0).square().sum()
    in_waves = frequency_norms(matrix).square().sum()
    torch.testing.assert_close(of_the_mean + in_waves, matrix.square().sum(), rtol=ROUNDING, atol=0)
    torch.testing.assert_close(component_norms(matrix).square().sum(), in_waves, rtol=ROUNDING, atol=0)


@examples
@given(p=st.integers(2, 40), seed=st.integers(0, 99))
def test_frequency_norms_are_those_of_the_discrete_fourier_transform(p, seed):
    matrix = random_matrix(p, 3, seed=seed)
    transform = np.abs(np.fft.rfft(matrix.numpy(), axis=0)[1:]) ** 2
    # A frequency and its negative hold the same; ½ of p stands alone, being its own negative.
    twice = np.array([1 if 2 * k == p else 2 for k in range(1, p // 2 + 1)])
    expected = np.sqrt(twice * transform.sum(axis=1) / p)
    np.testing.assert_allclose(frequency_norms(matrix).numpy(), expected, rtol=0, atol=ROUNDING)


@examples
@given(p=st.integers(2, 60))
def test_there_is_a_norm_for_each_frequency_and_each_wave(p):
    matrix = random_matrix(p, 2)
    assert len(frequency_norms(matrix)) == len(frequency_power(matrix)) == p // 2
    assert len(component_norms(matrix)) == len(wave_directions(matrix)) == p - 1


@examples
@given(p=st.integers(2, 40), seed=st.integers(0, 99))
def test_the_shares_of_power_sum_to_one(p, seed):
    power = frequency_power(random_matrix(p, 3, seed=seed))
    assert (power >= 0).all()
    torch.testing.assert_close(power.sum(), torch.ones((), dtype=torch.float64), rtol=ROUNDING, atol=0)


@pytest.mark.parametrize("value", [0.0, 0.25, 0.1])  # 0.1 is no binary fraction: its sums round
def test_a_matrix_without_waves_has_no_shares(value):
    assert frequency_power(torch.full((11, 3), value)).isnan().all()


@examples
@given(p=st.integers(3, 40), data=st.data())
def test_a_planted_frequency_is_found(p, data):
    k = data.draw(st.integers(1, p // 2))
    matrix = planted(p, {k})
    power, norms = frequency_power(matrix), frequency_norms(matrix)
    assert power.argmax() + 1 == norms.argmax() + 1 == k
    assert power.max() > 1 - ROUNDING
    waves = {2 * k - 1, 2 * k} - {p}  # rows of the basis; the last frequency of an even p has no sine
    assert set((component_norms(matrix) > 1e-6).nonzero().flatten().tolist()) == {wave - 1 for wave in waves}


@pytest.mark.parametrize("rule", KEY_RULES)
@examples
@given(p=st.integers(3, 40), data=st.data())
def test_every_key_rule_names_the_planted_frequency(rule, p, data):
    k = data.draw(st.integers(1, p // 2))
    assert named(rule(frequency_norms(planted(p, {k})))) == {k}


@pytest.mark.parametrize("rule", KEY_RULES)
@examples
@given(frequencies=st.sets(st.integers(1, 15), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_every_key_rule_names_several_planted_frequencies_under_noise(rule, frequencies, seed):
    # A planted norm is √31 ≈ 5.6; noise of 0.01 in at most ten dimensions has norms below 0.1.
    matrix = planted(31, frequencies)
    noisy = matrix + 0.01 * random_matrix(*matrix.shape, seed=seed)
    assert named(rule(frequency_norms(noisy))) == frequencies


def test_a_cosine_alone_is_one_component():
    wave = torch.cos(2 * pi * 3 * torch.arange(11, dtype=torch.float64) / 11)[:, None]
    expected = torch.zeros(10, dtype=torch.float64)
    expected[4] = (11 / 2) ** 0.5  # waves cos1 sin1 cos2 sin2 cos3 …; ‖cos‖² = p/2
    torch.testing.assert_close(component_norms(wave), expected, rtol=0, atol=ROUNDING)


def test_residues_that_share_no_dimension_have_a_flat_spectrum():
    matrix = torch.eye(11)
    torch.testing.assert_close(frequency_power(matrix), torch.full((5,), 0.2, dtype=torch.float64))
    assert gini(component_norms(matrix)) == pytest.approx(0, abs=ROUNDING)
    assert named(above_quarter_of_largest(frequency_norms(matrix))) == {1, 2, 3, 4, 5}


def test_a_planted_spectrum_is_more_unequal_than_a_flat_one():
    flat, few = component_norms(torch.eye(31)), component_norms(planted(31, {3, 7}))
    assert gini(flat) == pytest.approx(0, abs=ROUNDING)
    assert gini(few) == pytest.approx(1 - 4 / 30, abs=ROUNDING)  # four of thirty waves have all, in equal parts


@examples
@given(p=st.integers(3, 30), shift=st.integers(0, 29), seed=st.integers(0, 99))
def test_starting_the_residues_elsewhere_changes_no_frequency(p, shift, seed):
    matrix = random_matrix(p, 3, seed=seed)
    shifted = frequency_norms(matrix.roll(shift, dims=0))
    torch.testing.assert_close(shifted, frequency_norms(matrix), rtol=0, atol=ROUNDING)


@examples
@given(p=st.integers(3, 30), d=st.integers(1, 6), seed=st.integers(0, 99))
def test_turning_the_dimensions_changes_no_norm(p, d, seed):
    matrix = random_matrix(p, d, seed=seed)
    turned = matrix @ random_rotation(d, seed=seed + 1)
    torch.testing.assert_close(frequency_norms(turned), frequency_norms(matrix), rtol=0, atol=ROUNDING)
    torch.testing.assert_close(component_norms(turned), component_norms(matrix), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("u", [2, 3, 5])
def test_multiplying_the_residues_by_u_only_renames_the_frequencies(u):
    p, matrix = 11, random_matrix(11, 3)
    renamed = frequency_norms(matrix[u * torch.arange(p) % p])  # its wave k·u is the old wave k
    for k in range(1, 6):
        new = min(k * u % p, -k * u % p)
        assert renamed[new - 1] == pytest.approx(float(frequency_norms(matrix)[k - 1]), rel=ROUNDING)


@pytest.mark.parametrize("p", [7, 8])
@pytest.mark.parametrize(
    "measure",
    [
        wave_directions,
        frequency_norms,
        frequency_power,
        component_norms,
        lambda matrix: network_participation(wave_directions(matrix)),
        lambda matrix: neuron_participation(wave_directions(matrix)),
    ],
)
def test_a_stack_of_matrices_is_measured_one_by_one(measure, p):
    stack = random_matrix(2, 3, p, 4)
    one_by_one = torch.stack([torch.stack([measure(matrix) for matrix in row]) for row in stack])
    torch.testing.assert_close(measure(stack), one_by_one, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("measure", [*KEY_RULES, gini, inverse_participation_ratio])
def test_a_stack_of_spectra_is_measured_one_by_one(measure):
    stack = random_matrix(2, 3, 9).abs()
    one_by_one = torch.stack([torch.stack([measure(sizes) for sizes in row]) for row in stack])
    torch.testing.assert_close(measure(stack), one_by_one, rtol=ROUNDING, atol=0)


def test_an_embedding_in_float32_is_measured_in_float64():
    matrix = random_matrix(11, 3).float()
    assert frequency_norms(matrix).dtype == torch.float64
    assert torch.equal(frequency_norms(matrix), frequency_norms(matrix.double()))


sizes = st.lists(st.integers(0, 9), min_size=1, max_size=12).filter(any).map(lambda s: torch.tensor(s).double())


@examples
@given(s=sizes)
def test_gini_is_the_mean_difference_over_twice_the_mean(s):
    differences = sum(abs(a - b) for a in s.tolist() for b in s.tolist())
    assert gini(s) == pytest.approx(differences / (2 * len(s) * float(s.sum())), abs=ROUNDING)


@examples
@given(s=sizes, factor=st.floats(0.01, 100), seed=st.integers(0, 99))
def test_gini_knows_neither_the_order_nor_the_unit_of_the_sizes(s, factor, seed):
    order = torch.randperm(len(s), generator=torch.Generator().manual_seed(seed))
    assert gini(factor * s[order]) == pytest.approx(float(gini(s)), abs=ROUNDING)


@pytest.mark.parametrize("n", [1, 2, 5, 112])
def test_gini_is_0_when_all_are_equal_and_its_largest_when_one_has_all(n):
    assert gini(torch.ones(n)) == pytest.approx(0, abs=ROUNDING)
    assert gini(torch.eye(n)[0]) == pytest.approx(1 - 1 / n, abs=ROUNDING)


def test_gini_of_nothing_is_undefined():
    assert gini(torch.zeros(5)).isnan()


@pytest.mark.parametrize("n", [1, 2, 5, 56])
def test_inverse_participation_is_1_when_one_has_all_and_1_over_n_when_all_are_equal(n):
    assert inverse_participation_ratio(torch.eye(n)[n // 2]) == 1
    equal = torch.full((n,), 1 / n, dtype=torch.float64)
    assert inverse_participation_ratio(equal) == pytest.approx(1 / n, rel=ROUNDING)


@examples
@given(s=sizes)
def test_inverse_participation_lies_between_its_limits(s):
    ratio = inverse_participation_ratio(s / s.sum())
    assert 1 / len(s) - ROUNDING <= ratio <= 1 + ROUNDING


def test_key_above_a_quarter_of_the_largest_counts_norms_and_not_powers():
    assert named(above_quarter_of_largest(torch.tensor([8.0, 2.1, 2.0, 1.9]))) == {1, 2}


def test_key_above_the_largest_gap_counts_powers_and_not_norms():
    # The largest gap of the norms 10, 6, 0 is the last, 6; that of the powers 100, 36, 0 is the first, 64.
    assert named(above_largest_gap(torch.tensor([6.0, 0.0, 10.0]))) == {3}


@examples
@given(s=sizes, share=st.floats(0.05, 0.95))
def test_the_fewest_with_a_share_have_it_and_without_the_weakest_do_not(s, share):
    key, power = fewest_with_share(s, share), s.square()
    held, least = power[key].sum(), power[key].min()
    assume(abs(held - share * power.sum()) > 1e-9)  # at equality rounding decides
    assert held >= share * power.sum() > held - least
    assert (power[~key] <= least).all()


def test_gromovs_neurons_have_the_participation_of_one_wave_of_each_operand():
    """On cosines and sines apart, mean cos⁴φ + sin⁴φ = 3/4, halved since a and b have half the weight each (Gromov 2023)."""
    on_a, on_b, _ = quadratic_network(97, 4000, seed=0)
    components = torch.cat([component_norms(each[..., None]).square() for each in (on_a, on_b)], dim=-1)
    shares = components / components.sum(dim=-1, keepdim=True)
    assert inverse_participation_ratio(shares).mean().item() == pytest.approx(0.375, abs=0.005)


def test_gromovs_solution_has_one_frequency_a_neuron_and_in_all_every_one():
    """Frequencies 1 … 48 for p = 97, each as often: 1 a neuron whatever the phases, 1/48 for the whole matrix."""
    on_a, on_b, out = quadratic_network(97, 96, seed=0)
    for matrix in (on_a.T, on_b.T, out):
        directions = wave_directions(matrix)
        assert neuron_participation(directions).item() == pytest.approx(1, abs=ROUNDING)
        assert network_participation(directions).item() == pytest.approx(1 / 48, abs=ROUNDING)


def test_the_complex_transform_over_both_operands_gives_gromovs_solution_a_quarter_of_that():
    """Gromov (2023) sums over k and −k, of a and of b: four shares of 1/4 a neuron, and Σ s² = 1/4."""
    on_a, on_b, _ = quadratic_network(97, 96, seed=0)
    power = torch.cat([torch.fft.fft(rows).abs().square() for rows in (on_a, on_b)], dim=1)
    shares = power / power.sum(dim=1, keepdim=True)
    assert inverse_participation_ratio(shares).mean().item() == pytest.approx(1 / 4, abs=ROUNDING)


@pytest.mark.parametrize("p", [7, 97])
def test_a_flat_spectrum_has_the_least_participation_by_neuron_and_in_all(p):
    """A one-hot column has the same power at every frequency."""
    directions = wave_directions(torch.eye(p))
    least = 1 / (p // 2)
    assert neuron_participation(directions).item() == pytest.approx(least, rel=ROUNDING)
    assert network_participation(directions).item() == pytest.approx(least, rel=ROUNDING)


def test_a_neuron_without_a_wave_is_left_out_of_the_mean_and_nothing_has_no_participation():
    matrix = torch.cat([planted(11, {3}), torch.ones(11, 1)], dim=1)
    assert neuron_participation(wave_directions(matrix)).item() == pytest.approx(1, abs=ROUNDING)
    assert neuron_participation(wave_directions(torch.ones(11, 2))).isnan()


def test_frequencies_far_out_are_those_beyond_tukeys_fence():
    norms = torch.tensor([1.0, 1.1, 0.9, 1.0, 1.05, 0.95, 9.0, 1.0, 1.5])
    assert far_out(norms).nonzero().flatten().tolist() == [6, 8]
    assert not far_out(torch.ones(9)).any()
    assert far_out(torch.stack([norms, 7 * norms]))[0].equal(far_out(7 * norms))


def test_two_rules_agree_by_what_they_share():
    some, other = torch.tensor([True, True, False, False]), torch.tensor([True, False, True, False])
    assert agreement(some, other).item() == pytest.approx(1 / 3)
    assert agreement(some, some).item() == 1
    assert agreement(~some & some, other & ~other).item() == 1
    assert agreement(torch.stack([some, other]), some).tolist() == pytest.approx([1, 1 / 3])
