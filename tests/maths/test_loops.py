"""Compiled loops: equal to what they take the place of, and to exp."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from interp import analyze
from interp.base import IGNORED
from interp.config import RunConfig
from interp.maths import compiled, loops
from interp.maths.compiled import first_derivatives, serve
from interp.maths.losses import cross_entropy
from interp.models import MlpSpec, TransformerSpec
from interp.models.activations import activate
from interp.models.network import initial_weights, over
from interp.recipe import Seeds
from interp.store import RunWriter, open_run
from interp.tasks import ModularTask
from interp.train.learner import Learner
from interp.views import neurons

HOOK = "blocks.0.mlp.hook_post"

RUNS, N, ANSWERS = 2, 40, 7


@pytest.fixture
def always(monkeypatch):
    """Loops also for few numbers."""
    monkeypatch.setattr(compiled, "MANY", 0)


def drawn(*size, seed=0, factor=1.0):
    generator = torch.Generator().manual_seed(seed)
    return (factor * torch.randn(size, generator=generator)).requires_grad_()


def test_exp_is_exp_to_two_units_in_the_last_place():
    for x in [0.0, -1e-300, -1e-9, -0.5, -math.log(2), *np.linspace(-708, 0, 20_001).tolist()]:
        assert loops.exp(x) == pytest.approx(math.exp(x), rel=2 * np.finfo(float).eps, abs=0), x
    assert 0 <= loops.exp(-1e5) < 1e-300
    assert math.isnan(loops.exp(math.nan))


def answers():
    """Targets of two runs, the second with fewer."""
    targets = torch.randint(ANSWERS, (RUNS, N), generator=torch.Generator().manual_seed(1))
    targets[1, 30:] = IGNORED
    return targets


@pytest.mark.parametrize("factor", [1.0, 30.0, 1e4])
def test_the_loss_and_its_gradient_are_torch_s(factor, always):
    logits, outer = drawn(RUNS, N, ANSWERS, factor=factor), torch.tensor([1.0, 3.0], dtype=torch.float64)
    expected = cross_entropy(logits, answers())
    gradient = torch.autograd.grad((outer * expected).sum(), logits)
    with first_derivatives():
        found = cross_entropy(logits, answers())
        by_loops = torch.autograd.grad((outer * found).sum(), logits)
    assert "CrossEntropy" in type(found.grad_fn).__name__
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(by_loops, gradient, rtol=2e-7, atol=1e-16)


def test_a_loss_too_small_for_float32_is_still_read_and_what_is_no_number_stays_none(always):
    with first_derivatives():
        small = cross_entropy(torch.tensor([[20.0, 0.0, 0.0]]), torch.tensor([0]))
        assert float(small) == pytest.approx(2 * math.exp(-20), rel=1e-6)
        for wrong in (math.nan, math.inf):
            assert math.isnan(cross_entropy(torch.tensor([[wrong, 0.0, 1.0]]), torch.tensor([1])))


def test_loops_serve_where_first_derivatives_of_many_float32_are_wanted(monkeypatch):
    one = torch.ones(1)
    assert not serve(10**6, one)
    with first_derivatives():
        assert serve(10**6, one)
        assert not serve(10, one) and not serve(10**6, one, one.double())
        monkeypatch.setattr(loops, "numba", None)
        assert not serve(10**6, one)
    assert not serve(10**6, one)


def test_what_is_differentiated_once_says_so_when_it_is_differentiated_again(always):
    logits = drawn(RUNS, N, ANSWERS)
    with first_derivatives():
        (first,) = torch.autograd.grad(cross_entropy(logits, answers()).square().sum(), logits, create_graph=True)
    with pytest.raises(RuntimeError, match="to not have been used"):
        torch.autograd.grad(first.sum(), logits)


def test_relu_s_gradient_is_its_gradient():
    pre, w = drawn(1, 5, 4), drawn(1, 4, 3, seed=1)
    expected = torch.autograd.grad((pre.relu() @ w).sum(), (pre, w))
    with first_derivatives():
        found = torch.autograd.grad((activate("relu", pre) @ w).sum(), (pre, w))
    torch.testing.assert_close(found, expected)


SUMS = ModularTask(p=11, train_fraction=0.6)
LAYERS = {
    "one layer": TransformerSpec(n_heads=2, d_model=16, d_head=8, d_mlp=24),
    "two layers": TransformerSpec(n_layers=2, n_heads=2, d_model=16, d_head=8, d_mlp=24),
    "a norm": TransformerSpec(n_heads=2, d_model=16, d_head=8, d_mlp=24, normalization="LN"),
    "no softmax": TransformerSpec(n_heads=2, d_model=16, d_head=8, d_mlp=24, attention_rate=0.5),
    "an MLP": MlpSpec(width=24, act_fn="relu"),
}


@pytest.mark.parametrize("layers", LAYERS)
def test_a_network_s_gradients_are_those_without_loops(layers, monkeypatch):
    configs = [RunConfig(task=SUMS, model=LAYERS[layers], seeds=Seeds(model=seed, split=seed)) for seed in range(2)]
    gradients = []
    for many in (0, 2**40):
        monkeypatch.setattr(compiled, "MANY", many)
        learner = Learner.make(configs, "cpu")
        assert learner.whole is not None
        learner.differentiate(learner.whole, None, {})
        gradients.append({name: learner.gradient(name).clone() for name in learner.learned})
    by_loops, expected = gradients
    for name, gradient in expected.items():
        largest = float(gradient.abs().max())
        assert largest > 0 and float((by_loops[name] - gradient).abs().max()) < 1e-5 * largest, name


def wide(act_fn: Any = "relu", **more):
    """A network of which few prompts outnumber the table: its neurons receive sums over table rows."""
    return TransformerSpec(n_heads=1, d_model=128, d_head=128, d_mlp=16, act_fn=act_fn, **more)


@pytest.mark.parametrize("labelled", [0, 1])  # all prompts have one label; labels as they come, and some have no prompt
def test_sums_of_neurons_by_label_are_those_of_the_activations(labelled, always):
    task, runs = ModularTask(p=11), 3
    tokens = torch.from_numpy(task.table().inputs)
    labels = torch.arange(len(tokens)) * labelled % 5
    each = [initial_weights(wide(), task.shape, seed=seed) for seed in range(runs)]
    weights = {name: torch.stack([of_one[name] for of_one in each]) for name in each[0]}
    forward = over(wide(), task.shape, tokens.expand(runs, -1, -1))
    with torch.inference_mode(), first_derivatives():
        found = forward.post_sums(weights, labels, 7)
    post = forward.cache(weights, HOOK.__eq__)[HOOK]
    expected = torch.zeros(runs, 7, 16).index_add_(1, labels, post)
    assert found is not None and (post > 0).float().mean() > 0.3
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("spec", [wide("gelu"), wide(normalization="LN"), LAYERS["two layers"], LAYERS["an MLP"]])
def test_sums_of_other_neurons_have_no_loops(spec, always):
    task = ModularTask(p=11)
    tokens = torch.from_numpy(task.table().inputs)
    with torch.inference_mode(), first_derivatives():
        forward = over(spec, task.shape, tokens)
        assert (
            forward.post_sums(initial_weights(spec, task.shape, seed=0), torch.zeros(121, dtype=torch.int64), 1) is None
        )


def test_neurons_of_a_run_by_answer_are_the_same_with_and_without_loops(tmp_path, always, monkeypatch):
    config = RunConfig(task=ModularTask(p=11), model=wide())
    with RunWriter(tmp_path / "run", config) as writer:
        for step in (0, 1):
            writer.log(
                dict.fromkeys(("train_loss", "test_loss", "train_accuracy", "test_accuracy"), 0.5) | {"step": step}
            )
            writer.checkpoint(step, initial_weights(config.model, config.task.shape, seed=step))
    found = []
    for many in (0, 2**40):
        monkeypatch.setattr(neurons, "MANY", many)
        found.append(analyze.measure(open_run(tmp_path / "run"), "superposition"))
    by_loops, plain = (of_one["ratio"].sel(features="neuron waves").values for of_one in found)
    np.testing.assert_allclose(by_loops, plain, rtol=1e-5)
    assert not (by_loops == plain).all()  # they were taken
