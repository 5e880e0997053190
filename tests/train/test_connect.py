"""Paths between two networks: the ends are those networks, the points are where the formula says, and the bend is trained."""

import contextlib
import json

import numpy as np
import pytest
import torch
from helpers import tiny_config

import interp
from interp import analyze
from interp.base import DoesNotApply, UserError
from interp.maths.paths import CURVES, barrier, drawn, even
from interp.models import MlpSpec, TransformerSpec
from interp.recipe import Seeds, TrainConfig
from interp.store import open_run
from interp.store.between import Curve
from interp.store.start import start_from
from interp.store.verify import verify
from interp.tasks import ModularTask
from interp.train.bend import trained_bend
from interp.train.connect import connect
from interp.train.loop import silently, train

QUADRATIC = {
    "task": ModularTask(p=11, prompt="ab", train_fraction=0.7),
    "model": MlpSpec(width=48),
    "train": TrainConfig(steps=120, lr=1e-2, weight_decay=2.0, warmup_steps=0, loss="squared_error"),
}


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two quadratic MLPs that differ in their initial weights alone."""
    place = tmp_path_factory.mktemp("two")
    return [train(tiny_config(**QUADRATIC, seeds=Seeds(model=seed)), place / str(seed)) for seed in (0, 1)]


@pytest.fixture(scope="module")
def straight(two, tmp_path_factory):
    return connect(two[0].path, two[1].path, tmp_path_factory.mktemp("paths") / "straight", Curve(points=9))


def test_the_ends_are_the_two_networks_bit_for_bit(two, straight):
    for end, run in zip((straight.first, straight.final), two, strict=True):
        for name, tensor in run.final.weights.items():
            assert end.weights[name].numpy().tobytes() == tensor.numpy().tobytes()


def test_losses_at_the_ends_are_those_that_training_logged(two, straight):
    for step, run in zip((0, 8), two, strict=True):
        for name, value in run.final.metrics.items():
            assert straight.at(step).metrics[name] == pytest.approx(value, rel=1e-6)


def test_points_of_a_line_are_evenly_apart(two, straight):
    A, B = (run.final.weights["layers.0.W"] for run in two)
    for step in range(9):
        expected = A + (B - A) * step / 8
        torch.testing.assert_close(straight.at(step).weights["layers.0.W"], expected, rtol=1e-6, atol=1e-7)


def test_a_line_from_a_network_to_itself_is_level(two, tmp_path):
    run = connect(two[0].path, two[0].path, tmp_path / "x", Curve(points=5))
    losses = run.history[["train_loss", "test_loss"]].to_numpy()
    np.testing.assert_allclose(losses, np.tile(losses[:1], (5, 1)), rtol=1e-5)
    assert barrier(losses[:, 0]).above_ends == pytest.approx(0, abs=1e-7)


def test_curves_begin_at_A_end_at_B_and_pass_by_the_bend():
    A, bend, B = torch.randn(3, 4, dtype=torch.float64)
    stack, t = torch.stack([A, bend, B]), even(5)
    for name, curve in CURVES.items():
        parts = curve(t)
        torch.testing.assert_close(parts.sum(dim=1), torch.ones(5, dtype=torch.float64))
        torch.testing.assert_close((parts @ stack)[[0, -1]], torch.stack([A, B]), msg=name)
    torch.testing.assert_close((CURVES["polygon"](t) @ stack)[2], bend)
    torch.testing.assert_close((CURVES["bezier"](t) @ stack)[2], A / 4 + bend / 2 + B / 4)


def test_one_t_is_drawn_in_each_part_of_the_path():
    t = drawn(4, torch.Generator().manual_seed(0))
    assert ((t * 4).floor() == torch.arange(4)).all()


@pytest.mark.parametrize("name", ["bezier", "polygon"])
def test_the_bend_goes_round_a_hill(name):
    """Between (−1, 0) and (1, 0) the loss (x² + y² − 1)² is 1 at the origin. By symmetry the best bend is (0, ±b)."""
    A, B = {"w": torch.tensor([-1.0, 0.0])}, {"w": torch.tensor([1.0, 0.001])}

    def loss(weights):
        return (weights["w"].square().sum(dim=-1) - 1).square()

    def along(curve, theta):
        return loss({"w": CURVES[curve](even(201)) @ torch.stack([A["w"], theta, B["w"]]).double()})

    curve = Curve(curve=name, lr=0.05, draws=4, steps=200)
    bend = trained_bend(A, B, loss, ["w"], curve, silently())["w"]
    tries = [torch.tensor([0.0, b]) for b in np.linspace(0.5, 3, 501)]
    best = min(tries, key=lambda theta: float(along(name, theta).mean()))
    assert float(along("line", A["w"]).max()) == pytest.approx(1, abs=1e-3)
    assert abs(float(bend[0])) < 0.05
    assert abs(float(bend[1])) == pytest.approx(float(best[1]), rel=0.05)
    assert float(along(name, bend).mean()) == pytest.approx(float(along(name, best).mean()), rel=0.05)


def test_the_bend_is_the_same_for_the_same_seed(two, tmp_path):
    def bent(name, **more):
        return connect(two[0].path, two[1].path, tmp_path / name, Curve(curve="bezier", points=3, steps=3, **more))

    one, again, other = bent("one"), bent("again"), bent("other", seed=1)
    assert (one.at(1).path).read_bytes() == (again.at(1).path).read_bytes()
    assert not torch.equal(one.at(1).weights["layers.0.W"], other.at(1).weights["layers.0.W"])


@pytest.mark.parametrize(("curve", "times"), [("bezier", 10), ("polygon", 5)])
def test_a_bend_lowers_the_barrier_between_two_networks(two, straight, tmp_path, curve, times):
    run = connect(two[0].path, two[1].path, tmp_path / "x", Curve(curve=curve, lr=1e-2, points=9))
    line, bent = (barrier(each.history["train_loss"].to_numpy()).above_ends for each in (straight, run))
    assert line > 0.1
    assert bent < line / times


def test_weights_that_do_not_learn_lead_straight_from_end_to_end(tmp_path):
    model = MlpSpec(inputs="summed", d_model=8, width=16, normalization="LNPre", frozen_readout=10.0, act_fn="relu")
    task = ModularTask(p=7, prompt="ab", operands="separate", train_fraction=0.7)
    how = TrainConfig(steps=3)
    runs = [
        train(tiny_config(task=task, model=model, train=how, seeds=Seeds(model=seed)), tmp_path / str(seed))
        for seed in (0, 1)
    ]
    path = connect(runs[0].path, runs[1].path, tmp_path / "x", Curve(curve="bezier", steps=5, points=3))
    A, B = (run.final.weights["unembed.W_U"] for run in runs)
    torch.testing.assert_close(path.at(1).weights["unembed.W_U"], (A + B) / 2)


def test_points_of_networks_of_directions_have_their_norms(tmp_path):
    model = TransformerSpec(n_heads=2, d_model=16, d_head=8, d_mlp=24, directions=True, biases="frozen")
    runs = [
        train(tiny_config(model=model, train=TrainConfig(steps=2), seeds=Seeds(model=seed)), tmp_path / str(seed))
        for seed in (0, 1)
    ]
    path = connect(runs[0].path, runs[1].path, tmp_path / "x", Curve(points=3))
    for name, norm in model.fixed_norms(path.task.shape).items():
        assert float(path.at(1).weights[name].norm()) == pytest.approx(norm, rel=1e-5)


def test_the_record_says_what_the_path_is(two, straight):
    between = straight.between
    assert between is not None
    assert [(end.path, end.step) for end in between.ends] == [(str(run.path), 120) for run in two]
    assert [end.sha256 for end in between.ends] == [start_from(run.path).sha256 for run in two]
    assert between.curve == Curve(points=9)
    assert open_run(straight.path).between == between
    words = straight.summary()
    assert words["path"] == "straight line"
    assert words["A"] == f"{two[0].path} at step 120"
    assert "training" not in words
    assert not [verdict for verdict in verify(straight.path) if verdict.fault]


def test_different_training_sets_are_told(two, tmp_path):
    other = train(tiny_config(**QUADRATIC, seeds=Seeds(split=1)), tmp_path / "other")
    path = connect(two[0].path, other.path, tmp_path / "x", Curve(points=3))
    assert path.record.origin is not None
    assert "training and test set of the path are those of A" in path.record.origin.notes[0]
    assert (path.split.train_index == two[0].split.train_index).all()


def test_a_path_is_no_training(two, straight, tmp_path):
    with pytest.raises(UserError, match="there is nothing to go on from"):
        train(straight.config, straight.path, resume=True)
    begun = tiny_config(**QUADRATIC, start=start_from(f"{straight.path}@4"))
    run = train(begun.but(train=begun.train.but(steps=1)), tmp_path / "begun")
    assert torch.equal(run.first.weights["layers.0.W"], straight.at(4).weights["layers.0.W"])


def test_analyses_run_along_it(two, straight):
    found = analyze.measure(straight, "norms")
    assert found["step"].values.tolist() == list(range(9))
    A, B = (run.final.weights["unembed.W_U"].double() for run in two)
    middle = found["l2"].sel(step=4, tensor="unembed.W_U")
    assert float(middle) == pytest.approx(float((A + B).norm() / 2), rel=1e-6)
    assert np.isnan([found.attrs[name] for name in ("memorised", "generalised", "collapsed")]).all()
    titles = [axis.title.text for axis in analyze.draw(found).select_xaxes()]
    assert "point on the path (0: A, 8: B)" in titles
    assert "step (optimiser updates)" not in titles
    assert "fourier" in analyze.applies(straight).fitting
    with pytest.raises(DoesNotApply, match='is a path between two networks; analysis "phases" needs a run that learns'):
        analyze.measure(straight, "phases")


def test_public_names_make_one(two, tmp_path):
    run = interp.connect_runs(two[0].path, f"{two[1].path}@100", tmp_path / "x", points=3)
    assert run.measure("norms")["step"].attrs["units"] == "points"
    assert json.loads(run.measure("norms").attrs["config"])["train"]["weight_decay"] == 2.0


def test_a_stop_leaves_nothing_that_is_a_run(two, tmp_path):
    class Stops(contextlib.AbstractContextManager):
        rows = staticmethod(lambda rows: None)

        def step(self, step):
            raise KeyboardInterrupt

        def __exit__(self, *_):
            pass

    bent = Curve(curve="bezier", points=3)
    with pytest.raises(KeyboardInterrupt):
        connect(two[0].path, two[1].path, tmp_path / "x", bent, watcher=lambda total, start, label: Stops())
    assert not (tmp_path / "x/run.json").exists()
    assert len(connect(two[0].path, two[1].path, tmp_path / "x", Curve(points=3))) == 3


def test_a_failed_path_keeps_what_it_was_to_replace(two, tmp_path):
    first = connect(two[0].path, two[1].path, tmp_path / "x", Curve(points=3))
    wild = Curve(curve="bezier", points=3, steps=50, lr=1e30)
    with pytest.raises(UserError, match=r"training the bend diverged: .* take a smaller --lr than 1e\+30"):
        connect(two[0].path, two[1].path, tmp_path / "x", wild, overwrite=True)
    assert open_run(first.path).between == first.between


def test_barriers_by_hand():
    found = barrier(np.array([1.0, 2.0, 5.0, 3.0]))
    assert found.above_ends == 2
    assert found.above_line == pytest.approx(5 - (1 + 2 * 2 / 3))
    assert found.at == 2
    assert barrier(np.array([3.0, 1.0, 1.0])).above_ends == 0
    assert np.isnan(barrier(np.array([1.0, np.nan, 2.0])).above_ends)
