"""interp/train/optimise.py: the updates are those of the papers."""

import pytest
import torch
from helpers import tiny_config
from torch import nn

from interp.base import UserError
from interp.recipe import TrainConfig
from interp.train.learner import Learner
from interp.train.optimise import make_optimizer


def updated(gradients: list[float], start: float = 2.0, **options) -> float:
    """One number after updates with these gradients."""
    parameter = nn.Parameter(torch.tensor([start], dtype=torch.float64))
    optimizer = make_optimizer(TrainConfig(**options), {"x": parameter})
    for gradient in gradients:
        parameter.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
    return parameter.item()


def adam(gradients, x=2.0, lr=0.1, wd=0.0, b=(0.9, 0.98), eps=1e-8, decoupled=True) -> float:
    """Kingma & Ba 2015, algorithm 1; Loshchilov & Hutter 2019, algorithm 2."""
    m = v = 0.0
    for t, g in enumerate(gradients, start=1):
        if decoupled:
            x -= lr * wd * x
        else:
            g += wd * x
        m, v = b[0] * m + (1 - b[0]) * g, b[1] * v + (1 - b[1]) * g * g
        x -= lr * (m / (1 - b[0] ** t)) / ((v / (1 - b[1] ** t)) ** 0.5 + eps)
    return x


GRADIENTS = [1.0, -0.3, 0.002, 0.5]


@pytest.mark.parametrize("eps", [1e-8, 0.5])
def test_adamw_decays_apart_from_the_gradient(eps):
    found = updated(GRADIENTS, lr=0.1, weight_decay=0.7, eps=eps)
    assert found == pytest.approx(adam(GRADIENTS, wd=0.7, eps=eps), rel=1e-9)


@pytest.mark.parametrize("eps", [1e-8, 0.5])
def test_adam_decays_through_the_gradient(eps):
    found = updated(GRADIENTS, optimizer="adam", lr=0.1, weight_decay=0.7, eps=eps)
    assert found == pytest.approx(adam(GRADIENTS, wd=0.7, eps=eps, decoupled=False), rel=1e-9)


def test_betas_are_the_averaging_times():
    found = updated(GRADIENTS, lr=0.1, weight_decay=0.0, betas=(0.5, 0.7))
    assert found == pytest.approx(adam(GRADIENTS, b=(0.5, 0.7)), rel=1e-9)


def test_sgd_keeps_momentum_and_decays():
    x, velocity = 2.0, 0.0
    for count, gradient in enumerate(GRADIENTS):
        total = gradient + 0.7 * x
        velocity = total if count == 0 else 0.6 * velocity + total
        x -= 0.1 * velocity
    assert updated(GRADIENTS, optimizer="sgd", lr=0.1, momentum=0.6, weight_decay=0.7) == pytest.approx(x, rel=1e-9)


def step_of(**options) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Weights before one update and after it, and their gradients."""
    how = TrainConfig(lr=0.01, warmup_steps=0, momentum=0.0, precision="float64", **options)
    learner = Learner.make([tiny_config(train=how)], "cpu")
    before = {name: tensor.clone() for name, tensor in learner.parameters(0).items()}
    learner.update(0)
    return before, learner.parameters(0), {name: learner.gradient(name)[0] for name in learner.learned}


def test_a_part_with_a_rate_of_its_own_and_parts_that_decay():
    """One step of SGD, in closed form: the embedding's rate is a tenth, and the MLP alone decays."""
    before, after, gradients = step_of(
        optimizer="sgd", lr_parts=("embed",), lr_scale=0.1, weight_decay=0.5, decay_parts=("mlp",)
    )
    parts = {name: each.part for name, each in tiny_config().model.tensors(tiny_config().task.shape).items()}
    for name, gradient in gradients.items():
        rate, decay = 0.001 if parts[name] == "embed" else 0.01, 0.5 if parts[name] == "mlp" else 0.0
        torch.testing.assert_close(
            after[name], before[name] - rate * (gradient + decay * before[name]), rtol=0, atol=1e-15
        )
    assert {"embed", "mlp"} < set(parts.values())


def test_adamw_decays_a_part_by_its_own_rate():
    """AdamW's share that goes is rate times decay; the rest of its first step is the rate, whatever the gradient's size."""
    options = {"lr_parts": ("embed",), "lr_scale": 5.0, "eps": 1e-300}
    before, with_decay, gradients = step_of(weight_decay=2.0, **options)
    _, without, _ = step_of(weight_decay=0.0, **options)
    W, g = before["embed.W_E"], gradients["embed.W_E"]
    torch.testing.assert_close(without["embed.W_E"], W - 0.05 * g.sign(), rtol=0, atol=1e-12)
    torch.testing.assert_close(with_decay["embed.W_E"], without["embed.W_E"] - 0.05 * 2.0 * W, rtol=0, atol=1e-12)


def test_runs_side_by_side_have_parts_of_their_own():
    """Each of three runs takes to rounding the steps that it takes alone."""
    base = TrainConfig(steps=5, warmup_steps=0, precision="float64")
    each = [
        base,
        base.but(lr_parts=("unembed",), lr_scale=0.3),
        base.but(decay_parts=("attn OV", "mlp"), lr_parts=("embed", "mlp"), lr_scale=3.0),
    ]
    configs = [tiny_config(train=how) for how in each]
    together, alone = Learner.make(configs, "cpu"), [Learner.make([config], "cpu") for config in configs]
    for step in range(5):
        for learner in (together, *alone):
            learner.update(step)
    for run, learner in enumerate(alone):
        for name, tensor in learner.parameters(0).items():
            torch.testing.assert_close(together.parameters(run)[name], tensor, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"lr_scale": 2.0}, "train.lr_scale is 2 and train.lr_parts empty; give both, such as 0.1 and embed, or neither"),
        ({"lr_parts": ("head",), "lr_scale": 2.0}, 'train.lr_parts has "head"; of this model learn embed'),
        ({"decay_parts": ("head",)}, 'train.decay_parts has "head"; of this model learn embed'),
        ({"decay_parts": ("mlp",), "weight_decay": 0.0}, "give a decay, or leave it out"),
        ({"decay_parts": ("mlp",), "decay_to": "initial"}, 'with train.decay_to "initial", which treats all parts alike'),
        ({"decay_parts": ("mlp",), "optimizer": "muon"}, 'with train.optimizer "muon", which treats all parts alike'),
        (
            {"lr_parts": ("mlp",), "lr_scale": 2.0, "noise": "updates", "noise_scale": 0.1},
            'with train.noise "updates", which treats all parts alike',
        ),
    ],
)  # fmt: skip
def test_parts_that_are_not_there_or_not_apart_are_refused_in_a_sentence(options, sentence):
    with pytest.raises(UserError) as refused:
        tiny_config(train=TrainConfig(**options))
    assert sentence in str(refused.value)
