import itertools
import random
from math import pi, sqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.maths.clock_pizza import (
    circularity,
    distance_irrelevance,
    gradient_cosines,
    gradient_symmetricity,
    isolated,
    principal_waves,
    sampled_triples,
    shuffled_triples,
)
from interp.maths.sampling import standard_error

ROUNDING = 1e-12  # sums of at most some hundred float64 products of order 1
examples = settings(max_examples=40, deadline=None, derandomize=True)


def random_tensor(*size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def waves(p, *frequencies):
    """Cosine and sine of each frequency at 0 … p−1: [p, 2·frequencies]."""
    angle = 2 * pi * torch.tensor(frequencies).double() * torch.arange(p)[:, None] / p
    return torch.cat([angle.cos(), angle.sin()], dim=1)


def every_triple(p):
    return torch.cartesian_prod(*[torch.arange(p)] * 3)


def clock(embedded):
    """Re(z_a·z_b·z̄_c) for embeddings on one circle: logits for c = 0 … p−1."""
    (cos_a, sin_a), (cos_b, sin_b) = (embedded[..., i, :].unbind(dim=-1) for i in range(2))
    product = torch.stack([cos_a * cos_b - sin_a * sin_b, cos_a * sin_b + sin_a * cos_b], dim=-1)
    return product @ waves(7, 2).T


def pizza(embedded):
    """A network that sees the embeddings' sum alone."""
    return (embedded.sum(dim=-2) @ random_tensor(2, 16)).sigmoid() @ random_tensor(16, 7, seed=1)


@pytest.mark.parametrize("p, n, seed", [(5, 100, 42), (7, 30, 3)])
def test_triples_are_those_that_python_shuffles(p, n, seed):
    triples = list(itertools.product(range(p), repeat=3))
    random.Random(seed).shuffle(triples)
    assert [tuple(row) for row in shuffled_triples(p, n, seed).tolist()] == triples[:n]


def test_sampled_triples_are_different_ones_by_their_seed():
    triples = sampled_triples(1024, n=500, seed=1)
    assert len(set(map(tuple, triples.tolist()))) == 500
    assert 0 <= triples.min() <= triples.max() < 1024
    assert torch.equal(triples, sampled_triples(1024, n=500, seed=1))
    assert not torch.equal(triples, sampled_triples(1024, n=500, seed=2))
    assert {tuple(row) for row in sampled_triples(3, n=99).tolist()} == {tuple(row) for row in every_triple(3).tolist()}


def test_gradients_are_the_same_when_a_and_b_are_added_and_opposite_when_they_are_subtracted():
    triples = shuffled_triples(7)
    embedded = waves(7, 2)[triples[:, :2]]
    assert gradient_symmetricity(pizza, embedded, triples[:, 2]).item() == pytest.approx(1, abs=ROUNDING)
    difference = gradient_symmetricity(lambda x: pizza(x * torch.tensor([[1.0], [-1.0]])), embedded, triples[:, 2])
    assert difference.item() == pytest.approx(-1, abs=ROUNDING)


def test_the_gradients_of_a_clock_stand_at_the_angle_of_the_distance():
    """∂/∂z_a is z̄_b·z_c and ∂/∂z_b is z̄_a·z_c: cosine cos(w(a − b)), which is 0 in the mean over all pairs."""
    triples = shuffled_triples(7, n=20)
    a, b, c = triples.unbind(dim=1)
    expected = (2 * pi * 2 * (a - b).double() / 7).cos().mean()
    found = gradient_symmetricity(clock, waves(7, 2)[triples[:, :2]], c)
    torch.testing.assert_close(found, expected, rtol=0, atol=ROUNDING)
    a, b, c = every_triple(7).unbind(dim=1)
    everything = gradient_symmetricity(clock, waves(7, 2)[torch.stack([a, b], dim=1)], c)
    assert everything.item() == pytest.approx(0, abs=ROUNDING)


def test_the_standard_error_of_the_symmetricity_is_its_spread_over_the_seeds_of_the_triples():
    """Of a clock with p = 7, whose cosines lie between −1 and 1: 50 of the 343 triples, by 400 seeds."""

    def by_seed(seed):
        triples = sampled_triples(7, n=50, seed=seed)
        return gradient_cosines(clock, waves(7, 2)[triples[:, :2]], triples[:, 2])

    cosines = torch.stack([by_seed(seed) for seed in range(400)])
    told = standard_error(cosines, of=7**3).square().mean().sqrt().item()
    assert told == pytest.approx(cosines.mean(dim=1).std().item(), rel=0.11)  # three deviations of 1/√800


def test_gradients_of_several_networks_at_once_are_those_of_each_under_inference_mode_too():
    triples, W_E = shuffled_triples(7, n=20), torch.stack([waves(7, k) for k in (1, 2, 3)])
    alone = [gradient_symmetricity(clock, each[triples[:, :2]], triples[:, 2]) for each in W_E]
    with torch.inference_mode():
        together = gradient_symmetricity(clock, W_E[:, triples[:, :2]], triples[:, 2])
    torch.testing.assert_close(together, torch.stack(alone), rtol=0, atol=ROUNDING)
    assert len(set(together.tolist())) == 3


def table(p, of_sum, of_difference):
    """A right logit that is a sum of a function of a + b and one of a − b."""
    a, b = torch.arange(p)[:, None], torch.arange(p)
    return of_sum[(a + b) % p] + of_difference[(a - b) % p]


def test_the_distance_is_irrelevant_to_a_function_of_the_sum_and_all_to_one_of_the_distance():
    f, nothing = random_tensor(11), torch.zeros(11, dtype=torch.float64)
    assert distance_irrelevance(table(11, f, nothing)).item() == pytest.approx(1, abs=ROUNDING)
    assert distance_irrelevance(table(11, nothing, f)).item() == pytest.approx(0, abs=ROUNDING)
    w = 2 * pi * 3 / 11
    pizza = (w * torch.arange(11).double() * 6).cos().abs()  # |cos(w(a − b)/2)|: 6 is a half modulo 11
    assert distance_irrelevance(table(11, nothing, pizza)).item() == pytest.approx(0, abs=ROUNDING)


@pytest.mark.parametrize("clock, pizza", [(3.0, 4.0), (1.0, 1.0), (5.0, 0.1)])
def test_waves_of_sum_and_distance_have_the_irrelevance_of_their_sizes(clock, pizza):
    found = distance_irrelevance(table(13, clock * waves(13, 2)[:, 0], 7 + pizza * waves(13, 5)[:, 0]))
    assert found.item() == pytest.approx(clock / sqrt(clock**2 + pizza**2), abs=ROUNDING)


@examples
@given(p=st.integers(2, 9), seed=st.integers(0, 99), scale=st.floats(0.1, 10))
def test_irrelevance_is_that_of_a_loop_at_any_scale_and_offset(p, seed, scale):
    right = random_tensor(2, p, p, seed=seed)
    for one, found in zip(right, distance_irrelevance(scale * right + 3), strict=True):
        at = [torch.stack([one[a, b] for a in range(p) for b in range(p) if (a - b - d) % p == 0]) for d in range(p)]
        mean = sum(each.std(correction=0).item() for each in at) / p
        assert found.item() == pytest.approx(mean / one.std(correction=0).item(), abs=1e-10)


def test_logits_that_are_all_alike_have_no_irrelevance():
    assert distance_irrelevance(torch.full((5, 5), 0.1)).isnan()


def test_circles_are_circular_however_they_are_turned_and_moved():
    W_E = torch.cat([3 * waves(13, 2), waves(13, 5)], dim=1) @ torch.linalg.qr(random_tensor(8, 8)).Q[:4] + 5
    assert circularity(W_E).item() == pytest.approx(1, abs=ROUNDING)


def test_a_component_counts_with_its_strongest_frequency():
    mixed = sqrt(0.7) * waves(13, 2)[:, :1] + sqrt(0.3) * waves(13, 5)[:, :1]
    assert circularity(mixed, n_components=1).item() == pytest.approx(0.7, abs=ROUNDING)
    apart = torch.cat([3 * mixed, waves(13, 3)[:, :1]], dim=1)
    assert circularity(apart, n_components=2).item() == pytest.approx((0.7 + 1) / 2, abs=ROUNDING)


def test_random_rows_are_as_circular_as_the_largest_of_many_shares_is():
    """Each of 29 shares is χ²₂ over the sum of 29: the largest is (1 + 1/2 + … + 1/29)/29 in the mean."""
    found = circularity(random_tensor(200, 59, 128)).mean().item()
    assert found == pytest.approx(sum(1 / i for i in range(1, 30)) / 29, rel=0.03)  # 800 draws scatter by 1 %


def test_an_isolated_circle_is_that_circle_and_the_mean():
    first, second, turn = 3 * waves(13, 2), waves(13, 5), torch.linalg.qr(random_tensor(8, 8)).Q
    W_E = torch.cat([first, second], dim=1) @ turn[:4] + 5
    components = principal_waves(W_E, 4)
    torch.testing.assert_close(isolated(W_E, components[:, :2]), first @ turn[:2] + 5, rtol=0, atol=1e-10)
    torch.testing.assert_close(isolated(W_E, components[:, 2:]), second @ turn[2:4] + 5, rtol=0, atol=1e-10)
    torch.testing.assert_close(isolated(W_E, components), W_E, rtol=0, atol=1e-10)


def test_the_symmetricity_of_a_faint_network_is_that_of_a_loud_one():
    """Gradients of 1e-12 have a direction too."""
    weights = random_tensor(6, 7, seed=3)
    embedded, answers = random_tensor(9, 2, 6, seed=4), torch.arange(9) % 7

    def symmetricity(scale):
        return gradient_symmetricity(
            lambda rows: scale * (rows[..., 0, :] * rows.sum(dim=-2)) @ weights, embedded, answers
        )

    assert symmetricity(1e-12).item() == pytest.approx(symmetricity(1.0).item())
