"""Planes: the middle is the checkpoint, directions are what they are called, and the run is projected orthogonally."""

import numpy as np
import pytest
import torch
from helpers import tiny_config

from interp import analyze
from interp.base import DoesNotApply, UserError
from interp.models import MlpSpec, ToySpec
from interp.models.family import TensorSpec
from interp.objective import evaluate, in_parts
from interp.recipe import TrainConfig
from interp.store.between import Curve
from interp.tasks import ModularTask, SparseFeaturesTask
from interp.train.connect import connect
from interp.train.loop import train
from interp.views.landscape import Landscape
from interp.views.plane import PLANES, Plane, filter_normalised

FEW = {"points": 5}


@pytest.fixture(scope="module")
def quadratic(tmp_path_factory):
    how = TrainConfig(steps=30, lr=1e-2, loss="squared_error", checkpoint_every=5)
    task = ModularTask(p=11, prompt="ab", train_fraction=0.5)
    return train(tiny_config(task=task, model=MlpSpec(width=20), train=how), tmp_path_factory.mktemp("q") / "run")


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    task = SparseFeaturesTask(n_features=12, sparsity=0.7, examples=5, test_examples=9)
    return train(tiny_config(task=task, model=ToySpec(d_hidden=2)), tmp_path_factory.mktemp("t") / "run")


@pytest.mark.parametrize("directions", list(PLANES))
@pytest.mark.parametrize("which", ["tiny", "quadratic", "toy"])
def test_the_middle_is_the_checkpoint_and_its_logged_loss(which, directions, request):
    run = request.getfixturevalue(which)
    found = analyze.measure(run, "plane", directions=directions, **FEW)
    for split in ("train", "test"):
        middle = found.sel(split=split, x=0, y=0)
        assert float(middle["loss"]) == pytest.approx(run.final.metrics[f"{split}_loss"], rel=1e-5)
        if "accuracy" in found:
            assert float(middle["accuracy"]) == pytest.approx(run.final.metrics[f"{split}_accuracy"])
    assert ("accuracy" in found) == (which != "toy")
    assert float(found["along_x"][-1]) == float(found["along_y"][-1]) == 0


def test_a_corner_is_the_loss_of_the_network_there(tiny):
    found = analyze.measure(tiny, "plane", **FEW)
    seen = Landscape.of(tiny)
    plane = PLANES["random"](seen, 0)
    flat = seen.flat(tiny.final.weights) + plane.directions[0] - plane.directions[1]
    weights = {name: tensor[None] for name, tensor in seen.weights(flat, tiny.final.weights).items()}
    (loss,), (accuracy,) = evaluate(in_parts([tiny.split.test], [tiny.config], "cpu"), weights)
    corner = found.sel(split="test", x=1, y=-1)
    assert float(corner["loss"]) == pytest.approx(loss, rel=1e-5)
    assert float(corner["accuracy"]) == pytest.approx(accuracy)


def test_filters_of_a_direction_have_the_norms_of_the_weights():
    weight, draw = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0)), torch.ones(2, 3, 5)
    plain = filter_normalised(TensorSpec((2, 3, 5), "mlp"), weight, draw)
    torch.testing.assert_close(plain.norm(dim=(0, 1)), weight.norm(dim=(0, 1)))
    heads = filter_normalised(TensorSpec((2, 3, 5), "attn", rows=(1,)), weight, draw)
    torch.testing.assert_close(heads.norm(dim=1), weight.norm(dim=1))
    bias = torch.randn(5)
    assert (filter_normalised(TensorSpec((5,), "mlp", "bias"), bias, bias) == 0).all()
    assert (filter_normalised(TensorSpec((5,), "ln", "scale"), bias, bias) == 0).all()


def test_a_random_plane_leaves_biases_and_holds_little_of_the_motion(tiny):
    seen = Landscape.of(tiny)
    plane, other = PLANES["random"](seen, 0), PLANES["random"](seen, 1)
    assert not torch.equal(plane.directions, other.directions)
    for name, place in seen.slices.items():
        assert bool((plane.directions[:, place] == 0).all()) == (tiny.tensors[name].role == "bias"), name
    # Also with the seed of the initial weights, which are drawn by another generator: share ~ 2 ÷ n
    assert tiny.config.seeds.model == 0
    assert plane.held < 0.02


def test_a_quadratic_loss_is_a_parabola_along_a_line(quadratic):
    """The squared error is of degree 2 in W_U alone: all third differences vanish."""
    seen = Landscape.of(quadratic)
    directions = torch.zeros(2, seen.n_weights)
    place = seen.slices["unembed.W_U"]
    directions[:, place] = torch.randn(2, place.stop - place.start, generator=torch.Generator().manual_seed(0))
    plane = Plane(seen, quadratic.final.weights, directions)
    loss, _ = plane.heights(seen.parts["train"], np.linspace(-1, 1, 7))
    for axis in (0, 1):
        assert np.abs(np.diff(loss, n=2, axis=axis)).min() > 0.1
        assert np.abs(np.diff(loss, n=3, axis=axis)).max() < 1e-4 * loss.max()


def test_principal_components_are_those_of_the_differences(tiny):
    seen = Landscape.of(tiny)
    stack = seen.flat(tiny.stacked()).double()
    away = stack - stack[-1]
    _, singular, Vh = torch.linalg.svd(away, full_matrices=False)
    plane = PLANES["pca"](seen, 0)
    basis = plane.directions.double()
    torch.testing.assert_close(basis @ basis.T, torch.eye(2).double(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close((basis * Vh[:2]).sum(dim=1).abs(), torch.ones(2).double(), rtol=1e-5, atol=1e-5)
    assert plane.held == pytest.approx(float(singular[:2].square().sum() / singular.square().sum()), rel=1e-5)
    np.testing.assert_allclose(plane.way["x"], (away @ basis[0]).numpy(), rtol=1e-4, atol=1e-5)
    assert plane.way["x"][0] > 0


def test_three_checkpoints_lie_in_the_plane_through_them(tiny):
    found = analyze.measure(tiny.select(steps=(0, 10, 40)), "plane", directions="checkpoints", **FEW)
    np.testing.assert_allclose(found["share_held"], 1, rtol=1e-5)
    A, B, C = (Landscape.of(tiny).flat(tiny.at(step).weights).double() for step in (0, 10, 40))
    places = np.stack([found["along_x"], found["along_y"]], axis=1)
    np.testing.assert_allclose(places[0], [float((A - C).norm()), 0], atol=1e-4)
    assert np.linalg.norm(places[0] - places[1]) == pytest.approx(float((A - B).norm()), rel=1e-4)
    assert np.linalg.norm(places[1]) == pytest.approx(float((B - C).norm()), rel=1e-4)
    reach = np.abs(places).max()
    assert reach < float(found["x"].max()) < 1.2 * reach


def test_planes_that_there_are_not(tiny, tmp_path):
    with pytest.raises(
        DoesNotApply, match="has 2 checkpoints in view, and such a plane needs three; take --directions"
    ):
        analyze.measure(tiny.select(last=2), "plane", directions="pca")
    line = connect(f"{tiny.path}@0", tiny.path, tmp_path / "line", Curve(points=5))
    for directions in ("pca", "checkpoints"):
        with pytest.raises(DoesNotApply, match="lie on a line"):
            analyze.measure(line, "plane", directions=directions)
    with pytest.raises(UserError, match="should be odd, so that the checkpoint is one of them; take 25"):
        analyze.measure(tiny, "plane", points=24)
    with pytest.raises(UserError, match=r"measuring .* takes at least"):
        analyze.measure(tiny.within("10KiB"), "plane")


def test_memory_and_threads_change_no_number(tiny):
    whole = analyze.measure(tiny, "plane", **FEW)
    little = analyze.measure(tiny.within("1MiB"), "plane", **FEW)
    np.testing.assert_allclose(little["loss"], whole["loss"], rtol=1e-5)


def test_the_bend_of_a_curve_is_seen_in_the_plane_through_it(tiny, tmp_path):
    path = connect(f"{tiny.path}@0", tiny.path, tmp_path / "x", Curve(curve="bezier", points=5, steps=20))
    found = analyze.measure(path, "plane", directions="checkpoints", **FEW)
    np.testing.assert_allclose(found["share_held"], 1, rtol=1e-4)  # a quadratic curve lies in a plane
    assert len(list(analyze.draw(found).select_traces())) == 8
