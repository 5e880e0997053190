from itertools import permutations
from math import pi, sqrt

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.maths.geometry import aligned, circle, matched, orientations, principal_components, variability

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


def polygon(k, radius=1.0):
    angles = 2 * pi / k * torch.arange(k, dtype=torch.float64)
    return radius * torch.stack([angles.cos(), angles.sin()], dim=-1)


@pytest.mark.parametrize("d", [1, 2, 3, 5])
@pytest.mark.parametrize("n", [1, 5, 30])
def test_vectors_in_another_order_turned_or_mirrored_are_matched_with_distance_0(n, d):
    A = random_matrix(n, d, seed=n)
    for number, each in enumerate((*orientations(d, 3, seed=7)[::2], turn(d, seed=1, reflects=True))):
        order = torch.randperm(n, generator=torch.Generator().manual_seed(number))
        found = matched(A, A[order] @ each)
        assert found.distance < ROUNDING
        torch.testing.assert_close((A[order] @ each)[found.order] @ found.turn, A, rtol=0, atol=ROUNDING)


def test_a_matched_distance_is_that_of_the_best_permutation_of_all():
    for seed in range(10):
        A, B = random_matrix(5, 2, seed=seed), random_matrix(5, 2, seed=100 + seed)
        mass = A.square().sum() + B.square().sum()
        overlaps = [torch.linalg.svdvals(A.mT @ B[list(order)]).sum() for order in permutations(range(5))]
        assert matched(A, B).distance == pytest.approx(((mass - 2 * max(overlaps)) / mass).sqrt().item(), abs=1e-9)


def test_a_matched_distance_has_the_closed_forms_of_scales_and_of_nothing():
    V = random_matrix(12, 2)
    assert matched(V, 2 * V).distance == pytest.approx(1 / sqrt(5))  # |1 − 2| / √(1 + 4)
    assert matched(V, 0 * V).distance == pytest.approx(1)
    assert np.isnan(matched(0 * V, 0 * V).distance)
    # A square and a digon: two corners lie on its ends, the others on 0: √(2 / (4 + 2)).
    digon = torch.nn.functional.pad(polygon(2), (0, 0, 0, 2))
    assert matched(polygon(4), digon).distance == pytest.approx(sqrt(1 / 3))


def test_a_matched_distance_does_not_depend_on_order_orientation_or_side():
    A, B = random_matrix(9, 2, seed=1), random_matrix(9, 2, seed=2)
    expected = matched(A, B).distance
    order = torch.randperm(9, generator=torch.Generator().manual_seed(3))
    assert matched(
        A @ turn(2, seed=4, reflects=True), B[order] @ turn(2, seed=5, reflects=False)
    ).distance == pytest.approx(expected)
    assert matched(B, A).distance == pytest.approx(expected)
    assert matched(3 * A, 3 * B).distance == pytest.approx(expected)


def test_orientations_are_orthogonal_and_half_of_them_mirror():
    for d in (1, 2, 4):
        each = torch.stack(orientations(d, 10))
        torch.testing.assert_close(
            each @ each.mT, torch.eye(d, dtype=torch.float64).expand_as(each), rtol=0, atol=ROUNDING
        )
        assert torch.linalg.det(each).sign().tolist() == [1] * 10 + [-1] * 10


def test_two_pentagons_have_variability_0_and_random_directions_about_1():
    assert variability(polygon(5), polygon(5) @ turn(2, seed=0, reflects=True)).relative < ROUNDING
    found = [
        variability(random_matrix(20, 2, seed=2 * i), random_matrix(20, 2, seed=2 * i + 1), seed=i) for i in range(40)
    ]
    relative = torch.tensor([each.relative for each in found])
    # Gaussian vectors are random directions of their lengths, so distance and null are drawn alike.
    assert abs(float(relative.mean()) - 1) < 4 * float(relative.std()) / sqrt(40)
    assert 0.05 < float(relative.std()) < 0.4
    assert all(each.null_deviation < each.null for each in found)


def test_a_smaller_set_is_filled_up_with_zeros():
    V = random_matrix(6, 2)
    found = variability(V, torch.cat([V, torch.zeros(3, 2)]))
    assert found.distance < ROUNDING
    assert variability(V, V, seed=1) == variability(V, V, seed=1)
