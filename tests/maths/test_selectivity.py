import pytest
import torch

from interp.maths.selectivity import main_effects

N = 100_000
ERROR = 0.02  # six standard errors of 1/√N


def drawn(n_features, seed):
    return torch.rand(N, n_features, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def vectors():
    return drawn(3, 0), drawn(3, 1)


def test_of_a_linear_neuron_the_shares_are_its_squared_weights(vectors):
    W = torch.tensor([[1.0, 2.0, 0.0], [3.0, 0.0, -4.0]], dtype=torch.float64)
    expected = W.square() / W.square().sum(dim=1, keepdim=True)
    assert main_effects(lambda x: x @ W.mT, *vectors).shares == pytest.approx(expected, abs=ERROR)


def test_a_neuron_of_one_feature_has_all_its_variance_there_however_bent(vectors):
    shares = main_effects(lambda x: (9 * x[:, 1:2]).sin(), *vectors).shares
    assert shares[0] == pytest.approx([0, 1, 0], abs=ERROR)


def test_what_features_do_together_is_the_share_of_none(vectors):
    centred = main_effects(lambda x: (x[:, 0:1] - 0.5) * (x[:, 1:2] - 0.5), *vectors).shares
    assert centred[0] == pytest.approx([0, 0, 0], abs=ERROR)
    # xy of uniform x and y: Var E[xy | x] = (1/2)²/12 and Var xy = 1/9 − 1/16
    product = main_effects(lambda x: x[:, 0:1] * x[:, 1:2], *vectors).shares
    assert product[0, :2] == pytest.approx([(1 / 48) / (7 / 144)] * 2, abs=ERROR)


def test_a_scale_and_a_constant_change_nothing_and_a_constant_neuron_has_no_shares(vectors):
    shares = main_effects(lambda x: x.square() - x[:, [1, 2, 0]], *vectors).shares
    moved = main_effects(lambda x: 7 - 3 * (x.square() - x[:, [1, 2, 0]]), *vectors).shares
    assert moved == pytest.approx(shares, abs=1e-9)
    assert main_effects(lambda x: torch.ones(N, 1), *vectors).shares.isnan().all()


def test_the_standard_error_is_the_spread_over_seeds():
    """A linear neuron of shares .8 and .2: 200 draws of 500 vectors spread as the error of each says, within 15 %."""
    generator = torch.Generator().manual_seed(0)
    found = [
        main_effects(
            lambda x: 2 * x[:, :1] + x[:, 1:],
            *torch.rand(2, 500, 2, generator=generator, dtype=torch.float64),
        )
        for _ in range(200)
    ]
    spread = torch.stack([each.shares for each in found]).std(dim=0)
    told = torch.stack([each.errors for each in found]).mean(dim=0)
    torch.testing.assert_close(told, spread, rtol=0.15, atol=0)  # three standard errors of a deviation over 200: 3/√400
