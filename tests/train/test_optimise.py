"""interp/train/optimise.py: the updates are those of the papers."""

import pytest
import torch
from torch import nn

from interp.recipe import TrainConfig
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
