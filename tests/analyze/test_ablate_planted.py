"""Ablations of networks of which it is known what they rest on, and which frequencies count as key."""

import math

import numpy as np
import pytest
import torch
from hooked_ablations import Slow, perturb

from interp import analyze
from interp.analyze.mechanism import ablate
from interp.base import UserError
from interp.maths.ablation import variances
from interp.maths.neurons import cluster_sizes
from interp.views import keys
from interp.views.ablatable import Ablatable
from interp.views.ablated import NONE, Network, Taken

P = 11


def test_the_share_of_planted_waves_is_that_of_their_squared_amplitudes(of_weights):
    """3 cos(4πx/11) in one direction and 2 cos(8πx/11) in another, on a constant: 9 to 4."""

    def planted(weights):
        perturb(weights)
        x = 2 * math.pi * torch.arange(P) / P
        weights["embed.W_E"][:P] = 0
        weights["embed.W_E"][:P, 0], weights["embed.W_E"][:P, 1] = 3 * torch.cos(2 * x), 2 * torch.cos(4 * x)
        weights["embed.W_E"][:P, 2] = 7.0

    found = analyze.measure(of_weights(planted), "ablate", frequencies=(2,), repeats=9, draws=2).sel(step=0)
    here = found.sel(ablation=["embedding: keys kept", "embedding: keys removed"])
    np.testing.assert_allclose(here["share"], 9 / 13, rtol=1e-6)
    np.testing.assert_allclose(here["random_energy_share"], 9 / 13, rtol=1e-6)
    of_draw = 4 / 13 * found["drawn"].sel(freq=4)
    np.testing.assert_allclose(here["random_share"], np.broadcast_to(of_draw, (2, 9)), atol=1e-12, rtol=1e-6)
    assert {0.0, 1.0} == set(found["drawn"].sel(freq=4).values.astype(float))  # both were drawn


def test_keys_and_the_rest_are_the_whole(of_weights):
    run = of_weights(perturb)
    keys, rest = (
        analyze.measure(run, "ablate", frequencies=chosen, repeats=1, draws=1).sel(step=0)
        for chosen in ((1, 3), (2, 4, 5))
    )
    both = keys["share"] + rest["share"]
    assert both.sel(ablation="embedding: keys removed").item() == pytest.approx(1, rel=1e-9)
    for name, sizes in (("neurons", "mlp.hook_post"), ("logits", None)):
        slow = Slow(run)
        values = (slow.logits() if sizes is None else slow.at(sizes)).double()
        left = values - slow.waves(values, (1, 2, 3, 4, 5))  # functions of the pair that are none of its sum
        share = (variances(left).sum() / variances(values).sum()).item()
        assert both.sel(ablation=f"{name}: keys removed").item() + share == pytest.approx(1, rel=1e-6)
    np.testing.assert_allclose(keys["frequency_share"].sum(), both.sel(ablation="neurons: keys removed"), rtol=1e-9)


def test_specificity_tells_a_part_of_its_own_waves_from_a_part_of_all(of_weights):
    """With cos k(a + b − c) at two frequencies in the logits: one gone, all halved, something orthogonal added."""
    run = of_weights(lambda weights: [tensor.zero_() for tensor in weights.values()])
    grid = Ablatable.of(run)
    angle = 2 * math.pi * (grid.answers[:, None] - torch.arange(P)) / P
    network = Network(ablate.choose(grid, ablate.Options(frequencies=(3,))), run.final.weights)
    network.whole = 4 * torch.cos(3 * angle) + 9 * torch.cos(5 * angle + 1)

    def lost(logits):
        return network.scores(network.outcome(Taken(lambda rows: logits[rows], NONE)))[-2:].tolist()

    assert lost(network.whole) == [0, 0]
    assert lost(9 * torch.cos(5 * angle + 1)) == pytest.approx([1, 0], abs=1e-6)
    assert lost(network.whole / 2) == pytest.approx([0.5, 0.5], abs=1e-6)
    assert lost(network.whole + 6 * torch.sin(3 * angle)) == pytest.approx([0, 0], abs=1e-6)
    assert lost(4 * torch.cos(3 * angle + math.pi)) == pytest.approx([2, 1], abs=1e-6)


def only(*ks):
    """An embedding that has waves of these frequencies alone, and a mean, in a network that answers something by them."""

    def change(weights):
        perturb(weights)
        waves = [torch.cos(2 * math.pi * k * torch.arange(P) / P - phase) for k in ks for phase in (0, math.pi / 2)]
        directions = torch.randn(len(waves) + 1, 16, generator=torch.Generator().manual_seed(3))
        weights["embed.W_E"][:P] = torch.stack([*waves, torch.ones(P)], dim=1) @ directions

    return change


def test_an_embedding_of_the_key_frequencies_alone_needs_them_and_no_others(of_weights):
    found = analyze.measure(of_weights(only(2, 4)), "ablate", frequencies=(2, 4), repeats=3).sel(step=0)
    whole = found["whole_loss"]
    kept, removed = (found.sel(ablation=f"embedding: keys {what}") for what in ("kept", "removed"))
    np.testing.assert_allclose(kept["loss"], whole, rtol=1e-5)
    for repeat in range(3):  # the others are not there
        np.testing.assert_allclose(removed["random_loss"].sel(repeat=repeat), whole, rtol=1e-5)
    # Without them all numbers look alike, and so do all answers: at chance, one in p.
    assert removed["accuracy"].sel(split="all").item() == pytest.approx(1 / P)
    np.testing.assert_allclose(kept["random_loss"], np.broadcast_to(removed["loss"], (3, 3)), rtol=1e-5)


def test_logits_that_are_a_wave_of_the_answer_need_its_frequency_alone(of_weights):
    """Neurons that are silent leave what passes beside them; with cos k(a + b − c) put into the logits it is all there is."""

    def clock(weights):
        for tensor in weights.values():
            tensor.zero_()

    run = of_weights(clock)
    grid = Ablatable.of(run)
    places = torch.arange(P)
    cosines = 9 * torch.cos(2 * math.pi * 3 * (grid.answers[:, None] - places) / P)
    network = Network(ablate.choose(grid, ablate.Options(frequencies=(3,), repeats=4)), run.final.weights)
    network.whole = cosines
    draws = {None: network.chosen.own, **dict(enumerate(network.chosen.by_number))}

    def scored(outcome):
        """Loss and accuracy by split."""
        return outcome[:6].unflatten(0, (2, 3))

    outcome = {
        name: [scored(network.outcome(network.logits(draw, keep))) for keep in (True, False)]
        for name, draw in draws.items()
    }
    whole = scored(network.untouched)
    assert whole[1].tolist() == [1, 1, 1]
    chance = torch.full((3,), math.log(P), dtype=torch.float64)
    torch.testing.assert_close(outcome[None][0][0], whole[0], rtol=1e-4, atol=0)  # float32 logits of 9
    torch.testing.assert_close(outcome[None][1][0], chance, rtol=1e-6, atol=0)
    for draw in range(4):
        torch.testing.assert_close(outcome[draw][0][0], chance, rtol=1e-6, atol=0)
        torch.testing.assert_close(outcome[draw][1][0], whole[0], rtol=1e-4, atol=0)


def test_key_frequencies_are_those_that_neurons_cluster_on_else_those_above_the_gap_else_as_told(of_weights):
    def clustered(weights):
        """Neuron 0 is alone in varying, with a and b, at one frequency."""
        only(2)(weights)
        for name, tensor in weights.items():
            if "attn." in name or name.endswith(("mlp.b_in", "W_pos")):
                tensor.zero_()
        weights["blocks.0.attn.W_V"][:] = torch.eye(16)[:, :8]
        weights["blocks.0.attn.W_O"][:] = torch.eye(16)[:8]
        weights["blocks.0.mlp.b_in"][:] = 50.0  # ReLU is linear up there

    chosen = ablate.choose(Ablatable.of(of_weights(clustered)), ablate.Options())
    assert chosen.key == (2,)
    assert chosen.keys_are.startswith("by neuron_clusters at step")
    assert len(chosen.all_clustered) == 24


def test_a_given_frequency_wins_and_one_that_is_not_there_is_refused(of_weights):
    run = of_weights(perturb)
    grid = Ablatable.of(run)
    assert ablate.choose(grid, ablate.Options(frequencies=(5, 1))).key == (1, 5)
    assert ablate.choose(grid, ablate.Options(frequencies=(5, 1))).keys_are == "as given"
    with pytest.raises(UserError, match="has frequencies 1 to 5"):
        analyze.measure(run, "ablate", frequencies=(6,))


def test_without_clusters_keys_are_above_the_largest_gap_of_the_embedding(of_weights, monkeypatch):
    def loud(weights):
        weights["embed.W_E"][:P, 0] += 5 * torch.cos(2 * math.pi * 4 * torch.arange(P) / P)

    monkeypatch.setattr(ablate, "SHARE", 1.0)
    monkeypatch.setattr(keys, "cluster_sizes", lambda shares: cluster_sizes(shares, 1.0))
    found = analyze.measure(of_weights(loud), "ablate", repeats=1)
    assert found.attrs["key_frequencies"] == "4"
    assert found.attrs["keys_are"].startswith("by W_E_largest_gap")
    assert (found["cluster_loss"] == found["whole_loss"]).all()  # no cluster: nothing is taken out
