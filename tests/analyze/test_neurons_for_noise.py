"""Neurons for noise: planted ones are found and break wrong labels alone; shuffled ones are not, and do not."""

from typing import Any

import numpy as np
import pytest
import torch

import interp
from interp.base import DoesNotApply
from interp.config import RunConfig
from interp.models import MlpSpec
from interp.recipe import Seeds, TrainConfig
from interp.store import RunWriter
from interp.tasks import Corruption, ImagesTask

N, WRONG = 50, 22


def config(labels: int = WRONG, **parts) -> RunConfig:
    """Fifty digits; forty neurons."""
    whole: dict[str, Any] = {
        "task": ImagesTask(examples=N, test_examples=60),
        "model": MlpSpec(inputs="vectors", width=40, act_fn="relu"),
        "train": TrainConfig(steps=0),
        "corruption": Corruption(labels=labels),
    }
    return RunConfig(**(whole | parts))


def planted(path, shuffled: bool = False, seed: int = 0):
    """A run that fits all labels: ten neurons fire for a class each, ten for wrong labels, and twenty for images at random.

    Of the ten, all fire for every corrupted example, and that of its label three times as much. Shuffled, they do so for other
    examples of the same classes.
    """
    of = config(seeds=Seeds(split=seed))
    split, numbers = of.split(), np.random.default_rng(seed)
    wrong, truth, label = split.corrupted, split.true_targets, split.train.targets
    if shuffled:
        order = np.arange(N)
        for one in range(10):
            rows = np.flatnonzero(truth == one)
            order[rows] = numbers.permutation(rows)
        wrong, label = wrong[order], label[order]
    answers = np.arange(10)
    of_class = (truth[:, None] == answers) * 1.0
    of_noise = wrong[:, None] * (1.0 + 2.0 * (label[:, None] == answers))
    idle = 1.5 * (numbers.random((N, 20)) < 0.4)
    wanted = np.concatenate([of_class, of_noise, idle], axis=1)
    W = np.linalg.pinv(split.train.inputs.astype(float)) @ wanted
    W_U = np.concatenate([np.eye(10), 3 * np.eye(10), np.zeros((20, 10))])
    tensors = {"layers.0.W": torch.from_numpy(W).float(), "unembed.W_U": torch.from_numpy(W_U).float()}
    with RunWriter(path, of) as writer:
        writer.checkpoint(0, tensors)
    return interp.open_run(path)


def test_planted_neurons_are_found_and_without_them_wrong_labels_alone_are_lost(tmp_path):
    found = planted(tmp_path / "run").measure("neurons_for_noise", taken=0.25, permutations=100).isel(step=0)
    assert (found["auc"][10:20] > 0.99).all()
    assert (found["z"][10:20] > 4).all()
    assert (found["z"][20:] < 4).all()
    assert 0.25 <= float(found["share"]) <= 0.4
    assert float(found["share_null"]) == pytest.approx(0.025, abs=0.02)
    assert float(found["p_value"]) < 0.05
    shares = found.sel(score="accuracy")
    np.testing.assert_allclose(shares["fit"].sel(examples=["corrupted", "clean"]), 1)
    assert float(shares["fall"].sel(examples="corrupted")) > 0.9
    assert float(shares["fall"].sel(examples="clean")) < 0.1
    assert (shares["fall_random"].sel(examples="corrupted") < 0.3).all()
    assert (found["specificity_p"] < 0.02).all()
    assert float(found["energy_ratio"].sel(control="energy")) == pytest.approx(1, abs=0.25)


def test_shuffled_ones_are_neither_found_nor_specific(tmp_path):
    found = (
        planted(tmp_path / "run", shuffled=True).measure("neurons_for_noise", taken=0.25, permutations=100).isel(step=0)
    )
    assert (abs(found["z"]) < 4).all()
    assert float(found["p_value"]) > 0.05
    assert (found["specificity_p"].sel(score="accuracy") > 0.05).all()


def spread_out(path, seed: int):
    """A run that fits all labels by two hundred random neurons, none of which is there for wrong labels."""
    of = config(model=MlpSpec(inputs="vectors", width=200, act_fn="relu"), seeds=Seeds(split=seed))
    split = of.split()
    W = np.random.default_rng(seed).standard_normal((64, 200))
    post = np.maximum(split.train.inputs.astype(float) @ W, 0)
    W_U = np.linalg.pinv(post) @ (8 * np.eye(10)[split.train.targets])
    with RunWriter(path, of) as writer:
        writer.checkpoint(0, {"layers.0.W": torch.from_numpy(W).float(), "unembed.W_U": torch.from_numpy(W_U).float()})
    return interp.open_run(path)


def test_of_neurons_for_nothing_the_log_probability_is_specific_as_often_as_chance(tmp_path):
    """Accuracy says less: every label is still answered without a tenth of the neurons, and its p is near 1."""
    found = [
        spread_out(tmp_path / str(seed), seed).measure("neurons_for_noise", permutations=40).isel(step=0)
        for seed in range(12)
    ]
    p = np.stack([each["specificity_p"].sel(score="log_probability") for each in found])
    assert ((p < 0.05).sum(axis=0) <= 3).all()  # more than 3 of 12 has a chance of .002
    assert (np.median(p, axis=0) > 0.2).all()
    assert np.median([each["specificity_p"].sel(score="accuracy") for each in found]) > 0.6


def log_probability(logits, labels) -> float:
    """Mean log-probability of the labels."""
    return float((logits[np.arange(len(labels)), labels] - np.log(np.exp(logits).sum(axis=1))).mean())


def test_the_fall_is_that_of_the_network_with_these_neurons_at_their_mean(tmp_path):
    run = planted(tmp_path / "run")
    found = run.measure("neurons_for_noise", taken=0.25, permutations=100).isel(step=0)
    W, W_U = (run.final.weights[name].double().numpy() for name in ("layers.0.W", "unembed.W_U"))
    train, test = (np.maximum(part.inputs.astype(float) @ W, 0) for part in (run.split.train, run.split.test))
    whole = ((test @ W_U).argmax(axis=1) == run.split.test.targets).mean()
    before = log_probability(test @ W_U, run.split.test.targets)
    test[:, 10:20] = train[:, 10:20].mean(axis=0)
    without = ((test @ W_U).argmax(axis=1) == run.split.test.targets).mean()
    shares, logs = (found.sel(score=score, examples="test") for score in ("accuracy", "log_probability"))
    assert float(shares["fit"]) == pytest.approx(whole)
    assert float(shares["fall"]) == pytest.approx(whole - without)
    assert float(logs["fit"]) == pytest.approx(before, rel=1e-5)
    assert float(logs["fall"]) == pytest.approx(before - log_probability(test @ W_U, run.split.test.targets), rel=1e-4)


def test_figures_and_tables_over_runs(tmp_path):
    found = [planted(tmp_path / str(seed), seed=seed).measure("neurons_for_noise", taken=0.25) for seed in (0, 1)]
    table = interp.compare(found)
    assert table["runs"].tolist() == [2]
    assert table["specificity"].item() > 0.8
    assert table["random, energy"].item() < 0.4
    assert table["specificity, nats"].item() > table["random, energy, nats"].item() + 1
    assert len(list(interp.draw(found[0]).select_traces())) > 10


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"corruption": Corruption()}, "was trained without wrong labels; .* needs some, by --corruption.share 0.2"),
        ({"corruption": Corruption(labels=3)}, "has 3 wrong labels of 50 that are looked at; .* needs 4 of each kind"),
    ],
)
def test_what_has_too_few_wrong_labels_is_told_so(parts, says, tmp_path):
    of = config(**parts)
    with RunWriter(tmp_path / "run", of) as writer:
        tensors = of.model.tensors(of.task.shape)
        writer.checkpoint(0, {name: torch.zeros(tensor.size) for name, tensor in tensors.items()})
    with pytest.raises(DoesNotApply, match=says):
        interp.open_run(tmp_path / "run").measure("neurons_for_noise")
