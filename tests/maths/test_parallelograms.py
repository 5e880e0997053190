"""Parallelograms of codes: closed forms, the rank test by a slow reference, and what the codes' scale leaves alone."""

import numpy as np
import pytest
import torch
from scipy.linalg import null_space as reference

from interp.maths.parallelograms import Pairs, effective_loss, quality, reach


def table(p=10, ordered=False):
    """Pairs of symbols with their sums: x ≤ y alone, or both orders."""
    x, y = np.divmod(np.arange(p * p), p)
    kept = np.ones(p * p, dtype=bool) if ordered else x <= y
    return x[kept], y[kept], (x + y)[kept]


def some(share, seed=0, p=10):
    """Pairs of p symbols, a share of which is trained on."""
    x, y, answer = table(p)
    trained = np.zeros(len(x), dtype=bool)
    trained[np.random.default_rng(seed).permutation(len(x))[: int(share * len(x))]] = True
    return Pairs.of(x, y, answer, trained)


def test_ten_symbols_have_seventy_parallelograms_whichever_way_the_table_is_written():
    for ordered in (False, True):
        x, y, answer = table(ordered=ordered)
        pairs = Pairs.of(x, y, answer, np.ones(len(x), dtype=bool))
        assert (len(pairs.i), pairs.possible) == (55, 70)
        np.testing.assert_array_equal(pairs.i + pairs.j, pairs.answer)


def test_a_pair_is_trained_if_one_order_is():
    x, y, answer = table(p=4, ordered=True)
    pairs = Pairs.of(x, y, answer, (x == 2) & (y == 1))
    assert list(zip(pairs.i[pairs.trained], pairs.j[pairs.trained], strict=True)) == [(1, 2)]


def test_answers_that_depend_on_the_order_are_refused():
    x, y, _ = table(p=4, ordered=True)
    with pytest.raises(ValueError, match="different answers"):
        Pairs.of(x, y, x - y, np.ones(len(x), dtype=bool))


@pytest.mark.parametrize("scale, shift", [(1.0, 0.0), (-3.0, 50.0), (1e-6, 0.1)])
def test_a_line_holds_every_parallelogram_whatever_its_scale_and_shift(scale, shift):
    line = torch.arange(10.0, dtype=torch.float64)[:, None] * torch.tensor([[scale, 2 * scale]]) + shift
    assert quality(line, some(0.5)) == 1.0
    assert effective_loss(torch.arange(10.0)[:, None], some(0.5)) == 0.0


def test_one_symbol_out_of_its_place_breaks_those_that_it_is_in():
    """By hand over all couples."""
    pairs, line = some(1.0), torch.arange(10.0, dtype=torch.float64)
    line[3] += 1.0
    unit = (line - line.mean()) / line.std(correction=0)
    held = [
        abs(float(unit[pairs.i[a]] + unit[pairs.j[a]] - unit[pairs.i[b]] - unit[pairs.j[b]])) ** 2 < 0.01
        for a in range(55)
        for b in range(a)
        if pairs.answer[a] == pairs.answer[b]
    ]
    assert len(held) == 70
    assert quality(line[:, None], pairs) == pytest.approx(np.mean(held))
    assert 0 < np.mean(held) < 1


def test_the_effective_loss_is_the_sum_over_couples():
    pairs, codes = some(0.6), torch.randn(10, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    known = np.flatnonzero(pairs.trained)
    sums = codes[pairs.i] + codes[pairs.j]
    total = sum(
        float((sums[a] - sums[b]).square().sum())
        for a in known
        for b in known
        if a < b and pairs.answer[a] == pairs.answer[b]
    )
    assert effective_loss(codes, pairs) == pytest.approx(total / float(codes.square().sum()))
    assert effective_loss(5 * codes, pairs) == pytest.approx(effective_loss(codes, pairs))


def test_codes_that_do_not_vary_have_no_quality():
    assert np.isnan(quality(torch.full((10, 2), 3.0), some(0.5)))
    still = torch.stack([torch.arange(10.0), torch.full((10,), 3.0)], dim=1)
    assert quality(still, some(0.5)) == 1.0  # of the dimension that does


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6, 0.9])
@pytest.mark.parametrize("seed", range(3))
def test_reach_is_that_of_every_couple_and_scipys_null_space(share, seed):
    pairs = some(share, seed)
    rows = []
    for a in range(55):
        for b in range(a):
            if pairs.answer[a] == pairs.answer[b] and pairs.trained[a] and pairs.trained[b]:
                row = np.zeros(10)
                for place, sign in ((pairs.i[a], 1), (pairs.j[a], 1), (pairs.i[b], -1), (pairs.j[b], -1)):
                    row[place] += sign
                rows.append(row)
    basis = reference(np.array(rows)) if rows else np.eye(10)
    reached = []
    for a in np.flatnonzero(~pairs.trained):
        gaps = [
            np.abs(basis[pairs.i[a]] + basis[pairs.j[a]] - basis[pairs.i[b]] - basis[pairs.j[b]]).max()
            for b in np.flatnonzero(pairs.trained & (pairs.answer == pairs.answer[a]))
        ]
        reached.append(min(gaps, default=1.0) < 1e-9)
    found = reach(pairs)
    assert found.free == basis.shape[1]
    assert found.ideal_accuracy == pytest.approx(np.mean(reached))


def test_all_pairs_force_a_line_and_none_force_nothing():
    assert reach(some(1.0)).free == 2
    assert np.isnan(reach(some(1.0)).ideal_accuracy)
    nothing = reach(some(0.0))
    assert (nothing.free, nothing.ideal_accuracy) == (10, 0.0)
