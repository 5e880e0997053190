"""Sharpness against closed forms at small radii, and against itself where scales are free."""

import numpy as np
import pytest
import torch
from helpers import tiny_config

from interp import analyze
from interp.models import MlpSpec, TransformerSpec
from interp.models.network import initial_weights
from interp.store import RunWriter, open_run
from interp.tasks import ModularTask
from interp.views.landscape import Landscape

FINE = {"precision": "float64", "iterations": 20}


@pytest.fixture
def make(tmp_path):
    """A run of one checkpoint: initial weights with noise on every number, times factors by name."""

    def make(name="run", factors=None, **parts):
        spec = TransformerSpec(n_heads=2, d_model=6, d_head=3, d_mlp=7)
        config = tiny_config(**({"task": ModularTask(p=5, train_fraction=0.7), "model": spec} | parts))
        generator = torch.Generator().manual_seed(0)
        weights = initial_weights(config.model, config.task.shape, seed=0)
        for key, tensor in weights.items():
            tensor += 0.2 * torch.randn(tensor.shape, generator=generator)
            tensor *= (factors or {}).get(key, 1)
        with RunWriter(tmp_path / name, config) as writer:
            writer.checkpoint(0, weights)
        return open_run(tmp_path / name)

    return make


def around(run):
    """Loss, gradient and Hessian at the checkpoint, float64."""
    seen = Landscape.of(run)
    weights = run.final.weights
    surface, flat = seen.over(seen.examples("train"), precision="float64"), seen.flat(weights, "float64")
    loss, slope = surface.sloped(flat[None], weights)
    H = torch.func.hessian(lambda flat: surface.losses(flat[None], weights).sum())(flat)
    return seen, flat, loss.item(), slope[0], H


def test_in_a_small_box_the_loss_is_linear_and_phi_is_the_sum_of_its_slopes(make):
    run = make()
    _, flat, loss, slope, _ = around(run)
    found = analyze.measure(run, "sharpness", epsilons=(1e-7,), **FINE).isel(step=0, epsilon=0)
    for scale, sizes in (("absolute", flat.abs() + 1), ("relative", flat.abs())):
        rise = (slope.abs() * sizes).sum().item() * 1e-7
        assert found["phi"].sel(scale=scale).item() == pytest.approx(100 * rise / (1 + loss), rel=1e-3)


def test_phi_grows_with_its_box_and_a_subspace_has_less(make):
    found = analyze.measure(make(), "sharpness", epsilons=(0.1, 1e-3, 1e-2), subspaces=3, dimensions=10, **FINE).isel(
        step=0
    )
    assert list(found["epsilon"].values) == [1e-3, 1e-2, 0.1]
    for scale in ("absolute", "relative"):
        assert (found["phi"].sel(scale=scale).diff("epsilon") > 0).all()
    assert (found["phi_subspace"] < found["phi"].sel(scale="absolute")).all()
    assert (found["phi_subspace_error"] > 0).all()


def test_the_step_of_sam_rises_by_its_radius_times_the_slope(make):
    run = make()
    _, flat, _, slope, _ = around(run)
    found = analyze.measure(run, "sharpness", rho=1e-6, **FINE).isel(step=0)
    assert found["sam"].item() == pytest.approx(1e-6 * slope.norm().item(), rel=1e-3)
    assert found["asam"].item() == pytest.approx(1e-5 * (flat.abs() * slope).norm().item(), rel=1e-3)


def test_the_mean_rise_at_a_distance_is_that_of_the_trace(make):
    """On the sphere of radius r the mean of gᵀy + ½·yᵀHy is r²·tr H / 2n."""
    run = make()
    _, flat, _, _, H = around(run)
    found = analyze.measure(run, "sharpness", radii=(1e-3,), draws=1000, **FINE).isel(step=0, radius=0)
    expected = (1e-3 * flat.norm()).square().item() * H.trace().item() / 2 / len(flat)
    here = found.sel(scale="absolute")
    assert abs(here["rise"].item() - expected) < 4 * here["rise_error"].item()


def test_what_is_measured_in_sizes_of_the_weights_does_not_change_with_their_scale(make):
    """Of a network that is the same function whatever the scale of each of three matrices."""
    model = MlpSpec(
        inputs="summed", d_model=6, width=8, n_hidden=2, act_fn="relu", normalization="LNPre", frozen_readout=10
    )
    parts = {"task": ModularTask(p=5, operands="separate", train_fraction=0.7), "model": model}
    factors = {"embed.W_E": 3.0, "layers.0.W": 0.5, "layers.1.W": 2.0}
    one, other = (
        analyze.measure(make(name, by, **parts), "sharpness", **FINE).isel(step=0)
        for name, by in (("one", {}), ("other", factors))
    )
    assert one["asam"].item() == pytest.approx(other["asam"].item(), rel=1e-6)
    np.testing.assert_allclose(one["rise"].sel(scale="relative"), other["rise"].sel(scale="relative"), rtol=1e-4)
    # a search stops a little earlier or later
    np.testing.assert_allclose(one["phi"].sel(scale="relative"), other["phi"].sel(scale="relative"), rtol=1e-3)
    assert one["sam"].item() != pytest.approx(other["sam"].item(), rel=1e-2)


def test_equal_runs_give_equal_bytes(make):
    run = make()
    assert analyze.measure(run, "sharpness").identical(analyze.measure(run, "sharpness"))
