import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.maths import fourier, groups, irrep_power, neurons
from interp.maths.irrep_power import (
    CONTENTS,
    content_shares,
    irrep_shares,
    logit_similarity,
    product_sums,
    residual_share,
)
from interp.maths.irreps import real_irreps

ROUNDING = 1e-10  # sums of at most some thousand float64 products of order 1
examples = settings(max_examples=20, deadline=None, derandomize=True)


def of(name):
    return real_irreps(groups.named_group(name), name)


def random_tensor(*size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def entries(irreps, name):
    """The entries of ρ as functions on the group, [n, d²]."""
    return irreps.matrices(name).flatten(1)


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
    irreps, activations = of("S3"), random_tensor(6, 6, 7)
    whole = content_shares(activations, irreps)
    monkeypatch.setattr(irrep_power, "NEURONS", 3 * 36)
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


def test_a_constant_has_no_shares():
    irreps = of("S3")
    assert irrep_shares(torch.full((6, 2), 0.1), irreps).isnan().all()
    assert content_shares(torch.full((6, 6, 2), 0.1), irreps).isnan().all()
