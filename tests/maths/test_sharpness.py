"""The highest point of a box against brute force, and steps of SAM against their definition."""

import itertools

import numpy as np
import pytest
import torch

from interp.maths.sharpness import ascent, highest, phi


def quadratic(matrix, slope, half_widths):
    """½·yᵀMy + bᵀy at y = u·half widths, with its gradient by u."""

    def loss(inside):
        y = inside * half_widths
        return float(y @ matrix @ y / 2 + slope @ y), half_widths * (matrix @ y + slope)

    return loss


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("size", [1e-4, 1.0])
def test_of_a_convex_quadratic_it_is_the_best_corner(seed, size):
    """A convex function is largest in a corner; with a slope, the best of them is found from a start near the middle."""
    rng = np.random.default_rng(seed)
    half_widths = size * rng.uniform(0.5, 2, 6)
    root = rng.standard_normal((6, 6)) / 20
    loss = quadratic(root @ root.T, size * rng.standard_normal(6), half_widths)
    corners = [np.array(corner) for corner in itertools.product([-1.0, 1.0], repeat=6)]
    best, where = highest(loss, rng.uniform(-0.1, 0.1, 6), iterations=20)
    assert best == pytest.approx(max(loss(corner)[0] for corner in corners))
    assert np.abs(where).tolist() == [1] * 6


def test_from_a_minimum_the_start_decides_and_a_separable_one_leads_to_the_same_height():
    half_widths = np.array([1.0, 2.0, 0.5])
    loss = quadratic(np.diag([1.0, 0.1, 4.0]), np.zeros(3), half_widths)
    assert highest(loss, np.zeros(3), iterations=20)[0] == 0
    best, _ = highest(loss, np.array([0.01, -0.05, 0.02]), iterations=20)
    assert best == pytest.approx((1 + 0.4 + 1) / 2)


def test_a_maximum_inside_the_box_is_found():
    loss = quadratic(-np.eye(3), np.array([0.3, -0.2, 0.1]), np.ones(3))
    best, where = highest(loss, np.array([0.05, 0.0, -0.05]), iterations=20)
    np.testing.assert_allclose(where, [0.3, -0.2, 0.1], atol=1e-5)
    assert best == pytest.approx(0.07)


def test_phi_is_a_rise_in_per_cent():
    assert phi(3.0, 1.0) == 100
    assert phi(0.5, 0.5) == 0


def test_a_step_of_sam_has_its_radius_and_that_of_asam_is_free_of_scale():
    generator = torch.Generator().manual_seed(0)
    gradient, weights = torch.randn(2, 9, generator=generator, dtype=torch.float64)
    sam, asam = ascent(gradient, 0.05), ascent(gradient, 0.5, weights.abs())
    assert sam.norm().item() == pytest.approx(0.05)
    assert (asam / weights).norm().item() == pytest.approx(0.5)
    for _ in range(50):  # no other step of that length raises a linear loss as far
        other = torch.randn(9, generator=generator, dtype=torch.float64)
        assert gradient @ (0.05 * other / other.norm()) <= gradient @ sam
        assert gradient @ (0.5 * other * weights.abs() / other.norm()) <= gradient @ asam + 1e-12
    scale = torch.rand(9, generator=generator, dtype=torch.float64) + 0.5
    torch.testing.assert_close(ascent(gradient / scale, 0.5, (scale * weights).abs()) / scale, asam)
    assert ascent(torch.zeros(3), 0.05).tolist() == [0, 0, 0]
