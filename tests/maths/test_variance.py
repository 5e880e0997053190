"""Bias and variance of ensembles whose bias and variance are known."""

import math

import numpy as np
import pytest

from interp.maths.variance import cross_entropy, estimate, plain_variance, squared_error

TARGETS = np.array([0, 2, 1, 1])
MEAN = np.array([[0.6, 0.3, 0.1], [0.2, 0.3, 0.5], [0.4, 0.4, 0.2], [0.1, 0.8, 0.1]])
LOGITS = np.log(MEAN)
SIZE = 0.5


def gaussian(runs: int, seed: int, size: float = SIZE) -> np.ndarray:
    """Log-probabilities of runs whose logits are normal about those of `MEAN`."""
    logits = LOGITS + size * np.random.default_rng(seed).standard_normal((runs, *LOGITS.shape))
    return logits - np.logaddexp.reduce(logits, axis=2, keepdims=True)


def test_squared_error_of_a_planted_ensemble_has_its_bias_and_variance_for_any_number_of_runs():
    bias = ((MEAN - np.eye(3)[TARGETS]) ** 2).sum(axis=1).mean()
    variance = 3 * 0.1**2
    for runs in (2, 3, 8):
        each = [
            squared_error(MEAN + 0.1 * np.random.default_rng([runs, seed]).standard_normal((runs, 4, 3)), TARGETS)
            for seed in range(2_000)
        ]
        # about eight standard errors for two runs; without its correction, bias² of two would be off by .015
        assert np.mean([one.bias for one in each]) == pytest.approx(bias, abs=0.004)
        assert np.mean([one.variance for one in each]) == pytest.approx(variance, abs=0.002)
        assert all(one.total == pytest.approx(one.bias + one.variance) for one in each)


def test_two_runs_by_hand():
    outputs = np.array([[[1.0, 0.0]], [[0.0, 1.0]]])
    assert squared_error(outputs, np.array([0])) == pytest.approx((1.0, 0.0, 1.0))
    # π̄ of (¾, ¼) and (¼, ¾) is (½, ½): −ln Σ √(3/16) = −ln(√3/2), and twice that by the jackknife
    log = np.log(np.array([[[0.75, 0.25]], [[0.25, 0.75]]]))
    total, _, variance = cross_entropy(log, np.array([0]))
    assert variance == pytest.approx(-2 * math.log(math.sqrt(3) / 2))
    assert total == pytest.approx(-0.5 * math.log(3 / 16))
    assert plain_variance(log.mean(axis=0)) == pytest.approx(variance / 2)


def test_runs_that_agree_have_no_variance_and_the_bias_is_their_cross_entropy():
    total, bias, variance = cross_entropy(np.repeat(LOGITS[None], 4, axis=0), TARGETS)
    assert variance == pytest.approx(0, abs=1e-12)
    assert bias == total == pytest.approx(-np.log(MEAN[np.arange(4), TARGETS]).mean())


def test_the_jackknife_takes_the_error_of_few_runs_out_of_the_variance():
    many = gaussian(200_000, seed=0)
    known = plain_variance(many.mean(axis=0))
    few = [gaussian(4, seed) for seed in range(2_000)]
    plain = np.mean([plain_variance(log.mean(axis=0)) for log in few])
    corrected = [cross_entropy(log, TARGETS) for log in few]
    found = np.mean([one.variance for one in corrected])
    assert abs(plain / known - 0.75) < 0.03  # (R − 1)/R for small noise
    assert abs(found / known - 1) < 0.02
    bias = -many[:, np.arange(4), TARGETS].mean() - known
    assert np.mean([one.bias for one in corrected]) == pytest.approx(bias, abs=0.01)  # four standard errors


def test_standard_errors_are_the_spread_of_the_estimates():
    for decompose, values in ((cross_entropy, lambda log: log), (squared_error, np.exp)):
        each = [estimate(decompose, values(gaussian(6, seed)), TARGETS) for seed in range(200)]
        spread = np.std([one.value for one in each], axis=0)
        told = np.sqrt(np.mean(np.square([one.error for one in each]), axis=0))
        np.testing.assert_allclose(told, spread, rtol=0.3)
        shares = [one.value.variance / one.value.total for one in each]
        told = np.sqrt(np.mean(np.square([one.share_error for one in each])))
        assert told == pytest.approx(np.std(shares), rel=0.3)
        assert all(math.isnan(error) for error in estimate(decompose, values(gaussian(2, 0)), TARGETS).error)
