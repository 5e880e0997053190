"""interp/models/mlp: one function by its forward pass and by the module with hooks; Gromov's network through all of it."""

import math
import statistics
from typing import Any

import numpy as np
import pytest
import torch
from closed_forms import quadratic_network
from helpers import SHORT
from hypothesis import given
from hypothesis import strategies as st
from networks import examples

import interp
from interp import analyze
from interp.base import UserError
from interp.config import RunConfig
from interp.models import MlpSpec
from interp.models.network import build, initial_weights, load, over, roles
from interp.recipe import TrainConfig
from interp.shape import Shape
from interp.store import RunWriter, open_run
from interp.tasks import AdditionTask, ModularTask, SparseFeaturesTask
from interp.train.loop import train, train_many

ON_ITS_FIRST_DAY = [
    "ablate", "curves", "fourier", "logits", "neurons", "norms", "phases", "progress", "superposition", "tsne",
]  # fmt: skip
"""Analyses that apply to it by its roles alone."""

specs = st.builds(
    MlpSpec,
    inputs=st.sampled_from(["one_hot", "embedded", "summed"]),
    normalization=st.sampled_from(["none", "LNPre"]),
    norm_eps=st.sampled_from([1e-5, 1e-3]),
    frozen_readout=st.sampled_from([0.0, 10.0]),
    d_model=st.sampled_from([3, 6]),
    width=st.sampled_from([5, 8]),
    n_hidden=st.integers(1, 3),
    widths=st.sampled_from([(), (), (4,), (7, 4, 6)]),
    act_fn=st.sampled_from(["relu", "gelu", "quadratic"]),
    biases=st.booleans(),
)
shapes = st.builds(Shape.of_tokens, st.integers(1, 4), st.integers(2, 7), st.integers(2, 5))


def perturbed(spec, shape, seed):
    """Weights in float64, none of them 0."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: tensor.double() + 0.1 * torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        for name, tensor in initial_weights(spec, shape, seed).items()
    }


def role(spec) -> Any:
    """What of the network is what."""
    return roles(spec)


def prompts(shape, n=9):
    return torch.randint(shape.tokens.d_vocab, (n, shape.tokens.n_ctx), generator=torch.Generator().manual_seed(0))


@examples
@given(specs, shapes)
def test_outputs_gradients_and_activations_are_those_of_the_module_with_hooks(spec, shape):
    weights, tokens = perturbed(spec, shape, 0), prompts(shape)
    model = load(spec, shape, weights).double()
    for name, parameter in model.named_parameters():
        parameter.data = weights[name].clone()
    expected, cache = model.run_with_cache(tokens)
    expected.square().sum().backward()
    ours = {name: tensor.clone().requires_grad_() for name, tensor in weights.items()}
    found = over(spec, shape, tokens, "float64")(ours)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    found.square().sum().backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(ours[name].grad, parameter.grad, rtol=1e-9, atol=1e-10)
    activations = over(spec, shape, tokens, "float64").cache(weights)
    for name, values in activations.items():
        torch.testing.assert_close(values, cache[name], rtol=1e-10, atol=1e-12)
    assert role(spec).logits in activations and role(spec).neurons.name in activations


@examples
@given(specs, shapes)
def test_runs_side_by_side_are_those_alone_and_parts_are_the_whole(spec, shape):
    tokens = torch.stack([prompts(shape), prompts(shape).flip(0)])
    each = [perturbed(spec, shape, seed) for seed in (0, 1)]
    stack = {name: torch.stack([one[name] for one in each]) for name in each[0]}
    forward = over(spec, shape, tokens, "float64")
    for run in range(2):
        torch.testing.assert_close(forward(stack)[run], over(spec, shape, tokens[run], "float64")(each[run]))
    whole = forward.cache(stack)[role(spec).neurons.name]
    torch.testing.assert_close(torch.cat(list(forward.posts(stack, 4)), dim=1), whole)


@examples
@given(specs, st.integers(0, 3))
def test_an_embedding_is_a_row_for_each_token_and_can_be_put_back(spec, position):
    shape = Shape.of_tokens(4, 5, 3)
    weights, found = perturbed(spec, shape, 0), role(spec)
    matrix = found.embedding if found.embedding_at is None else found.embedding_at(position)
    assert matrix.of(weights).shape == (5, matrix.width)
    tokens = prompts(shape)
    tokens[:, position] = 3
    moved = matrix.put(weights, matrix.of(weights).roll(1, dims=0))  # token 3 has what token 2 had
    before = tokens.clone()
    before[:, position] = 2
    if found.embedding_at is None:  # one table for all positions
        before = (tokens - 1) % 5
    torch.testing.assert_close(
        over(spec, shape, tokens, "float64")(moved), over(spec, shape, before, "float64")(weights)
    )
    if found.embedding_at is not None:
        torch.testing.assert_close(role(spec).embedding_at(0).of(weights), found.embedding.of(weights))


def test_what_neurons_write_and_a_bias_are_all_that_comes_out():
    spec, shape = MlpSpec(width=7, biases=True), Shape.of_tokens(2, 5, 4)
    weights = perturbed(spec, shape, 0)
    activations = over(spec, shape, prompts(shape), "float64").cache(weights)
    written = activations[role(spec).neurons.name] @ role(spec).readout.of(weights) + weights["unembed.b_U"]
    torch.testing.assert_close(activations["unembed.hook_out"], written)


@pytest.mark.parametrize("init, std", [("default", 1 / math.sqrt(300)), ("mean_field", 1 / 300)])
def test_a_mean_field_start_divides_by_the_width(init, std):
    weights = initial_weights(MlpSpec(width=300, init=init), Shape.of_tokens(2, 97, 97), seed=0)
    n = weights["unembed.W_U"].numel()
    assert weights["unembed.W_U"].std().item() == pytest.approx(std, rel=5 / math.sqrt(2 * n))
    assert weights["layers.0.W"].std().item() == pytest.approx(1 / math.sqrt(194), rel=0.02)


def gromov(out, p, width, seed):
    """A run whose only checkpoint is Gromov's closed form, phases drawn from a seed."""
    task = ModularTask(p=p, prompt="ab", train_fraction=0.5)
    config = RunConfig(task=task, model=MlpSpec(width=width), train=TrainConfig(steps=0, loss="squared_error"))
    on_a, on_b, answer = quadratic_network(p, width, seed)
    weights = {"layers.0.W": torch.stack([on_a.T, on_b.T]), "unembed.W_U": answer.T}
    with RunWriter(out, config) as writer:
        writer.log({"step": 0, "train_loss": 0.0, "test_loss": 0.0, "train_accuracy": 1.0, "test_accuracy": 1.0})
        writer.checkpoint(0, {name: tensor.float().contiguous() for name, tensor in weights.items()})
    return open_run(out)


@pytest.mark.parametrize(("width", "published"), [(48, 0.884), (96, 0.996), (192, 1.0)])
def test_gromovs_network_has_the_accuracy_of_its_width(width, published, tmp_path):
    """By module and forward pass. Three draws were published, ours are eight: at most two errors apart."""
    found = []
    for seed in range(8):
        run = gromov(tmp_path / str(seed), 97, width, seed)
        tokens, targets = (torch.from_numpy(each) for each in (run.examples.inputs, run.examples.targets))
        by_forward = over(run.config.model, run.task.shape, tokens)(run.final.weights)
        found.append((by_forward.argmax(dim=-1) == targets).double().mean().item())
        if seed == 0:
            torch.testing.assert_close(run.final.model(tokens), by_forward, rtol=1e-4, atol=1e-4)
    error = statistics.stdev(found) * math.sqrt(1 / 3 + 1 / 8)
    assert abs(statistics.mean(found) - published) <= 2 * error + 0.0005  # three digits


def test_analyses_see_gromovs_network_as_what_it_is(tmp_path):
    """Every neuron at the frequency that was planted, and equal power at every frequency.

    (cos x + cos y)² = 1 + cos(2x)/2 + cos(2y)/2 + cos(x + y) + cos(x − y): four fifths of its variance at k, the rest at 2k.
    """
    run = gromov(tmp_path / "run", 11, 500, 0)
    neurons = analyze.measure(run, "neurons").isel(step=0)
    assert (neurons["frequency"].values == np.arange(500) % 5 + 1).all()
    np.testing.assert_allclose(neurons["share"], 0.8, atol=1e-5)
    logits = analyze.measure(run, "logits").isel(step=0)
    assert logits["sum_share"].item() > 0.95  # the rest are waves of one operand, which more neurons average away
    spectrum = analyze.measure(run, "fourier").isel(step=0)
    np.testing.assert_allclose(spectrum["power"], 1 / 5, atol=1e-6)  # a hundred neurons at each frequency


@pytest.mark.parametrize("inputs", ["one_hot", pytest.param("embedded", marks=pytest.mark.slow)])
def test_on_its_first_day_analyses_apply_by_its_roles_alone(inputs, tmp_path):
    model = MlpSpec(inputs=inputs, width=24, d_model=16)
    how = TrainConfig(steps=30, lr=1e-2, weight_decay=1.0, loss="squared_error", checkpoint_every=5, log_every=5)
    run = interp.train_run(
        RunConfig(task=ModularTask(p=11, prompt="ab", train_fraction=0.5), model=model, train=how), tmp_path / "run"
    )
    assert set(ON_ITS_FIRST_DAY) <= set(run.applies.fitting)
    assert "attention" in run.applies["attention"] and run.applies["geometry"]
    for name in run.applies.fitting:
        found = run.measure(name, **SHORT.get(name, {}))
        analyze.draw(found)
        assert len(analyze.summarise(found))
    assert run.measure("curves")["test_loss"].attrs["units"] == "squared error"
    assert run.measure("progress")["restricted_loss"].attrs["units"] == "squared error"


def test_the_preset_generalises_after_it_memorised(tmp_path):
    """At p = 23, a tenth of the work."""
    config = interp.preset("gromov").config
    run = train(config.but(task=config.task.but(p=23), model=config.model.but(width=200)), tmp_path / "run")
    reached = analyze.measure(run, "curves").attrs
    assert 0 < reached["memorised"] < reached["generalised"] < 150


def test_several_train_side_by_side_as_alone(tmp_path):
    config = interp.preset("gromov").config
    small = config.but(task=config.task.but(p=11), model=config.model.but(width=16), train=config.train.but(steps=20))
    configs = [small.but(seeds=interp.Seeds(model=seed)) for seed in (0, 1)]
    together = train_many(configs, [tmp_path / f"together{seed}" for seed in (0, 1)])
    for seed, run in enumerate(together):
        alone = train(configs[seed], tmp_path / f"alone{seed}")
        for name, tensor in run.final.weights.items():
            torch.testing.assert_close(tensor, alone.final.weights[name], rtol=1e-4, atol=1e-5)


def test_biases_that_are_not_there_are_no_tensors():
    shape = Shape.of_tokens(2, 5, 4)
    assert list(MlpSpec().tensors(shape)) == ["layers.0.W", "unembed.W_U"]
    assert all(parameter.requires_grad for parameter in build(MlpSpec(biases=True), shape, 0).parameters())


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"task": AdditionTask(digits=2)}, "the task has several answers a prompt"),
        ({"task": SparseFeaturesTask(n_features=9)}, 'take "vectors" for vectors'),
        ({"train": TrainConfig(dropout=0.1)}, "train.dropout is 0.1; it is for a residual stream"),
        ({"train": TrainConfig(precision="bfloat16")}, 'an MLP takes "float32" or "float64"'),
        ({"train": TrainConfig(loss="squared_error", label_smoothing=0.1)}, "it is for a cross-entropy"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(parts, words):
    with pytest.raises(UserError) as error:
        fields: dict[str, Any] = {"model": MlpSpec()} | parts
        RunConfig(**fields)
    assert words in str(error.value)
