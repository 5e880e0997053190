"""interp/train/methods/{noise,dropout,chance}.py: what chance adds to an update, how much of it, and when nothing."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from helpers import tiny_config

from interp.maths.losses import cross_entropy
from interp.models import TransformerSpec
from interp.models.network import build
from interp.models.transformer.shared import SharedForward
from interp.recipe import Seeds, TrainConfig
from interp.train.learner import Learner, learned_views
from interp.train.loop import train
from interp.train.methods.chance import DROPOUT, NOISE, stream
from interp.train.methods.dropout import dropout
from interp.train.methods.noise import gaussian
from interp.train.optimise import make_optimizer
from interp.train.schedule import batch_rows

KINDS = ["weights", "gradients", "updates"]
HOW = TrainConfig(steps=10, lr=0.1, warmup_steps=0, weight_decay=0.5)
MODEL = TransformerSpec(n_heads=2, d_model=16, d_head=8, d_mlp=24)


def learner(how, **parts) -> Learner:
    return Learner.make([tiny_config(train=how, **parts)], "cpu")


def weights_of(learner) -> dict[str, torch.Tensor]:
    """A copy of those that learn."""
    return {name: learner.weights[name].detach().clone() for name in learner.learned}


def noise_of(learner, step) -> dict[str, torch.Tensor]:
    """What the update of that step adds."""
    return gaussian(learner.configs, step, {name: learner.weights[name] for name in learner.learned})


def after(how, n_steps, **parts) -> Learner:
    """A learner after its first updates."""
    found = learner(how, **parts)
    for step in range(n_steps):
        found.update(step)
    return found


def examples_of(learner, step) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens and answers of the update of that step."""
    config, examples = learner.configs[0], learner.examples[0]
    if config.train.batch_size != "full":
        examples = examples[batch_rows(step, len(examples), config.train.batch_size, config.seeds.order)]
    return torch.from_numpy(examples.inputs), torch.from_numpy(examples.targets)


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


# How much


@pytest.mark.parametrize("kind, deviation", [("weights", 0.2), ("gradients", 0.2), ("updates", 0.1)])
def test_noise_is_normal_of_mean_zero_and_the_asked_deviation(kind, deviation):
    """On updates σ times the rate, 0.5 here. All within five standard errors of n draws."""
    one = learner(HOW.but(noise=kind, noise_scale=0.2, lr=0.5))
    numbers = torch.cat([part.flatten() for step in range(100) for part in noise_of(one, step).values()]).double()
    n = len(numbers)
    assert n > 200_000
    assert abs(numbers.mean()) < 5 * deviation / math.sqrt(n)
    assert numbers.var() == pytest.approx(deviation**2, rel=5 * math.sqrt(2 / n))
    assert (numbers.abs() < deviation).double().mean() == pytest.approx(0.6827, abs=5 * 0.4654 / math.sqrt(n))


def test_noise_on_updates_rises_with_the_rate():
    one = learner(HOW.but(noise="updates", noise_scale=0.2, lr=0.5, warmup_steps=4))
    deviations = [
        float(torch.cat([part.flatten() for part in noise_of(one, step).values()]).std()) for step in (0, 2, 4)
    ]
    assert deviations == pytest.approx([0, 0.05, 0.1], rel=0.1)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_keeps_its_share_and_the_mean(rate):
    """Within five standard errors; and nothing but 0 and 1/(1 − p)."""
    factors = dropout([tiny_config(train=HOW.but(dropout=rate))], 0, 1000, 8, 16)
    assert factors.shape == (1, 1000, 8, 16)
    kept, error = factors > 0, math.sqrt(rate * (1 - rate) / factors.numel())
    assert kept.double().mean() == pytest.approx(1 - rate, abs=5 * error)
    assert factors.double().mean() == pytest.approx(1, abs=5 * error / (1 - rate))
    assert (factors[kept] == torch.tensor(1 / (1 - rate))).all()
    for dimension in (1, 2, 3):  # no prompt, place or number of the residual stream has another's mask
        halves = kept.double().unbind(dim=dimension)
        assert (halves[0] * halves[1]).mean() == pytest.approx((1 - rate) ** 2, abs=5 / math.sqrt(halves[0].numel()))
        assert not torch.equal(halves[0], halves[1])


# From the seed and the step alone


def test_draws_follow_seed_purpose_and_step_and_nothing_else():
    first = stream(3, NOISE, 7).random(4)
    stream(3, NOISE, 6).random(100)
    assert (stream(3, NOISE, 7).random(4) == first).all()
    for other in (stream(4, NOISE, 7), stream(3, DROPOUT, 7), stream(3, NOISE, 8), stream(3 + 2**32, NOISE, 7)):
        assert (other.random(4) != first).all()
    assert (np.random.default_rng([3, 7]).random(4) != first).all()  # the order of mini-batches of that seed


def test_draws_are_those_of_every_earlier_version():
    assert stream(0, NOISE, 0).standard_normal(3, dtype=np.float32).tolist() == [
        0.025979816913604736,
        -1.08005952835083,
        -1.730607509613037,
    ]
    assert stream(2**63 - 1, DROPOUT, 99_999_999).random(3, dtype=np.float32).tolist() == [
        0.8950112462043762,
        0.009913742542266846,
        0.2575228810310364,
    ]


def test_the_first_prompts_get_the_same_masks_in_a_longer_batch():
    config = tiny_config(train=HOW.but(dropout=0.5))
    assert torch.equal(dropout([config], 4, 30, 8, 16)[:, :12], dropout([config], 4, 12, 8, 16))


def test_every_run_of_a_batch_draws_as_it_does_alone():
    configs = [
        tiny_config(train=HOW.but(noise="updates", noise_scale=size, lr=rate, dropout=share), seeds=Seeds(noise=seed))
        for size, rate, share, seed in [(0.1, 1.0, 0.1, 0), (0.3, 0.5, 0.5, 0), (0.1, 1.0, 0.5, 1)]
    ]
    together = Learner.make(configs, "cpu")
    for run, config in enumerate(configs):
        alone = Learner.make([config], "cpu")
        for name, expected in noise_of(alone, 5).items():
            assert torch.equal(noise_of(together, 5)[name][run], expected[0])
        assert torch.equal(dropout(configs, 5, 9, 2, 16)[run], dropout([config], 5, 9, 2, 16)[0])


# Where it goes


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_noise_on_updates_is_taken_from_what_the_optimiser_leaves(optimizer):
    """And what the optimiser keeps is what it keeps without."""
    plain, noisy = (
        learner(HOW.but(optimizer=optimizer, **how)) for how in ({}, {"noise": "updates", "noise_scale": 0.3})
    )
    plain.update(0)
    noisy.update(0)
    added = noise_of(noisy, 0)
    assert_equal(weights_of(noisy), {name: tensor - added[name] for name, tensor in weights_of(plain).items()})
    kept = {name: tensor for name, tensor in plain.state(0).items() if name.startswith("optimizer/")}
    assert kept
    assert_equal({name: noisy.state(0)[name] for name in kept}, kept)


def test_noise_on_gradients_is_added_to_the_gradient():
    """Without momentum and decay sgd at rate 1 takes the gradient itself from the weights."""
    how = HOW.but(optimizer="sgd", momentum=0, weight_decay=0, lr=1)
    plain, noisy = learner(how), learner(how.but(noise="gradients", noise_scale=0.3))
    plain.update(0)
    noisy.update(0)
    added = noise_of(noisy, 0)
    for name, weights in weights_of(plain).items():
        torch.testing.assert_close(weights - weights_of(noisy)[name], added[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_noise_on_weights_is_where_the_gradient_is_taken_and_not_what_is_stepped_from(optimizer):
    """The gradient of a plain learner that stands at the noisy weights, given to an optimiser at those without."""
    how = HOW.but(optimizer=optimizer)
    noisy, elsewhere, stepping = learner(how.but(noise="weights", noise_scale=0.3)), learner(how), learner(how)
    for name, added in noise_of(noisy, 0).items():
        elsewhere.weights[name].detach().add_(added)
    assert elsewhere.whole is not None
    elsewhere.whole.minimised(elsewhere.weights).sum().backward()
    for name in stepping.learned:
        stepping.gradient(name).copy_(elsewhere.gradient(name))
    stepping.optimizers[0].step()
    noisy.update(0)
    assert_equal(weights_of(noisy), weights_of(stepping))


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize("kind", KINDS)
def test_at_a_rate_of_zero_nothing_moves(kind, optimizer):
    """None of the noise stays in the weights; that on updates is a share of the rate."""
    how = HOW.but(optimizer=optimizer, lr=0, noise=kind, noise_scale=0.3, dropout=0.2)
    assert_equal(weights_of(after(how, 5)), weights_of(learner(how)))


@pytest.mark.parametrize("kind", KINDS)
def test_what_does_not_learn_gets_no_noise(kind):
    frozen = MODEL.but(biases="frozen")
    noisy = after(HOW.but(noise=kind, noise_scale=0.3), 3, model=frozen)
    fixed = set(noisy.weights) - set(noisy.learned)
    assert {name.rsplit(".", 1)[-1] for name in fixed} == {"b_Q", "b_K", "b_V", "b_O", "b_in", "b_out", "b_U"}
    assert all((noisy.weights[name] == 0).all() for name in fixed)
    assert noise_of(noisy, 0).keys() == set(noisy.learned)


@pytest.mark.parametrize("batch_size", ["full", 16])
@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
def test_training_with_dropout_is_a_plain_loop_with_hooks_that_multiply(attention, batch_size):
    """Two layers; every prompt of an update has masks of its own at every place."""
    how = HOW.but(lr=1e-2, dropout=0.3, batch_size=batch_size)
    fast = learner(how, model=MODEL.but(n_layers=2, attention=attention))
    (config,), model = fast.configs, build(fast.configs[0].model, fast.configs[0].task.shape, 0)
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=1e-2, betas=(0.9, 0.98), weight_decay=0.5)
    for step in range(6):
        tokens, targets = examples_of(fast, step)
        masks = dropout([config], step, len(tokens), 8, MODEL.d_model)[0]
        names = [f"blocks.{layer}.{each}" for layer in (0, 1) for each in ("hook_attn_out", "hook_mlp_out")]
        places = [masks[:, :3], masks[:, 3:6], masks[:, 6:7].expand(-1, 3, -1), masks[:, 7:8].expand(-1, 3, -1)]
        hooks: list[Any] = [
            (name, lambda added, hook, mask=mask: added * mask) for name, mask in zip(names, places, strict=True)
        ]
        logits = model.run_with_hooks(tokens, fwd_hooks=hooks)[:, -1]
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits.double(), targets).backward()
        optimizer.step()
        fast.update(step)
    for name, expected in model.named_parameters():
        torch.testing.assert_close(fast.parameters(0)[name], expected.detach(), rtol=1e-4, atol=1e-5)


# When there is none


@pytest.mark.parametrize("batch_size", ["full", 16])
def test_losses_and_accuracies_are_measured_without(batch_size):
    plain = learner(HOW.but(batch_size=batch_size), model=MODEL.but(n_layers=2))
    for how in ({"dropout": 0.9}, *({"noise": kind, "noise_scale": 1.0} for kind in KINDS)):
        noisy = learner(HOW.but(batch_size=batch_size, **how), model=MODEL.but(n_layers=2))
        assert noisy.rows(0) == plain.rows(0)


@pytest.mark.parametrize("n_layers", [1, 2])
@pytest.mark.parametrize("batch_size", ["full", 16])
def test_off_an_update_is_the_optimiser_s_step_on_the_shared_forward_pass_and_nothing_is_drawn(
    batch_size, n_layers, monkeypatch
):
    """Bit for bit what it was before there was noise."""
    for method in ("noise", "dropout"):
        monkeypatch.setattr(f"interp.train.methods.{method}.stream", lambda *_: pytest.fail("drawn"))
    fast = learner(HOW.but(batch_size=batch_size), model=MODEL.but(n_layers=n_layers))
    weights = {name: stack.detach().clone().requires_grad_(stack.requires_grad) for name, stack in fast.weights.items()}
    for name in fast.learned:
        weights[name].grad = torch.zeros_like(weights[name])
    optimizer, config = make_optimizer(fast.configs[0].train, learned_views(weights, 0)), fast.configs[0]
    assert isinstance(config.model, TransformerSpec)
    for step in range(8):
        tokens, targets = examples_of(fast, step)
        optimizer.zero_grad(set_to_none=False)
        cross_entropy(SharedForward(config.model, tokens[None])(weights), targets[None]).sum().backward()
        optimizer.step()
        fast.update(step)
    assert_equal(weights_of(fast), {name: weights[name].detach() for name in fast.learned})


def test_the_seed_of_what_is_not_drawn_decides_nothing(tmp_path):
    runs = [train(tiny_config(seeds=Seeds(noise=seed)), tmp_path / str(seed)) for seed in (0, 1)]
    assert_equal(runs[1].final.weights, runs[0].final.weights)


@pytest.mark.parametrize("how", [*({"noise": kind, "noise_scale": 0.1} for kind in KINDS), {"dropout": 0.1}], ids=str)
def test_an_update_that_draws_is_not_the_one_that_a_graph_captures(how, monkeypatch):
    """A captured draw would be the same at every step."""
    monkeypatch.setattr(Learner, "descend_on_all", lambda self: pytest.fail("captured"))
    after(HOW.but(**how), 2)
    with pytest.raises(pytest.fail.Exception, match="captured"):
        after(HOW, 1)
