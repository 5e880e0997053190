"""`spectra` on planted matrices, of interp's models and of somebody's own module."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import interp
from interp import analyze
from interp.base import DoesNotApply

M, N = 300, 200


def planted(rank, strength, seed=0):
    """Random entries of variance 1, and so many directions of that singular value."""
    rng = np.random.default_rng(seed)
    u, _ = np.linalg.qr(rng.standard_normal((M, rank)))
    v, _ = np.linalg.qr(rng.standard_normal((N, rank)))
    return torch.from_numpy(rng.standard_normal((M, N)) + strength * u @ v.T).float()


def recorded(path, net, *weights):
    with interp.record(path, net, schedule=interp.schedule(every=1)) as run:
        for step, weight in enumerate(weights):
            with torch.no_grad():
                net[0].weight.copy_(weight)
            run.step(step)
    return interp.open_run(path)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(N, M), nn.BatchNorm1d(M), nn.Unflatten(1, (3, 10, 10)), nn.Conv2d(3, 4, 3))


def test_planted_directions_are_counted_and_random_entries_are_not(tmp_path, net):
    strength = 3 * (M * N) ** 0.25
    run = recorded(tmp_path / "x", net, planted(3, 0), planted(3, strength), 5 * planted(7, strength))
    found = run.measure("spectra").sel(weight_matrix="0.weight")
    assert found["beyond"].values.tolist() == [0, 3, 7]
    outlier = math.sqrt((strength**2 + M) * (strength**2 + N)) / strength
    assert float(found["singular_value"][1, :3].mean()) == pytest.approx(outlier, rel=0.02)  # equal ones repel
    # what is planted adds to the variance of the entries, by strength²/(mn) each
    deviation = [1, math.sqrt(1 + 3 * strength**2 / (M * N)), 5 * math.sqrt(1 + 7 * strength**2 / (M * N))]
    np.testing.assert_allclose(found["edge"], np.array(deviation) * (math.sqrt(M) + math.sqrt(N)), rtol=0.01)
    assert found["edge_ratio"][0] == pytest.approx(1, abs=0.03)
    assert float(found["stable_rank"][0] / found["random_stable_rank"]) == pytest.approx(1, abs=0.06)  # twice as far
    assert float(found["effective_rank"][0] / found["random_effective_rank"]) == pytest.approx(1, abs=0.005)
    share = 3 * outlier**2 / (M * N + 3 * strength**2)
    assert found["beyond_share"][1] == pytest.approx(share, rel=0.03)


def test_every_matrix_of_a_module_has_its_spectrum_and_nothing_else_has(tmp_path, net):
    run = recorded(tmp_path / "x", net, planted(1, 0))
    found = run.measure("spectra", largest=50)
    assert found["weight_matrix"].values.tolist() == ["0.weight", "3.weight"]
    assert found["matrix_size"].values.tolist() == ["300×200", "4×27"]
    expected = torch.linalg.svdvals(net[3].weight.detach().double().flatten(1)).numpy()
    conv = found["singular_value"].sel(weight_matrix="3.weight")[0]
    np.testing.assert_allclose(conv[:4], expected, rtol=1e-9)
    assert np.isnan(conv[4:]).all()
    assert found.sizes["order"] == 50
    ranks = run.measure("norms")
    for name in ("stable_rank", "effective_rank"):
        np.testing.assert_allclose(found[name], ranks[name])


def test_heads_stand_side_by_side_in_one_matrix(tiny):
    found = analyze.measure(tiny, "spectra")
    W_Q = tiny.final.weights["blocks.0.attn.W_Q"].double()  # head, d_model, d_head
    expected = torch.linalg.svdvals(torch.cat(list(W_Q), dim=1))
    np.testing.assert_allclose(found["singular_value"].sel(weight_matrix="blocks.0.attn.W_Q")[-1], expected, rtol=1e-6)


def test_entries_that_are_all_alike_have_no_edge(tmp_path, net):
    run = recorded(tmp_path / "x", net, torch.full((M, N), 0.5))
    found = run.measure("spectra").sel(weight_matrix="0.weight")
    assert np.isnan(found["edge_ratio"]).all()
    assert isinstance(analyze.draw(run.measure("spectra")).to_json(), str)


def test_a_module_of_vectors_alone_is_declined_in_a_sentence(tmp_path):
    with interp.record(tmp_path / "x", nn.LayerNorm(4)) as run:
        run.step(0)
    with pytest.raises(DoesNotApply, match='a model without weight matrices; analysis "spectra" needs one'):
        interp.open_run(tmp_path / "x").measure("spectra")
