"""Refitted readouts against HookedTransformer's activations and scikit-learn, and on networks whose readout was broken."""

import numpy as np
import pytest
import torch
from helpers import tiny_config
from sklearn.linear_model import Ridge

from interp import analyze
from interp.base import IGNORED, DoesNotApply
from interp.models import MlpSpec, ToySpec, TransformerSpec
from interp.models.network import initial_weights
from interp.recipe import TrainConfig
from interp.store import RunWriter, open_run
from interp.tasks import AdditionTask, ModularTask, RepeatedTask, SparseFeaturesTask

HOOKS = {"neurons": "blocks.0.mlp.hook_post", "stream": "blocks.0.hook_resid_post"}


@pytest.fixture
def of_weights(tmp_path):
    """A run whose checkpoints are initial weights, and these changed."""

    def of_weights(model, task=None, *changes, train=None):
        config = tiny_config(
            task=task or ModularTask(p=7, train_fraction=0.5), model=model, train=train or TrainConfig(steps=10)
        )
        with RunWriter(tmp_path / "run", config) as writer:
            for step, change in enumerate((dict, *changes)):
                weights = initial_weights(model, config.task.shape, seed=3)
                writer.checkpoint(step, change(weights))
        return open_run(tmp_path / "run")

    return of_weights


def fitted(x, labels, n, penalty=1e-3):
    """scikit-learn's ridge regression of one-hot labels, with that penalty in our units."""
    centred = x - x.mean(axis=0)
    alpha = penalty * np.square(centred).sum() / x.shape[1]
    return Ridge(alpha=alpha).fit(x, np.eye(n)[labels])


def test_readouts_are_scikit_learns_on_the_activations_of_hookedtransformer(tiny):
    found, split = analyze.measure(tiny, "readout"), tiny.split
    for step in (tiny.steps[0], tiny.steps[-1]):
        network = tiny.at(step).model
        with torch.inference_mode():
            caches = [network.run_with_cache(torch.from_numpy(part.inputs))[1] for part in (split.train, split.test)]
        for place, hook in HOOKS.items():
            train, test = (cache[hook][:, -1].double().numpy() for cache in caches)
            readout, here = fitted(train, split.train.targets, 11), found.sel(step=step, place=place)
            for rows, x, y in (("train", train, split.train.targets), ("test", test, split.test.targets)):
                outputs, one_hot = readout.predict(x), np.eye(11)[y]
                right = (outputs.argmax(axis=1) == y).mean()
                assert here["accuracy"].sel(rows=rows).item() == pytest.approx(right, abs=0.02)  # near ties
                constant = np.eye(11)[split.train.targets].mean(axis=0)
                explained = 1 - np.square(one_hot - outputs).sum() / np.square(one_hot - constant).sum()
                assert here["explained"].sel(rows=rows).item() == pytest.approx(explained, abs=1e-3)


def test_a_broken_unembedding_breaks_the_network_and_no_readout(of_weights):
    def broken(weights):
        return {**weights, "unembed.W_U": weights["unembed.W_U"].roll(1, dims=1)}

    found = analyze.measure(of_weights(MlpSpec(width=40), None, broken), "readout")
    for name in ("accuracy", "explained", "shuffled_accuracy", "accuracy_error"):
        np.testing.assert_array_equal(found[name][0], found[name][1])
    assert (found["own_accuracy"][0] != found["own_accuracy"][1]).any()


def test_a_representation_that_holds_the_answer_is_read_on_rows_it_was_not_fitted_to(of_weights):
    """Neurons relu(a + b − t) for every t: each function of a + b is linear in them."""
    p, width = 11, 20

    def planted(weights):
        W = torch.zeros_like(weights["layers.0.W"])  # position, token, neuron
        W[0, :p] = W[1, :p] = torch.arange(p)[:, None].float()
        W[2, p] = -torch.arange(width).float()  # by the token "="
        return {**weights, "layers.0.W": W}

    run = of_weights(MlpSpec(width=width, act_fn="relu"), ModularTask(p=p, train_fraction=0.5), planted)
    found = analyze.measure(run, "readout", ridge=1e-9).sel(place="neurons")
    sums = [part.inputs[:, 0] + part.inputs[:, 1] for part in (run.split.train, run.split.test)]
    seen = np.isin(sums[1], sums[0]).mean()
    assert seen > 0.8
    here = found["accuracy"].sel(step=1)
    assert here.sel(rows="train") == 1
    assert here.sel(rows="test") >= seen
    assert here.sel(rows="held out") > 0.6
    assert (found["own_accuracy"].sel(step=1) < 0.3).all()
    assert (found["untrained_accuracy"].sel(rows=["test", "held out"]) < 0.3).all()


def test_shuffled_labels_are_read_at_chance_where_they_were_not_fitted(of_weights):
    task = ModularTask(p=23, train_fraction=0.5)
    found = analyze.measure(of_weights(MlpSpec(width=60), task), "readout", draws=20).isel(step=0, place=0)
    for rows in ("test", "held out"):
        here = found.sel(rows=rows)
        error = max(here["shuffled_accuracy_error"].item(), np.sqrt(1 / 23 / 265 / 20))
        assert abs(here["shuffled_accuracy"].item() - 1 / 23) < 4 * error
    assert found["shuffled_accuracy"].sel(rows="train") > 3 / 23


def test_another_seed_gives_other_draws_and_the_same_readouts_of_the_training_set(tiny):
    run = tiny.select(last=1)
    one, other = (analyze.measure(run, "readout", seed=seed) for seed in (0, 1))
    known = {"rows": ["train", "test"]}
    np.testing.assert_array_equal(one["accuracy"].sel(known), other["accuracy"].sel(known))
    assert (one["accuracy"].sel(rows="held out") != other["accuracy"].sel(rows="held out")).any()


@pytest.mark.parametrize("attn_only", [False, True])
@pytest.mark.parametrize(
    "task",
    [
        AdditionTask(digits=2, examples=30, test_examples=30),
        RepeatedTask(vocabulary=6, length=9, subsequence=2, examples=20, test_examples=9),
    ],
    ids=lambda task: task.kind,
)
def test_every_answer_of_a_sequence_is_read_where_it_is_given(of_weights, task, attn_only):
    model = TransformerSpec(n_layers=2, n_heads=2, d_model=16, d_head=8, d_mlp=24, attn_only=attn_only)
    run = of_weights(model, task)
    found = analyze.measure(run, "readout").sel(step=0, place="stream")
    train, positions = run.split.train, list(task.shape.classes.positions)
    with torch.inference_mode():
        _, cache = run.final.model.run_with_cache(torch.from_numpy(train.inputs))
    x, y = cache["blocks.1.hook_resid_post"][:, positions].flatten(0, 1).double().numpy(), train.targets.flatten()
    x, y = x[y != IGNORED], y[y != IGNORED]
    right = (fitted(x, y, task.shape.outputs.n).predict(x).argmax(axis=1) == y).mean()
    assert found["accuracy"].sel(rows="train").item() == pytest.approx(right, abs=0.01)
    assert ("neurons" in analyze.measure(run, "readout")["place"].values) == (not attn_only)


def test_a_task_without_answers_declines_in_a_sentence(of_weights):
    run = of_weights(ToySpec(d_hidden=2), SparseFeaturesTask(n_features=12, sparsity=0.7, examples=5, test_examples=9))
    with pytest.raises(DoesNotApply, match='which has no right answers; analysis "readout" needs some'):
        analyze.measure(run, "readout")
