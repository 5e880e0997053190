"""Kinds of example, against networks whose answers are known, and against HookedTransformer's logits."""

import numpy as np
import pytest
import torch
from helpers import tiny_config

from interp import analyze
from interp.analyze.learning.breakdown import phase
from interp.base import IGNORED, DoesNotApply
from interp.maths.losses import prompt_losses
from interp.models import TransformerSpec
from interp.models.network import initial_weights
from interp.recipe import TrainConfig
from interp.store import RunWriter, open_run
from interp.tasks import AdditionTask, Corruption, JointTask, ModularTask, RepeatedTask
from interp.train.loop import train

KINDS = ["train clean", "train corrupted", "train recovered", "test"]
MIRRORED = ["test, mirror seen", "test, mirror not seen"]


def one_checkpoint(path, config, change=lambda weights: None):
    """A run of initial weights, changed."""
    weights = initial_weights(config.model, config.task.shape, seed=0)
    change(weights)
    with RunWriter(path, config) as writer:
        writer.checkpoint(0, weights)
    return open_run(path)


def slowly(run, prompts, targets):
    """Loss and accuracy by HookedTransformer."""
    with torch.inference_mode():
        logits = run.final.model(torch.from_numpy(prompts))[:, -1]
    targets = torch.from_numpy(targets)
    return prompt_losses(logits, targets).double().mean().item(), (logits.argmax(-1) == targets).double().mean().item()


def test_each_kind_is_measured_on_its_examples_against_its_labels(tmp_path):
    def louder(weights):
        weights["unembed.W_U"] *= 20

    run = one_checkpoint(tmp_path / "run", tiny_config(corruption=Corruption(labels=20)), louder)
    split, found = run.split, analyze.measure(run, "breakdown").sel(step=0, operation="all")
    wrong, inputs = split.corrupted, split.train.inputs
    expected = {
        "train clean": (inputs[~wrong], split.train.targets[~wrong]),
        "train corrupted": (inputs[wrong], split.train.targets[wrong]),
        "train recovered": (inputs[wrong], split.true_targets[wrong]),
        "test": (split.test.inputs, split.test.targets),
    }
    assert list(found["examples"].values) == KINDS + MIRRORED
    assert found["count"].values.tolist()[:4] == [40, 20, 20, 61]
    assert found["count"].sel(examples=MIRRORED).sum() == 61
    for kind, (prompts, targets) in expected.items():
        loss, accuracy = slowly(run, prompts, targets)
        assert found["loss"].sel(examples=kind).item() == pytest.approx(loss, rel=1e-5)
        assert found["accuracy"].sel(examples=kind).item() == pytest.approx(accuracy)


def test_each_operation_is_measured_on_its_own_prompts(tmp_path):
    task = JointTask(operations=("add", "divide"), p=7, train_fraction=0.5)
    run = one_checkpoint(tmp_path / "run", tiny_config(task=task))
    found = analyze.measure(run, "breakdown").sel(step=0)
    sign = {"add": 8, "divide": 9}
    for name, token in sign.items():
        for kind, part in (("train", run.split.train), ("test", run.split.test)):
            rows = part.inputs[:, 1] == token
            loss, accuracy = slowly(run, part.inputs[rows], part.targets[rows])
            here = found.sel(operation=name, examples=kind)
            assert here["count"].item() == rows.sum()
            assert here["loss"].item() == pytest.approx(loss, rel=1e-5)
            assert here["accuracy"].item() == pytest.approx(accuracy)
    total = (found["loss"] * found["count"]).sel(operation=list(sign)).sum("operation")
    np.testing.assert_allclose(total, (found["loss"] * found["count"]).sel(operation="all"))


def test_in_parts_it_is_the_same(tmp_path, monkeypatch):
    run = one_checkpoint(tmp_path / "run", tiny_config(corruption=Corruption(labels=20)))
    whole = analyze.measure(run, "breakdown")
    monkeypatch.setattr("interp.analyze.learning.breakdown.PART", 50)
    np.testing.assert_allclose(analyze.measure(run, "breakdown")["loss"], whole["loss"], rtol=1e-6)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run that memorises everything, wrong labels too."""
    config = tiny_config(
        task=ModularTask(p=7, train_fraction=0.5),
        train=TrainConfig(steps=400, lr=1e-2, weight_decay=0.0, checkpoint_every=50),
        corruption=Corruption(share=0.3),
    )
    return train(config, tmp_path_factory.mktemp("runs") / "trained")


def test_train_accuracy_in_the_history_is_that_on_the_labels_as_trained(trained):
    found = analyze.measure(trained, "breakdown").sel(operation="all")
    shares = found["count"].sel(examples=["train clean", "train corrupted"]) / len(trained.split.train)
    both = (found["accuracy"] * shares).sum("examples")
    np.testing.assert_allclose(both, found["train_accuracy"])
    np.testing.assert_allclose(found["loss"].sel(examples="test"), found["test_loss"], rtol=1e-4)
    assert found["train_accuracy"][-1] == 1


def test_what_is_memorised_is_learned_and_not_recovered(trained):
    found = analyze.measure(trained, "breakdown")
    last, learned = found.isel(step=-1).sel(operation="all"), found["learned"].sel(operation="all")
    assert last["accuracy"].sel(examples="train corrupted") == 1
    assert last["accuracy"].sel(examples="train recovered") == 0
    assert 0 < learned.sel(examples="train corrupted") < 400
    assert np.isnan(learned.sel(examples="train recovered"))
    assert analyze.summarise(found)["phase"].iloc[-1] == "memorisation"


@pytest.mark.parametrize(
    ("learned", "expected"),
    [
        ("train clean, train corrupted, test", "coexistence"),
        ("train clean, train recovered, test", "full inversion"),
        ("train clean, test", "partial inversion"),
        ("train clean, train corrupted", "memorisation"),
        ("train clean", ""),
        ("", ""),
    ],
)
def test_phases_are_told_by_what_is_learned(learned, expected):
    assert phase({kind: kind in learned.split(", ") for kind in KINDS}) == expected


def test_the_gradient_that_training_follows_is_that_of_the_labels_as_trained(tmp_path):
    run = one_checkpoint(tmp_path / "run", tiny_config(corruption=Corruption(share=1.0)))
    network, split = run.final.model, run.split
    loss = torch.nn.functional.cross_entropy(
        network(torch.from_numpy(split.train.inputs))[:, -1], torch.from_numpy(split.train.targets)
    )
    (gradient,) = torch.autograd.grad(loss, [network.get_parameter("unembed.W_U")])
    found = analyze.measure(run, "numerics")["gradient_norm_of_tensor"].sel(step=0, tensor="unembed.W_U")
    assert found.item() == pytest.approx(gradient.double().norm().item(), rel=1e-4)


@pytest.mark.parametrize("name", ["progress", "ablate"])
def test_losses_over_pairs_are_those_of_the_labels_as_trained(name, tmp_path):
    run = one_checkpoint(tmp_path / "run", tiny_config(corruption=Corruption(share=0.5)))
    expected = slowly(run, run.split.train.inputs, run.split.train.targets)[0]
    assert expected != pytest.approx(slowly(run, run.split.train.inputs, run.split.true_targets)[0], rel=1e-4)
    whole = {"progress": "loss", "ablate": "whole_loss"}[name]
    found = analyze.measure(run, name)[whole].sel(step=0, split="train")
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_one_kind_of_example_is_nothing_to_break_down(tmp_path):
    run = one_checkpoint(tmp_path / "run", tiny_config(task=ModularTask(p=11, operation="subtract")))
    with pytest.raises(DoesNotApply, match=r'neither corrupted labels .* nor one with x ∘ y = y ∘ x; .* "curves" has'):
        analyze.measure(run, "breakdown")


def looked_up(weights, task, split):
    """Weights that know the answers of the training pairs, whichever of the two comes first, and answer 0 to all others."""
    p, (first, second) = task.p, (slice(7, 14), slice(14, 21))
    for tensor in weights.values():
        tensor.zero_()
    weights["embed.W_E"][:p, :p] = torch.eye(p)
    weights["blocks.0.attn.W_V"][0, :p, :p] = torch.eye(p)
    weights["blocks.0.attn.W_O"][0, :p, first] = 3 * torch.eye(
        p
    )  # each of three positions gets a third of the attention
    pairs = sorted({(min(x, y), max(x, y), (x + y) % p) for x, y, _ in split.train.inputs.tolist()})
    for neuron, (x, y, answer) in enumerate(pairs):
        weights["blocks.0.mlp.W_in"][first, neuron] = torch.eye(p)[x] + torch.eye(p)[y] * (x != y)
        weights["blocks.0.mlp.b_in"][neuron] = -1.5
        weights["blocks.0.mlp.W_out"][neuron, second][answer] = 20.0 if x != y else 300.0
    weights["unembed.W_U"][second] = torch.eye(p)
    weights["unembed.b_U"][0] = 1


def test_a_network_that_knows_unordered_pairs_answers_those_whose_mirror_it_saw_and_no_others(tmp_path):
    task = ModularTask(p=7, train_fraction=0.5)
    config = tiny_config(task=task, model=TransformerSpec(n_heads=1, d_model=21, d_head=7, d_mlp=24))
    split = config.split()
    run = one_checkpoint(tmp_path / "run", config, lambda weights: looked_up(weights, task, split))
    found = analyze.measure(run, "breakdown").sel(step=0, operation="all")
    assert list(found["examples"].values) == ["train", "test", *MIRRORED]
    known = {(x, y) for x, y, _ in split.train.inputs.tolist()}
    tested = [(x, y) for x in range(7) for y in range(7) if (x, y) not in known]
    seen = [(x, y) for x, y in tested if (y, x) in known]
    unseen = [pair for pair in tested if pair not in seen]
    assert found["count"].values.tolist() == [24, 25, len(seen), len(unseen)]
    assert seen
    assert any(x == y for x, y in unseen)  # a square is its own mirror, and was not seen
    accuracy = found["accuracy"].sel(examples=["train", "test, mirror seen"])
    np.testing.assert_allclose(accuracy, 1)
    known_squares = {x for x, _ in known} | {y for _, y in known}
    right = [(x + y) % 7 == 0 and not (x == y and x in known_squares) for x, y in unseen]
    assert found["accuracy"].sel(examples="test, mirror not seen").item() == pytest.approx(np.mean(right))
    assert found["loss"].sel(examples="test, mirror seen") < 0.01


def test_pairs_of_a_joint_task_are_mirrored_under_the_operations_that_allow_it(tmp_path):
    task = JointTask(operations=("add", "subtract"), p=7, train_fraction=0.5)
    found = analyze.measure(one_checkpoint(tmp_path / "run", tiny_config(task=task)), "breakdown").sel(step=0)
    count = found["count"].to_pandas()
    assert count.loc["add", MIRRORED].sum() == count.loc["add", "test"]
    assert (count.loc["subtract", MIRRORED] == 0).all()
    assert (count.loc["all", MIRRORED] == count.loc["add", MIRRORED]).all()
    assert np.isnan(found["accuracy"].sel(operation="subtract", examples=MIRRORED)).all()


@pytest.mark.parametrize(
    "task", [AdditionTask(digits=2, examples=30, test_examples=25), RepeatedTask(examples=20, test_examples=9)]
)
def test_of_sequences_every_answer_that_can_be_known_counts(task, tmp_path):
    run = one_checkpoint(tmp_path / "run", tiny_config(task=task, corruption=Corruption(labels=8)))
    split, found = run.split, analyze.measure(run, "breakdown").sel(step=0, operation="all")
    wrong = split.corrupted
    expected = {
        "train clean": (split.train.inputs[~wrong], split.train.targets[~wrong]),
        "train corrupted": (split.train.inputs[wrong], split.train.targets[wrong]),
        "train recovered": (split.train.inputs[wrong], split.true_targets[wrong]),
        "test": (split.test.inputs, split.test.targets),
    }
    for kind, (inputs, targets) in expected.items():
        with torch.inference_mode():
            logits = run.final.model(torch.from_numpy(inputs))[:, list(task.shape.classes.positions)]
        known = targets != IGNORED
        chosen = logits[torch.from_numpy(known)]
        right = torch.from_numpy(targets[known])
        assert found["loss"].sel(examples=kind).item() == pytest.approx(
            prompt_losses(chosen, right).mean().item(), rel=1e-4
        )
        assert found["accuracy"].sel(examples=kind).item() == pytest.approx(
            (chosen.argmax(-1) == right).double().mean().item()
        )
