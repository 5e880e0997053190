"""interp/analyze/positions.py: loss and accuracy of every answer of a sequence."""

import numpy as np
import pytest
import torch
from helpers import tiny_config

from interp import analyze
from interp.analyze.learning import positions
from interp.base import IGNORED, DoesNotApply
from interp.maths.sampling import standard_error
from interp.models import TransformerSpec
from interp.recipe import TrainConfig
from interp.store import Run, RunWriter, open_run
from interp.tasks import AdditionTask, RepeatedTask
from interp.train.loop import train

MODEL = TransformerSpec(n_layers=2, n_heads=2, d_model=16, d_head=8, d_mlp=24)
TASKS = {
    "addition": AdditionTask(digits=2, examples=40, test_examples=30),
    "repeated": RepeatedTask(vocabulary=6, length=9, subsequence=2, examples=40, test_examples=30),
}


@pytest.fixture(scope="module", params=TASKS)
def run(request, tmp_path_factory) -> Run:
    config = tiny_config(
        task=TASKS[request.param], model=MODEL, train=TrainConfig(steps=60, lr=3e-3, checkpoint_every=20)
    )
    return train(config, tmp_path_factory.mktemp("runs") / "run")


def test_losses_and_accuracies_are_those_of_the_model_at_each_position(run):
    found = analyze.measure(run, "positions")
    assert list(found["position"].values) == run.task.answer_names()
    for split in ("train", "test"):
        examples, model = getattr(run.split, split), run.final.model
        with torch.inference_mode():
            logits = model(torch.from_numpy(examples.inputs))[:, run.task.shape.classes.positions].double()
        for answer, name in enumerate(run.task.answer_names()):
            known = examples.targets[:, answer] != IGNORED
            here, targets = logits[known, answer], torch.from_numpy(examples.targets[known, answer])
            last = found.sel(split=split, position=name).isel(step=-1)
            assert float(last["loss"]) == pytest.approx(
                float(torch.nn.functional.cross_entropy(here, targets)), rel=1e-5
            )
            assert float(last["accuracy"]) == pytest.approx(float((here.argmax(-1) == targets).double().mean()))
            losses = torch.nn.functional.cross_entropy(here, targets, reduction="none")
            for what, each in (("loss", losses), ("accuracy", (here.argmax(-1) == targets).double())):
                told = float(last[f"{what}_error"])
                assert told == pytest.approx(standard_error(each).item(), rel=1e-4, abs=1e-7)


def test_their_mean_over_all_answers_is_what_was_logged(run):
    found = analyze.measure(run, "positions")
    for split in ("train", "test"):
        weights = (getattr(run.split, split).targets != IGNORED).sum(axis=0)
        for what in ("loss", "accuracy"):
            mean = (found[what].sel(split=split) * weights / weights.sum()).sum("position")
            logged = run.history.loc[list(run.steps), f"{split}_{what}"]
            np.testing.assert_allclose(mean, logged, rtol=1e-5)


def test_the_standard_error_is_the_spread_over_test_sets_of_other_seeds(run):
    """Of thirty test sequences, by forty seeds of the split: what one weight's accuracy and loss scatter by."""
    seeds = [run.config.seeds.but(split=seed) for seed in range(40)]
    splits = [run.config.but(seeds=each).split().test for each in seeds]
    seen = positions.Sequences.of(run)
    found = torch.stack([positions.means(positions.answered(seen, each), run.final.weights) for each in splits])
    means, errors = found.unbind(dim=1)
    spread, told = means.std(dim=0), errors.square().mean(dim=0).sqrt()
    lasting = told > 1e-3
    assert lasting.any()
    np.testing.assert_allclose(told[lasting], spread[lasting], rtol=0.4)  # three and a half deviations of 1/√80


def test_parts_of_any_size_give_the_same(run, monkeypatch):
    whole = analyze.measure(run, "positions")
    monkeypatch.setattr(positions, "PART", 1)
    apart = analyze.measure(run, "positions")
    for name in ("loss", "accuracy", "loss_error", "accuracy_error"):
        np.testing.assert_allclose(apart[name], whole[name], rtol=1e-5, atol=1e-7)


def test_an_answer_that_is_planted_is_learned_from_its_step_on(tmp_path):
    """The carry of a sum is 0 or 1; weights that point at 0 alone answer it as often as it is 0, and those of every other
    digit that is 0."""
    task = AdditionTask(digits=2, examples=40, test_examples=30)
    config = tiny_config(task=task, model=MODEL, train=TrainConfig(steps=2))
    with RunWriter(tmp_path / "planted", config) as writer:
        for step in range(3):
            weights = {name: torch.zeros(size) for name, size in MODEL.tensor_shapes(task.shape).items()}
            weights["unembed.b_U"][step] = 10.0
            writer.checkpoint(step, weights)
    found = analyze.measure(open_run(tmp_path / "planted"), "positions", threshold=0.01)
    targets = task.split(0).test.targets
    expected = np.stack([(targets == step).mean(axis=0) for step in range(3)])
    np.testing.assert_allclose(found["accuracy"].sel(split="test"), expected)
    assert np.isnan(found["learned"].sel(split="test", position="10² (carry)"))  # 2 is never carried
    compared = analyze.compare([found, found])
    assert compared.loc["10² (carry), test accuracy 0.01", ["reached", "censored"]].tolist() == [0, 2]


def test_a_table_has_one_answer_a_prompt(tiny):
    with pytest.raises(DoesNotApply, match=r'was trained on "modular", with one answer a prompt; analysis "positions"'):
        analyze.measure(tiny, "positions")
