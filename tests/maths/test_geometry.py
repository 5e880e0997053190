from math import pi

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.maths.geometry import aligned, circle, principal_components

ROUNDING = 1e-10  # float64 through a singular value decomposition
examples = settings(max_examples=30, deadline=None, derandomize=True)


def random_matrix(*size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def turn(d, seed, reflects):
    """A rotation of d dimensions, or one that also mirrors."""
    Q = torch.linalg.qr(random_matrix(d, d, seed=seed)).Q
    Q[:, 0] *= Q.det() * (-1 if reflects else 1)
    return Q


def planted(p, k, radius=2.0, d=5, seed=0):
    """Residues on a circle of that radius in a random plane, x at angle 2πkx/p."""
    angle = 2 * pi * k * torch.arange(p, dtype=torch.float64) / p
    plane = torch.linalg.qr(random_matrix(d, 2, seed=seed)).Q
    return radius * torch.stack([angle.cos(), angle.sin()], dim=1) @ plane.T


@examples
@given(n=st.integers(3, 12), d=st.integers(2, 6), seed=st.integers(0, 99))
def test_principal_components_are_the_eigenvectors_of_the_covariance(n, d, seed):
    points = random_matrix(n, d, seed=seed) * torch.arange(1, d + 1)
    found, shares = principal_components(points, k=2)
    centred = points.numpy() - points.numpy().mean(axis=0)
    variances, directions = np.linalg.eigh(centred.T @ centred)
    expected = centred @ directions[:, ::-1][:, :2]
    np.testing.assert_allclose(np.abs(found.numpy()), np.abs(expected), rtol=0, atol=1e-7)  # signs are arbitrary
    np.testing.assert_allclose(shares.numpy(), variances[::-1][:2] / variances.sum(), rtol=0, atol=ROUNDING)


def test_points_on_a_line_have_one_component_that_holds_all_variance():
    points = torch.tensor([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]])
    found, shares = principal_components(points)
    np.testing.assert_allclose(found[:, 0].abs(), [5, 0, 5], rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(shares, [1, 0], rtol=0, atol=ROUNDING)


def test_all_components_keep_all_distances():
    points = random_matrix(6, 4)
    found, shares = principal_components(points, k=4)
    torch.testing.assert_close(torch.cdist(found, found), torch.cdist(points, points), rtol=0, atol=1e-7)
    assert shares.sum() == pytest.approx(1)


@pytest.mark.parametrize("reflects", [False, True], ids=["rotation", "reflection"])
@examples
@given(n=st.integers(4, 10), d=st.integers(1, 4), seed=st.integers(0, 99))
def test_a_planted_turn_and_displacement_is_undone(reflects, n, d, seed):
    target = random_matrix(n, d, seed=seed)
    points = target @ turn(d, seed + 1, reflects) + random_matrix(d, seed=seed + 2)
    torch.testing.assert_close(aligned(points, target), target - target.mean(dim=0), rtol=0, atol=ROUNDING)


@examples
@given(n=st.integers(2, 10), d=st.integers(1, 4), seed=st.integers(0, 99))
def test_aligning_changes_no_distance_between_points(n, d, seed):
    points, target = random_matrix(n, d, seed=seed), random_matrix(n, d, seed=seed + 1)
    found = aligned(points, target)
    exact = "donot_use_mm_for_euclid_dist"
    before, after = (torch.cdist(cloud, cloud, compute_mode=exact) for cloud in (points, found))
    torch.testing.assert_close(after, before, rtol=0, atol=ROUNDING)
    torch.testing.assert_close(found.mean(dim=0), torch.zeros(d, dtype=torch.float64), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("reflects", [False, True], ids=["rotation", "reflection"])
@examples
@given(n=st.integers(2, 10), d=st.integers(1, 4), seed=st.integers(0, 99))
def test_no_other_turn_lies_nearer_the_target(reflects, n, d, seed):
    points, target = random_matrix(n, d, seed=seed), random_matrix(n, d, seed=seed + 1)
    goal = target - target.mean(dim=0)
    other = (points - points.mean(dim=0)) @ turn(d, seed + 2, reflects)
    assert (aligned(points, target) - goal).norm() <= (other - goal).norm() + ROUNDING


@examples
@given(p=st.integers(3, 30), radius=st.floats(0.1, 10), data=st.data(), seed=st.integers(0, 99))
def test_a_planted_frequency_lies_on_its_circle_at_its_angles(p, radius, data, seed):
    k = data.draw(st.integers(1, (p - 1) // 2))
    angle = 2 * pi * k * torch.arange(p, dtype=torch.float64) / p
    expected = radius * torch.stack([angle.cos(), angle.sin()], dim=1)
    torch.testing.assert_close(circle(planted(p, k, radius, seed=seed), k), expected, rtol=0, atol=ROUNDING)


def test_other_frequencies_in_other_dimensions_do_not_move_the_circle():
    alone, others = planted(11, 3, d=2), torch.cat([planted(11, 1, d=3), planted(11, 5, d=3)], dim=1)
    torch.testing.assert_close(circle(torch.cat([alone, others], dim=1), 3), circle(alone, 3), rtol=0, atol=ROUNDING)


def test_the_circle_of_a_frequency_that_is_stretched_to_an_ellipse_is_that_ellipse():
    angle = 2 * pi * 2 * torch.arange(9, dtype=torch.float64) / 9
    ellipse = torch.stack([3 * angle.cos(), angle.sin()], dim=1)
    torch.testing.assert_close(circle(ellipse, 2), ellipse, rtol=0, atol=ROUNDING)


@examples
@given(p=st.integers(3, 15), data=st.data(), seed=st.integers(0, 99))
def test_displacing_all_residues_alike_moves_no_circle(p, data, seed):
    k = data.draw(st.integers(1, p // 2))
    matrix = random_matrix(p, 4, seed=seed)
    displaced = matrix + random_matrix(4, seed=seed + 1)
    torch.testing.assert_close(circle(displaced, k), circle(matrix, k), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("p", [2, 6, 8])
def test_the_highest_frequency_of_an_even_p_has_two_points_on_one_axis(p):
    sign = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(p // 2)
    found = circle(sign[:, None] * torch.tensor([[3.0, 4.0]]), p // 2)
    torch.testing.assert_close(found, torch.stack([5 * sign, 0 * sign], dim=1), rtol=0, atol=ROUNDING)


@examples
@given(p=st.integers(5, 15), seed=st.integers(0, 99))
def test_turning_the_dimensions_turns_no_circle(p, seed):
    matrix = random_matrix(p, 4, seed=seed)
    turned = circle(matrix @ turn(4, seed + 1, reflects=False), 2)
    torch.testing.assert_close(turned, circle(matrix, 2), rtol=0, atol=ROUNDING)
