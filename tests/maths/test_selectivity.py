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
    assert main_effects(lambda x: x @ W.mT, *vectors) == pytest.approx(expected, abs=ERROR)


def test_a_neuron_of_one_feature_has_all_its_variance_there_however_bent(vectors):
    shares = main_effects(lambda x: (9 * x[:, 1:2]).sin(), *vectors)
    assert shares[0] == pytest.approx([0, 1, 0], abs=ERROR)


def test_what_features_do_together_is_the_share_of_none(vectors):
    centred = main_effects(lambda x: (x[:, 0:1] - 0.5) * (x[:, 1:2] - 0.5), *vectors)
    assert centred[0] == pytest.approx([0, 0, 0], abs=ERROR)
    # xy of uniform x and y: Var E[xy | x] = (1/2)²/12 and Var xy = 1/9 − 1/16
    product = main_effects(lambda x: x[:, 0:1] * x[:, 1:2], *vectors)
    assert product[0, :2] == pytest.approx([(1 / 48) / (7 / 144)] * 2, abs=ERROR)


def test_a_scale_and_a_constant_change_nothing_and_a_constant_neuron_has_no_shares(vectors):
    shares = main_effects(lambda x: x.square() - x[:, [1, 2, 0]], *vectors)
    moved = main_effects(lambda x: 7 - 3 * (x.square() - x[:, [1, 2, 0]]), *vectors)
    assert moved == pytest.approx(shares, abs=1e-9)
    assert main_effects(lambda x: torch.ones(N, 1), *vectors).isnan().all()
