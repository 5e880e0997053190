import math
import time
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.maths import fourier, groups, neurons
from interp.maths.irreps import (
    CONTENTS,
    content_shares,
    coset_r2,
    distinct,
    irrep_shares,
    logit_similarity,
    product_sums,
    real_irreps,
    residual_share,
)

ROUNDING = 1e-10  # sums of at most some thousand float64 products of order 1
NAMED = ("C2", "C7", "C12", "D2", "D5", "D6", "S3", "S4", "S5", "A4", "A5", "Q8", "S3xC4", "Q8xC3")
examples = settings(max_examples=20, deadline=None, derandomize=True)


def of(name):
    return real_irreps(groups.named_group(name), name)


def random_tensor(*size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def entries(irreps, name):
    """The entries of ρ as functions on the group, [n, d²]."""
    return irreps.matrices(name).flatten(1)


@pytest.mark.parametrize("name", NAMED)
def test_rows_are_orthonormal_and_squares_of_dimensions_add_up_to_the_order(name):
    irreps = of(name)
    n = len(irreps.table)
    torch.testing.assert_close(irreps.basis @ irreps.basis.mT, torch.eye(n).double(), rtol=0, atol=ROUNDING)
    share = {"real": 1, "complex": 2, "quaternionic": 4}
    rows = [d * d // share[kind] for d, kind in zip(irreps.dimensions, irreps.divisions, strict=True)]
    assert torch.bincount(irreps.of_row).tolist() == rows
    assert sum(rows) == n


@pytest.mark.parametrize("name", NAMED)
def test_there_are_as_many_complex_irreps_as_classes(name):
    irreps = of(name)
    complex_ones = sum({"real": 1, "complex": 2, "quaternionic": 1}[kind] for kind in irreps.divisions)
    assert complex_ones == groups.conjugacy_classes(irreps.table).max() + 1


@pytest.mark.parametrize("name", NAMED)
def test_characters_are_orthogonal_traces_and_the_basis_is_that_of_the_entries(name):
    irreps = of(name)
    n = len(irreps.table)
    norm = {"real": 1.0, "complex": 2.0, "quaternionic": 4.0}
    expected = torch.diag(torch.tensor([norm[kind] for kind in irreps.divisions])).double()
    torch.testing.assert_close(irreps.characters @ irreps.characters.mT / n, expected, rtol=0, atol=ROUNDING)
    for i, which in enumerate(irreps.names):
        trace = irreps.matrices(which).diagonal(dim1=1, dim2=2).sum(dim=1)
        torch.testing.assert_close(trace, irreps.characters[i], rtol=0, atol=ROUNDING)
        outside = irreps.basis[irreps.of_row != i] @ entries(irreps, which)
        assert outside.abs().amax() < ROUNDING if len(outside) else True


@pytest.mark.parametrize("name", NAMED)
def test_an_irrep_is_an_orthogonal_homomorphism(name):
    irreps = of(name)
    table = torch.from_numpy(irreps.table)
    for which, d in zip(irreps.names, irreps.dimensions, strict=True):
        rho = irreps.matrices(which)
        assert rho.shape == (len(table), d, d)
        products = torch.einsum("xij, yjk -> xyik", rho, rho)
        torch.testing.assert_close(rho[table], products, rtol=0, atol=ROUNDING)
        torch.testing.assert_close(rho @ rho.mT, torch.eye(d).double().expand_as(rho), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("name", NAMED)
def test_the_frobenius_schur_indicator_tells_the_same_division(name):
    """Mean of χ(g²): 1 for a real irrep, 0 for a complex pair, −2 for a quaternionic one."""
    irreps = of(name)
    squares = torch.from_numpy(irreps.table.diagonal().copy())
    indicator = irreps.characters[:, squares].mean(dim=1)
    expected = [{"real": 1.0, "complex": 0.0, "quaternionic": -2.0}[kind] for kind in irreps.divisions]
    torch.testing.assert_close(indicator, torch.tensor(expected).double(), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("n", [2, 3, 8, 11, 12, 113])
def test_the_irreps_of_a_cyclic_group_span_the_waves_of_its_frequencies(n):
    irreps = of(f"C{n}")
    assert irreps.names == ("trivial", *(f"k={k}" for k in range(1, n // 2 + 1)))
    assert irreps.of_row.tolist() == [(i + 1) // 2 for i in range(n)]
    waves = fourier.real_fourier_basis(n)
    overlap = irreps.by_irrep(irreps.by_irrep((irreps.basis @ waves.mT).square()).mT)
    torch.testing.assert_close(overlap, torch.diag(torch.bincount(irreps.of_row).double()), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize(
    ("group", "names", "dimensions"),
    [
        ("S3", "trivial sign standard", [1, 1, 2]),
        ("S4", "trivial sign 2d standard sign⊗standard", [1, 1, 2, 3, 3]),
        ("S5", "trivial sign standard sign⊗standard 5d_a 5d_b 6d", [1, 1, 4, 4, 5, 5, 6]),
        ("A4", "trivial 2d standard", [1, 2, 3]),
        ("A5", "trivial 3d_a 3d_b standard 5d", [1, 3, 3, 4, 5]),
        ("D5", "trivial|sign|k=1|k=2", [1, 1, 2, 2]),
        ("D6", "trivial|sign|sign r|sign r⊗sign|k=1|k=2", [1, 1, 1, 1, 2, 2]),
        ("C2xC2", "trivial|trivial × k=1|k=1 × trivial|k=1 × k=1", [1, 1, 1, 1]),
        ("C3xC3", "trivial|trivial × k=1|k=1 × trivial|k=1 × k=1_a|k=1 × k=1_b", [1, 2, 2, 2, 2]),
        (
            "S3xC2",
            "trivial|sign × trivial|standard × trivial|trivial × k=1|sign × k=1|standard × k=1",
            [1, 1, 1, 1, 2, 2],
        ),
        ("Q8", "trivial 1d_a 1d_b 1d_c 4d", [1, 1, 1, 1, 4]),
    ],
)
def test_irreps_have_their_known_dimensions_and_usual_names(group, names, dimensions):
    irreps = of(group)
    assert sorted(irreps.names) == sorted(names.split("|" if "|" in names else None))
    assert sorted(irreps.dimensions) == dimensions
    assert irreps.names[0] == "trivial"


def test_the_irreps_of_permutations_are_called_by_what_they_do_to_points():
    irreps, rows = of("S5"), groups.permutations(5)
    fixed = torch.from_numpy((rows == np.arange(5)).sum(axis=1)).double()
    sign = torch.from_numpy(1.0 - 2.0 * groups.parity(rows))
    character = dict(zip(irreps.names, irreps.characters, strict=True))
    torch.testing.assert_close(character["sign"], sign)
    torch.testing.assert_close(character["standard"], fixed - 1)
    torch.testing.assert_close(character["sign⊗standard"], (fixed - 1) * sign)
    torch.testing.assert_close(character["5d_b"], character["5d_a"] * sign)


@pytest.mark.parametrize("name", ["C7", "C12", "D5", "D8", "S3"])
def test_a_table_that_is_cyclic_or_dihedral_is_named_by_the_characters_of_its_generators(name):
    """Whatever the numbers of its elements: χ is d·cos(2πk/m) at a generator, or at a rotation that generates half of it."""
    table = groups.named_group(name)
    new = np.random.default_rng(2).permutation(len(table))
    other = np.empty_like(table)
    other[np.ix_(new, new)] = new[table]
    irreps = real_irreps(other)
    turn, m = groups.cyclic_generator(other), len(table)
    if (both := groups.dihedral_generators(other)) is not None:
        turn, m = both[0], len(table) // 2
    frequencies = m // 2 if name[0] == "C" else (m - 1) // 2
    assert {each for each in irreps.names if "=" in each} == {f"k={k}" for k in range(1, frequencies + 1)}
    for each, character, d in zip(irreps.names, irreps.characters, irreps.dimensions, strict=True):
        if each.startswith("k="):
            expected = d * math.cos(2 * math.pi * int(each[2:]) / m)
            assert character[turn].item() == pytest.approx(expected, abs=ROUNDING)
    assert not [each for each in irreps.names if each.endswith("d") or "_" in each]


@pytest.mark.parametrize("name", ["S4", "S5"])
def test_a_table_with_one_homomorphism_onto_signs_has_a_sign(name):
    irreps = real_irreps(groups.named_group(name))
    sign = torch.from_numpy(1.0 - 2.0 * groups.parity(groups.permutations(int(name[1]))))
    torch.testing.assert_close(irreps.characters[irreps.names.index("sign")], sign)
    assert "sign" not in real_irreps(groups.quaternion()).names  # which has three


def test_the_irreps_of_a_product_are_products_of_characters():
    irreps, first, second = of("S3xC4"), of("S3"), of("C4")
    for name, character in zip(irreps.names[1:], irreps.characters[1:], strict=True):
        one, other = name.split(" × ")
        product = torch.outer(first.characters[first.names.index(one)], second.characters[second.names.index(other)])
        torch.testing.assert_close(character, product.flatten())


def test_the_quaternions_have_one_quaternionic_irrep_of_four_functions():
    irreps = of("Q8")
    assert irreps.divisions == ("real", "real", "real", "real", "quaternionic")
    assert torch.bincount(irreps.of_row).tolist() == [1, 1, 1, 1, 4]


def test_names_that_come_again_have_letters_and_there_are_enough():
    assert distinct(["5d", "6d", "5d"]) == ("5d_a", "6d", "5d_b")
    many = distinct(["2d"] * 500)
    assert many[:2] == ("2d_a", "2d_b")
    assert len(set(many)) == 500


def test_the_irreps_of_720_permutations_take_seconds():
    began = time.monotonic()
    irreps = of("S6")
    assert time.monotonic() - began < 10  # 0.3 s on one core
    assert sorted(irreps.dimensions) == [1, 1, 5, 5, 5, 5, 9, 9, 10, 10, 16]


def test_the_same_table_gives_the_same_basis():
    assert torch.equal(of("S4").basis, of("S4").basis)


@pytest.mark.parametrize("name", ["S4", "Q8", "D6", "A4"])
def test_other_numbers_for_the_elements_change_no_share(name):
    table = groups.named_group(name)
    new = np.random.default_rng(1).permutation(len(table))
    other = np.empty_like(table)
    other[np.ix_(new, new)] = new[table]
    irreps, renamed = real_irreps(table), real_irreps(other)
    matrix, moved = random_tensor(len(table), 5), torch.empty(len(table), 5, dtype=torch.float64)
    moved[torch.from_numpy(new)] = matrix
    # Irreps of one dimension may change places: their names know no numbers.
    for d in set(irreps.dimensions[1:]):
        shares = [
            irrep_shares(m, i)[torch.tensor(i.dimensions[1:]) == d].sort().values
            for m, i in ((matrix, irreps), (moved, renamed))
        ]
        torch.testing.assert_close(*shares, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("n", [11, 12])
def test_shares_of_a_cyclic_group_are_those_of_its_frequencies(n):
    matrix = random_tensor(3, n, 4)
    torch.testing.assert_close(
        irrep_shares(matrix, of(f"C{n}")), fourier.frequency_power(matrix), rtol=0, atol=ROUNDING
    )


@pytest.mark.parametrize("name", ["S4", "Q8", "C7", "A4"])
def test_the_entries_of_an_irrep_have_all_their_power_there(name):
    irreps = of(name)
    for i, which in enumerate(irreps.names[1:]):
        mixed = entries(irreps, which) @ random_tensor(irreps.dimensions[i + 1] ** 2, 6) + random_tensor(6)
        expected = torch.nn.functional.one_hot(torch.tensor(i), len(irreps.names) - 1).double()
        torch.testing.assert_close(irrep_shares(mixed, irreps), expected, rtol=0, atol=ROUNDING)


def test_a_random_matrix_has_the_share_of_as_many_functions_as_an_irrep_has():
    irreps = of("S4")
    shares = irrep_shares(random_tensor(24, 20_000), irreps)
    rows = torch.bincount(irreps.of_row)[1:].double()
    # χ² with 20,000 degrees scatters by 1 %; the smallest share, of one function, within five of those.
    torch.testing.assert_close(shares, rows / 23, rtol=0.05, atol=0)


@examples
@given(seed=st.integers(0, 999))
def test_shares_add_up_to_one_and_know_no_rotation(seed):
    irreps, matrix = of("D6"), random_tensor(2, 12, 5, seed=seed)
    shares = irrep_shares(matrix, irreps)
    turn = torch.linalg.qr(random_tensor(5, 5, seed=seed + 1))[0]
    torch.testing.assert_close(shares.sum(dim=-1), torch.ones(2).double())
    torch.testing.assert_close(irrep_shares(matrix @ turn * 3 + 1, irreps), shares, rtol=0, atol=ROUNDING)


def on_pairs(irreps, which, content, width=7, seed=0):
    """Neurons that are made of one irrep, in one way."""
    rho, d = irreps.matrices(which), irreps.dimensions[irreps.names.index(which)]
    n = len(rho)
    functions = {
        "a": rho[:, None].expand(n, n, d, d).flatten(2),
        "b": rho[None].expand(n, n, d, d).flatten(2),
        "ab": rho[torch.from_numpy(irreps.table)].flatten(2),
        "a⊗b": torch.einsum("aij, bkl -> abijkl", rho, rho).flatten(2),
    }[content]
    return functions @ random_tensor(functions.shape[-1], width, seed=seed)


@pytest.mark.parametrize("name", ["S3", "S4", "Q8", "C7", "A4"])
@pytest.mark.parametrize("content", ["a", "b", "ab"])
def test_neurons_of_one_content_of_one_irrep_have_all_their_variance_there(name, content):
    irreps = of(name)
    for i, which in enumerate(irreps.names[1:]):
        shares = content_shares(on_pairs(irreps, which, content) + random_tensor(7), irreps)
        assert shares[CONTENTS.index(content), i].item() == pytest.approx(1, abs=ROUNDING)
        assert residual_share(shares).item() == pytest.approx(0, abs=ROUNDING)
        # The only content that has another as a part.
        assert shares[CONTENTS.index("a⊗b"), i].item() == pytest.approx(float(content == "ab"), abs=ROUNDING)
        assert shares.sum().item() == pytest.approx(2 if content == "ab" else 1, abs=ROUNDING)


def test_a_product_of_two_irreps_is_residual():
    irreps = of("S4")
    f, g = entries(irreps, "standard")[:, :1], entries(irreps, "2d")[:, 1:2]
    shares = content_shares(f[:, None] * g[None], irreps)
    assert shares.abs().max() < ROUNDING
    assert residual_share(shares).item() == pytest.approx(1)


def test_random_neurons_are_at_chance():
    """Of n² − 1 functions of a pair, the entries of a real irrep are d² of a, of b and of ab, and d⁴ of both."""
    irreps = of("S3")
    shares = content_shares(random_tensor(6, 6, 40_000), irreps)
    d = torch.tensor(irreps.dimensions[1:]).double()
    expected = torch.stack([d**2, d**2, d**2, d**4]) / 35
    # χ² with 40,000 degrees and more: 0.7 %, within six of those.
    torch.testing.assert_close(shares, expected, rtol=0.045, atol=0)


@examples
@given(seed=st.integers(0, 99), name=st.sampled_from(["S3", "C5", "Q8", "A4"]))
def test_shares_of_neurons_are_what_regressions_on_the_entries_explain(seed, name):
    irreps = of(name)
    n = len(irreps.table)
    activations = random_tensor(n, n, 3, seed=seed) + 4
    shares = content_shares(activations, irreps)
    flat = activations.flatten(0, 1) - activations.mean(dim=(0, 1))
    for i, which in enumerate(irreps.names[1:]):
        for j, content in enumerate(CONTENTS):
            width = irreps.dimensions[i + 1] ** (4 if content == "a⊗b" else 2)
            design = on_pairs(irreps, which, content, width=width).flatten(0, 1)
            U, S, _ = torch.linalg.svd(design, full_matrices=False)
            explained = (U[:, S / S[0] > 1e-9].mT @ flat).square().sum() / flat.square().sum()
            assert shares[j, i].item() == pytest.approx(explained.item(), abs=1e-8)


@examples
@given(seed=st.integers(0, 999))
def test_neurons_may_change_places_be_turned_and_be_stacked(seed):
    irreps, activations = of("S3"), random_tensor(2, 6, 6, 5, seed=seed)
    shares = content_shares(activations, irreps)
    turn = torch.linalg.qr(random_tensor(5, 5, seed=seed + 1))[0]
    torch.testing.assert_close(content_shares(activations @ turn, irreps), shares, rtol=0, atol=ROUNDING)
    torch.testing.assert_close(content_shares(activations.flip(-1) + 2, irreps), shares, rtol=0, atol=ROUNDING)
    torch.testing.assert_close(content_shares(activations[1], irreps), shares[1], rtol=0, atol=ROUNDING)


def test_neurons_in_parts_give_what_all_at_once_give(monkeypatch):
    from interp.maths import irreps as module

    irreps, activations = of("S3"), random_tensor(6, 6, 7)
    whole = content_shares(activations, irreps)
    monkeypatch.setattr(module, "NEURONS", 3 * 36)
    torch.testing.assert_close(content_shares(activations, irreps), whole, rtol=0, atol=ROUNDING)


def test_neurons_of_a_cyclic_group_are_in_the_blocks_of_its_frequencies():
    """3×3 blocks of waves, as of neurons that add modulo p, are what ρ(a), ρ(b) and ρ(a)⊗ρ(b) hold together."""
    activations = random_tensor(7, 7, 1)
    shares = content_shares(activations, of("C7"))
    blocks = neurons.block_shares(activations)[0]
    torch.testing.assert_close(shares[[0, 1, 3]].sum(dim=0), blocks, rtol=0, atol=ROUNDING)


def test_sums_over_pairs_with_one_product_are_those_of_a_loop():
    table, values = groups.named_group("S3"), random_tensor(6, 6, 2)
    slow = torch.zeros(6, 2, dtype=torch.float64)
    for a in range(6):
        for b in range(6):
            slow[table[a, b]] += values[a, b]
    torch.testing.assert_close(product_sums(values, table), slow)


def character_cube(irreps, i):
    """χ(a·b·c⁻¹) at [a, b, c]."""
    table = torch.from_numpy(irreps.table)
    return irreps.characters[i][table[table[:, :, None], torch.from_numpy(groups.inverses(irreps.table))]]


@pytest.mark.parametrize("name", ["S3", "S4", "Q8", "C7", "A4", "D6"])
def test_logits_that_are_characters_are_explained_by_them(name):
    irreps = of(name)
    weights = random_tensor(len(irreps.names) - 1)
    cubes = [character_cube(irreps, i) for i in range(1, len(irreps.names))]
    prompts = random_tensor(*irreps.table.shape, 1, seed=1)  # the same for every answer: no logit that counts
    similarity = logit_similarity(sum(w * cube for w, cube in zip(weights, cubes, strict=True)) + prompts, irreps)
    sizes = weights * torch.stack([cube.norm() for cube in cubes])
    torch.testing.assert_close(similarity, sizes / sizes.norm(), rtol=0, atol=ROUNDING)
    assert similarity.square().sum().item() == pytest.approx(1)


@examples
@given(seed=st.integers(0, 999))
def test_similarity_is_the_cosine_that_it_is_called(seed):
    irreps, cube = of("A4"), random_tensor(2, 12, 12, 12, seed=seed)
    centred = cube - cube.mean(dim=-1, keepdim=True)
    slow = [
        torch.stack([(each * chi).sum() / (each.norm() * chi.norm()) for each in centred])
        for chi in (character_cube(irreps, i) for i in range(1, len(irreps.names)))
    ]
    torch.testing.assert_close(logit_similarity(cube, irreps), torch.stack(slow, dim=-1), rtol=0, atol=ROUNDING)


def partitions(table, side: Literal["left", "right"] = "left"):
    """Cosets of every subgroup but the trivial one."""
    classes, _ = groups.subgroup_classes(table)
    return [(mask, groups.cosets(table, np.flatnonzero(mask), side)) for c in classes for mask in c if mask.sum() > 1]


@pytest.mark.parametrize("side", ["left", "right"])
def test_what_is_constant_on_cosets_is_explained_by_them_and_by_finer_ones(side):
    every = partitions(groups.named_group("S4"), side)
    labels = torch.from_numpy(np.stack([cosets for _, cosets in every]))
    for mask, cosets in every:
        if mask.sum() == 24:
            continue
        values = random_tensor(int(cosets.max()) + 1, 1)[torch.from_numpy(cosets)]
        r2 = coset_r2(values, labels)[:, 0]
        for (other, _), found in zip(every, r2, strict=True):
            if not (other & ~mask).any():  # a subgroup of this one has cosets within its cosets
                assert found.item() == pytest.approx(1)
        assert (r2 < 1 + ROUNDING).all()
        assert r2[[other.sum() == 24 for other, _ in every]].item() == pytest.approx(0, abs=ROUNDING)


def test_cosets_explain_nothing_of_a_random_function_on_average():
    labels = torch.from_numpy(np.stack([cosets for _, cosets in partitions(groups.named_group("S4"))]))
    mean = coset_r2(random_tensor(24, 20_000), labels).mean(dim=-1)
    # Single values scatter by up to 0.3 (twelve cosets of two), the mean of 20,000 by 0.002.
    torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0, atol=0.012)


def test_adjusted_r2_is_that_of_a_regression_on_indicators():
    values, labels = random_tensor(2, 6, 3), torch.tensor([[0, 1, 2, 0, 1, 2], [0, 0, 0, 1, 1, 1]])
    found = coset_r2(values, labels)
    assert found.shape == (2, 2, 3)
    for partition, each in enumerate(labels):
        design = torch.nn.functional.one_hot(each).double()
        rest = values - design @ (torch.linalg.pinv(design) @ values)
        unexplained = rest.square().sum(dim=1) / (6 - design.shape[1]) / (values.var(dim=1))
        torch.testing.assert_close(found[:, partition], 1 - unexplained, rtol=0, atol=ROUNDING)


def test_a_constant_has_no_shares():
    irreps = of("S3")
    assert irrep_shares(torch.full((6, 2), 0.1), irreps).isnan().all()
    assert content_shares(torch.full((6, 6, 2), 0.1), irreps).isnan().all()
    assert math.isnan(coset_r2(torch.ones(6, 1), torch.zeros(1, 6, dtype=torch.long)).item())
