"""Compiled loops: equal to what they take the place of, and to exp."""

import math

import numpy as np
import pytest
import torch

from interp.base import IGNORED
from interp.config import RunConfig
from interp.maths import compiled, loops
from interp.maths.compiled import first_derivatives, serve
from interp.maths.losses import cross_entropy
from interp.models import MlpSpec, TransformerSpec
from interp.models.activations import activate
from interp.recipe import Seeds
from interp.tasks import ModularTask
from interp.train.learner import Learner

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
