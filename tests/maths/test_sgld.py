"""Learning coefficients by Langevin dynamics against closed forms, within 10 %."""

import pytest
import torch

from interp.maths.chains import effective_draws, split_r_hat
from interp.maths.sgld import Langevin


def estimate(loss, d, n_beta, epsilon, gamma=1.0, chains=256, draws=3000, burn_in=1000, preconditioned=False):
    """nβ·E L around 0, where the loss is 0, with R̂."""
    epsilons, betas, gammas = (torch.full((chains,), float(value)) for value in (epsilon, n_beta, gamma))
    settings = Langevin(epsilons, betas, gammas, preconditioned)

    def sloped(weights, draw):
        weights = weights.detach().requires_grad_()
        losses = loss(weights)
        return losses.detach(), torch.autograd.grad(losses.sum(), weights)[0]

    start = torch.zeros(chains, d, dtype=torch.float64)
    kept = n_beta * settings.sample(sloped, start, draws, torch.Generator().manual_seed(0))[:, burn_in:]
    assert split_r_hat(kept) < 1.1
    return kept.mean().item(), (kept.std() / effective_draws(kept).sqrt()).item()


def test_a_regular_model_has_half_its_parameters():
    curvature = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    found, error = estimate(lambda w: (w.square() * curvature).sum(dim=1) / 2, 6, n_beta=1000, epsilon=1e-5, draws=6000)
    assert found == pytest.approx(3, rel=0.1)
    assert error < 0.15


@pytest.mark.parametrize("preconditioned", [False, True])
def test_the_mean_of_a_quadratic_with_localisation_is_exact(preconditioned):
    """Σ nβλ/(nβλ + γ)/2, where each direction has variance 1/(nβλ + γ)."""
    curvature = torch.tensor([0.1, 1.0, 10.0])
    exact = (100 * curvature / (100 * curvature + 10)).sum().item() / 2
    found, error = estimate(
        lambda w: (w.square() * curvature).sum(dim=1) / 2,
        3,
        n_beta=100,
        epsilon=1e-3 / 4,
        gamma=10,
        preconditioned=preconditioned,
    )
    assert abs(found - exact) < 0.05 * exact + 3 * error


def test_normal_crossings_have_one_over_twice_the_larger_power():
    """λ of (x^a·y^b)² is 1/(2·max(a, b)), of multiplicity 1 where a and b differ."""
    assert estimate(lambda w: w[:, 0] ** 4, 1, n_beta=1e4, epsilon=2e-4)[0] == pytest.approx(1 / 4, rel=0.1)
    assert estimate(lambda w: (w[:, 0] ** 2 * w[:, 1]) ** 2, 2, n_beta=1e6, epsilon=1e-4)[0] == pytest.approx(
        1 / 4, rel=0.1
    )


def test_reduced_rank_regression_at_a_truth_of_rank_0():
    """Aoyagi and Watanabe (2005): (2mn + 2hn + 2mh − m² − n² − h²)/8 where m + n + h is even; 2.5 of 3 → 2 → 3, not 12/4."""
    m, h, n = 3, 2, 3
    exact = (2 * m * n + 2 * h * n + 2 * m * h - m**2 - n**2 - h**2) / 8

    def loss(w):
        A, B = w[:, : m * h].view(-1, m, h), w[:, m * h :].view(-1, h, n)
        return (A @ B).square().sum(dim=(1, 2)) / 2

    assert exact == 2.5
    assert estimate(loss, m * h + h * n, n_beta=1e3, epsilon=1e-4, draws=6000)[0] == pytest.approx(exact, rel=0.1)


def test_equal_seeds_give_equal_chains_and_a_step_too_large_diverges():
    settings = Langevin(torch.tensor([1e-3, 1.0]), torch.tensor([100.0, 100.0]), torch.tensor([1.0, 1.0]))

    def sloped(weights, draw):
        return weights.square().sum(dim=1) / 2, weights

    one, other = (settings.sample(sloped, torch.ones(2, 3), 400, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(one[0], other[0])
    assert one[0].isfinite().all()
    assert not one[1].isfinite().all()
