"""Diagnostics of chains whose truth is known."""

import math

import pytest
import torch

from interp.maths.chains import effective_draws, split_r_hat


def autoregressive(correlation, chains=8, draws=4000, seed=0):
    """Chains x_t = ρ·x_{t−1} + √(1 − ρ²)·noise, of variance 1: worth (1 − ρ)/(1 + ρ) of their draws."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(chains, draws, generator=generator, dtype=torch.float64)
    each = [noise[:, 0]]
    for step in range(1, draws):
        each.append(correlation * each[-1] + math.sqrt(1 - correlation**2) * noise[:, step])
    return torch.stack(each, dim=1)


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9, -0.3])
def test_an_autoregressive_chain_is_worth_what_its_correlation_says(correlation):
    found = effective_draws(autoregressive(correlation))
    assert found.item() == pytest.approx(32_000 * (1 - correlation) / (1 + correlation), rel=0.15)


def test_independent_chains_agree_and_shifted_or_drifting_ones_do_not():
    chains = autoregressive(0.5)
    assert split_r_hat(chains).item() == pytest.approx(1, abs=0.01)
    shifted = chains + torch.arange(8.0)[:, None]
    assert split_r_hat(shifted) > 2
    assert effective_draws(shifted) < 20  # hardly more than the chains
    # halves of a drift from 0 to 5: variance between 2.5²/4·8/7 or so, within 1 + 2.5²/12
    assert split_r_hat(chains + torch.linspace(0, 5, 4000)) > 1.4


def test_what_does_not_vary_agrees_and_too_few_draws_tell_nothing():
    assert split_r_hat(torch.ones(3, 8)) == 1
    assert effective_draws(torch.ones(3, 8)) == 24
    assert split_r_hat(torch.ones(3, 3)).isnan()
    assert effective_draws(torch.ones(3, 3)).isnan()
