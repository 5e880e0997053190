from math import pi

import numpy as np
import pytest
import torch

from interp.maths import groups
from interp.maths.neighbours import best_of, coset_excess, nearest, ring_shares


def noise(*size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def excess(near, cosets):
    """The excess under each of several namings."""
    return lambda namings: torch.stack([coset_excess(near, cosets[:, names]) for names in namings])


def test_the_nearest_come_first_and_no_point_is_its_own_neighbour():
    points = noise(9, 3)
    points[4] = points[2]  # two that coincide
    found = nearest(points)
    for x, others in enumerate(found.tolist()):
        assert sorted(others) == [y for y in range(9) if y != x]
        distances = (points[others] - points[x]).norm(dim=1)
        assert (distances.diff() >= -1e-12).all()
    assert (found[2, 0], found[4, 0]) == (4, 2)


@pytest.mark.parametrize("stride", [1, 4, 5])
def test_a_ring_walked_in_strides_has_all_neighbours_at_that_stride(stride):
    place = torch.arange(13) * pow(stride, -1, 13) % 13  # residue x stands at place x/stride
    ring = torch.stack([(2 * pi * place / 13).cos(), (2 * pi * place / 13).sin()], dim=1)
    shares = ring_shares(nearest(ring), torch.arange(13))
    assert shares.tolist() == [float(d == stride) for d in range(1, 7)]


def test_several_namings_at_once_are_as_one_by_one_and_a_period_may_be_longer_than_the_points_are_many():
    near = nearest(noise(12, 2))
    namings = torch.stack([torch.randperm(13)[:12] for _ in range(3)])
    together = ring_shares(near, namings, period=13)
    for names, found in zip(namings, together, strict=True):
        apart = [abs(int(names[x] - names[y])) for x in range(12) for y in near[x, :2].tolist()]
        by_hand = [sum(min(each, 13 - each) == d for each in apart) / 24 for d in range(1, 7)]
        assert found.tolist() == pytest.approx(by_hand)


def test_by_chance_each_stride_has_its_part_and_they_sum_to_one():
    near = nearest(noise(13, 2))
    shares = torch.stack([ring_shares(near, torch.randperm(13)) for _ in range(2000)])
    np.testing.assert_allclose(shares.sum(dim=1), 1)
    np.testing.assert_allclose(shares.mean(dim=0), 2 / 12, atol=0.01)  # 2,000 draws, six standard errors


@pytest.fixture(scope="module")
def cosets():
    """Of every subgroup of S4 but the trivial one and the whole."""
    table = groups.named_group("S4")
    masks = [mask for every in groups.subgroup_classes(table)[0] for mask in every if 1 < mask.sum() < 24]
    return torch.from_numpy(
        np.stack([groups.cosets(table, np.flatnonzero(mask), side) for mask in masks for side in ("left", "right")])
    )


def test_the_excess_is_the_share_of_neighbours_in_the_coset_beyond_chance(cosets):
    """Against a loop over the elements."""
    near = nearest(noise(24, 3))
    for labels, found in zip(cosets, coset_excess(near, cosets), strict=True):
        m = int((labels == labels[0]).sum())
        same = [float(labels[y] == labels[x]) for x in range(24) for y in near[x, : m - 1].tolist()]
        chance = (m - 1) / 23
        assert found.item() == pytest.approx((np.mean(same) - chance) / (1 - chance))


def test_the_excess_is_nothing_on_average_over_names(cosets):
    near, generator = nearest(noise(24, 3)), torch.Generator().manual_seed(0)
    draws = torch.stack([coset_excess(near, cosets[:, torch.randperm(24, generator=generator)]) for _ in range(500)])
    np.testing.assert_allclose(draws.mean(dim=0), 0, atol=6 * float(draws.std(dim=0).max()) / 500**0.5)


def test_clusters_at_the_cosets_are_found_among_all_subgroups(cosets):
    planted = 7
    points = 10 * noise(24, 4)[cosets[planted]] + 0.01 * noise(24, 4, seed=1)
    near = nearest(points)
    best = best_of(excess(near, cosets), 24, draws=50)
    assert (best.value, best.place) == (pytest.approx(1), planted)
    assert best.by_chance < 0.5
    assert best.p_value == pytest.approx(1 / 51)


def test_the_standard_error_of_chance_is_its_spread_over_seeds(cosets):
    near = nearest(noise(24, 3))
    best = [best_of(excess(near, cosets), 24, draws=20, seed=seed) for seed in range(100)]
    spread = np.std([each.by_chance for each in best], ddof=1)
    told = np.mean([each.by_chance_error for each in best])
    assert told == pytest.approx(spread, rel=0.25)  # three and a half deviations of 1/√200


def test_in_noise_the_p_value_is_as_often_small_as_it_says(cosets):
    def p_value(seed):
        near = nearest(noise(24, 3, seed=seed))
        return best_of(excess(near, cosets), 24, draws=19, seed=seed).p_value

    values = [p_value(seed) for seed in range(60)]
    assert np.mean(np.array(values) <= 0.5) == pytest.approx(0.5, abs=0.25)  # four standard errors
    assert min(values) >= 1 / 20
