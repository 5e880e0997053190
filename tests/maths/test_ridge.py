"""Ridge regression against scikit-learn's, and what its penalty leaves alone."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge as Reference

from interp.maths.ridge import Ridge


def planted(n=60, d=9, labels=5, seed=0):
    """Features, and labels that follow from them in part."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(n, d, generator=generator, dtype=torch.float64) * 3 + 1
    return features, (features[:, :labels] + torch.randn(n, labels, generator=generator)).argmax(dim=1)


@pytest.mark.parametrize("penalty", [1e-6, 1e-2, 3.0])
def test_the_readout_is_that_of_scikit_learn(penalty):
    features, labels = planted()
    x, y = features.numpy(), np.eye(5)[labels]
    centred = x - x.mean(axis=0)
    reference = Reference(alpha=penalty * np.trace(centred.T @ centred) / x.shape[1]).fit(x, y)
    readout = Ridge.of(features, penalty).fit(labels, 5)
    np.testing.assert_allclose(readout.W.T, reference.coef_, atol=1e-10)
    np.testing.assert_allclose(readout.b, reference.intercept_, atol=1e-10)


def test_scores_are_accuracy_and_the_share_of_the_variance_that_the_fit_explains():
    features, labels = planted()
    readout = Ridge.of(features, 1e-3).fit(labels, 5)
    accuracy, explained = readout.score(features, labels).tolist()
    outputs, y = (features @ readout.W + readout.b).numpy(), np.eye(5)[labels]
    assert accuracy == pytest.approx((outputs.argmax(axis=1) == labels.numpy()).mean())
    assert explained == pytest.approx(1 - np.square(y - outputs).sum() / np.square(y - y.mean(axis=0)).sum())


@pytest.mark.parametrize("n", [8, 40])
def test_fewer_rows_than_features_are_no_fault(n):
    features, labels = planted(n=n, d=20)
    readout = Ridge.of(features, 1e-6).fit(labels, 5)
    assert readout.score(features, labels)[0] == (1.0 if n < 20 else pytest.approx(0.85, abs=0.15))


def test_the_scale_of_the_features_changes_no_answer():
    features, labels = planted()
    one, other = Ridge.of(features, 0.1).fit(labels, 5), Ridge.of(100 * features, 0.1).fit(labels, 5)
    torch.testing.assert_close(one.W, 100 * other.W)
    torch.testing.assert_close(one.b, other.b)


def test_features_that_do_not_vary_answer_the_most_frequent_label():
    labels = torch.tensor([0, 1, 1, 2])
    readout = Ridge.of(torch.full((4, 3), 2.5, dtype=torch.float64), 1e-3).fit(labels, 3)
    accuracy, explained = readout.score(torch.zeros(4, 3, dtype=torch.float64), labels).tolist()
    assert accuracy == 0.5
    assert explained == pytest.approx(0)
