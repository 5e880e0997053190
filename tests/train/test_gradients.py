"""interp/train/methods and what of them training does: equal to the papers' formulas, and to a library that has them."""

from typing import Any, Literal

import pytest
import pytorch_optimizer as library
import torch
from helpers import tiny_config
from pytorch_optimizer.optimizer.grokfast import gradfilter_ema, gradfilter_ma
from torch import nn

from interp.base import UserError
from interp.config import RunConfig
from interp.maths.losses import cross_entropy
from interp.models.network import build
from interp.recipe import Seeds, TrainConfig
from interp.train.learner import Learner
from interp.train.methods.clipping import clip
from interp.train.methods.decay import pull
from interp.train.methods.grokfast import SlowGradients
from interp.train.methods.l1 import penalise
from interp.train.methods.orthogonal import orthogonalise
from interp.train.methods.sam import ascent

SHAPES = {"W": (5, 4), "b": (3,), "one": (1,)}
PLAIN = TrainConfig(steps=10, lr=0.1, warmup_steps=0, weight_decay=0.0)
STEP = PLAIN.but(optimizer="sgd", momentum=0.0, lr=1.0)
"""Takes the gradient itself from the weights."""


def drawn(seed: int, runs: int = 2) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(runs, *shape, generator=generator) for name, shape in SHAPES.items()}


def module(stacks, run) -> nn.ParameterDict:
    """The parameters of one run, for the library."""
    return nn.ParameterDict({name: nn.Parameter(stack[run].clone()) for name, stack in stacks.items()})


def learner(how, **parts) -> Learner:
    return Learner.make([tiny_config(train=how, **parts)], "cpu")


def gradient_at(config: RunConfig, moved) -> dict[str, torch.Tensor]:
    """Of the mean loss over the training set, at weights that lie so far from the initial ones."""
    other = Learner.make([config], "cpu")
    for name, more in moved.items():
        other.weights[name].detach().add_(more)
    assert other.whole is not None
    other.whole.minimised(other.weights).sum().backward()
    return {name: other.gradient(name).clone() for name in other.learned}


def moved_by(one: Learner) -> dict[str, torch.Tensor]:
    """What the first update takes from the weights."""
    before = {name: one.weights[name].detach().clone() for name in one.learned}
    one.update(0)
    return {name: before[name] - one.weights[name].detach() for name in before}


# Each operation on stacks


def test_orthogonal_gradients_are_those_of_the_library():
    weights, gradients = drawn(0), drawn(1)
    found = {name: stack.clone() for name, stack in gradients.items()}
    orthogonalise(found, weights)
    for run in range(2):
        parameters = module(weights, run)
        before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        for name, parameter in parameters.items():
            parameter.grad = gradients[name][run].clone()
        library.OrthoGrad(torch.optim.SGD(list(parameters.values()), lr=1.0)).step()
        for name, parameter in parameters.items():
            torch.testing.assert_close(before[name] - parameter.detach(), found[name][run], rtol=1e-5, atol=1e-6)


def test_an_orthogonal_gradient_is_orthogonal_and_as_long_as_before():
    weights, gradients = drawn(0), drawn(1)
    lengths = {name: stack.flatten(1).norm(dim=1) for name, stack in gradients.items()}
    orthogonalise(gradients, weights)
    for name in ("W", "b"):
        assert (weights[name] * gradients[name]).flatten(1).sum(dim=1).abs().max() < 1e-5
        torch.testing.assert_close(gradients[name].flatten(1).norm(dim=1), lengths[name])
    assert (gradients["one"] == 0).all()  # a single number can only be scaled


def test_the_gradient_of_a_parameter_that_is_zero_stays():
    gradients = drawn(1)
    before = {name: stack.clone() for name, stack in gradients.items()}
    orthogonalise(gradients, {name: torch.zeros_like(stack) for name, stack in gradients.items()})
    for name, stack in before.items():
        torch.testing.assert_close(gradients[name], stack)


@pytest.mark.parametrize("kind", ["ma", "ema"])
def test_slow_gradients_are_amplified_as_by_the_library(kind):
    """Over three windows; every run with a gain and a momentum of its own."""
    gains, momenta, size = [2.0, 5.0], [0.9, 0.5], 4
    slow = SlowGradients.make(kind, torch.tensor(gains), torch.tensor(momenta), size, drawn(0))
    kept: list[Any] = [None, None]
    models = [module(drawn(0), run) for run in range(2)]
    for step in range(3 * size):
        given = drawn(step + 1)
        found = {name: stack.clone() for name, stack in given.items()}
        slow.amplify(found, step)
        for run, model in enumerate(models):
            for name, parameter in model.items():
                parameter.grad = given[name][run].clone()
            if kind == "ma":
                kept[run] = gradfilter_ma(model, kept[run], size, gains[run])
            else:
                kept[run] = gradfilter_ema(model, kept[run], momenta[run], gains[run])
            for name, parameter in model.items():
                torch.testing.assert_close(found[name][run], parameter.grad, rtol=1e-5, atol=1e-5)


def test_a_constant_gradient_is_multiplied_by_one_plus_the_gain():
    """At once by the exponential average, which starts at it; once the window is full by the other."""
    kinds: dict[Literal["ma", "ema"], list[float]] = {"ema": [3.0] * 6, "ma": [1, 1, 1, 3, 3, 3]}
    for kind, expected in kinds.items():
        slow = SlowGradients.make(kind, torch.full((2,), 2.0), torch.full((2,), 0.9), 4, drawn(0))
        for step, factor in enumerate(expected):
            given = {name: stack.clone() for name, stack in drawn(1).items()}
            slow.amplify(given, step)
            for name, stack in drawn(1).items():
                torch.testing.assert_close(given[name], factor * stack, rtol=1e-5, atol=1e-6)


def test_the_ascent_is_as_long_as_its_radius_and_along_the_gradient():
    gradients = drawn(1)
    steps = ascent(gradients, torch.tensor([0.1, 2.0]))
    for run, radius in enumerate([0.1, 2.0]):
        whole, step = (torch.cat([stack[run].flatten() for stack in of.values()]) for of in (gradients, steps))
        assert step.norm() == pytest.approx(radius, rel=1e-5)
        assert torch.cosine_similarity(whole, step, dim=0) == pytest.approx(1, abs=1e-6)


def test_gradients_are_clipped_as_by_torch():
    """Each run to a length of its own; a gradient that is not longer stays, bit for bit."""
    gradients, longest = drawn(1), torch.tensor([0.5, 100.0])
    found = {name: stack.clone() for name, stack in gradients.items()}
    clip(found, longest)
    for run in range(2):
        parameters = list(module(gradients, run).values())
        for parameter in parameters:
            parameter.grad = parameter.detach().clone()
        nn.utils.clip_grad_norm_(parameters, float(longest[run]))
        for parameter, name in zip(parameters, gradients, strict=True):
            torch.testing.assert_close(found[name][run], parameter.grad)
    assert all(torch.equal(found[name][1], gradients[name][1]) for name in gradients)


def test_penalties_add_their_gradients():
    """Those that autograd finds of λ·Σ|w| and of λ/2·‖w − w₀‖²."""
    weights, initial, strength = drawn(0), drawn(1), torch.tensor([0.3, 2.0])
    found = [{name: torch.zeros_like(stack) for name, stack in weights.items()} for _ in range(2)]
    penalise(found[0], weights, strength)
    pull(found[1], weights, initial, strength)
    for run, value in enumerate(strength.tolist()):
        parameters = {name: stack[run].clone().requires_grad_() for name, stack in weights.items()}
        absolute = value * sum(parameter.abs().sum() for parameter in parameters.values())
        square = (
            value / 2 * sum((parameter - initial[name][run]).square().sum() for name, parameter in parameters.items())
        )
        for loss, gradients in zip((absolute, square), found, strict=True):
            for (name, _), gradient in zip(
                parameters.items(), torch.autograd.grad(loss, list(parameters.values())), strict=True
            ):
                torch.testing.assert_close(gradients[name][run], gradient)


# In an update


def test_sam_descends_by_the_gradient_from_above():
    config = tiny_config(train=STEP)
    above = ascent(gradient_at(config, {}), torch.tensor([0.3]))
    expected, plain = gradient_at(config, above), gradient_at(config, {})
    found = moved_by(learner(STEP.but(sam=0.3)))
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6)
    assert max(float((expected[name] - plain[name]).abs().max()) for name in plain) > 1e-4


def test_sam_updates_as_the_library_does():
    """Its SAM around torch's SGD with momentum, over some updates of the HookedTransformer itself."""
    how = PLAIN.but(optimizer="sgd", momentum=0.9, lr=0.5, sam=0.2)
    config = tiny_config(train=how)
    ours, model = Learner.make([config], "cpu"), build(config.model, config.task.shape, config.seeds.model)
    split = config.task.split(config.seeds.split)
    tokens, targets = torch.from_numpy(split.train.inputs), torch.from_numpy(split.train.targets)
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    theirs = library.SAM(learned, torch.optim.SGD, rho=0.2, lr=0.5, momentum=0.9)

    def closure():
        loss = cross_entropy(model(tokens)[:, -1], targets)
        loss.backward()
        return loss

    for step in range(5):
        ours.update(step)
        theirs.zero_grad()
        closure()
        theirs.first_step(zero_grad=True)
        closure()
        theirs.second_step(zero_grad=True)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(ours.parameters(0)[name], parameter.detach(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_decay_to_the_initial_weights_is_decay_to_the_origin_of_what_was_added(optimizer, monkeypatch):
    """In other coordinates: with the loss taken at w₀ + v, v decays to 0. Here without a loss: v shrinks as alone."""
    how = PLAIN.but(optimizer=optimizer, weight_decay=0.5, decay_to="initial", momentum=0.0)
    one = learner(how)
    start = {name: one.weights[name].detach().clone() for name in one.learned}
    monkeypatch.setattr(one, "differentiate", lambda *_: {})  # gradients stay 0, and there are no buffers
    for name in one.learned:
        one.weights[name].detach().add_(1.0)
    one.update(0)
    # By lr·λ = 0.05 of the way; Adam's first step is lr whatever the gradient.
    left = 1 - 0.1 if optimizer == "adam" else 0.95
    for name, before in start.items():
        torch.testing.assert_close(
            one.weights[name].detach() - before, torch.full_like(before, left), rtol=0, atol=1e-5
        )


def test_at_the_initial_weights_nothing_pulls():
    for name, moved in moved_by(learner(STEP.but(weight_decay=0.5, decay_to="initial"))).items():
        torch.testing.assert_close(moved, gradient_at(tiny_config(train=STEP), {})[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize("noise", [{}, {"noise": "gradients", "noise_scale": 1.0}])
def test_an_update_is_no_longer_than_the_longest_gradient(noise):
    moved = moved_by(learner(STEP.but(max_gradient_norm=1e-3, **noise)))
    assert torch.cat([each.flatten() for each in moved.values()]).norm() == pytest.approx(1e-3, rel=1e-3)


def test_what_is_orthogonal_keeps_every_norm_to_second_order():
    """By Pythagoras ‖w − g‖² = ‖w‖² + ‖g‖²: without decay the step neither shrinks nor grows along w."""
    one = learner(STEP.but(orthogonal_gradients=True, lr=0.1))
    before = {name: one.weights[name].detach().clone() for name in one.learned}
    one.update(0)
    for name in ("embed.W_E", "unembed.W_U", "blocks.0.mlp.W_in"):
        step = one.weights[name].detach() - before[name]
        total = before[name].square().sum() + step.square().sum()
        assert one.weights[name].detach().square().sum() == pytest.approx(float(total), rel=1e-5)


MENU = {
    "sam": {"sam": 0.1}, "l1": {"l1": 1e-3}, "initial": {"decay_to": "initial", "weight_decay": 0.5},
    "initial, coupled": {"decay_to": "initial", "weight_decay": 0.5, "optimizer": "adam"},
    "orthogonal": {"orthogonal_gradients": True}, "clipped": {"max_gradient_norm": 1e-3},
    "ema": {"grokfast": "ema"}, "ma": {"grokfast": "ma", "grokfast_window": 3},
    "nesterov": {"optimizer": "sgd", "nesterov": True},
    "stablemax": {"loss": "stablemax"}, "smoothing": {"label_smoothing": 0.1}, "float32": {"loss_precision": "float32"},
    "float16": {"loss_precision": "float16"}, "cosine": {"schedule": "cosine", "lr_end": 1e-4},
    "float64": {"precision": "float64"}, "temperature": {"output_temperature": 3.0},
    "clamp": {"constraint": "clamp", "constraint_scale": 0.8}, "radius": {"constraint": "clamp", "constraint_radius": 2.0},
    "ceiling": {"constraint": "ceiling", "constraint_over": "tensor"},
}  # fmt: skip
"""Every entry changes what is learned."""


@pytest.mark.parametrize("name", MENU)
def test_every_option_changes_the_steps(name):
    plain, other = learner(PLAIN.but(lr=1e-2)), learner(PLAIN.but(lr=1e-2, **MENU[name]))
    for step in range(6):
        plain.update(step)
        other.update(step)
    assert any(not torch.equal(plain.weights[name].float(), other.weights[name].float()) for name in plain.learned)


@pytest.mark.parametrize("name", MENU)
def test_a_run_in_a_batch_takes_the_steps_that_it_takes_alone(name):
    configs = [
        tiny_config(train=PLAIN.but(lr=rate, **MENU[name]), seeds=Seeds(model=seed))
        for seed, rate in [(0, 1e-2), (1, 3e-3)]
    ]
    together = Learner.make(configs, "cpu")
    for step in range(6):
        together.update(step)
    for run, config in enumerate(configs):
        alone = Learner.make([config], "cpu")
        for step in range(6):
            alone.update(step)
        for name, expected in alone.parameters(0).items():
            torch.testing.assert_close(together.parameters(run)[name], expected, rtol=1e-3, atol=1e-4)


def test_float64_is_float64_throughout():
    one = learner(PLAIN.but(precision="float64"))
    one.update(0)
    tensors = {key: tensor for key, tensor in one.state(0).items() if tensor.ndim}
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float64}


# The configuration


@pytest.mark.parametrize(
    "given, sentence",
    [
        ({"nesterov": True}, 'train.optimizer is "adamw"'),
        ({"nesterov": True, "optimizer": "sgd", "momentum": 0.0}, "a momentum such as 0.9"),
        ({"lr_end": 1e-4}, 'train.schedule "constant"'),
        ({"schedule": "cosine", "lr_end": 1.0}, "at most train.lr"),
        ({"label_smoothing": 1.0}, "train.label_smoothing is 1.0"),
        ({"grokfast": "slow"}, "train.grokfast is 'slow'"),
        ({"sam": -0.1}, "train.sam is -0.1"),
        ({"output_temperature": 0.0}, "train.output_temperature is 0.0"),
        ({"constraint": "clamp", "constraint_scale": 0.0}, "train.constraint_scale is 0.0"),
        ({"constraint_scale": 0.8}, 'take train.constraint "clamp"'),
        ({"constraint": "clamp", "constraint_scale": 0.8, "constraint_radius": 1.0}, "give the one or the other"),
        ({"muon_lr": 0.1}, 'for train.optimizer "muon"'),
        ({"optimizer": "muon", "lr": 0.0}, "take one above 0"),
        ({"optimizer": "muon", "decay_to": "initial"}, "to the origin"),
        ({"constraint": "sphere"}, 'train.optimizer "adamw"'),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(given, sentence):
    with pytest.raises(UserError, match=sentence):
        TrainConfig(**given)


def test_a_budget_of_examples_is_one_of_steps():
    config = tiny_config(train=TrainConfig(examples=1000, batch_size=64))
    assert config.train.steps == 16  # the last takes it over the thousand
    assert tiny_config(train=TrainConfig(examples=1000)).train.steps == 17  # of 60 prompts
    assert RunConfig.model_validate_json(config.model_dump_json()) == config
