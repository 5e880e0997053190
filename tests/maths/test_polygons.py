from math import acos, degrees, pi, sqrt

import pytest
import torch

from interp.maths import superposition
from interp.maths.polygons import FORMS, Form, closed_forms, fold_order, gaps, name, polygons, random_fold_order

ROUNDING = 1e-12
forms = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)


def random(*size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def turned(V, d, seed=0):
    """The same rows in the first of d dimensions, then rotated."""
    return torch.nn.functional.pad(V, (0, d - V.shape[1])) @ torch.linalg.qr(random(d, d, seed=seed)).Q


def side_by_side(*blocks):
    """Each in dimensions of its own."""
    return torch.block_diag(*blocks)


def by_name(found):
    return sorted((each.name, sorted(each.members.tolist())) for each in found)


@forms
def test_every_form_has_equal_vertices_with_the_dimensionality_that_is_published(form):
    published = {"own dimension": 1, "digon": 1 / 2, "triangle": 2 / 3, "tetrahedron": 3 / 4, "pentagon": 2 / 5}
    expected = {**published, "square antiprism": 3 / 8}[form.name]
    V = form.vertices
    assert V.shape == (form.features, form.dimensions)
    torch.testing.assert_close(V.norm(dim=-1), torch.ones(form.features, dtype=torch.float64), rtol=0, atol=ROUNDING)
    D = superposition.feature_dimensionality(V)
    torch.testing.assert_close(D, torch.full_like(D, expected), rtol=0, atol=ROUNDING)
    assert form.dimensionality == expected


@forms
def test_all_vertices_of_a_form_see_the_others_under_the_same_angles(form):
    cosines = (form.vertices @ form.vertices.mT).sort(dim=-1)[0]
    torch.testing.assert_close(cosines, cosines[:1].expand_as(cosines), rtol=0, atol=ROUNDING)


def test_the_closed_forms_are_those_of_the_solids():
    table = closed_forms()
    assert list(table.index) == [form.name for form in FORMS]
    expected = {"own dimension": 1, "digon": 2, "triangle": 3 / 2, "tetrahedron": 4 / 3, "pentagon": 5 / 2}
    assert dict(table["superposition ratio"]) == pytest.approx(expected | {"square antiprism": 8 / 3}, rel=1e-12)
    angles = table["degrees to the nearest"].dropna()
    # Of an antiprism with heights ±1/√3: two of one square have cosine 1/3 (⅔·0 + ⅓), two of both ⅔·cos 45° − ⅓, which is less.
    expected = {"digon": 180, "triangle": 120, "tetrahedron": degrees(acos(-1 / 3)), "pentagon": 72}
    assert dict(angles) == pytest.approx(expected | {"square antiprism": degrees(acos(1 / 3))}, rel=1e-9)


def test_orthogonal_features_of_any_sizes_have_dimensions_of_their_own_and_ratio_1():
    V = turned(torch.diag(torch.tensor([0.3, 1.0, 2.0, 7.0], dtype=torch.float64)), 6)
    assert by_name(polygons(V)) == [("own dimension", [i]) for i in range(4)]
    assert superposition.superposition_ratio(V).item() == pytest.approx(1, abs=ROUNDING)


@pytest.mark.parametrize("d", [0, 3])
@forms
def test_a_form_is_named_however_it_is_turned_and_ordered_and_scaled(form, d):
    V = 2.5 * turned(form.vertices, form.dimensions + d, seed=1)
    order = torch.randperm(len(V), generator=torch.Generator().manual_seed(2))
    assert by_name(polygons(V[order])) == [(form.name, list(range(form.features)))]


def test_forms_in_orthogonal_subspaces_are_told_apart():
    blocks = [FORMS[i].vertices for i in (4, 1, 0, 5, 1)]
    V = side_by_side(*blocks)
    order = torch.randperm(len(V), generator=torch.Generator().manual_seed(0))
    found = polygons(turned(V, V.shape[1] + 2)[order])
    assert sorted(each.name for each in found) == ["digon", "digon", "own dimension", "pentagon", "square antiprism"]
    where = {0: range(5), 1: range(5, 7), 2: range(7, 8), 3: range(8, 16), 4: range(16, 18)}
    assert {frozenset(order[each.members].tolist()) for each in found} == {frozenset(rows) for rows in where.values()}


def test_pairs_in_three_dimensions_are_an_octahedron_of_three_digons():
    digons = side_by_side(*[FORMS[1].vertices] * 3)
    assert [each.name for each in polygons(digons)] == ["digon"] * 3
    assert superposition.superposition_ratio(digons).item() == pytest.approx(2)


@forms
def test_noise_below_the_tolerance_keeps_the_name_and_more_takes_it(form):
    V = form.vertices
    for seed in range(20):
        assert name(V + 0.01 * random(*V.shape, seed=seed)) == form.name
    if len(V) > 1:
        stretched = V * torch.linspace(0.5, 1.5, len(V), dtype=torch.float64)[:, None]
        assert name(stretched) == f"{form.features} in {form.dimensions}"


def test_two_that_point_the_same_way_are_no_digon():
    assert name(torch.ones(2, 1)) == "2 in 1"
    assert name(torch.tensor([[1.0], [-1.0]])) == "digon"


def test_a_chain_of_overlaps_is_one_group_and_no_overlap_is_none():
    chain = torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 1]])
    assert by_name(polygons(chain)) == [("4 in 2", [0, 1, 2, 3])]
    assert by_name(polygons(chain[[0, 2]])) == [("own dimension", [0]), ("own dimension", [1])]
    slightly = torch.tensor([[1.0, 0.0], [0.2, 1.0]])
    assert len(polygons(slightly, overlap=0.1)) == 1
    assert len(polygons(slightly, overlap=0.3)) == 2


def test_a_form_of_other_numbers_has_no_name():
    assert name(Form("hexagon", 6, 2).vertices) == "6 in 2"


def test_gaps_are_those_that_were_planted_in_the_order_of_the_features():
    angles = torch.tensor([200.0, 10.0, 40.0]).deg2rad()
    V = torch.tensor([[1.0], [3.0], [0.5]]) * torch.stack([angles.cos(), angles.sin()], dim=-1)
    torch.testing.assert_close(gaps(V), torch.tensor([170.0, 30.0, 160.0], dtype=torch.float64), rtol=0, atol=1e-4)
    assert gaps(V[:1]).tolist() == [360]
    assert gaps(V[:0]).shape == (0,)
    pentagon = gaps(turned(FORMS[4].vertices, 2))
    torch.testing.assert_close(pentagon, torch.full_like(pentagon, 72), rtol=0, atol=1e-9)


FOLDS = torch.arange(1, 25)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 12])
def test_a_regular_polygon_has_order_1_at_its_corners_and_their_multiples_and_0_elsewhere(n):
    V = 3 * turned(Form("polygon", n, 2).vertices, 2, seed=n)
    for by_length in (False, True):
        order = fold_order(V, FOLDS, by_length)
        torch.testing.assert_close(order, (FOLDS % n == 0).double(), rtol=0, atol=1e-10)


def test_orders_do_not_depend_on_orientation_or_order_and_zeros_do_not_count():
    V = random(9, 2)
    expected = fold_order(V, FOLDS)
    torch.testing.assert_close(fold_order(turned(V, 2, seed=3).flip(0), FOLDS), expected)
    torch.testing.assert_close(fold_order(torch.cat([V, torch.zeros(4, 2)]), FOLDS), expected)
    assert random_fold_order(torch.cat([V, torch.zeros(4, 2)])) == random_fold_order(V)
    torch.testing.assert_close(fold_order(torch.rand(9, 1) * V / V.norm(dim=1, keepdim=True), FOLDS), expected)
    assert fold_order(torch.zeros(0, 2), FOLDS).isnan().all()
    assert random_fold_order(torch.zeros(3, 2)).isnan()


def test_an_order_by_length_is_that_of_as_many_copies():
    V = turned(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 1.0]], dtype=torch.float64), 2)
    V = V / V.norm(dim=1, keepdim=True) * torch.tensor([[3.0], [1.0], [2.0]])
    copies = V.repeat_interleave(torch.tensor([3, 1, 2]), dim=0)
    torch.testing.assert_close(fold_order(V, FOLDS, by_length=True), fold_order(copies, FOLDS))
    # Two at right angles of lengths 3 and 4: |3 + 4i| / 7 at m = 1, |3 − 4| / 7 at 2, 1 at 4.
    two = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
    assert fold_order(two, FOLDS[:4], by_length=True).tolist() == pytest.approx([5 / 7, 1 / 7, 5 / 7, 1], abs=1e-7)


@pytest.mark.parametrize("n", [3, 10, 100])
def test_the_order_of_random_directions_has_the_mean_of_its_closed_form(n):
    draws = [random(n, 2, seed=seed) for seed in range(1500)]
    for by_length in (False, True):
        order = torch.stack([fold_order(V, FOLDS[:6], by_length).mean() for V in draws])
        expected = torch.stack([random_fold_order(V, by_length) for V in draws]).mean()
        off = (order.mean() - expected) / expected
        # Of n = 3 the exact mean is .5249 and √(π/12) is .5117; by length there are fewer of weight.
        assert (0.0 if n > 3 else 0.01) - 0.02 < float(off) < (0.02 if n > 3 else 0.06)
    assert random_fold_order(draws[0]).item() == pytest.approx(sqrt(pi / (4 * n)))
