"""Constraints on norms, networks that are invariant to scale, and temperature."""

import math

import pytest
import torch
from helpers import tiny_config
from hypothesis import given
from hypothesis import strategies as st
from networks import examples

import interp
from interp.base import UserError
from interp.models import MlpSpec, TransformerSpec
from interp.models.network import initial_weights, over
from interp.recipe import NORMS, Seeds, TrainConfig
from interp.tasks import ModularTask
from interp.train.learner import Learner
from interp.train.loop import train

TASK = ModularTask(p=7, prompt="ab", operands="separate", train_fraction=0.6)
SCALE_INVARIANT = MlpSpec(
    inputs="summed", d_model=12, width=16, n_hidden=2, act_fn="relu", normalization="LNPre", frozen_readout=10.0
)
SPHERE = TrainConfig(
    steps=20, log_every=1, optimizer="sgd", momentum=0.0, weight_decay=0.0, lr=0.05, warmup_steps=0, batch_size=8,
    constraint="sphere",
)  # fmt: skip

invariant = st.builds(
    MlpSpec,
    inputs=st.sampled_from(["one_hot", "embedded", "summed"]),
    d_model=st.just(6),
    width=st.sampled_from([5, 8]),
    n_hidden=st.integers(1, 3),
    act_fn=st.sampled_from(["relu", "gelu", "quadratic"]),
    normalization=st.just("LNPre"),
    frozen_readout=st.sampled_from([0.0, 10.0]),
)


def weights_of(spec, seed=0):
    return {name: tensor.double() for name, tensor in initial_weights(spec, TASK.shape, seed).items()}


def log_probabilities(spec, weights):
    tokens = torch.from_numpy(TASK.table().inputs)
    return over(spec, TASK.shape, tokens, "float64")(weights).log_softmax(dim=-1)


def those(spec):
    return [name for name, tensor in spec.tensors(TASK.shape).items() if tensor.invariant]


@examples
@given(invariant, st.sampled_from([0.1, 10.0]), st.integers(0, 2**31))
def test_the_function_does_not_depend_on_the_scale_of_what_is_called_invariant(spec, factor, seed):
    weights, names = weights_of(spec, seed), those(spec)
    expected = log_probabilities(spec, weights)
    for scaled in [names, *[[name] for name in names]]:
        other = {name: tensor * (factor if name in scaled else 1) for name, tensor in weights.items()}
        assert (log_probabilities(spec, other) - expected).abs().max() < 1e-10


@examples
@given(invariant, st.integers(0, 2**31))
def test_its_gradient_is_at_right_angles_to_the_weights_and_falls_with_their_scale(spec, seed):
    """By Euler's theorem for functions of degree 0; the gradient is then of degree −1."""
    targets = torch.from_numpy(TASK.table().targets)

    def gradients(factor):
        weights = {name: tensor.clone() for name, tensor in weights_of(spec, seed).items()}
        for name in those(spec):
            weights[name] = (factor * weights[name]).requires_grad_()
        loss = torch.nn.functional.nll_loss(log_probabilities(spec, weights), targets)
        found = torch.autograd.grad(loss, [weights[name] for name in those(spec)])
        return {name: (weights[name].detach(), each) for name, each in zip(those(spec), found, strict=True)}

    one, ten = gradients(1.0), gradients(10.0)
    for name, (weight, gradient) in one.items():
        assert abs((weight * gradient).sum()) < 1e-8 * weight.norm() * gradient.norm()
        torch.testing.assert_close(ten[name][1], gradient / 10, rtol=1e-7, atol=1e-12)


def test_an_epsilon_that_is_not_small_breaks_it():
    """Why it is 1e-20: at torch's 1e-5 and a hundredth of the scale, the oracle above is missed ten thousand times over."""
    spec = SCALE_INVARIANT.but(norm_eps=1e-5)
    weights = weights_of(spec)
    small = {name: tensor * (0.01 if name in those(spec) else 1) for name, tensor in weights.items()}
    assert (log_probabilities(spec, small) - log_probabilities(spec, weights)).abs().max() > 1e-6


def test_a_frozen_readout_has_its_norm_and_stays():
    one = Learner.make([tiny_config(model=SCALE_INVARIANT, task=TASK, train=SPHERE)], "cpu")
    before = one.weights["unembed.W_U"].clone()
    assert before.norm() == pytest.approx(10, rel=1e-6)
    assert "unembed.W_U" not in one.learned
    for step in range(3):
        one.update(step)
    assert torch.equal(one.weights["unembed.W_U"], before)


# Transformers of which only directions count

DIRECTED = TransformerSpec(n_heads=2, d_model=12, d_head=4, d_mlp=16, biases="frozen", directions=True)


@pytest.mark.parametrize("model", [{}, {"n_layers": 2, "normalization": "LNPre", "act_fn": "gelu"}], ids=str)
@pytest.mark.parametrize("factor", [0.1, 10.0])
def test_of_a_directed_transformer_no_scale_counts(factor, model):
    config = tiny_config(model=DIRECTED.but(**model), train=TrainConfig(precision="float64"))
    one = Learner.make([config], "cpu")
    assert one.whole is not None
    names = [name for name, tensor in config.model.tensors(config.task.shape).items() if tensor.invariant]
    assert set(names) == {name for name in one.learned if not name.endswith((".w", ".b"))}
    losses = {}
    for scale in (1.0, factor):
        weights = {
            name: (stack.detach() * (scale if name in names else 1)).requires_grad_()
            for name, stack in one.weights.items()
        }
        loss = one.whole.minimised(weights).sum()
        gradients = torch.autograd.grad(loss, [weights[name] for name in names])
        losses[scale] = loss.item()
        for name, gradient in zip(names, gradients, strict=True):
            product = abs((gradient * weights[name]).sum())
            assert product < 1e-8 * gradient.norm() * weights[name].norm()
    assert losses[factor] == pytest.approx(losses[1.0], abs=1e-10)


def test_a_directed_run_saves_what_its_network_computes_with(tmp_path):
    """HookedTransformer with these weights has the logged losses; the norms are those of the history."""
    how = SPHERE.but(constraint="none", log_norms=True, weight_decay=1e-2, lr=0.5, checkpoint_every=10)
    config = tiny_config(model=DIRECTED, train=how)
    run = interp.open_run(train(config, tmp_path / "run").path)
    fixed = config.model.fixed_norms(config.task.shape)
    for point in run:
        for name, norm_of in fixed.items():
            assert point.weights[name].norm() == pytest.approx(norm_of, rel=1e-5)
        test = run.split.test
        logits = point.model(torch.from_numpy(test.inputs))[:, -1]
        loss = torch.nn.functional.cross_entropy(logits.double(), torch.from_numpy(test.targets))
        assert loss.item() == pytest.approx(run.history.loc[point.step, "test_loss"], rel=1e-4)
    assert run.history["norm"].iloc[-1] != pytest.approx(run.history["norm"].iloc[0], rel=1e-3)
    found = run.measure("progress")
    assert found["test_loss"].values == pytest.approx(run.history.loc[found["step"].values, "test_loss"], rel=1e-4)


def test_a_directed_transformer_stands_on_a_sphere_and_one_with_biases_is_refused():
    assert tiny_config(model=DIRECTED, train=SPHERE).train.constraint == "sphere"
    with pytest.raises(UserError, match=r'model\.biases "mlp"'):
        tiny_config(model=DIRECTED.but(biases="mlp"))


# The constraints


def norm(tensors):
    return math.sqrt(sum(float(tensor.double().square().sum()) for tensor in tensors))


def learned(config, weights):
    return {name: weights[name] for name in config.model.learned(config.task.shape)}


@pytest.mark.parametrize("given", [{"constraint_scale": 0.8}, {"constraint_radius": 3.0}, {}])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_clamp_keeps_the_norm_of_all_that_learns(given, optimizer, tmp_path):
    how = TrainConfig(
        steps=12, log_every=1, checkpoint_every=1, lr=1e-2, optimizer=optimizer, constraint="clamp", **given
    )
    config = tiny_config(train=how)
    run = train(config, tmp_path / "run")
    first = norm(learned(config, initial_weights(config.model, config.task.shape, 0)).values())
    kept = given.get("constraint_radius", given.get("constraint_scale", 1.0) * first)
    for step in run.steps:
        assert norm(learned(config, run.at(step).weights).values()) == pytest.approx(kept, rel=1e-6)
        assert run.history.loc[step, "norm"] == pytest.approx(kept, rel=1e-6)


def test_a_clamp_of_each_tensor_leaves_biases_free(tmp_path):
    how = TrainConfig(
        steps=8, checkpoint_every=1, lr=1e-2, constraint="clamp", constraint_over="tensor", constraint_parts=("mlp",)
    )
    config = tiny_config(train=how)
    run = train(config, tmp_path / "run")
    before, after = run.at(0).weights, run.final.weights
    for name, tensor in config.model.tensors(config.task.shape).items():
        if tensor.part == "mlp" and tensor.role == "weight":
            assert norm([after[name]]) == pytest.approx(norm([before[name]]), rel=1e-6)
    assert norm([after["blocks.0.mlp.b_in"]]) > 0
    assert norm([after["embed.W_E"]]) != pytest.approx(norm([before["embed.W_E"]]), rel=1e-3)


def test_a_ceiling_that_is_never_met_changes_no_bit(tmp_path):
    how = TrainConfig(steps=30, log_every=5, checkpoint_every=5, lr=1e-2, weight_decay=3.0, log_norms=True)
    free = train(tiny_config(train=how), tmp_path / "free")
    high = train(tiny_config(train=how.but(constraint="ceiling", constraint_scale=2.0)), tmp_path / "high")
    assert free.history.equals(high.history)
    for name, tensor in free.final.weights.items():
        assert torch.equal(tensor, high.final.weights[name])


def test_a_ceiling_is_met_from_below_and_never_passed(tmp_path):
    how = TrainConfig(steps=60, log_every=1, lr=1e-2, weight_decay=0.0, constraint="ceiling", constraint_scale=1.2)
    norms = train(tiny_config(train=how), tmp_path / "run").history["norm"]
    ceiling = 1.2 * norms[0]
    assert norms.max() <= ceiling * (1 + 1e-6)
    assert norms.iloc[-1] == pytest.approx(ceiling, rel=1e-6)


def test_a_sphere_is_plain_sgd_at_the_effective_rate_whatever_its_radius(tmp_path):
    """Scaling weights by C and the rate by C² changes no step: the paper's lr/‖w‖²."""
    base = tiny_config(model=SCALE_INVARIANT, task=TASK, train=SPHERE.but(precision="float64"))
    small, large = (
        train(base.but(train=base.train.but(constraint_radius=radius, lr=0.01 * radius**2)), tmp_path / f"{radius}")
        for radius in (1.0, 30.0)
    )
    assert small.history["norm"].to_numpy() == pytest.approx(1.0, rel=1e-12)
    assert large.history["effective_rate"].to_numpy() == pytest.approx(0.01, rel=1e-12)
    for column in ("train_loss", "test_loss", "effective_gradient"):
        assert large.history[column].to_numpy() == pytest.approx(
            small.history[column].to_numpy(), rel=1e-6, nan_ok=True
        )


def test_the_logged_gradient_is_that_of_the_last_update():
    config = tiny_config(train=TrainConfig(log_norms=True, warmup_steps=0))
    one = Learner.make([config], "cpu")
    assert math.isnan(one.rows(0)[0]["effective_gradient"])
    before = norm(one.weights[name].detach() for name in one.learned)
    one.update(0)
    gradient = norm(one.gradient(name) for name in one.learned)
    row = one.rows(1)[0]
    assert row["effective_gradient"] == pytest.approx(gradient * before, rel=1e-5)
    after = norm(one.weights[name].detach() for name in one.learned)
    assert row["norm"] == pytest.approx(after, rel=1e-6)
    assert row["effective_rate"] == pytest.approx(config.train.lr / after**2, rel=1e-5)


def test_norms_are_logged_where_they_are_asked_for(tmp_path):
    how = TrainConfig(steps=4, log_every=2)
    plain = train(tiny_config(train=how), tmp_path / "plain").history
    logged = train(tiny_config(train=how.but(log_norms=True)), tmp_path / "logged").history
    assert set(logged.columns) - set(plain.columns) == set(NORMS)
    assert logged[plain.columns].equals(plain)


@pytest.mark.parametrize(
    "given, model, sentence",
    [
        ({}, TransformerSpec(), "not invariant to the scale of embed.W_E"),
        ({}, SCALE_INVARIANT.but(normalization="none"), "not invariant to the scale of embed.W_E"),
        ({}, SCALE_INVARIANT.but(biases=True), "not invariant to the scale of embed.W_E"),
        ({}, SCALE_INVARIANT.but(frozen_readout=0.0), r'scale of unembed.W_U \(part "unembed"\)'),
        (
            {"constraint_parts": ("head",)},
            SCALE_INVARIANT,
            'constraint_parts has "head"; of this model learn embed, mlp',
        ),
    ],
)
def test_what_is_no_sphere_is_named(given, model, sentence):
    with pytest.raises(UserError, match=sentence):
        tiny_config(model=model, task=TASK, train=SPHERE.but(**given))


# Temperature


def test_a_temperature_is_a_scale_of_the_logits():
    """Loss and gradient at temperature τ are those of a network whose readout is divided by τ."""
    tau, how = 2.5, TrainConfig(warmup_steps=0)
    warm = Learner.make([tiny_config(train=how.but(output_temperature=tau))], "cpu")
    plain = Learner.make([tiny_config(train=how)], "cpu")
    for name in ("unembed.W_U", "unembed.b_U"):
        plain.weights[name].detach().div_(tau)
    expected, found = plain.rows(0)[0], warm.rows(0)[0]
    assert found["train_loss"] == pytest.approx(expected["train_loss"], rel=1e-6)
    assert found["test_accuracy"] == expected["test_accuracy"]
    for one in (plain, warm):
        assert one.whole is not None
        one.whole.minimised(one.weights).sum().backward()
    torch.testing.assert_close(warm.gradient("embed.W_E"), plain.gradient("embed.W_E"), rtol=1e-4, atol=1e-8)
    torch.testing.assert_close(warm.gradient("unembed.W_U") * tau, plain.gradient("unembed.W_U"), rtol=1e-4, atol=1e-7)


def test_runs_of_several_temperatures_learn_side_by_side_what_they_learn_alone():
    configs = [
        tiny_config(train=TrainConfig(output_temperature=tau, lr=1e-2), seeds=Seeds(model=seed))
        for seed, tau in enumerate([1.0, 0.2, 5.0])
    ]
    together = Learner.make(configs, "cpu")
    alone = [Learner.make([config], "cpu") for config in configs]
    for step in range(12):
        for one in (together, *alone):
            one.update(step)
    for run, one in enumerate(alone):
        for name, expected in one.parameters(0).items():
            torch.testing.assert_close(together.parameters(run)[name], expected, rtol=1e-3, atol=1e-4)


def test_analyses_go_by_the_temperature_of_the_history(tmp_path):
    how = TrainConfig(steps=4, log_every=2, checkpoint_every=2, output_temperature=0.3)
    run = interp.open_run(train(tiny_config(train=how), tmp_path / "run").path)
    found = run.measure("progress")
    for name in ("train_loss", "test_loss"):
        assert found[name].values == pytest.approx(run.history.loc[found["step"].values, name].to_numpy(), rel=1e-4)
