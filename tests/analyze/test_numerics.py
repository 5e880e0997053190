"""Numerics against HookedTransformer's own logits and autograd."""

from typing import Any

import numpy as np
import pytest
import torch
from helpers import tiny_config

from interp import analyze
from interp.base import IGNORED
from interp.maths import stability
from interp.maths.losses import cross_entropy
from interp.models import TransformerSpec
from interp.models.network import initial_weights
from interp.recipe import TrainConfig
from interp.store import RunWriter, open_run
from interp.tasks import AdditionTask, JointTask, ModularTask, RepeatedTask, SkipTrigramTask


@pytest.fixture
def of_weights(tmp_path):
    """A run with one checkpoint: initial weights, changed."""

    def of_weights(change=lambda weights: None, task=None, train=None, **model):
        fields: dict[str, Any] = {"n_heads": 2, "d_model": 16, "d_head": 8, "d_mlp": 24} | model
        spec = TransformerSpec(**fields)
        config = tiny_config(
            task=task or ModularTask(p=7, train_fraction=0.5), model=spec, **({"train": train} if train else {})
        )
        weights = initial_weights(spec, config.task.shape, seed=0)
        change(weights)
        with RunWriter(tmp_path / "run", config) as writer:
            writer.checkpoint(0, weights)
        return open_run(tmp_path / "run")

    return of_weights


def perturb(weights):
    """Noise on every number, so that no bias is 0."""
    generator = torch.Generator().manual_seed(0)
    for tensor in weights.values():
        tensor += 0.1 * torch.randn(tensor.shape, generator=generator)


@pytest.mark.parametrize("biases", ["frozen", "mlp", "trained"])
@pytest.mark.parametrize("model", [{}, {"n_layers": 2, "normalization": "LN"}], ids=str)
def test_the_gradient_is_that_of_hookedtransformer(of_weights, biases, model):
    run = of_weights(perturb, biases=biases, **model)
    network, train = run.final.model, run.split.train
    network.zero_grad()
    cross_entropy(network(torch.from_numpy(train.inputs))[:, -1], torch.from_numpy(train.targets)).backward()
    learned = {n: w for n, w in network.named_parameters() if run.tensors[n].learns}
    found = analyze.measure(run, "numerics").sel(step=0)
    assert set(found["tensor"].values) == set(learned)
    for name, w in learned.items():
        here, gradient = found.sel(tensor=name), w.grad.double()
        size = float(gradient.norm())
        # b_K moves all scores of a query alike: its gradient is rounding
        assert here["gradient_norm_of_tensor"].item() == pytest.approx(size, rel=1e-4, abs=1e-7)
        if size > 1e-6:
            cosine = -float(torch.cosine_similarity(gradient.flatten(), w.detach().double().flatten(), dim=0))
            assert here["cosine_of_tensor"].item() == pytest.approx(cosine, abs=1e-4)
    flat = torch.cat([w.detach().double().flatten() for w in learned.values()])
    gradient = torch.cat([w.grad.double().flatten() for w in learned.values()])
    assert found["gradient_norm"].item() == pytest.approx(float(gradient.norm()), rel=1e-4)
    expected = -float(torch.cosine_similarity(flat, gradient, dim=0))
    assert found["cosine"].item() == pytest.approx(expected, abs=1e-4)


def test_the_unembedding_is_pushed_along_itself_by_the_lead_of_the_right_logit(of_weights):
    """Logits are linear in W_U, so −W_U·∂L/∂W_U is the mean of right logit − expected logit, in closed form."""
    run = of_weights()
    train = run.split.train
    with torch.inference_mode():
        logits = run.final.model(torch.from_numpy(train.inputs))[:, -1].double()
    right = logits.gather(1, torch.from_numpy(train.targets)[:, None])[:, 0]
    lead = (right - (logits.softmax(dim=1) * logits).sum(dim=1)).mean().item()
    here = analyze.measure(run, "numerics").sel(step=0, tensor="unembed.W_U")
    W_U = run.final.weights["unembed.W_U"].double().norm().item()
    assert here["cosine_of_tensor"].item() * here["gradient_norm_of_tensor"].item() * W_U == pytest.approx(
        lead, rel=1e-4
    )


def test_collapse_and_margins_are_those_of_the_networks_logits_on_each_split(of_weights):
    def louder(weights):
        weights["unembed.W_U"] *= 12

    run = of_weights(louder)
    found = analyze.measure(run, "numerics").sel(step=0)
    for name, part in {"train": run.split.train, "test": run.split.test, "all": run.task.table()}.items():
        with torch.inference_mode():
            logits = run.final.model(torch.from_numpy(part.inputs))[:, -1].numpy()
        right = np.take_along_axis(logits, part.targets[:, None], axis=1)[:, 0]
        others = logits.copy()
        np.put_along_axis(others, part.targets[:, None], -np.inf, axis=1)
        margins, here = right - others.max(axis=1), found.sel(split=name)
        assert here["margin_mean"].item() == pytest.approx(margins.mean(), abs=1e-4)
        assert here["margin_min"].item() == pytest.approx(margins.min(), abs=1e-4)
        np.testing.assert_allclose(here["margin_quantile"], np.quantile(margins, here["quantile"]), atol=1e-4)
        terms = np.exp(logits - logits.max(axis=1, keepdims=True))
        collapsed = np.float32(1) + (terms.sum(axis=1) - 1) == 1
        assert here["collapsed"].sel(precision="float32").item() == pytest.approx(collapsed.mean())
        zero = (collapsed & (margins > 0)).mean()
        assert here["zero_loss"].sel(precision="float32").item() == pytest.approx(zero)
    assert 0 < found["collapsed"].sel(precision="float16", split="all") <= 1


def test_a_network_without_logits_is_alive_everywhere(of_weights):
    def silent(weights):
        for tensor in weights.values():
            tensor.zero_()

    found = analyze.measure(of_weights(silent), "numerics").sel(step=0)
    assert (found["collapsed"] == 0).all()
    assert (found["margin_mean"] == 0).all()
    assert found["cosine"].item() == 0


def test_any_task_with_a_table_is_measured(of_weights):
    run = of_weights(task=ModularTask(p=7, operation="x2_xy_y2", train_fraction=0.5))
    assert analyze.measure(run, "numerics")["collapsed"].dims == ("step", "split", "precision")


def test_without_a_known_split_all_prompts_are_measured(of_weights, monkeypatch):
    from interp.base import DoesNotApply
    from interp.store.run import Run

    def unknown(run):
        raise DoesNotApply("not known")

    run = of_weights()
    network, table = run.final.model, run.task.table()
    loss = cross_entropy(network(torch.from_numpy(table.inputs))[:, -1], torch.from_numpy(table.targets))
    (gradient,) = torch.autograd.grad(loss, [network.unembed.W_U])
    monkeypatch.setattr(Run, "split", property(unknown))
    found = analyze.measure(run, "numerics").sel(step=0)
    assert list(found["split"].values) == ["all"]
    assert found.attrs["gradient_over"] == "all"
    norm = found["gradient_norm_of_tensor"].sel(tensor="unembed.W_U").item()
    assert norm == pytest.approx(gradient.double().norm().item(), rel=1e-4)


def test_fewer_checkpoints_give_the_same_numbers(tiny):
    whole, part = analyze.measure(tiny, "numerics"), analyze.measure(tiny.select(every=2), "numerics")
    for variable in set(part.data_vars):
        np.testing.assert_allclose(part[variable], whole[variable].sel(step=part["step"].values), rtol=1e-12)


STREAM = {"examples": "endless", "test_examples": 25}


@pytest.mark.parametrize(
    ("task", "model"),
    [
        (AdditionTask(digits=2, examples=30, test_examples=25), {}),
        (AdditionTask(digits=2, **STREAM), {"n_layers": 2, "normalization": "LN"}),
        (RepeatedTask(vocabulary=6, length=9, subsequence=2, examples=20, test_examples=9), {}),
        (SkipTrigramTask(length=8, examples=40, test_examples=25), {"attn_only": True}),
        (SkipTrigramTask(length=8, **STREAM), {}),
        (JointTask(p=7, train_fraction=0.5), {}),
    ],
    ids=str,
)
def test_every_classifier_has_the_margins_and_the_gradient_of_hookedtransformer(of_weights, task, model):
    """Several answers a prompt, long prompts, streams, operations side by side; what cannot be known does not count."""
    train = TrainConfig(steps=10, batch_size=16 if task.endless else "full")
    run = of_weights(perturb, task=task, train=train, biases="trained", **model)
    network, positions = run.final.model, list(task.shape.classes.positions)
    found = analyze.measure(run, "numerics").sel(step=0)

    def answers(examples):
        """Logits and targets of every answer that there is."""
        logits = network(torch.from_numpy(examples.inputs))[:, positions].flatten(0, 1)
        targets = torch.from_numpy(examples.targets).flatten()
        return logits[targets != IGNORED], targets[targets != IGNORED]

    margins = {}
    for name, part in {"train": run.split.train, "test": run.split.test}.items():
        with torch.inference_mode():
            logits, targets = answers(part)
        margins[name], here = stability.logit_margins(logits, targets).numpy(), found.sel(split=name)
        assert here["margin_mean"].item() == pytest.approx(margins[name].mean(), abs=1e-4)
        assert here["margin_min"].item() == pytest.approx(margins[name].min(), abs=1e-4)
        np.testing.assert_allclose(here["margin_quantile"], np.quantile(margins[name], here["quantile"]), atol=1e-4)
        collapsed = stability.softmax_collapsed(logits, torch.bfloat16).double().mean().item()
        assert here["collapsed"].sel(precision="bfloat16").item() == pytest.approx(collapsed)
    both = np.concatenate(list(margins.values()))
    assert found["margin_mean"].sel(split="all").item() == pytest.approx(both.mean(), abs=1e-4)

    cross_entropy(*answers(run.split.train)).backward()
    learned = {name: w for name, w in network.named_parameters() if run.tensors[name].learns}
    assert list(found["tensor"].values) == [name for name in run.tensors if name in learned]
    for name, w in learned.items():
        size = float(w.grad.double().norm())
        assert found["gradient_norm_of_tensor"].sel(tensor=name).item() == pytest.approx(size, rel=1e-4, abs=1e-7)
    flat = torch.cat([w.detach().double().flatten() for w in learned.values()])
    gradient = torch.cat([w.grad.double().flatten() for w in learned.values()])
    assert found["cosine"].item() == pytest.approx(-float(torch.cosine_similarity(flat, gradient, dim=0)), abs=1e-4)


def test_a_squared_error_has_its_own_gradient_and_its_outputs_stand_for_logits(of_weights):
    run = of_weights(perturb, train=TrainConfig(steps=10, loss="squared_error"))
    network, split = run.final.model, run.split
    outputs = network(torch.from_numpy(split.train.inputs))[:, -1]
    targets = torch.from_numpy(split.train.targets)
    one_hot = torch.nn.functional.one_hot(targets, outputs.shape[1])
    (outputs.double() - one_hot).square().sum(dim=1).mean().backward()
    measured = analyze.measure(run, "numerics")
    found = measured.sel(step=0)
    for name in found["tensor"].values:
        size = float(network.get_parameter(name).grad.double().norm())
        assert found["gradient_norm_of_tensor"].sel(tensor=name).item() == pytest.approx(size, rel=1e-4, abs=1e-7)
    margins = stability.logit_margins(outputs.detach(), targets)
    assert found["margin_mean"].sel(split="train").item() == pytest.approx(margins.mean().item(), abs=1e-4)
    assert found["gradient_norm"].attrs["units"] == "squared error"
    assert "of the mean squared error over the prompts" in found.attrs["definition"]
    assert "(squared error)" in analyze.draw(measured).layout.yaxis5.title.text
