"""What other people published, measured here: the weights of Nanda et al. and Zhong et al. (2023) give their figures."""

from dataclasses import dataclass

import pytest
import torch
from helpers import needs_published, published

from interp.maths.clock_pizza import (
    circularity,
    distance_irrelevance,
    gradient_symmetricity,
    isolated,
    principal_waves,
    shuffled_triples,
)
from interp.maths.fourier import above_largest_gap, above_quarter_of_largest, component_norms, frequency_norms, gini
from interp.maths.logits import form_products, form_variance, frequency_variance, in_and_out_of_phase
from interp.maths.losses import accuracy, cross_entropy
from interp.maths.neurons import block_shares, cluster_sizes, neuron_frequency
from interp.models.transformer.shared import SharedForward
from interp.models.transformer.spec import TransformerSpec
from interp.store.foreign.convert import convert
from interp.tasks.modular import ModularTask

pytestmark = needs_published


@dataclass
class Network:
    """Published weights in HookedTransformer's layout, float64, with what they were trained on."""

    task: ModularTask
    spec: TransformerSpec
    weights: dict[str, torch.Tensor]

    def forward(self):
        """The forward pass of every prompt, and the right answers."""
        table = self.task.table()
        return SharedForward(self.spec, torch.from_numpy(table.inputs)), torch.from_numpy(table.targets)


def converted(path, tmp_path_factory):
    """A file of others as an ordinary run, by the command's own way and without being told anything."""
    (run,) = convert(path, tmp_path_factory.mktemp("converted") / "run")
    weights = {name: tensor.double() for name, tensor in run.final.weights.items()}
    assert isinstance(run.task, ModularTask) and isinstance(run.known_model, TransformerSpec)
    return Network(run.task, run.known_model, weights)


@pytest.fixture(scope="module")
def nanda(tmp_path_factory):
    """The main run of Nanda et al. (2023)."""
    return converted(published("progress-measures") / "wd_10-1_mod_addition_loss_curve.pth", tmp_path_factory)


@pytest.fixture(scope="module")
def W_E(nanda):
    return nanda.weights["embed.W_E"][: nanda.task.p]


@pytest.fixture(scope="module")
def W_L(nanda):
    """What each neuron adds to each answer, answers as rows."""
    return (nanda.weights["blocks.0.mlp.W_out"] @ nanda.weights["unembed.W_U"]).T[: nanda.task.p]


def named(key):
    return {int(k) + 1 for k in key.nonzero()}


def test_the_inequality_of_the_fourier_components_is_the_published_one(W_E, W_L):
    assert round(float(gini(component_norms(W_E))), 3) == 0.535
    assert round(float(gini(component_norms(W_L))), 3) == 0.756


def test_ten_frequencies_exceed_a_quarter_of_the_largest(W_E):
    assert named(above_quarter_of_largest(frequency_norms(W_E))) == {3, 6, 12, 23, 31, 37, 39, 41, 46, 54}


def test_five_frequencies_stand_above_the_largest_gap(W_E):
    assert named(above_largest_gap(frequency_norms(W_E))) == {6, 23, 37, 39, 41}


def test_the_published_network_answers_every_pair_with_the_published_loss(nanda):
    forward, targets = nanda.forward()
    logits = forward(nanda.weights)
    assert accuracy(logits, targets) == 1
    # Two digits: over all pairs, between the test loss 5.0e-7 and the train loss 9e-9 of the run's last epochs.
    assert cross_entropy(logits, targets) == pytest.approx(3.5e-7, rel=0.02)


def test_185_of_512_neurons_are_in_clusters_of_five_frequencies(nanda):
    forward, _ = nanda.forward()
    neurons = forward.cache(nanda.weights, lambda name: name.endswith("hook_post"))["blocks.0.mlp.hook_post"]
    shares = block_shares(neurons.unflatten(0, (113, 113)))
    sizes = {k + 1: size for k, size in enumerate(cluster_sizes(shares).tolist()) if size}
    assert sizes == {6: 47, 23: 31, 37: 65, 39: 11, 41: 31}
    assert sum(sizes.values()) == 185
    assert set(neuron_frequency(shares).tolist()) >= set(sizes)


def test_five_waves_of_a_plus_b_minus_c_make_the_logits(nanda):
    forward, _ = nanda.forward()
    u, v = in_and_out_of_phase(forward(nanda.weights)[:, :113].unflatten(0, (113, 113)))
    shares = form_products(u)[0].square() / frequency_variance(u, v).sum()
    assert {int(k) + 1 for k in shares.topk(5).indices} == {6, 23, 37, 39, 41}
    assert round(float(shares.topk(5).values.sum()), 4) == 0.9748  # published as .975


ZHONG = {
    "p99zdpze5l": (0.993665, 0.171736, 0.997818),
    "l8k1hzciux": (0.333638, 0.848260, 0.998907),
    "h9m153uuh9": (0.997378, 0.185549, 0.999799),
    "2k4ohj6bhd": (0.781316, 0.720123, 0.734217),
}
"""Gradient symmetricity, distance irrelevance and circularity: Model A (pizza), Model B (clock), two more."""


@pytest.fixture(scope="module", params=ZHONG)
def zhong(request, tmp_path_factory):
    """A network of Zhong et al. (2023)."""
    return ZHONG[request.param], converted(published("clock-pizza") / f"model_{request.param}.pt", tmp_path_factory)


def test_clocks_and_pizzas_are_told_apart_as_published(zhong):
    expected, network = zhong
    forward, targets = network.forward()
    logits = forward(network.weights)
    assert accuracy(logits, targets) == 1
    p, W_E = network.task.p, network.weights["embed.W_E"]
    triples = shuffled_triples(p)
    # Each prompt has tokens of its own, whose rows of W_E are the embeddings that are asked about.
    alone = SharedForward(network.spec, torch.arange(2 * len(triples)).view(-1, 2))
    found = (
        gradient_symmetricity(
            lambda embedded: alone({**network.weights, "embed.W_E": embedded.flatten(0, 1)}),
            W_E[triples[:, :2]],
            triples[:, 2],
        ),
        distance_irrelevance(logits.gather(1, targets[:, None]).view(p, p)),
        circularity(W_E),
    )
    assert tuple(round(float(value), 6) for value in found) == expected


def with_circles(network, *components):
    """Logits with these principal components of the embedding alone, and right answers."""
    forward, targets = network.forward()
    W_E = network.weights["embed.W_E"]
    waves = principal_waves(W_E, max(components) + 1)[:, list(components)]
    return forward({**network.weights, "embed.W_E": isolated(W_E, waves)}), targets


@pytest.fixture(scope="module")
def model_a(tmp_path_factory):
    """The pizza."""
    return converted(published("clock-pizza") / "model_p99zdpze5l.pt", tmp_path_factory)


def test_circles_of_model_a_are_right_as_often_as_published(model_a):
    assert round(float(accuracy(*with_circles(model_a, 2, 3))), 3) == 0.328  # its second
    assert round(float(accuracy(*with_circles(model_a, 0, 1, 2, 3))), 3) == 0.914  # its first two
    # Three are right more often than the 91.4 % that three are said to be.
    assert round(float(accuracy(*with_circles(model_a, *range(6)))), 3) == 0.997


def test_six_components_of_model_b_are_always_right(tmp_path_factory):
    network = converted(published("clock-pizza") / "model_l8k1hzciux.pt", tmp_path_factory)
    assert accuracy(*with_circles(network, *range(6))) == 1


@pytest.mark.parametrize(
    "circle, k, clock, pizza", [(0, 17, 0.754, 0.992), (1, 3, 0.756, 0.992), (2, 15, 0.754, 0.993)]
)
def test_logits_of_one_circle_of_model_a_have_the_published_forms(model_a, circle, k, clock, pizza):
    logits, _ = with_circles(model_a, 2 * circle, 2 * circle + 1)
    cube = logits.unflatten(0, (59, 59))
    u, v = in_and_out_of_phase(cube)
    r = form_products(u)[:, k - 1] / frequency_variance(u, v).sum().sqrt()
    # Both sides scaled to deviation 1: 1 − ‖x − y‖² is 2r − 1. By least squares, r², the clock has .769 to .771.
    assert [round(float(2 * one - 1), 3) for one in r] == [clock, pizza]


def test_the_whole_of_model_a_has_the_logits_of_a_clock(model_a):
    """Other circles fill in what one alone leaves out, so the forms are told apart one circle at a time."""
    forward, _ = model_a.forward()
    u, v = in_and_out_of_phase(forward(model_a.weights).unflatten(0, (59, 59)))
    explained = form_variance(u).sum(dim=1) / frequency_variance(u, v).sum()
    assert [round(float(each), 3) for each in explained] == [0.995, 0.832, 0.996]


def test_the_published_network_rests_on_its_key_frequencies_by_causal_test(tmp_path_factory):
    """Restricted and excluded loss over all pairs, as known of these weights; other frequencies are not missed."""
    from interp import analyze

    path = published("progress-measures") / "wd_10-1_mod_addition_loss_curve.pth"
    (run,) = convert(path, tmp_path_factory.mktemp("converted") / "run")
    found = analyze.measure(run, "ablate", repeats=1).isel(step=-1).sel(split="all")
    assert found.attrs["key_frequencies"] == "6 23 37 39 41"
    assert found["whole_loss"].item() == pytest.approx(3.5e-7, rel=0.02)
    kept, removed = (found.sel(ablation=f"logits: keys {what}") for what in ("kept", "removed"))
    assert kept["loss"].item() == pytest.approx(2.2e-9, rel=0.02)
    assert removed["loss"].item() == pytest.approx(9.0, abs=0.05)
    assert removed["random_accuracy"].item() == 1
    assert removed["random_loss"].item() < 5e-7
