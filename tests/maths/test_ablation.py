import math

import numpy as np
import pytest
import torch

from interp.maths.ablation import (
    answer_totals,
    at_frequencies,
    block_waves,
    energies,
    plane,
    roots,
    variances,
    waves_lost,
)
from interp.maths.neurons import block_shares
from interp.maths.restricted import waves_of


def wave(n, k, phase=0.3):
    return torch.cos(2 * math.pi * k * torch.arange(n).double() / n + phase)


@pytest.mark.parametrize("n", [7, 8])
def test_parts_at_all_frequencies_and_the_mean_sum_to_the_table(n):
    table = torch.randn(n, 3, generator=torch.Generator().manual_seed(0))
    parts = at_frequencies(table)
    assert parts.shape == (n // 2, n, 3)
    torch.testing.assert_close(parts.sum(dim=0) + table.double().mean(dim=0), table.double())
    for k in range(1, n // 2 + 1):
        basis = waves_of(n, k)
        torch.testing.assert_close(parts[k - 1], basis.T @ basis @ table.double())


def test_a_planted_wave_has_one_part():
    parts = at_frequencies((2 + wave(11, 3))[:, None])
    torch.testing.assert_close(parts[2, :, 0], wave(11, 3))
    assert parts[[0, 1, 3, 4]].abs().max() < 1e-12


def test_a_block_holds_its_share_of_a_neurons_variance():
    n, k = 7, 2
    neuron = torch.randn(n, n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    block = block_waves(n, k)
    torch.testing.assert_close(block @ block.T, torch.eye(9, dtype=torch.float64))
    fitted = block.T @ (block @ neuron.flatten())
    share = (fitted - fitted.mean()).square().sum() / (neuron - neuron.mean()).square().sum()
    torch.testing.assert_close(share, block_shares(neuron[..., None])[0, k - 1])


def test_products_of_waves_of_one_frequency_lie_in_its_block():
    n, k = 11, 3
    neuron = (1 + wave(n, k)[:, None] * wave(n, k, 1.0) + 0.5 * wave(n, k)).flatten()
    block = block_waves(n, k)
    torch.testing.assert_close(block.T @ (block @ neuron), neuron)


def test_the_plane_of_a_frequency_is_spanned_by_what_writes_its_waves():
    n = 11
    directions = torch.randn(6, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    W_L = directions @ waves_of(n, 2)
    Q = plane(W_L, [2])
    assert Q.shape == (6, 2)
    torch.testing.assert_close(Q.T @ Q, torch.eye(2, dtype=torch.float64))
    torch.testing.assert_close(Q @ (Q.T @ directions), directions)


def test_a_frequency_that_nothing_writes_has_no_plane():
    W_L = torch.randn(6, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) @ waves_of(11, 2)
    assert plane(W_L, [3]).shape == (6, 0)
    assert plane(torch.zeros(6, 11), [3]).shape == (6, 0)


def test_a_constant_has_exactly_no_variance_and_others_have_that_of_numpy():
    values = torch.randn(3000, 4, generator=torch.Generator().manual_seed(0)) + 100
    values[:, 1] = 0.1
    found = variances(values)
    assert found[1] == 0
    np.testing.assert_allclose(found[[0, 2, 3]], values[:, [0, 2, 3]].double().numpy().var(axis=0), rtol=1e-9)


def test_random_functions_times_a_root_have_the_mean_and_the_energy_in_every_direction():
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(50, 3, generator=generator, dtype=torch.float64) @ torch.randn(
        3, 8, generator=generator, dtype=torch.float64
    )
    mean, root = roots(values.split(20))  # in parts
    assert root.shape == (3, 8)
    free = torch.randn(50, 3, generator=generator, dtype=torch.float64)
    functions = torch.linalg.qr(free - free.mean(dim=0)).Q
    drawn = functions @ root + mean
    torch.testing.assert_close(drawn.mean(dim=0), values.mean(dim=0))
    torch.testing.assert_close(drawn.T.cov(), values.T.cov())
    assert roots([torch.zeros(5, 2)])[1].shape == (0, 2)


@pytest.mark.parametrize("n", [7, 8])
def test_energies_at_all_frequencies_and_of_the_mean_sum_to_the_whole(n):
    table = torch.randn(n, 3, generator=torch.Generator().manual_seed(0))
    whole = energies(table).sum() + n * table.double().mean(dim=0).square().sum()
    torch.testing.assert_close(whole, table.double().square().sum())
    for k in range(1, n // 2 + 1):
        torch.testing.assert_close(energies(table)[k - 1], at_frequencies(table)[k - 1].square().sum())


@pytest.mark.parametrize("n", [5, 6])
def test_totals_are_sums_over_all_triples(n):
    logits = torch.randn(n, n, n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected, sums = torch.zeros(n, dtype=torch.float64), torch.zeros(n, n, dtype=torch.float64)
    for a in range(n):
        for b in range(n):
            sums[(a + b) % n] += logits[a, b]
            for c in range(n):
                expected[(c - a - b) % n] += logits[a, b, c]
    torch.testing.assert_close(answer_totals(sums), expected)


@pytest.mark.parametrize("n", [11, 12])
def test_waves_that_are_lost_are_told_by_frequency(n):
    first, second = 3 * wave(n, 2), 5 * wave(n, n // 2, 0.0)
    own = torch.arange(1, n // 2 + 1) == 2

    def lost(after):
        return waves_lost(first + second, after, own).tolist()

    assert lost(second) == pytest.approx([1, 0], abs=1e-12)
    assert lost(first / 4) == pytest.approx([0.75, 1], abs=1e-12)
    assert lost(first + second + 7 + wave(n, 1)) == pytest.approx([0, 0], abs=1e-12)
    both = waves_lost(first + second, torch.stack([second, first]), own)
    torch.testing.assert_close(both, torch.tensor([[1.0, 0], [0, 1]], dtype=torch.float64), atol=1e-12, rtol=0)
    assert waves_lost(first, first, ~torch.ones_like(own)).isnan().tolist() == [True, False]
