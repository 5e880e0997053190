import math

import pytest
import torch

from interp.maths.ablation import at_frequencies, block_waves, plane
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
