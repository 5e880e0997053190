"""Jacobians against torch.func through the hooked networks, planted grids, and layers that are those of the cache."""

from typing import Any

import numpy as np
import pytest
import torch
from helpers import tiny_config
from torch.func import functional_call, jacrev, vmap

from interp import analyze
from interp.analyze.landscape.complexity import Drawn, Options
from interp.maths.simplicity import frames
from interp.models import MlpSpec, ToySpec, TransformerSpec
from interp.models.network import initial_weights, over, roles
from interp.store import RunWriter, open_run
from interp.tasks import ImagesTask, ModularTask, RepeatedTask, SparseFeaturesTask, TeacherTask
from interp.views.halves import Halves

SMALL: dict[str, Any] = {"n_heads": 2, "d_model": 16, "d_head": 8, "d_mlp": 24}
TABLE = ModularTask(p=7, train_fraction=0.5)
TOYS = SparseFeaturesTask(n_features=12, sparsity=0.7, examples=20, test_examples=9)
TEACHER = TeacherTask(examples=30, test_examples=20, teacher_width=9)


def noisy(model, shape, seed=0):
    """Initial weights with noise on every number, so that no bias is 0."""
    weights, generator = initial_weights(model, shape, seed), torch.Generator().manual_seed(seed)
    return {name: tensor + 0.1 * torch.randn(tensor.shape, generator=generator) for name, tensor in weights.items()}


@pytest.fixture
def of_model(tmp_path):
    """A run whose checkpoints are such weights, and these changed."""

    def of_model(model, task=TABLE, *changes):
        config = tiny_config(task=task, model=model)
        with RunWriter(tmp_path / "run", config) as writer:
            for step, change in enumerate((dict, *changes)):
                writer.checkpoint(step, change(noisy(model, task.shape)))
        return open_run(tmp_path / "run")

    return of_model


MODELS = [
    (TransformerSpec(**SMALL), TABLE),
    (TransformerSpec(**SMALL, n_layers=2, normalization="LN", act_fn="gelu"), TABLE),
    (TransformerSpec(**SMALL), RepeatedTask(vocabulary=6, length=9, subsequence=2, examples=20, test_examples=9)),
    (MlpSpec(width=9, biases=True), TABLE),
    (MlpSpec(width=9, inputs="embedded", d_model=5, act_fn="relu", normalization="LNPre"), TABLE),
    (MlpSpec(width=9, inputs="summed", d_model=5, biases=True, normalization="LNPre"), TABLE),
    (MlpSpec(width=9, n_hidden=3, act_fn="relu", biases=True), TABLE),
    (MlpSpec(width=9, inputs="vectors", act_fn="relu"), ImagesTask(examples=60)),
    (MlpSpec(width=9, inputs="vectors", act_fn="tanh", n_hidden=2), TEACHER),
    (ToySpec(d_hidden=2), TOYS),
    (ToySpec(d_hidden=3, tied=False, hidden="gelu"), TOYS),
]
NAMES = [f"{model.kind} {number}" for number, (model, _) in enumerate(MODELS)]


@pytest.mark.parametrize(("model", "task"), MODELS, ids=NAMES)
def test_the_last_layer_receives_what_the_cache_says_of_what_it_reads(model, task):
    layer, weights = roles(model).layer, noisy(model, task.shape)
    assert layer is not None
    forward = over(model, task.shape, torch.from_numpy(task.split(0).train.inputs))
    cache = forward.cache(weights)
    rows = cache[layer.reads].flatten(-layer.axes).flatten(0, -2)
    post = next(hook for hook in reversed(cache) if hook.endswith("hook_pre"))
    torch.testing.assert_close(layer.pre(weights, rows), cache[post].flatten(0, -2), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("model", "task"), MODELS, ids=NAMES)
def test_the_jacobian_is_that_of_torch_func_through_the_hooked_network(of_model, model, task):
    run = of_model(model, task)
    found = analyze.measure(run, "complexity", probes=200, prompts=2000).isel(step=0)
    network, weights = run.final.model, {n: w.detach() for n, w in run.final.model.named_parameters()}
    name = "embed.W_E" if "embed.W_E" in weights else "layers.0.W"
    inputs, by_inputs = torch.from_numpy(run.split.test.inputs), task.shape.inputs.kind == "vectors"

    def outputs(changed):
        given, params = (changed, weights) if by_inputs else (inputs, {**weights, name: changed})
        found = functional_call(network, params, (given,))
        return found[:, list(task.shape.classes.positions)].flatten(0, 1) if found.ndim == 3 else found

    leaf = inputs if by_inputs else weights[name]
    each = vmap(jacrev(lambda vector: outputs(vector[None])[0]))  # of an example's outputs by itself alone
    J = (each if by_inputs else jacrev(outputs))(leaf).double()
    z = outputs(leaf).double()
    here, norm = found.sel(split="test"), float((J.square().sum() / len(z)).sqrt())
    assert abs(here["jacobian"].item() - norm) < 4 * here["jacobian_error"].item()
    assert here["jacobian_error"].item() < 0.1 * norm
    length = leaf.double().square().sum(dim=-1).mean().sqrt().item()
    factor = length / z.std(dim=1, correction=0).mean().item()
    assert here["elasticity"].item() == pytest.approx(here["jacobian"].item() * factor, rel=1e-3)


def test_louder_outputs_have_a_larger_jacobian_and_no_other_elasticity(of_model):
    def louder(weights):
        return {**weights, "unembed.W_U": 4 * weights["unembed.W_U"], "unembed.b_U": 4 * weights["unembed.b_U"]}

    found = analyze.measure(of_model(MODELS[0][0], TABLE, louder), "complexity")
    np.testing.assert_allclose(found["jacobian"][1], 4 * found["jacobian"][0], rtol=1e-5)
    np.testing.assert_allclose(found["elasticity"][1], found["elasticity"][0], rtol=1e-5)


def test_local_complexity_is_counted_by_hand_around_vectors(of_model):
    """Neurons x_i = t: the vertices of a frame of all directions reach ±r·max_v |v_i| along axis i."""
    run = of_model(MlpSpec(width=20, inputs="vectors", act_fn="relu", biases=True), TEACHER)
    seen, options = Halves.of(run), Options(directions=5, radius=0.4)
    drawn, weights = Drawn(seen, "train", options), run.final.weights
    x, radius = drawn.read(weights), torch.tensor(0.7)
    assert torch.equal(x, drawn.inputs)
    v = frames(len(x), x.shape[1], 5, drawn.generator(1))
    W, b = weights["layers.0.W"], weights["layers.0.b"]
    reach = 0.7 * (v @ W).abs().amax(dim=1)
    expected = ((x @ W + b).abs() < reach).sum(dim=1)
    assert torch.equal(drawn.local(weights, x, radius).long(), expected)


@pytest.mark.parametrize("power", [-6, -7, -9])
def test_weights_on_a_grid_are_given_that_grid(tiny, tmp_path, power):
    """Half powers of 2: with any coarser one the loss of a network that has learned something rises."""
    grid = 2 ** (power / 2)
    with RunWriter(tmp_path / "run", tiny.config) as writer:
        writer.checkpoint(0, tiny.first.weights)
        writer.checkpoint(1, {name: grid * (w / grid).round() for name, w in tiny.final.weights.items()})
    found = analyze.measure(open_run(tmp_path / "run"), "complexity", tolerance=1e-9).sel(step=1)
    assert found["grid"].item() == pytest.approx(grid)
    assert found["rise"].item() == pytest.approx(0, abs=1e-6)


def test_a_tolerance_of_more_than_the_loss_of_nothing_takes_no_bits_and_a_smaller_one_more(tiny):
    bits = [
        analyze.measure(tiny.select(last=1), "complexity", tolerance=tolerance)["bits"].item()
        for tolerance in (10, 0.1, 0.01, 1e-4)
    ]
    assert bits[0] == 0
    assert bits == sorted(bits)
    assert bits[-1] > bits[1]


def test_equal_seeds_give_equal_numbers_and_others_differ_within_their_errors(tiny):
    run = tiny.select(last=1)
    one, same, other = (analyze.measure(run, "complexity", seed=seed, prompts=30).isel(step=0) for seed in (0, 0, 1))
    for name in ("local_complexity", "jacobian"):
        np.testing.assert_array_equal(one[name], same[name])
        error = np.hypot(one[f"{name}_error"], other[f"{name}_error"])
        assert (abs(one[name] - other[name]) < 4 * error + 1e-12).all()
    assert (one["jacobian"] != other["jacobian"]).all()


def test_what_a_network_does_not_tell_is_left_out_and_the_reason_stands_in_the_definition(of_model):
    found = analyze.measure(of_model(TransformerSpec(**SMALL, attn_only=True)), "complexity")
    assert "local_complexity" not in found
    assert "tells no layer with an activation function" in found.attrs["definition"]
    assert {"jacobian", "bits"} <= set(found.data_vars)
    assert analyze.draw(found) is not None
