"""Alignment: every symmetry that a family names keeps the function, and a network hidden in another's symmetries is found."""

import numpy as np
import pytest
import torch
from helpers import tiny_config

from interp.base import DoesNotApply
from interp.maths.paths import barrier
from interp.models import MlpSpec, ToySpec, TransformerSpec
from interp.models.network import initial_weights, over, symmetries
from interp.recipe import Seeds, TrainConfig
from interp.store import Run, open_run
from interp.store.at_once import write_at_once
from interp.store.between import Curve
from interp.tasks import ModularTask, SparseFeaturesTask
from interp.train.align import Change, aligned, best, changed, similarity
from interp.train.connect import connect
from interp.train.loop import train

PROMPTS = ModularTask(p=11, train_fraction=0.5)
PAIRS = ModularTask(p=11, prompt="ab", train_fraction=0.5)
VECTORS = SparseFeaturesTask(n_features=12, sparsity=0.7, examples=30, test_examples=9)
SMALL = TransformerSpec(n_heads=3, d_model=16, d_head=4, d_mlp=24, biases="trained")

NETWORKS = {
    "quadratic": (MlpSpec(width=20), PAIRS),
    "quadratic, two layers": (MlpSpec(width=20, n_hidden=2, biases=True), PAIRS),
    "tanh": (MlpSpec(width=20, n_hidden=2, biases=True, act_fn="tanh"), PAIRS),
    "relu on embeddings": (MlpSpec(width=20, d_model=8, inputs="embedded", act_fn="relu", biases=True), PAIRS),
    "summed, normalised": (MlpSpec(width=20, d_model=8, inputs="summed", act_fn="relu", normalization="LNPre"), PAIRS),
    "quadratic, normalised": (MlpSpec(width=20, normalization="LNPre", frozen_readout=10.0), PAIRS),
    "toy": (ToySpec(d_hidden=4), VECTORS),
    "toy, untied": (ToySpec(d_hidden=4, tied=False), VECTORS),
    "toy, relu": (ToySpec(d_hidden=4, hidden="relu"), VECTORS),
    "toy, solu_ln": (ToySpec(d_hidden=4, hidden="solu_ln", tied=False), VECTORS),
    "transformer": (SMALL, PROMPTS),
    "two layers": (SMALL.but(n_layers=2, act_fn="gelu", attention="bidirectional"), PROMPTS),
    "LN": (SMALL.but(n_layers=2, normalization="LN"), PROMPTS),
    "LNPre in part": (SMALL.but(normalization="LNPre", norm_before=("mlp",)), PROMPTS),
    "solu_ln": (SMALL.but(normalization="LN", act_fn="solu_ln"), PROMPTS),
    "attention alone": (SMALL.but(n_layers=2, attn_only=True), PROMPTS),
    "directions": (SMALL.but(biases="frozen", directions=True), PROMPTS),
}


@pytest.fixture(params=NETWORKS)
def network(request):
    """A model, a task, and weights of which none is 0."""
    spec, task = NETWORKS[request.param]
    generator = torch.Generator().manual_seed(0)
    first = initial_weights(spec, task.shape, 0)
    return spec, task, {n: (t + 0.2 * torch.randn(t.shape, generator=generator)).double() for n, t in first.items()}


def outputs(spec, task, weights):
    inputs = torch.from_numpy(task.split(0).train.inputs)
    inputs = inputs.double() if inputs.is_floating_point() else inputs
    return over(spec, task.shape, inputs[None], "float64")({name: tensor[None] for name, tensor in weights.items()})


def at_random(symmetry, weights, seed=1) -> Change:
    """A change by a symmetry: places, signs and turns at random."""
    generator = torch.Generator().manual_seed(seed)
    units = symmetry.units
    n = weights[units[0].tensor].shape[units[0].axis] if units else 1
    signs = torch.randint(0, 2, (n,), generator=generator).double() * 2 - 1
    widths = [weights[space[0].tensor].shape[space[0].axis] for space in symmetry.spaces]
    turns = [torch.linalg.qr(torch.randn(n, d, d, generator=generator, dtype=torch.float64))[0] for d in widths]
    return Change(torch.randperm(n, generator=generator), signs if symmetry.odd else signs.abs(), turns)


def test_every_symmetry_keeps_the_function_and_moves_the_weights(network):
    spec, task, weights = network
    before = outputs(spec, task, weights)
    assert symmetries(spec, task.shape)
    for symmetry in symmetries(spec, task.shape):
        moved = changed(weights, symmetry, at_random(symmetry, weights))
        assert {name for name in weights if not torch.equal(moved[name], weights[name])} <= symmetry.tensors
        assert max(float((moved[name] - weights[name]).abs().max()) for name in symmetry.tensors) > 0.1
        torch.testing.assert_close(outputs(spec, task, moved), before, rtol=1e-9, atol=1e-9, msg=symmetry.about)


def test_a_network_hidden_in_its_own_symmetries_is_found_again(network):
    spec, task, weights = network
    known, hidden = symmetries(spec, task.shape), weights
    for number, symmetry in enumerate(known):
        hidden = changed(hidden, symmetry, at_random(symmetry, weights, seed=number))
    assert similarity(weights, hidden) < 0.9 * similarity(weights, weights)
    found, _ = aligned(weights, hidden, known)
    for name, tensor in weights.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-6, atol=1e-6, msg=name)


def test_each_step_of_an_alignment_brings_weights_nearer(network):
    spec, task, weights = network
    other = {
        name: torch.randn(t.shape, generator=torch.Generator().manual_seed(5)).double() for name, t in weights.items()
    }
    before = similarity(weights, other)
    for symmetry in symmetries(spec, task.shape):
        other = changed(other, symmetry, best(weights, other, symmetry, symmetry.tensors))
        after = similarity(weights, other)
        assert after >= before - 1e-9
        before = after


def test_no_change_at_random_is_nearer_than_the_best(network):
    spec, task, weights = network
    generator = torch.Generator().manual_seed(5)
    other = {name: torch.randn(t.shape, generator=generator).double() for name, t in weights.items()}
    for symmetry in symmetries(spec, task.shape):
        nearest = similarity(weights, changed(other, symmetry, best(weights, other, symmetry, symmetry.tensors)))
        for seed in range(20):
            tried = changed(other, symmetry, at_random(symmetry, weights, seed))
            assert similarity(weights, tried) <= nearest + 1e-9


def planted(run: Run, path, scrambled) -> Run:
    """A run with the weights of another's last checkpoint in some other form."""
    path.mkdir()
    (path / "steps").mkdir()
    told = {"layout": "planted", "files": {}}
    write_at_once(path, run.config, {run.steps[-1]: lambda: scrambled}, [], None, **told)
    return open_run(path)


def test_the_line_to_a_hidden_copy_is_level_once_it_is_aligned(tiny, tmp_path):
    weights = tiny.final.weights
    scrambled = {name: tensor.double() for name, tensor in weights.items()}
    for symmetry in symmetries(tiny.config.model, tiny.task.shape):
        scrambled = changed(scrambled, symmetry, at_random(symmetry, scrambled))
    copy = planted(tiny, tmp_path / "copy", {name: tensor.float() for name, tensor in scrambled.items()})
    line, level = (
        connect(tiny.path, copy.path, tmp_path / str(align), Curve(points=5, align=align)).history
        for align in (False, True)
    )
    assert line["train_loss"].iloc[-1] == pytest.approx(line["train_loss"].iloc[0], rel=1e-5)
    assert barrier(line["train_loss"].to_numpy()).above_ends > 0.1
    assert barrier(level["train_loss"].to_numpy()).above_ends == pytest.approx(0, abs=1e-5)
    np.testing.assert_allclose(level["test_loss"], level["test_loss"].iloc[0], rtol=1e-5)


def test_alignment_lowers_the_barrier_between_two_networks(tmp_path):
    how = TrainConfig(steps=120, lr=1e-2, weight_decay=2.0, warmup_steps=0, loss="squared_error")
    task, model = ModularTask(p=11, prompt="ab", train_fraction=0.7), MlpSpec(width=48)
    a, b = (
        train(tiny_config(task=task, model=model, train=how, seeds=Seeds(model=seed)), tmp_path / f"run{seed}")
        for seed in (0, 1)
    )
    paths = [connect(a.path, b.path, tmp_path / str(align), Curve(points=9, align=align)) for align in (False, True)]
    plain, near = (barrier(path.history["train_loss"].to_numpy()).above_ends for path in paths)
    assert near < plain / 2
    assert paths[1].between is not None
    assert paths[1].between.rounds > 1
    end = paths[1].history.iloc[-1]
    for name, value in b.final.metrics.items():  # the aligned network is the same function
        assert end[name] == pytest.approx(value, rel=1e-5)
    distances = [
        sum(float((path.final.weights[name] - tensor).square().sum()) for name, tensor in a.final.weights.items())
        for path in paths
    ]
    assert distances[1] < distances[0]


def test_a_family_that_names_no_symmetries_is_declined():
    class Other(MlpSpec):
        __module__ = "somewhere.spec"

    with pytest.raises(DoesNotApply, match=r'model.kind "mlp" names no symmetries .* leave out --align'):
        symmetries(Other(), PAIRS.shape)
