"""A planted clock and a planted pizza are told apart by every measure, whatever stands around them."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from helpers import tiny_config

from interp import analyze
from interp.analyze.mechanism.clock_pizza import verdict
from interp.base import DoesNotApply, UserError
from interp.models import TransformerSpec
from interp.models.network import initial_weights
from interp.recipe import TrainConfig
from interp.store import RunWriter, open_run
from interp.tasks import ModularTask

P, K, D, HEADS = 13, 3, 16, 2
FORMS = ("logits", "attention", "clock_pizza")


@pytest.fixture
def plant(tmp_path):
    """Write a run with one checkpoint for each set of weights, at steps 0, 1, …; a function is called with fresh ones."""

    def plant(*changes, task=None, first=0, **model):
        fields: dict[str, Any] = {"n_heads": HEADS, "d_model": D, "d_head": 8, "d_mlp": 32} | model
        task = task or ModularTask(p=P, train_fraction=0.5)
        spec = TransformerSpec(**fields)
        path = tmp_path / f"planted{len(list(tmp_path.iterdir()))}"
        with RunWriter(path, tiny_config(task=task, model=spec, train=TrainConfig(steps=len(changes)))) as writer:
            for step, change in enumerate(changes, start=first):
                weights = initial_weights(spec, task.shape, seed=step)
                change(weights)
                writer.checkpoint(step, weights)
        return open_run(path)

    return plant


def nothing(weights):
    pass


def ring(k, p=P):
    """Cosine and sine of 2πkx/p: [p, 2]."""
    angle = 2 * math.pi * k * torch.arange(p) / p
    return torch.stack([angle.cos(), angle.sin()], dim=1)


def pizza(weights):
    """Neurons read E_a + E_b along 32 directions φ, and write cos 2φ and sin 2φ: the angle of the sum, doubled.

    Attention gives the sum itself, of even weights. The sum stands at half the angle of a + b and is 2cos(w(a − b)/2) long.
    """
    for tensor in weights.values():
        tensor.zero_()
    directions = math.pi / 16 * torch.arange(32)
    weights["embed.W_E"][:P, :2] = ring(K)
    weights["blocks.0.attn.W_V"][0, 0, 0] = weights["blocks.0.attn.W_V"][0, 1, 1] = 3  # "=" is 0 and has a third
    weights["blocks.0.attn.W_O"][0, 0, 0] = weights["blocks.0.attn.W_O"][0, 1, 1] = 1
    weights["blocks.0.mlp.W_in"][:2] = torch.stack([directions.cos(), directions.sin()])
    weights["blocks.0.mlp.W_out"][:, 2:4] = torch.stack([(2 * directions).cos(), (2 * directions).sin()], dim=1)
    weights["unembed.W_U"][2:4, :P] = ring(K).T


SMALL = 0.1


def clock(weights, k=K, residues=torch.arange(P)):  # noqa: B008  never changed
    """One head moves z_a, the other z_b into dimensions of their own, and neurons multiply them.

    silu(t) + silu(−t) is t²/2 to a thousandth for small t, and (x + y)² − (x − y)² is 4xy. Answers have unequal biases, so that
    the right logit has something to vary by.
    """
    for tensor in weights.values():
        tensor.zero_()
    weights["embed.W_E"][residues, :2] = SMALL * ring(k, len(residues))
    for head in range(HEADS):
        weights["pos_embed.W_pos"][head, 4 + head] = weights["pos_embed.W_pos"][2, 6] = 1
        weights["blocks.0.attn.W_K"][head, 4 + head, 0] = weights["blocks.0.attn.W_Q"][head, 6, 0] = 10
        for axis in range(2):
            weights["blocks.0.attn.W_V"][head, axis, axis] = 1
            weights["blocks.0.attn.W_O"][head, axis, 8 + 2 * head + axis] = 1
    for pair, (i, j) in enumerate([(0, 0), (1, 1), (0, 1), (1, 0)]):
        to_cos, to_sin = [(1, 0), (-1, 0), (0, 1), (0, 1)][pair]  # cos(a + b) = cc − ss, sin(a + b) = cs + sc
        for number, (x, y) in enumerate([(1, 1), (-1, -1), (1, -1), (-1, 1)]):
            neuron = 4 * pair + number
            weights["blocks.0.mlp.W_in"][8 + i, neuron], weights["blocks.0.mlp.W_in"][10 + j, neuron] = x, y
            weights["blocks.0.mlp.W_out"][neuron, 2:4] = x * y / SMALL**2 * torch.tensor([to_cos, to_sin])
    weights["unembed.W_U"][2:4, residues] = ring(k, len(residues)).T
    weights["unembed.b_U"][residues] = 0.02 * torch.randn(len(residues), generator=torch.Generator().manual_seed(0))


PLANTED = {"clock": (clock, {"act_fn": "silu"}), "pizza": (pizza, {"act_fn": "relu"})}


@pytest.fixture(params=PLANTED)
def planted(request, plant):
    """Its name, and the run with it at step 1, after random weights."""
    change, model = PLANTED[request.param]
    return request.param, plant(nothing, change, **model)


def test_every_measure_tells_a_clock_from_a_pizza(planted):
    name, run = planted
    found = analyze.measure(run, "clock_pizza", circles=1)
    now = found.sel(step=1, network="checkpoint", circle=1)
    assert now["accuracy"].item() == 1
    assert now["circularity"].item() > 0.4  # two of four components are any
    assert now["circle_frequency"].item() == K
    assert now["circle_share"].item() == pytest.approx(1, abs=1e-5)
    if name == "pizza":
        assert now["symmetricity"].item() == pytest.approx(1, abs=1e-6)
        assert now["irrelevance"].item() < 0.05  # 32 directions are nearly all
    else:
        assert abs(now["symmetricity"].item()) < 0.25  # cos(w(a − b)), 0 in the mean over all pairs
        assert now["irrelevance"].item() > 0.9
    other = {"clock": "pizza", "pizza": "clock"}[name]
    assert now["explained"].sel(form=name).item() > 0.998
    assert now["explained"].sel(form=other).item() == pytest.approx(8 / math.pi**2, abs=0.02)
    assert analyze.summarise(found)["verdict"].tolist() == ["", name]


def test_the_whole_network_with_one_circle_has_the_logits_of_its_form(planted):
    name, run = planted
    found = analyze.measure(run, "logits", frequencies=(K,)).sel(step=1)
    other = {"clock": "pizza", "pizza": "clock"}[name]
    assert found["explained_by_keys"].sel(form=name).item() > 0.99
    assert found["explained_by_keys"].sel(form="mixture").item() > 0.99
    assert found["explained_by_keys"].sel(form=other).item() == pytest.approx(8 / math.pi**2, abs=0.02)
    assert int(np.argmax(found["share"].values)) + 1 == K
    assert found["share"].sel(freq=K).item() == pytest.approx(found["explained_by_keys"].sel(form="clock").item())


def test_a_circle_alone_is_the_network_whose_only_circle_it_is(plant):
    found = analyze.measure(plant(pizza), "clock_pizza", circles=2).sel(step=0, network="checkpoint")
    assert found["accuracy_alone"].sel(circle=1).item() == found["accuracy_together"].sel(circle=2).item() == 1
    assert found["loss_together"].sel(circle=2).item() == pytest.approx(
        found["loss_alone"].sel(circle=1).item(), rel=1e-5
    )
    # without any circle all prompts are alike, and one answer in P is right
    assert found["accuracy_alone"].sel(circle=2).item() == pytest.approx(1 / P)


@pytest.mark.parametrize("answers", ["residues", "tokens"])
@pytest.mark.parametrize("operation", ["subtract", "multiply", "divide"])
def test_another_order_of_the_residues_is_the_same_clock(plant, operation, answers):
    """A clock planted on the place of each residue, b's counted backwards where it is taken away."""
    task = ModularTask(p=11, operation=operation, train_fraction=0.5, answers=answers)
    residues = torch.from_numpy(task.residues())
    backwards = operation in ("subtract", "divide")

    def change(weights):
        clock(weights, 3, residues)
        if backwards:
            weights["blocks.0.attn.W_V"][1, 1, 1] = -1  # the sine of −b

    run = plant(change, task=task, act_fn="silu")
    found = analyze.measure(run, "logits", frequencies=(3,)).sel(step=0)
    assert found.sizes["freq"] == len(residues) // 2
    assert found["explained_by_keys"].sel(form="clock").item() > 0.99  # the answers' biases are no wave of a + b − c
    assert found["sum_share"].item() > 0.998
    probe = analyze.measure(run, "clock_pizza", circles=1).sel(step=0, network="checkpoint", circle=1)
    assert probe["accuracy"].item() == 1
    assert probe["explained"].sel(form="clock").item() > 0.998


def test_random_weights_lie_at_chance(plant):
    run = plant(*[nothing] * 4, d_mlp=64)
    logits = analyze.measure(run, "logits", frequencies=(1, 2))
    # Logits of a network are no white noise: of few directions, so shares scatter about chance by its own size and more.
    assert (logits["share_all"] < 10 * (P // 2) / (P**2 * (P - 1))).all()
    assert (logits["sum_share"] < 3 / (P + 1)).all()
    heads = analyze.measure(run, "attention")
    assert (heads["best_explained"] < 0.9).all()
    assert (heads["all_explained"] <= 1 + 1e-9).all()
    probe = analyze.measure(run, "clock_pizza").sel(network="checkpoint")
    assert (probe["accuracy"] < 4 / P).all()
    assert (probe["irrelevance"] > 0.9).all()
    assert (probe["circularity"] < 0.8).all()


def turned(weights):
    """The same function by other weights: the residual stream turned, neurons in another order."""
    Q = torch.linalg.qr(torch.randn(D, D, generator=torch.Generator().manual_seed(5))).Q
    order = torch.randperm(weights["blocks.0.mlp.b_in"].numel(), generator=torch.Generator().manual_seed(6))
    for name, tensor in weights.items():
        last = name.rsplit(".", 1)[-1]
        if last in ("W_E", "W_pos", "W_O", "W_out", "b_O", "b_out"):
            tensor.copy_(tensor @ Q)
        elif last in ("W_Q", "W_K", "W_V", "W_in", "W_U"):
            tensor.copy_(Q.T @ tensor)
    for name, axis in (("W_in", 1), ("b_in", 0), ("W_out", 0)):
        tensor = weights[f"blocks.0.mlp.{name}"]
        tensor.copy_(tensor.index_select(axis, order))


@pytest.mark.parametrize("name", FORMS)
def test_turning_the_residual_stream_and_the_order_of_neurons_change_nothing(plant, name):
    def noisy(weights):
        pizza(weights)
        for tensor in weights.values():
            tensor.add_(0.05 * torch.randn(tensor.shape, generator=torch.Generator().manual_seed(1)))

    def noisy_and_turned(weights):
        noisy(weights)
        turned(weights)

    options = {"circles": 1} if name == "clock_pizza" else {}
    found = analyze.measure(plant(noisy, noisy_and_turned), name, **options)
    for variable in set(found.data_vars) - {"train_loss", "test_loss", "train_accuracy", "test_accuracy"}:
        np.testing.assert_allclose(found[variable][1], found[variable][0], rtol=1e-3, atol=1e-4, err_msg=str(variable))


def test_key_frequencies_are_those_of_neurons_or_else_of_the_largest_gap(plant):
    of_neurons = analyze.measure(plant(pizza), "logits")
    assert of_neurons.attrs["key_frequencies"] == str(K)
    assert "neuron" in of_neurons.attrs["keys_are"]

    def quiet(weights):
        clock(weights)
        weights["blocks.0.mlp.b_in"][16:] = 1  # neurons that never vary

    gap = analyze.measure(plant(quiet, act_fn="silu"), "logits")
    assert gap.attrs["key_frequencies"] == str(K)
    given = analyze.measure(plant(pizza), "logits", frequencies=(5, 2, 5))
    assert given.attrs["key_frequencies"] == "2 5"
    assert given["key"].values.nonzero()[0].tolist() == [1, 4]
    with pytest.raises(UserError, match="has frequencies 1 to 6"):
        analyze.measure(plant(pizza), "logits", frequencies=(7,))


@pytest.mark.parametrize("prompt", ["ab=", "ab", "aob="])
@pytest.mark.parametrize("operation", ["add", "subtract"])
@pytest.mark.parametrize("model", [{}, {"attention": "bidirectional", "attention_rate": 0.4, "n_layers": 2}], ids=str)
def test_what_heads_read_is_what_a_slow_fit_of_the_cache_gives(plant, prompt, operation, model):
    task = ModularTask(p=7, operation=operation, prompt=prompt, operands="separate", train_fraction=0.5)
    run = plant(nothing, task=task, **model)
    found = analyze.measure(run, "attention").sel(step=0)
    assert list(found["position"].values) == [{"o": "∘"}.get(token, token) for token in prompt]
    hook = f"blocks.{model.get('n_layers', 1) - 1}.attn.hook_pattern"
    pattern = run.final.cache([hook])[hook][:, :, -1].double()  # [pair, head, position]
    torch.testing.assert_close(torch.from_numpy(found["weight"].values), pattern.mean(dim=0), rtol=1e-4, atol=1e-6)
    a, b = map(torch.from_numpy, task.pairs())
    for head in range(HEADS):
        target = pattern[:, head, prompt.index("a")]
        slow = []
        for k in (1, 2, 3):
            w = 2 * math.pi * k / 7
            cos, sin = (w * a).cos() - (w * b).cos(), (w * a).sin() - (w * b).sin()
            matrix = torch.stack([torch.ones(49), cos, sin], dim=1).double()
            left = target - matrix @ torch.linalg.lstsq(matrix, target[:, None]).solution[:, 0]
            slow.append(1 - (left.square().sum() / (target - target.mean()).square().sum()).item())
        np.testing.assert_allclose(found["explained"].sel(head=head), slow, rtol=0.01, atol=1e-3)
        assert found["frequency"].sel(head=head).item() == int(np.argmax(slow)) + 1
        assert found["best_explained"].sel(head=head).item() == found["explained"].sel(head=head).max().item()


def test_attention_of_rate_0_has_no_frequency_and_can_be_drawn(plant):
    found = analyze.measure(plant(nothing, attention_rate=0.0), "attention")
    assert (found["frequency"] == 0).all()
    assert found["best_explained"].isnull().all()
    assert (found["weight"] == 1).all()
    analyze.draw(found)
    analyze.summarise(found)


def test_the_control_is_the_runs_own_start_or_else_fresh_weights(plant):
    from dataclasses import replace

    run = plant(nothing, pizza)
    own = analyze.measure(run, "clock_pizza")
    assert own.attrs["control"] == "the run's own step 0"
    for name in ("symmetricity", "irrelevance", "accuracy_alone"):
        start = own[name].sel(step=0, network="checkpoint")
        np.testing.assert_array_equal(own[name].sel(network="untrained")[1], start)
    late = analyze.measure(replace(run, steps=(1,)), "clock_pizza")  # in view or not
    np.testing.assert_array_equal(late["symmetricity"].sel(step=1), own["symmetricity"].sel(step=1))
    converted = plant(pizza, first=1)
    fresh = {seed: analyze.measure(converted, "clock_pizza", control_seed=seed) for seed in (0, 3)}
    assert fresh[3].attrs["control"] == "fresh initial weights, seed 3: the run has no step 0"
    untrained = {seed: each["symmetricity"].sel(network="untrained").values[0] for seed, each in fresh.items()}
    assert (
        untrained[0] == own["symmetricity"].sel(network="untrained").values[0]
    )  # the fixture draws step 0 from seed 0
    assert untrained[3] != untrained[0]
    other = analyze.measure(plant(pizza, first=1, init="hooked"), "clock_pizza")
    assert other.attrs["control"] == "fresh initial weights, init hooked, seed 0: the run has no step 0"


def test_operands_with_tokens_of_their_own_give_what_the_same_tokens_give(plant):
    """The same embeddings twice, for a and for b."""
    shared = plant(pizza)

    def twice(weights):
        pizza(weights)
        weights["embed.W_E"][P : 2 * P] = weights["embed.W_E"][:P]

    apart = plant(twice, task=ModularTask(p=P, train_fraction=0.5, operands="separate"))
    for name in FORMS:
        options = {"circles": 1} if name == "clock_pizza" else {}
        found, expected = (analyze.measure(run, name, **options) for run in (apart, shared))
        found, expected = (
            (each.sel(network="checkpoint") if "network" in each.dims else each) for each in (found, expected)
        )
        for variable in found.data_vars:
            np.testing.assert_allclose(found[variable], expected[variable], rtol=1e-4, atol=1e-5, err_msg=str(variable))


def test_triples_of_a_large_modulus_are_sampled(plant, monkeypatch):
    from interp.analyze.mechanism import clock_pizza

    run = plant(pizza)
    assert analyze.measure(run, "clock_pizza").attrs["triples_drawn"] == "published shuffle"
    monkeypatch.setattr(clock_pizza, "LISTED_UP_TO", 5)
    found = analyze.measure(run, "clock_pizza")
    assert found.attrs["triples_drawn"] == "sampled without listing all"
    assert found["symmetricity"].sel(step=0, network="checkpoint").item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    "measures, expected",
    [
        ((0.99, 0.2, 1.0), "pizza"),
        ((0.33, 0.85, 1.0), "clock"),
        ((0.99, 0.5, 1.0), "between"),
        ((0.7, 0.5, 1.0), "between"),
        ((0.99, 0.9, 1.0), "between"),
        ((0.99, 0.2, 0.5), ""),
    ],
)
def test_a_verdict_is_given_by_both_bands_when_the_network_is_right(measures, expected):
    assert verdict(*measures) == expected


@pytest.mark.parametrize("name", FORMS)
def test_tasks_that_are_no_sum_are_refused(plant, name):
    run = plant(nothing, task=ModularTask(p=P, operation="x2_xy_y2", train_fraction=0.5))
    with pytest.raises(DoesNotApply, match=f'analysis "{name}" needs'):
        analyze.measure(run, name)
