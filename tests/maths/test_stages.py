"""Stages of a curve: a planted fall, rise and fall is found with its steps, and noise on a curve that only falls is none."""

import numpy as np
import pytest

from interp.maths.peaks import largest_rise
from interp.maths.stages import PHI, Stretches, autoregressive, falling, noise_of, stages, without_spikes

STEPS = np.arange(0, 8001, 100)
"""Eighty logged steps after the first."""
DENSE = np.arange(0, 8001, 20)


def planted(steps: np.ndarray, second: float = 0.0) -> np.ndarray:
    """.1 at the first minimum, about step 400; a rise of .1 with its top at 1,500; and .1 + second at the end."""
    t = np.log(np.maximum(steps, 1))
    bump = np.exp(-(((t - np.log(1500)) / 0.6) ** 2))
    return 0.1 + 0.8 * np.exp(-steps / 60) + 0.1 * bump + second / (1 + np.exp(-(t - np.log(3000)) / 0.2))


def noisy(curve: np.ndarray, phi: float, size: float, seed: int) -> np.ndarray:
    return curve + size * autoregressive(np.array([phi]), len(curve), np.random.default_rng(seed))[:, 0]


@pytest.mark.parametrize(("second", "phi"), [(-0.05, 0.0), (0.05, 0.0), (-0.05, 0.8)])
def test_a_planted_fall_rise_and_fall_is_found(second, phi):
    found = stages(DENSE, noisy(planted(DENSE, second), phi, 0.005, seed=1))
    assert max(stage.p for stage in found[:3]) < 0.01
    assert 250 < found.rise.begin < 600
    assert 1200 < found.rise.end < 1900
    assert found.second_fall.begin == found.rise.end
    assert abs(found.rise.height - 0.1) < 4 * max(found.rise.height_error, 0.002)
    # the end of the curve is .0044 above its level, from the bump
    assert abs(found.lower - second) < 4 * max(found.lower_error, 0.002)
    assert np.sign(found.lower) == np.sign(second)


def test_without_noise_the_ends_are_those_of_the_averages():
    found = stages(STEPS, planted(STEPS))
    means = Stretches.of(STEPS[1:]).averages(planted(STEPS)[1:])
    np.testing.assert_allclose(found.averages, means)
    assert found.rise.height == pytest.approx(largest_rise(means)[2])


FALLS = {
    "flat": lambda t: np.full(len(t), 0.2),
    "exponential": lambda t: 0.1 + 0.8 * np.exp(-t / 300),
    "power": lambda t: (t + 10.0) ** -0.5,
}


@pytest.mark.parametrize("phi", [0.0, 0.6, 0.9])
def test_noise_on_a_curve_that_only_falls_makes_a_rise_no_more_often_than_p_says(phi):
    """Noise that lasts, too. 2 of 40 are expected at most, with a standard deviation of 1.4; four of these."""
    for shape in FALLS.values():
        small = sum(stages(STEPS, noisy(shape(STEPS), phi, 0.02, seed), draws=100).rise.p < 0.05 for seed in range(40))
        assert small <= 8, (phi, shape)


def test_a_rise_that_stays_is_no_second_fall_more_often_than_p_says():
    rising = planted(np.minimum(STEPS, 1500))
    small = sum(stages(STEPS, noisy(rising, 0.5, 0.01, seed), draws=100).second_fall.p < 0.05 for seed in range(40))
    assert small <= 8


GRIDS = {
    "linear": np.arange(0, 6001, 100),
    "dense": np.arange(0, 6001, 25),
    "logarithmic": np.unique(np.round(10 ** np.arange(0, 3.8, 0.05)).astype(int)),
}


def steep(steps: np.ndarray, bump: float = 0.0) -> np.ndarray:
    """From 2.28 to .38, most of it in the first 300 steps, and a rise and fall by `bump` about step 1,200."""
    t = np.log(np.maximum(steps, 1))
    return 0.38 + 1.9 * np.exp(-steps / 120) + bump * np.exp(-(((t - np.log(1200)) / 0.5) ** 2))


def spiky(steps: np.ndarray, curve: np.ndarray, at: list[int]) -> np.ndarray:
    """The curve, with a value of 1 added at the logged steps nearest to these."""
    return curve + np.isin(np.arange(len(steps)), [int(np.abs(steps - step).argmin()) for step in at])


@pytest.mark.parametrize("phi", [0.0, 0.6])
@pytest.mark.parametrize("grid", GRIDS)
def test_spikes_neither_hide_a_fall_nor_make_a_rise(grid, phi):
    steps = GRIDS[grid]
    for at in [], [900], [900, 2000], [300, 700, 1500, 3000]:
        found = [
            stages(steps, spiky(steps, noisy(steep(steps), phi, 0.015, seed), at), draws=200) for seed in range(10)
        ]
        assert sum(each.fall.p < 0.05 for each in found) == 10, at
        assert sum(each.rise.p < 0.05 for each in found) <= 3, at


@pytest.mark.parametrize("grid", ["linear", "dense"])
def test_a_rise_beside_spikes_is_found(grid):
    steps = GRIDS[grid]
    for at in [900], [900, 2000]:
        found = [
            stages(steps, spiky(steps, noisy(steep(steps, 0.35), 0.0, 0.015, seed), at), draws=200)
            for seed in range(10)
        ]
        told = [each for each in found if max(each.rise.p, each.second_fall.p) < 0.05]
        assert len(told) >= 9, at
        # two stretches to either side of the planted top
        assert 800 < np.median([each.rise.end for each in told]) < 1800


def test_spikes_that_were_left_in_would_hide_a_fall_or_make_a_rise(monkeypatch):
    """The tests above can fail: one spike makes a rise, and two are so much noise that not even the fall is told."""
    monkeypatch.setattr("interp.maths.stages.without_spikes", lambda values: values)
    steps = GRIDS["linear"]
    curves = [noisy(steep(steps), 0.6, 0.015, seed) for seed in range(5)]
    assert all(stages(steps, spiky(steps, curve, [900]), draws=200).rise.p < 0.05 for curve in curves)
    assert not any(stages(steps, spiky(steps, curve, [900, 2000]), draws=200).fall.p < 0.05 for curve in curves)


@pytest.mark.parametrize("phi", [0.0, 0.6, 0.9])
def test_spikes_on_a_curve_that_only_falls_make_a_rise_no_more_often_than_p_says(phi):
    """As without spikes above: 2 of 40 are expected at most."""
    for shape in FALLS.values():
        curves = [spiky(STEPS, noisy(shape(STEPS), phi, 0.02, seed), [700, 3000, 5200]) for seed in range(40)]
        assert sum(stages(STEPS, curve, draws=100).rise.p < 0.05 for curve in curves) <= 8, (phi, shape)


def test_a_spike_is_brought_to_its_nearer_neighbour_and_nothing_else_is_moved():
    curve = steep(STEPS, 0.35)
    np.testing.assert_array_equal(without_spikes(curve), curve)
    np.testing.assert_array_equal(without_spikes(-curve), -curve)
    step = np.where(np.arange(40) < 20, 5.0, 0.0) - np.arange(40) / 10  # as steep as can be
    np.testing.assert_array_equal(without_spikes(step), step)
    spiked, mended = step.copy(), step.copy()
    spiked[[10, 30]] += 3, -3
    mended[[10, 30]] = step[9], step[31]
    np.testing.assert_allclose(without_spikes(spiked), mended)
    lasting = spiked.copy()
    lasting[11] += 3  # two values in succession are no spike
    assert without_spikes(lasting)[10] == lasting[10]


def test_a_step_of_a_curve_in_whole_numbers_is_no_spike():
    counts = np.repeat(5.0, 60)
    counts[[20, 40]] = 6, 15
    np.testing.assert_array_equal(np.flatnonzero(without_spikes(counts) != counts), [40])


def test_noise_as_if_it_did_not_last_would_be_taken_for_stages(monkeypatch):
    """The test above can fail: with the correlation held at 0, slow noise makes rises."""
    alone = np.eye(len(PHI))[0]
    monkeypatch.setattr("interp.maths.stages.likelihood", lambda known, n, seed: alone)
    flat = FALLS["flat"](STEPS)
    small = sum(stages(STEPS, noisy(flat, 0.9, 0.02, seed), draws=100).rise.p < 0.05 for seed in range(40))
    assert small > 13


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9])
def test_size_and_correlation_of_noise_are_told_beside_a_curve(phi):
    found = [noise_of(noisy(FALLS["exponential"](DENSE), phi, 0.02, seed)) for seed in range(20)]
    assert np.mean([noise.lasting for noise in found]) == pytest.approx(phi, abs=0.12)
    sizes = [noise.drawn(200, seed=0).std() for noise in found]
    # noise that lasts is told from the curve less and less: its size comes out too large, and stages are found less often
    assert 0.8 < np.mean(sizes) / 0.02 < (1.25 if phi < 0.9 else 2.2)


def test_a_curve_of_levels_that_noise_does_not_tell_apart_is_flat():
    noise = np.random.default_rng(0).standard_normal((500, 20))
    assert np.ptp(falling(noise[0], noise)) < 0.5 * np.ptp(noise[0])
    steep = np.linspace(40, 0, 20)
    np.testing.assert_allclose(falling(steep, 0.1 * noise), steep)


def test_a_curve_of_few_values_has_no_stages():
    with pytest.raises(ValueError, match="has 9 logged values from step 1 on; stages need 10"):
        stages(STEPS[:10], planted(STEPS[:10]))
