"""The jump of an accuracy: planted ones come back, and where there is none the reason does."""

import numpy as np
import pytest
from scipy.special import erf

from interp.maths.jumps import erf_jump


@pytest.mark.parametrize(("at", "sharpness"), [(40.0, 1.5), (300.0, 6.0), (1500.0, 0.8)])
def test_a_planted_jump_comes_back(at, sharpness):
    steps = np.unique(np.geomspace(1, 20_000, 120).round().astype(int))
    accuracy = 0.45 * erf(sharpness * (np.log(steps) - np.log(at))) + 0.5
    jump = erf_jump(steps, accuracy)
    assert jump.step == pytest.approx(at, rel=1e-5)
    assert jump.sharpness == pytest.approx(sharpness, rel=1e-5)
    assert (jump.low, jump.high) == (pytest.approx(0.05, abs=1e-5), pytest.approx(0.95, abs=1e-5))
    assert jump.residual < 1e-6
    np.testing.assert_allclose(jump.at(steps), accuracy, atol=1e-5)


def test_noise_comes_back_as_the_residual_and_the_jump_beside_it():
    rng, steps = np.random.default_rng(0), np.arange(1, 3000, 10)
    accuracy = 0.5 * erf(3 * (np.log(steps) - np.log(400))) + 0.5 + 0.02 * rng.standard_normal(len(steps))
    jump = erf_jump(steps, accuracy)
    assert jump.residual == pytest.approx(0.02, rel=0.15)
    assert jump.step == pytest.approx(400, rel=0.02)


def test_in_other_units_of_time_the_jump_moves_and_its_sharpness_stays():
    steps = np.arange(1, 500)
    accuracy = 0.5 * erf(4 * (np.log(steps) - np.log(60))) + 0.5
    one, tenfold = erf_jump(steps, accuracy), erf_jump(10 * steps, accuracy)
    assert tenfold.step == pytest.approx(10 * one.step)
    assert tenfold.sharpness == pytest.approx(one.sharpness)


def test_step_0_and_gaps_are_left_out():
    steps = np.arange(0, 400)
    accuracy = 0.5 * erf(2 * (np.log(np.maximum(steps, 1)) - np.log(50))) + 0.5
    accuracy[[0, 7, 90]] = np.nan
    assert erf_jump(steps, accuracy).step == pytest.approx(50)


@pytest.mark.parametrize(
    ("accuracy", "why"),
    [
        (np.full(200, 0.02), "never rises by 0.25"),
        (np.linspace(0.0, 0.3, 200) ** 2 * 5, "is half-way outside the steps that were logged"),
        (np.r_[np.full(196, np.nan), 0.1, 0.2, 0.3, 0.9], "has 4 values, and four numbers are fitted"),
    ],
)
def test_where_there_is_no_jump_the_reason_is_told(accuracy, why):
    jump = erf_jump(np.arange(1, 201), accuracy)
    assert np.isnan(jump[:5]).all()
    assert jump.why == why
