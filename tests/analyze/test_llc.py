"""The learning coefficient of runs: seeds, flags, the chosen step. Those of known losses are in tests/maths/test_sgld.py."""

import math

import numpy as np
import pytest
import torch
from helpers import tiny_config

from interp import analyze
from interp.analyze.landscape.llc import WORDS, judged, plateau
from interp.models import MlpSpec
from interp.models.network import initial_weights
from interp.store import RunWriter, open_run
from interp.tasks import ModularTask
from interp.views.landscape import Landscape

FEW = {"chains": 3, "draws": 60, "burn_in": 20}


@pytest.fixture
def run(tmp_path):
    """Two checkpoints of a small quadratic MLP."""
    model = MlpSpec(width=6)
    config = tiny_config(task=ModularTask(p=5, train_fraction=0.8), model=model)
    with RunWriter(tmp_path / "run", config) as writer:
        for step in range(2):
            weights = initial_weights(model, config.task.shape, seed=step)
            writer.checkpoint(step, {name: 4 * tensor for name, tensor in weights.items()})
    return open_run(tmp_path / "run")


def test_near_a_checkpoint_it_is_that_of_its_slope_and_curvature(run):
    """At strong localisation chains see a quadratic: nβ·E[gᵀd + ½dᵀHd] with d of precision nβH + γ and mean −nβ(nβH + γ)⁻¹g."""
    seen, weights = Landscape.of(run), run.final.weights
    surface, flat = seen.over(seen.examples("train"), precision="float64"), seen.flat(weights, "float64")
    H = torch.func.hessian(lambda flat: surface.losses(flat[None], weights).sum())(flat)
    _, slopes = surface.sloped(flat[None], weights)
    n = len(seen.examples("train"))
    n_beta, gamma = n / math.log(n), 1000.0
    cov = torch.linalg.inv(n_beta * H + gamma * torch.eye(len(flat), dtype=torch.float64))
    mean = -n_beta * cov @ slopes[0]
    exact = n_beta * (slopes[0] @ mean + (mean @ H @ mean + (H * cov).sum()) / 2).item()
    how = {"gamma": gamma, "epsilon": 5e-5, "chains": 32, "draws": 800, "burn_in": 200, "precision": "float64"}
    found = analyze.measure(run, "llc", **how).sel(step=1)
    assert abs(found["llc"].item() - exact) < 0.05 * abs(exact) + 4 * found["llc_error"].item()
    assert found["llc_error"].item() < 0.1 * abs(exact)


def test_equal_runs_give_equal_bytes_and_other_seeds_other_draws(run):
    one = analyze.measure(run, "llc", **FEW)
    assert one.identical(analyze.measure(run, "llc", **FEW))
    assert not one["trace"].equals(analyze.measure(run, "llc", seed=1, **FEW)["trace"])


def test_burn_in_does_not_count_and_chains_begin_at_the_checkpoint(run):
    found = analyze.measure(run, "llc", **FEW)
    trace = found["trace"]
    np.testing.assert_allclose(trace.isel(draw=0), 0, atol=1e-4)
    np.testing.assert_allclose(found["llc"], trace.sel(draw=slice(0, None)).mean(["chain", "draw"]))
    np.testing.assert_allclose(found["llc_chain"], trace.sel(draw=slice(0, None)).mean("draw"))


def test_batches_go_through_all_examples_and_the_loss_is_theirs(run):
    """With steps of next to nothing every draw has the loss of its batch at the checkpoint; over whole passes that of all."""
    n = len(run.split.train)
    batch = n // 4
    found = analyze.measure(run, "llc", epsilon=1e-14, batch_size=batch, chains=2, draws=40, burn_in=0)
    trace = found["trace"].sel(step=1)
    np.testing.assert_allclose(trace.isel(chain=0), trace.isel(chain=1), rtol=1e-3, atol=1e-4)
    assert len(np.unique(trace.isel(chain=0).round(1))) == n // batch
    assert (
        abs(trace.mean().item()) < 1e-4 * np.abs(trace).max().item()
    )  # ten whole passes: the loss of all is that at w*


def test_what_cannot_be_trusted_is_flagged():
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(4, 400, generator=generator, dtype=torch.float64)
    for kept, word in [
        (5 + noise, "fine"),
        (-5 + noise, "negative"),
        (5 + noise + 3 * torch.arange(4.0)[:, None], "not converged"),
        (torch.where(torch.arange(400) > 390, torch.inf, 5 + noise), "diverged"),
    ]:
        assert WORDS[int(judged(kept)["state"])] == word


def test_the_plateau_is_where_the_estimate_changes_least():
    fine = torch.ones(5)
    assert plateau(torch.tensor([1.0, 4.0, 4.1, 4.0, 9.0]), fine) == (2, True)
    assert plateau(torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0]), fine)[1] is False
    assert plateau(torch.tensor([1.0, 4.0, 4.1, 4.0, 9.0]), torch.tensor([1.0, 1.0, 3.0, 1.0, 1.0]))[1] is False
    assert plateau(torch.full((3,), torch.nan), torch.full((3,), torch.nan)) == (0, False)


def test_all_leaves_it_out_and_says_how_to_ask(tiny, tmp_path, capsys, no_browser, monkeypatch):
    from interp.cli.analyze import main

    monkeypatch.setattr(analyze, "analyses", lambda: {"llc": "long", "norms": "short"})
    assert main(["all", str(tiny.path), "--out", str(tmp_path), "--steps", "40"]) == 0
    assert (
        f"llc: left out, takes minutes; ask for it by python -m interp.analyze llc {tiny.path}"
        in capsys.readouterr().out
    )
