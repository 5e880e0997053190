"""Every ablation against HookedTransformer with hooks, and runs to which only some apply."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers import tiny_config
from hooked_ablations import CLUSTERS, KEY, Slow, perturb, projection, ways

from interp import analyze
from interp.analyze.mechanism import ablate
from interp.base import DoesNotApply
from interp.maths.ablation import roots, variances
from interp.maths.losses import cross_entropy
from interp.models.network import Matrix, Roles
from interp.models.transformer import forward
from interp.recipe import TrainConfig
from interp.tasks import ModularTask
from interp.train.loop import train
from interp.views.ablatable import Ablatable
from interp.views.ablated import Network
from interp.views.draws import Chosen


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


def test_a_way_on_which_nothing_varies_is_as_much_energy_as_its_constant(tmp_path):
    """To the last bit, as the last token's own stream in a table of 25 prompts: there is nothing random to take instead."""
    run = train(tiny_config(task=ModularTask(p=5), train=TrainConfig(steps=20, lr=1e-2)), tmp_path / "run")
    found = analyze.measure(run, "ablate", draws=2).sel(ablation="attention skip")
    for name in ("loss", "accuracy"):
        np.testing.assert_allclose(found[f"random_energy_{name}"] - found[name], 0, atol=1e-6)
    assert (found["share"] == 0).all()


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
    figure: Any = analyze.draw(found)
    titles = " ".join(note.text for note in figure.layout.annotations)
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
