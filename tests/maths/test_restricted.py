import math
import statistics

import pytest
import torch
from closed_forms import clock_logits, pizza_logits, quadratic_hidden, quadratic_network

from interp.maths.losses import accuracy, cross_entropy
from interp.maths.restricted import (
    DIRECTIONS,
    blocks_3x3,
    cosine_logits,
    cosine_share,
    products_2x2,
    projection,
    restricted,
    sum_totals,
    sum_waves,
)

SIZES = pytest.mark.parametrize("n", [11, 12])


def answers(n):
    return ((torch.arange(n)[:, None] + torch.arange(n)) % n).flatten()


@SIZES
@pytest.mark.parametrize("variant", DIRECTIONS)
def test_directions_of_all_frequencies_are_orthonormal_and_orthogonal_to_the_constant(n, variant):
    waves = DIRECTIONS[variant](n, range(1, n // 2 + 1))
    with_constant = torch.cat([torch.full((1, n * n), 1 / n, dtype=torch.float64), waves])
    torch.testing.assert_close(with_constant @ with_constant.T, torch.eye(len(with_constant), dtype=torch.float64))


@SIZES
def test_the_sum_waves_span_the_functions_of_a_plus_b(n):
    waves = sum_waves(n, range(1, n // 2 + 1))
    assert len(waves) == n - 1
    values = torch.randn(n, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)[answers(n)]
    torch.testing.assert_close(projection(values, waves), values - values.mean(dim=0))


@pytest.mark.parametrize(("variant", "each"), [("code_exact", 2), ("blocks_2x2", 4), ("blocks_3x3", 8)])
def test_each_variant_holds_the_one_before(variant, each):
    n, keys = 13, [2, 6]  # (13 − 1)/2 = 6 may be key
    waves = DIRECTIONS[variant](n, keys)
    assert len(waves) == each * len(keys)
    before = {"blocks_2x2": sum_waves, "blocks_3x3": products_2x2}.get(variant)
    if before:
        torch.testing.assert_close(projection(before(n, keys).T, waves), before(n, keys).T)


@pytest.mark.parametrize("variant", DIRECTIONS)
def test_clock_logits_are_their_own_restriction_and_nothing_is_left_when_excluded(variant):
    n, keys = 11, [1, 4]
    logits = 3 * clock_logits(n, keys) + torch.arange(n)  # and a bias on the answers
    part = projection(logits, DIRECTIONS[variant](n, keys))
    torch.testing.assert_close(restricted(logits, part), logits)
    left = logits - part
    torch.testing.assert_close(left, left.mean(dim=0).expand_as(left))
    without_bias = clock_logits(n, keys)
    blank = without_bias - projection(without_bias, DIRECTIONS[variant](n, keys))
    assert cross_entropy(blank, answers(n)) == pytest.approx(math.log(n))  # chance


def test_pizza_logits_are_in_the_products_and_not_in_the_sums_alone():
    n, keys = 11, [3]
    logits = pizza_logits(n, keys)
    energy = logits.square().sum()
    kept = {name: float(projection(logits, make(n, keys)).square().sum() / energy) for name, make in DIRECTIONS.items()}
    # |cos x| = 2/π + …: of a pizza with one frequency the sum holds (2/π)² / (1/2) = 8/π² as p grows.
    assert kept["code_exact"] == pytest.approx(8 / math.pi**2, abs=0.02)
    assert kept["code_exact"] <= kept["blocks_2x2"] <= kept["blocks_3x3"] < 0.99


def test_cosines_are_fitted_exactly_and_other_functions_of_the_triple_leave_nothing():
    n = 11
    logits = clock_logits(n, [2, 5], [1.5, -0.5])
    torch.testing.assert_close(cosine_logits(logits, [2, 5]), logits)
    torch.testing.assert_close(cosine_logits(logits, [2]), clock_logits(n, [2], [1.5]))
    assert cosine_logits(logits, [1, 3]).abs().max() < 1e-12
    assert cosine_logits(logits, []).abs().max() == 0


def test_cosines_explain_what_a_regression_explains():
    n, generator = 7, torch.Generator().manual_seed(1)
    logits = torch.randn(n * n, n, generator=generator, dtype=torch.float64)
    cubes = torch.stack([clock_logits(n, [k]).flatten() for k in (1, 3)])
    best = torch.linalg.lstsq(cubes.T, logits.flatten()[:, None]).solution
    torch.testing.assert_close(cosine_logits(logits, [1, 3]).flatten(), (cubes.T @ best)[:, 0])


def test_totals_add_up_every_triple_once():
    n = 7
    logits = torch.randn(n * n, n, generator=torch.Generator().manual_seed(2))
    slow = [sum(float(logits[a * n + b, (a + b - s) % n]) for a in range(n) for b in range(n)) for s in range(n)]
    assert sum_totals(logits).tolist() == pytest.approx(slow, rel=1e-5)


def test_restriction_commutes_with_turning_the_group():
    """Multiplying all residues by u renames frequency k to k·u⁻¹ and changes no loss."""
    n, u = 11, 3
    logits = torch.randn(n, n, n, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    turn = (torch.arange(n) * u) % n
    turned = logits[turn][:, turn][:, :, turn].flatten(0, 1)
    k = 2
    renamed = min(k * u % n, -k * u % n)
    for make in DIRECTIONS.values():
        one = restricted(logits.flatten(0, 1), projection(logits.flatten(0, 1), make(n, [k])))
        other = restricted(turned, projection(turned, make(n, [renamed])))
        assert cross_entropy(one, answers(n)) == pytest.approx(float(cross_entropy(other, answers(n))))


@pytest.mark.parametrize(
    ("p", "width", "published"), [(97, 48, 0.884), (97, 96, 0.996), (97, 192, 1.0), (59, 29, 0.69), (59, 58, 0.95)]
)
def test_gromovs_network_has_the_accuracy_of_its_width(p, width, published):
    """The published figure is the mean of three draws of the phases, ours of eight: they may lie two of their errors apart."""
    found = []
    for seed in range(8):
        on_a, on_b, out = quadratic_network(p, width, seed)
        logits = quadratic_hidden(on_a, on_b).flatten(0, 1) @ out.T
        found.append(float(accuracy(logits, answers(p))))
    error = statistics.stdev(found) * math.sqrt(1 / 3 + 1 / 8)
    assert abs(statistics.mean(found) - published) <= 2 * error + 0.0005  # three digits


def test_blocks_hold_the_pairs_of_one_wave_with_the_constant():
    n, k = 11, 4
    alone = torch.cos(2 * math.pi * k * torch.arange(n).double() / n)[:, None].expand(n, n).flatten()[:, None]
    torch.testing.assert_close(projection(alone, blocks_3x3(n, [k])), alone)
    assert projection(alone, products_2x2(n, [k])).abs().max() < 1e-12


def test_the_share_of_cosines_is_that_of_a_least_squares_fit():
    n = 11
    noise = torch.randn(n * n, n, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    logits = clock_logits(n, [2, 3], [1, -0.5]) + noise + 4
    centred = logits - logits.mean(dim=-1, keepdim=True)
    cubes = torch.stack([clock_logits(n, [k]).flatten() for k in (2, 3)], dim=-1)
    fit = (cubes @ torch.linalg.lstsq(cubes, centred.flatten()[:, None]).solution)[:, 0]
    left = (centred.flatten() - fit).square().sum() / centred.square().sum()
    assert cosine_share(logits, [2, 3]).item() == pytest.approx(1 - left.item())
    assert cosine_share(clock_logits(n, [4]), [4]).item() == pytest.approx(1)
    assert cosine_share(logits, []).item() == 0


def test_a_cosine_of_a_and_b_is_half_a_cosine_of_the_sum():
    """cos(a) · cos(b − c) = ½ cos(a + b − c) + ½ cos(a − b + c): half of its variance."""
    n, x = 11, torch.arange(11).double()
    w = 2 * math.pi * 3 / n
    logits = ((w * x).cos()[:, None, None] * (w * (x[:, None] - x)).cos()).flatten(0, 1)
    assert cosine_share(logits, [3]).item() == pytest.approx(0.5)
