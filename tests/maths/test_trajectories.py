"""interp/maths/trajectories.py on ways whose components are known: a line, a circle, a random walk."""

import math

import pytest
import torch

from interp.maths.trajectories import cosines, displacement, path_length, principal, random_walk


def products(places):
    return places @ places.mT


def moves(places):
    return places.diff(dim=0).norm(dim=1)


def vectors(*size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_straight_line_has_one_component_and_no_detour():
    begin, along = vectors(50), vectors(50, seed=1)
    t = torch.tensor([0, 0.1, 0.5, 0.7, 1.0], dtype=torch.float64)
    places = begin + t[:, None] * along
    found = principal(products(places), 2)
    assert found.shares[0] == pytest.approx(1, abs=1e-12)
    torch.testing.assert_close(found.positions[:, 0], (t - t.mean()) * along.norm())
    length = path_length(moves(places))
    torch.testing.assert_close(length, t * along.norm())
    torch.testing.assert_close(displacement(products(places)), length, rtol=1e-6, atol=1e-6)


def test_a_circle_has_two_equal_components_and_its_length():
    n = 12
    plane, _ = torch.linalg.qr(vectors(30, 2))
    angle = 2 * math.pi * torch.arange(n + 1, dtype=torch.float64) / n
    places = vectors(30, seed=2) + torch.stack([angle.cos(), angle.sin()], dim=1) @ plane.mT
    whole, open_ = principal(products(places), 3), principal(products(places[:-1]), 3)
    torch.testing.assert_close(open_.shares, torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(open_.positions.square().sum(dim=1), torch.ones(n, dtype=torch.float64))
    assert whole.shares.sum() == pytest.approx(1)
    assert path_length(moves(places))[-1] == pytest.approx(2 * n * math.sin(math.pi / n))
    away = displacement(products(places))
    torch.testing.assert_close(away, 2 * (angle / 2).sin().abs(), rtol=0, atol=1e-7)


def test_components_are_those_of_the_places_themselves():
    places = vectors(6, 40)
    found = principal(products(places), 4)
    centred = places - places.mean(dim=0)
    singular = torch.linalg.svdvals(centred)
    torch.testing.assert_close(found.shares, (singular.square() / singular.square().sum())[:4])
    torch.testing.assert_close(found.positions.norm(dim=0), singular[:4])
    assert (found.positions[-1] > 0).all()
    five = principal(products(places), 99).positions
    torch.testing.assert_close(torch.cdist(five, five), torch.cdist(places, places), rtol=0, atol=1e-6)


@pytest.mark.parametrize("n", [2, 5, 100])
def test_the_components_of_an_even_random_walk_are_known(n):
    """Centred places of n − 1 equal moves: eigenvalues 1/(4 sin²(πk/2n)), k = 1 … n − 1, which sum to (n² − 1)/6."""
    found = principal(random_walk(torch.ones(n - 1, dtype=torch.float64)), n)
    k = torch.arange(1, n, dtype=torch.float64)
    expected = 1 / (4 * (math.pi * k / (2 * n)).sin().square()) / ((n**2 - 1) / 6)
    torch.testing.assert_close(found.shares, expected)
    if n == 100:
        assert found.shares[0] == pytest.approx(6 / math.pi**2, abs=1e-3)
        wave = (math.pi * (torch.arange(n, dtype=torch.float64) + 0.5) / n).cos()
        assert abs(float(wave @ found.positions[:, 0] / wave.norm() / found.positions[:, 0].norm())) == pytest.approx(1)


def test_a_drawn_random_walk_has_the_components_of_its_lengths():
    sizes = torch.logspace(0, 1, 30, dtype=torch.float64)
    steps = vectors(30, 20_000) * sizes[:, None]
    places = torch.cat([torch.zeros(1, 20_000, dtype=torch.float64), steps.cumsum(0)])
    found, expected = principal(products(places), 3), principal(random_walk(moves(places)), 3)
    torch.testing.assert_close(
        found.shares, expected.shares, rtol=0, atol=0.01
    )  # moves are at right angles up to 1/√20,000
    away = displacement(products(places))[-1]
    assert away == pytest.approx(float(sizes.square().sum().sqrt()) * math.sqrt(20_000), rel=0.02)


def test_cosines_are_those_of_the_places():
    places = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 2.0], [-3.0, 0.0]], dtype=torch.float64)
    expected = torch.tensor([1, math.sqrt(0.5), 0, -1], dtype=torch.float64)
    torch.testing.assert_close(cosines(products(places), 0), expected)
    assert cosines(products(torch.zeros(2, 2)), 0).isnan().all()


def test_a_point_that_does_not_move_has_no_components():
    found = principal(products(torch.ones(4, 3, dtype=torch.float64)), 2)
    assert found.shares.isnan().all()
    assert found.positions.abs().max() < 1e-7
