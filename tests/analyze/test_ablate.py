"""Every ablation against HookedTransformer with hooks, and on networks of which it is known what they rest on."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers import tiny_config

from interp import analyze
from interp.analyze.mechanism import ablate
from interp.base import DoesNotApply, UserError
from interp.maths.ablation import roots, variances
from interp.maths.losses import cross_entropy
from interp.maths.neurons import cluster_sizes
from interp.models import TransformerSpec
from interp.models.network import Matrix, Roles, initial_weights, load
from interp.models.transformer import forward
from interp.recipe import TrainConfig
from interp.store import RunWriter, open_run
from interp.tasks import ModularTask
from interp.train.loop import train
from interp.views import keys
from interp.views.ablatable import Ablatable
from interp.views.ablated import NONE, Network, Taken
from interp.views.draws import Chosen

KEY, CLUSTERS = (1, 3), {1: [0, 2, 5, 11, 20], 3: [1, 3, 7]}


@pytest.fixture
def of_weights(tmp_path):
    """A run whose checkpoint at step i is the initial weights, changed by the i-th function."""

    def of_weights(*changes, task=None, **model):
        fields: dict[str, Any] = {"n_heads": 2, "d_model": 16, "d_head": 8, "d_mlp": 24} | model
        spec = TransformerSpec(**fields)
        config = tiny_config(task=task or ModularTask(p=11, train_fraction=0.5), model=spec)
        with RunWriter(tmp_path / "run", config) as writer:
            for step, change in enumerate(changes):
                weights = initial_weights(spec, config.task.shape, seed=step)
                change(weights)
                writer.checkpoint(step, weights)
        return open_run(tmp_path / "run")

    return of_weights


def perturb(weights):
    """No bias is 0 and no scale 1."""
    generator = torch.Generator().manual_seed(0)
    for tensor in weights.values():
        tensor += 0.2 * torch.randn(tensor.shape, generator=generator)


@pytest.fixture
def clusters(monkeypatch):
    """Neurons that belong to frequencies, whatever they do."""

    def shares(seen, post):
        planted = torch.zeros(seen.neurons.width, seen.n // 2)
        for k, neurons in CLUSTERS.items():
            planted[neurons, k - 1] = 1
        return planted

    monkeypatch.setattr(ablate, "neuron_shares", shares)


def projection(n, ks):
    """Onto the waves of these frequencies, on n residues."""
    x = torch.arange(n).double()
    P = torch.zeros(n, n, dtype=torch.float64)
    for k in ks:
        for phase in (0, math.pi / 2):
            wave = torch.cos(2 * math.pi * k * x / n - phase)
            if wave.norm() > 1e-6:
                P += torch.outer(wave, wave) / wave.square().sum()
    return P


class Slow:
    """A checkpoint with hooks that take something out, at the last position of the last layer, one prompt a row."""

    def __init__(self, run):
        self.run, self.grid, self.model = run, Ablatable.of(run), run.final.model.requires_grad_(False)
        self.block = f"blocks.{run.config.model.n_layers - 1}."
        self.tokens = self.grid.prompts.inputs
        with torch.no_grad():
            _, cache = self.model.run_with_cache(self.tokens)
        self.at = lambda name: cache[self.block + name][:, -1]
        n = self.grid.n
        same = self.grid.answers[:, None] == torch.arange(n)
        self.by_answer = same.double() / math.sqrt(n)
        """Orthonormal columns."""

    def logits(self, *hooks):
        with torch.no_grad():
            hooks = [(self.block + name, change) for name, change in hooks]
            return self.model.run_with_hooks(self.tokens, fwd_hooks=hooks)[:, -1, self.grid.values]

    def instead(self, name, value):
        """The network with other activations at the last position."""

        def change(activation, hook):
            activation[:, -1] = value.to(activation.dtype)
            return activation

        return self.logits((name, change))

    def waves(self, values, ks):
        """The part of a function of the pairs along waves of a + b."""
        return self.by_answer @ projection(self.grid.n, ks) @ self.by_answer.T @ values.double()

    def embedding(self, ks, keep):
        weights, task = dict(self.run.final.weights), self.run.task
        W_E = weights["embed.W_E"].clone()
        for rows in [self.grid.values, *([self.grid.values + task.p] if task.operands == "separate" else [])]:
            table = W_E[rows].double()
            part = projection(self.grid.n, ks) @ table
            W_E[rows] = (table.mean(dim=0) + part if keep else table - part).float()
        model = load(self.run.known_model, task.shape, {**weights, "embed.W_E": W_E})
        with torch.no_grad():
            return model(self.tokens)[:, -1, self.grid.values]

    def with_numbers(self, table):
        """With other embeddings of the numbers."""
        weights = dict(self.run.final.weights)
        W_E = weights["embed.W_E"].clone()
        W_E[self.grid.values] = table.float()
        model = load(self.run.known_model, self.run.task.shape, {**weights, "embed.W_E": W_E})
        with torch.no_grad():
            return model(self.tokens)[:, -1, self.grid.values]

    def neurons(self, ks, keep):
        post = self.at("mlp.hook_post").double()
        part = self.waves(post, ks)
        return self.instead("mlp.hook_post", post.mean(dim=0) + part if keep else post - part)

    def of_logits(self, ks, keep):
        logits = self.logits().double()
        part = self.waves(logits, ks)
        return (logits.mean(dim=0) + part if keep else logits - part).float()

    def some_neurons(self, neurons, keep):
        mask = torch.zeros(self.at("mlp.hook_post").shape[1])
        mask[list(neurons)] = 1
        return self.instead("mlp.hook_post", self.at("mlp.hook_post") * (mask if keep else 1 - mask))

    def blocks(self, ks):
        n, post = self.grid.n, self.at("mlp.hook_post").double()
        for neurons, k in zip(CLUSTERS.values(), ks, strict=True):
            P = projection(n, [k]) + 1 / n
            post[:, neurons] = torch.kron(P, P) @ post[:, neurons]
        return self.instead("mlp.hook_post", post)

    def directions(self, ks, keep):
        W_out = self.model.W_out[-1].double()
        if (
            self.model.cfg.normalization_type is not None
        ):  # what every neuron adds to all dimensions alike is centred away
            W_out = W_out - W_out.mean(dim=-1, keepdim=True)
        if self.model.cfg.normalization_type == "LN":
            W_out = W_out * self.model.ln_final.w.double()
        W_L = W_out @ self.model.W_U[:, self.grid.values].double()
        U = W_L @ projection(self.grid.n, ks)
        P = U @ torch.linalg.pinv(U, rtol=1e-8)
        post = self.at("mlp.hook_post").double()
        return self.instead("mlp.hook_post", post @ P if keep else post - post @ P)

    def head(self, number):
        def change(z, hook):
            z[:, -1, number] = 0
            return z

        return self.logits(("attn.hook_z", change))

    def removed(self, name):
        """What a head, or a skip path, adds."""
        if name.startswith("head"):
            head = int(name.split()[1])
            return self.at("attn.hook_z")[:, head] @ self.model.W_O[-1, head]
        if name == "all heads":
            return self.at("hook_attn_out") - self.model.b_O[-1]
        return self.at("hook_resid_mid" if name == "MLP skip" else "hook_resid_pre")

    def less(self, name, removed):
        """Without a vector in the residual stream, where that name's route joins it."""
        at = "hook_resid_post" if name == "MLP skip" else "hook_resid_mid"
        return self.instead(at, self.at(at) - removed)


def ways(slow, ks, neurons, along=None):
    """Slow logits of every ablation: of the key frequencies and clusters, or of what was drawn."""
    n_heads = slow.run.config.model.n_heads
    routes = [*(f"head {head}" for head in range(n_heads)), "all heads", "MLP skip", "attention skip"]

    def route(name):
        removed = slow.removed(name).detach()
        if along is not None:
            removed = removed.norm(dim=1, keepdim=True) * along
        return slow.less(name, removed)

    return {
        "embedding: keys kept": lambda: slow.embedding(ks, keep=True),
        "embedding: keys removed": lambda: slow.embedding(ks, keep=False),
        "neurons: keys kept": lambda: slow.neurons(ks, keep=True),
        "neurons: keys removed": lambda: slow.neurons(ks, keep=False),
        "logits: keys kept": lambda: slow.of_logits(ks, keep=True),
        "logits: keys removed": lambda: slow.of_logits(ks, keep=False),
        "clusters kept": lambda: slow.some_neurons(neurons, keep=True),
        "clusters removed": lambda: slow.some_neurons(neurons, keep=False),
        "clusters as 3×3 blocks": lambda: slow.blocks(ks),
        "W_L directions kept": lambda: slow.directions(ks, keep=True),
        "W_L directions removed": lambda: slow.directions(ks, keep=False),
        **{name: lambda name=name: route(name) for name in routes},
    }


def assert_outcome(found, slow, logits, what):
    """Loss and accuracy of every split are those of these logits."""
    for split, mask in slow.grid.splits.items():
        here, answers = found.sel(split=split), slow.grid.answers[mask]
        loss = cross_entropy(logits[mask], answers).item()
        assert here["loss"].item() == pytest.approx(loss, rel=2e-4, abs=1e-5), (what, split)
        right = (logits[mask].argmax(dim=1) == answers).double().mean().item()
        assert here["accuracy"].item() == pytest.approx(right, abs=1.01 / int(mask.sum())), (what, split)  # a near tie


def renamed(found, loss, accuracy):
    return found[[loss, accuracy]].rename({loss: "loss", accuracy: "accuracy"})


KINDS = [
    ({}, {}),
    ({}, {"normalization": "LN", "act_fn": "gelu"}),
    ({"prompt": "ab"}, {"attention": "bidirectional", "attention_rate": 0.3}),
    ({"operation": "subtract", "operands": "separate"}, {"n_layers": 2, "n_heads": 3}),
    ({"operation": "multiply", "answers": "tokens"}, {"normalization": "LNPre", "act_fn": "solu_ln"}),
]


@pytest.mark.parametrize("task, model", KINDS, ids=str)
def test_every_ablation_is_that_of_hooks(of_weights, clusters, task, model):
    task = ModularTask(**{"p": 11, "train_fraction": 0.5, **task})
    run = of_weights(perturb, task=task, **model)
    found = analyze.measure(run, "ablate", frequencies=KEY, repeats=2).sel(step=0)
    slow = Slow(run)
    assert_outcome(renamed(found, "whole_loss", "whole_accuracy"), slow, slow.logits(), "whole")
    union = sorted(neuron for cluster in CLUSTERS.values() for neuron in cluster)
    expected = ways(slow, KEY, union)
    assert list(expected) == list(found["ablation"].values)
    for name, logits in expected.items():
        assert_outcome(found.sel(ablation=name), slow, logits(), name)
    for k in range(1, slow.grid.n // 2 + 1):
        here = found.sel(freq=k)
        assert_outcome(
            renamed(here, "frequency_loss", "frequency_accuracy"),
            slow,
            slow.neurons((k,), keep=False),
            f"frequency {k}",
        )
        logits = slow.some_neurons(CLUSTERS.get(k, []), keep=False)
        assert_outcome(renamed(here, "cluster_loss", "cluster_accuracy"), slow, logits, f"cluster {k}")


@pytest.mark.parametrize("task, model", KINDS[:2], ids=str)
def test_every_random_removal_is_that_of_hooks(of_weights, clusters, task, model):
    run = of_weights(perturb, **model)
    options = ablate.Options(frequencies=KEY, repeats=2, seed=5)
    seen = Ablatable.of(run)
    found, chosen = ablate.measure(seen, options).sel(step=0), ablate.choose(seen, options)
    slow = Slow(run)
    for draw in (0, 1):
        neurons = chosen.neurons(chosen.all_clustered, draw, purpose=0).tolist()
        assert len(neurons) == 8
        assert not set(neurons) & set(chosen.all_clustered.tolist())
        here = renamed(found, "random_loss", "random_accuracy").sel(repeat=draw)
        for name, logits in ways(slow, chosen.drawn[draw], neurons, chosen.direction(draw)).items():
            assert_outcome(here.sel(ablation=name), slow, logits(), (name, draw))
    for k in KEY:
        outcomes = []
        for draw in (0, 1):
            neurons = chosen.neurons(chosen.cluster(k), draw, purpose=k).tolist()
            assert len(neurons) == len(CLUSTERS[k])
            assert not set(neurons) & set(CLUSTERS[k])
            outcomes.append(cross_entropy(slow.some_neurons(neurons, keep=False), slow.grid.answers).item())
        random = found["random_cluster_loss"].sel(freq=k, split="all")
        expected = np.quantile(outcomes, found["quantile"])  # of two: between them
        np.testing.assert_allclose(random, expected, rtol=2e-4)


def test_a_head_that_is_taken_out_is_a_head_whose_z_is_0(of_weights):
    run = of_weights(perturb)
    found, slow = analyze.measure(run, "ablate", repeats=1).sel(step=0), Slow(run)
    for head in (0, 1):
        assert_outcome(found.sel(ablation=f"head {head}"), slow, slow.head(head), head)


def as_random(network, part, functions, moments):
    """A part of the activations with random functions of the pairs, of which the network gets what `moments` say.

    Its functions and directions are those of a singular value decomposition; any root of the scatter of what is written is
    theirs up to a rotation of the functions.
    """
    _, root = moments
    moved = part - part.mean(dim=0)
    _, sizes, directions = torch.linalg.svd(moved, full_matrices=False)
    kept = sizes > 1e-5 * sizes[0]
    directions = sizes[kept, None] * directions[kept]
    rotation = root @ torch.linalg.pinv(directions @ network.tail.written.double(), rtol=1e-6)
    torch.testing.assert_close(
        rotation.T @ rotation, torch.eye(len(directions), dtype=torch.float64), atol=1e-3, rtol=0
    )
    left, _, right = torch.linalg.svd(rotation, full_matrices=False)
    found = functions[:, : len(root)].double() @ (left @ right) @ directions
    assert found.square().sum().item() == pytest.approx(moved.square().sum().item(), rel=1e-6)  # as much energy
    assert found.mean(dim=0).abs().max() < 1e-6
    return found + part.mean(dim=0)


def energy_ways(slow, network, draw):
    """Slow logits of ablations with random functions in the part's place, by the draw; and each part's share of the variance."""
    chosen, grid, post = network.chosen, slow.grid, slow.at("mlp.hook_post").double()
    functions = chosen.functions_of_pairs(draw)
    neurons = chosen.all_clustered

    def masked(values):
        found = torch.zeros_like(post)
        found[:, neurons] = values[:, neurons]
        return found

    fitted = post.clone()
    for each, k in zip(CLUSTERS.values(), KEY, strict=True):
        P = projection(grid.n, [k]) + 1 / grid.n
        fitted[:, each] = torch.kron(P, P) @ post[:, each]
    plane = torch.linalg.qr(network.tail.readout.double() @ projection(grid.n, KEY))[0][:, : 2 * len(KEY)]
    parts = {
        "neurons: keys": (slow.waves(post, KEY), network.waves_of_neurons(KEY)[0]),
        "clusters": (masked(post), network.summand(network.of_own_clusters)),
        "W_L directions": (post @ plane @ plane.T, network.along(KEY)[0]),
    }
    found = {}
    for name, (part, summand) in parts.items():
        random = as_random(network, part, functions, summand.moments)
        rest = post.mean(dim=0) if name.startswith("neurons") else 0
        share = variances(part).sum() / variances(post).sum()
        found[f"{name} kept"] = slow.instead("mlp.hook_post", rest + random), share
        found[f"{name} removed"] = slow.instead("mlp.hook_post", post - random), share
    blocks = masked(fitted)
    random = as_random(network, blocks, functions, network.in_blocks(KEY)[0].moments)
    share = variances(blocks).sum() / variances(post).sum()
    found["clusters as 3×3 blocks"] = slow.instead("mlp.hook_post", post - masked(post) + random), share
    logits = slow.logits().double()
    mean, root = network.waves_of_logits(KEY)[0].moments
    waves = slow.waves(logits, KEY)
    assert root.square().sum().item() == pytest.approx(waves.square().sum().item(), rel=1e-5)
    random, share = functions[:, : len(root)].double() @ root + mean, variances(waves).sum() / variances(logits).sum()
    found["logits: keys kept"] = (logits.mean(dim=0) + random).float(), share
    found["logits: keys removed"] = (logits - random).float(), share
    (_, _, at_frequencies), *others = network.embedding_parts
    assert not others
    table, part = slow.run.final.weights["embed.W_E"][grid.values].double(), at_frequencies[[0, 2]].sum(dim=0)
    torch.testing.assert_close(part, projection(grid.n, KEY) @ table)
    _, root = roots([part])
    random = chosen.functions_of_residues(draw, 0)[:, : len(root)].double() @ root
    assert random.square().sum().item() == pytest.approx(part.square().sum().item(), rel=1e-6)
    share = variances(part).sum() / variances(table).sum()
    found["embedding: keys kept"] = slow.with_numbers(table.mean(dim=0) + random), share
    found["embedding: keys removed"] = slow.with_numbers(table - random), share
    for name in network.seen.roles.routes:
        passed = slow.removed(name).detach()
        mean, root = roots([passed])
        random = functions[:, : len(root)] @ root.float() + mean.float()
        found[name] = slow.less(name, random), None
    return found


@pytest.mark.parametrize("task, model", KINDS[:2], ids=str)
def test_every_removal_of_the_same_energy_is_that_of_hooks(of_weights, clusters, task, model):
    run = of_weights(perturb, **model)
    options = ablate.Options(frequencies=KEY, repeats=1, draws=2, seed=5)
    seen = Ablatable.of(run)
    found, slow = ablate.measure(seen, options).sel(step=0), Slow(run)
    network = Network(ablate.choose(seen, options), run.final.weights)
    for draw in (0, 1):
        here = renamed(found, "random_energy_loss", "random_energy_accuracy").sel(draw=draw)
        expected = energy_ways(slow, network, draw)
        assert set(expected) == set(found["ablation"].values)
        for name, (logits, share) in expected.items():
            assert_outcome(here.sel(ablation=name), slow, logits, (name, draw))
            if share is not None:
                own, random = (found[f"{kind}share"].sel(ablation=name) for kind in ("", "random_energy_"))
                assert own.item() == pytest.approx(share.item(), rel=1e-5), name
                assert random.sel(draw=draw).item() == pytest.approx(share.item(), rel=1e-5), name


@pytest.mark.parametrize("task, model", KINDS[:2], ids=str)
def test_mean_and_resample_ablation_are_those_of_hooks(of_weights, clusters, task, model):
    run = of_weights(perturb, **model)
    options = ablate.Options(frequencies=KEY, repeats=1, draws=1, seed=5)
    seen = Ablatable.of(run)
    found, chosen, slow = ablate.measure(seen, options).sel(step=0), ablate.choose(seen, options), Slow(run)
    order = chosen.pairs(0)
    for kind, at in (("mean", lambda values: values.mean(dim=0)), ("resample", lambda values: values[order])):
        here = renamed(found, f"{kind}_loss", f"{kind}_accuracy")
        here = here.sel(draw=0) if kind == "resample" else here
        for name in seen.roles.routes:
            passed = slow.removed(name).detach()
            assert_outcome(here.sel(replaced=name), slow, slow.less(name, passed - at(passed)), (kind, name))
        post = slow.at("mlp.hook_post")
        every = set(range(post.shape[1]))
        union = {neuron for cluster in CLUSTERS.values() for neuron in cluster}
        for name, neurons in (("clusters kept", every - union), ("clusters removed", union)):
            changed = post.clone()
            changed[:, sorted(neurons)] = at(post)[..., sorted(neurons)]
            assert_outcome(here.sel(replaced=name), slow, slow.instead("mlp.hook_post", changed), (kind, name))
        for k, neurons in CLUSTERS.items():
            changed = post.clone()
            changed[:, neurons] = at(post)[..., neurons]
            own = renamed(found, f"{kind}_cluster_loss", f"{kind}_cluster_accuracy").sel(freq=k)
            own = own.sel(quantile=0.5) if kind == "resample" else own
            assert_outcome(own, slow, slow.instead("mlp.hook_post", changed), (kind, k))


def test_another_pair_that_is_the_same_changes_nothing(of_weights, clusters, monkeypatch):
    monkeypatch.setattr(Chosen, "pairs", lambda chosen, draw: torch.arange(chosen.seen.n**2))
    found = analyze.measure(of_weights(perturb), "ablate", frequencies=KEY, repeats=1, draws=2).sel(step=0)
    for name, whole in (("resample_loss", found["whole_loss"]), ("resample_cluster_loss", found["whole_loss"])):
        np.testing.assert_allclose(found[name], np.broadcast_to(whole, found[name].shape), rtol=1e-6, err_msg=name)


def test_what_is_constant_can_be_set_to_its_mean_and_not_to_0(of_weights, clusters):
    """Neurons of one cluster receive a bias alone, and the last token's own stream is the same in every prompt."""

    def constant(weights):
        perturb(weights)
        weights["blocks.0.mlp.W_in"][:, CLUSTERS[1]] = 0
        weights["blocks.0.mlp.b_in"][CLUSTERS[1]] = 1.5

    found = analyze.measure(of_weights(constant), "ablate", frequencies=KEY, repeats=1, draws=2).sel(step=0)
    whole = found["whole_loss"]
    one, way = found.sel(freq=1), found.sel(replaced="attention skip")
    np.testing.assert_allclose(one["mean_cluster_loss"], whole, rtol=1e-6)
    np.testing.assert_allclose(way["mean_loss"], whole, rtol=1e-6)
    for name, here in (("resample_cluster_loss", one), ("resample_loss", way)):
        np.testing.assert_allclose(here[name], np.broadcast_to(whole, here[name].shape), rtol=1e-6, err_msg=name)
    assert (abs(one["cluster_loss"] - whole) > 1e-3).all()
    assert (abs(found["loss"].sel(ablation="attention skip") - whole) > 1e-3).all()
    assert one["cluster_share"] == 0
    assert found.sel(freq=3)["cluster_share"] > 0


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


def test_random_functions_are_orthonormal_and_know_no_direction(of_weights):
    """The squared overlap with any function of mean 0 on d + 1 places is 1 / d in the mean; its variance is a Beta's."""
    draws, d = 400, P - 1
    chosen = ablate.choose(Ablatable.of(of_weights(perturb)), ablate.Options(frequencies=(1,), draws=draws))
    planted = torch.cos(2 * math.pi * 3 * torch.arange(P) / P) + 0.3 * torch.arange(P)
    planted = (planted - planted.mean()) / (planted - planted.mean()).norm()
    overlaps = []
    for draw in range(draws):
        functions = chosen.functions_of_residues(draw, 0)
        torch.testing.assert_close(functions.T @ functions, torch.eye(d), atol=1e-6, rtol=0)
        assert functions.mean(dim=0).abs().max() < 1e-7
        overlaps.append(float(functions[:, 0] @ planted) ** 2)
    spread = math.sqrt(2 * (d - 1) / (d**2 * (d + 2)) / draws)
    assert np.mean(overlaps) == pytest.approx(1 / d, abs=4 * spread)
    pairs = chosen.functions_of_pairs(0)
    torch.testing.assert_close(pairs.T @ pairs, torch.eye(pairs.shape[1]), atol=1e-6, rtol=0)
    assert pairs.mean(dim=0).abs().max() < 1e-7


def test_a_draw_is_the_same_in_whatever_order_it_is_asked_for(of_weights):
    run = of_weights(perturb)
    one, other = (ablate.choose(Ablatable.of(run), ablate.Options(frequencies=(1,), seed=3)) for _ in range(2))
    forwards = [(one.functions_of_pairs(draw), one.pairs(draw), one.functions_of_residues(draw, 0)) for draw in (0, 1)]
    backwards = [
        (other.functions_of_pairs(draw), other.pairs(draw), other.functions_of_residues(draw, 0)) for draw in (1, 0)
    ]
    for mine, theirs in zip(forwards, reversed(backwards), strict=True):
        for a, b in zip(mine, theirs, strict=True):
            assert torch.equal(a, b)
    assert not torch.equal(forwards[0][0], forwards[1][0])


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


def test_others_are_drawn_outside_the_key_ones_while_enough_remain(of_weights):
    run = of_weights(perturb)
    grid = Ablatable.of(run)
    few = ablate.choose(grid, ablate.Options(frequencies=(1, 3), repeats=50))
    assert {k for draw in few.drawn for k in draw} == {2, 4, 5}
    many = ablate.choose(grid, ablate.Options(frequencies=(1, 2, 3), repeats=50))
    assert {k for draw in many.drawn for k in draw} == {1, 2, 3, 4, 5}
    assert all(len(set(draw)) == 3 for draw in many.drawn)


def test_draws_are_told_and_follow_the_seed(of_weights):
    run = of_weights(perturb)
    once, again, other = (analyze.measure(run, "ablate", repeats=3, frequencies=(2,), seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(once["random_loss"], again["random_loss"])
    assert (once["random_loss"] != other["random_loss"]).any()
    assert (once["drawn"].sum("freq") == 1).all()
    assert not once["drawn"].sel(freq=2).any()


def test_fewer_repeats_are_the_first_of_more(of_weights):
    run = of_weights(perturb)
    three, two = (analyze.measure(run, "ablate", repeats=n, frequencies=(2,)) for n in (3, 2))
    np.testing.assert_array_equal(three["random_loss"].sel(repeat=[0, 1]), two["random_loss"])
    three, two = (analyze.measure(run, "ablate", repeats=1, draws=n, frequencies=(2,)) for n in (3, 2))
    for name in ("random_energy_loss", "resample_loss"):
        np.testing.assert_array_equal(three[name].sel(draw=[0, 1]), two[name])


def test_fewer_checkpoints_and_more_threads_give_the_same_numbers(tiny):
    options = {"repeats": 2, "frequencies": (1, 2)}
    whole = analyze.measure(tiny, "ablate", **options)
    part = analyze.measure(tiny.select(every=2), "ablate", **options)
    torch.set_num_threads(2)
    try:
        threads = analyze.measure(tiny, "ablate", **options)
    finally:
        torch.set_num_threads(1)
    same = [name for name in part.data_vars if part[name].dtype.kind == "f"]
    for name in same:
        if "cluster" not in str(name):
            np.testing.assert_array_equal(part[name], whole[name].sel(step=part["step"].values), err_msg=str(name))
        np.testing.assert_array_equal(threads[name], whole[name], err_msg=str(name))


def test_a_task_that_is_no_sum_is_refused(of_weights):
    with pytest.raises(DoesNotApply, match='analysis "ablate" needs'):
        analyze.measure(of_weights(perturb, task=ModularTask(p=11, operation="x2_y2", train_fraction=0.5)), "ablate")


def test_without_a_known_split_all_prompts_are_one(of_weights, monkeypatch):
    from interp.store.run import Run

    def unknown(run):
        raise DoesNotApply("not known")

    run = of_weights(perturb)
    known = analyze.measure(run, "ablate", repeats=1, frequencies=(2,))
    monkeypatch.setattr(Run, "split", property(unknown))
    found = analyze.measure(run, "ablate", repeats=1, frequencies=(2,))
    assert list(found["split"].values) == ["all"]
    np.testing.assert_array_equal(found["loss"], known["loss"].sel(split=["all"]))
    analyze.draw(found)
    analyze.summarise(found)


def test_a_network_without_heads_and_skips_has_the_other_ablations_alone(of_weights, clusters, monkeypatch):
    """The same network, of which no more is told than its roles."""
    run = of_weights(perturb, task=ModularTask(p=11, train_fraction=0.5, operands="separate"))
    options = {"frequencies": KEY, "repeats": 2}
    whole, whole_roles = analyze.measure(run, "ablate", **options), forward.roles

    def roles_alone(spec) -> Roles:
        """Without ways, and with an embedding of the second operand by itself."""
        return replace(whole_roles(spec), routes={}, embedding_at=lambda position: whole_roles(spec).embedding)

    monkeypatch.setattr(forward, "roles", roles_alone)
    monkeypatch.delattr(forward, "tail")
    found = analyze.measure(run, "ablate", **options)
    assert list(found["ablation"].values) == list(whole["ablation"].values[:-5])
    for name in ("whole_loss", "loss", "random_loss", "frequency_loss", "cluster_loss", "random_cluster_loss"):
        same = whole[name].sel(ablation=found["ablation"]) if "ablation" in found[name].dims else whole[name]
        np.testing.assert_allclose(found[name], same, rtol=1e-3, err_msg=name)  # what is beside is a difference
    assert "head" not in found.attrs["definition"]
    titles = " ".join(note.text for note in analyze.draw(found).layout.annotations)
    assert "neurons: test loss" in titles
    assert "ways through" not in titles
    assert "one head" not in titles
    assert not {"all heads", "MLP skip"} & set(analyze.summarise(found))


def test_what_cannot_be_replaced_or_told_is_refused(of_weights, monkeypatch):
    run, whole_roles = of_weights(perturb, normalization="LN"), forward.roles
    fixed = Matrix(("embed.W_E",), lambda weights: weights["embed.W_E"], 16)
    with monkeypatch.context() as patch:
        patch.setattr(forward, "roles", lambda spec: replace(whole_roles(spec), embedding=fixed))
        with pytest.raises(DoesNotApply, match="embedding is made of several weights"):
            analyze.measure(run, "ablate")
    monkeypatch.delattr(forward, "tail")
    for name in ("ablate", "groups"):
        with pytest.raises(DoesNotApply, match="answers are not linear in its neurons"):
            analyze.measure(run, name)


def test_losses_are_in_the_unit_of_the_history(tmp_path):
    config = tiny_config(train=TrainConfig(steps=3, loss="squared_error"))
    found = analyze.measure(train(config, tmp_path / "run"), "ablate", repeats=1)
    np.testing.assert_allclose(found["whole_loss"].sel(split="train"), found["train_loss"], rtol=1e-5)
    assert {found[name].attrs["units"] for name in ("loss", "random_loss", "train_loss")} == {"squared error"}
    assert "loss (squared error)" in str(analyze.draw(found).to_plotly_json()["layout"])
