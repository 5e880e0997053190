"""Second starts: runs that begin with the weights of a checkpoint of another run."""

import shutil

import pytest
import torch
from helpers import StopAt, files, tiny_config

from interp.base import UserError
from interp.config import RunConfig, Start
from interp.models import TransformerSpec
from interp.recipe import Seeds, TrainConfig
from interp.store import open_record, open_run
from interp.store.start import start_from
from interp.study import run_all
from interp.study.grid import grid
from interp.tasks import Corruption, ModularTask
from interp.train.loop import Interrupted, train, train_many

MEMORYLESS = TrainConfig(
    optimizer="sgd", momentum=0.0, lr=0.05, warmup_steps=0, steps=24, log_every=4, checkpoint_steps=(8, 12)
)
"""Nothing is kept from step to step but the weights: whoever has them goes on as the run did."""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return train(tiny_config(train=MEMORYLESS), tmp_path_factory.mktemp("source") / "source")


def later(source, **parts) -> RunConfig:
    """The configuration of a run from step 8 of the source to where it was at step 24."""
    whole = {"train": MEMORYLESS.but(steps=16, checkpoint_steps=(4,)), "start": start_from(f"{source.path}@8")}
    return source.config.but(**(whole | parts))


def same_weights(ours, theirs) -> bool:
    """Whether two checkpoints have the same bits."""
    ours, theirs = ours.weights, theirs.weights
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_run_from_the_weights_of_step_8_goes_on_as_the_run_did_bit_for_bit(source, tmp_path):
    run = train(later(source), tmp_path / "later")
    assert run.steps == (0, 4, 16)
    for step in run.steps:
        assert same_weights(run.at(step), source.at(step + 8))
    theirs = source.history
    assert run.history.equals(theirs.loc[8:].rename(index=lambda step: step - 8).loc[run.history.index])


def test_the_record_and_the_summary_tell_where_the_weights_came_from(source, tmp_path):
    run = train(later(source), tmp_path / "later")
    start = open_record(run.path).config.start
    assert (start.path, start.step) == (str(source.path), 8)
    assert start.sha256 == start_from(f"{source.path}@8").sha256 != start_from(f"{source.path}@12").sha256
    assert run.summary()["start"] == f"weights of {source.path} at step 8, optimiser anew"
    assert "start" not in source.summary()
    assert start_from(run.path).step == 16  # without a step: the last


def test_data_task_rate_and_decay_may_be_others(source, tmp_path):
    other = later(
        source,
        task=ModularTask(p=11, operation="multiply", train_fraction=0.7),
        train=TrainConfig(steps=2, lr=0.3, weight_decay=5.0, optimizer="adam"),
        seeds=Seeds(split=4),
        corruption=Corruption(labels=3),
    )
    run = train(other, tmp_path / "other")
    assert same_weights(run.first, source.at(8))
    assert not same_weights(run.final, source.at(8))


def test_a_start_in_a_batch_is_the_start_alone(source, tmp_path):
    """Beside another start and a run without one."""
    configs = [later(source), later(source, start=start_from(f"{source.path}@12")), later(source, start=Start())]
    together = train_many(configs, [tmp_path / f"together {i}" for i in range(3)])
    for config, run in zip(configs, together, strict=True):
        alone = train(config, tmp_path / f"alone {run.path.name}")
        assert same_weights(run.first, alone.first)
        for name, tensor in alone.final.weights.items():
            torch.testing.assert_close(run.final.weights[name], tensor, rtol=1e-4, atol=1e-5)
    assert same_weights(together[1].first, source.at(12))


@pytest.mark.parametrize("how", [MEMORYLESS, TrainConfig(steps=24, checkpoint_every=8, decay_to="initial", lr=1e-2)])
@pytest.mark.parametrize("stop", [0, 1, 13])
def test_a_stopped_run_ends_as_one_that_was_not_and_needs_the_other_run_no_more(source, tmp_path, how, stop):
    """Decay to the initial weights leads to those that the run began with."""
    moved = shutil.copytree(source.path, tmp_path / "moved")
    config = later(source, train=how.but(steps=24), start=start_from(f"{moved}@8"))
    whole = train(config, tmp_path / "whole")
    if stop:
        with pytest.raises(Interrupted):
            train(config, tmp_path / "stopped", watcher=StopAt(stop))
    else:  # killed with nothing but the first checkpoint
        train(config, tmp_path / "stopped")
        for part in ("resume/00000000", "resume/00000024", *(f"steps/{step:08d}" for step in whole.steps[1:])):
            (tmp_path / f"stopped/{part}.safetensors").unlink()
        rows = (tmp_path / "stopped/history.csv").read_text().splitlines(keepends=True)
        (tmp_path / "stopped/history.csv").write_text("".join(rows[:2]))
    shutil.rmtree(moved)
    resumed = train(open_record(tmp_path / "stopped").config, tmp_path / "stopped", resume=True)
    assert files(resumed) == files(whole)


def test_seeds_and_values_share_a_start_in_processes_of_their_own(source, tmp_path):
    configs = grid(later(source), seeds=2, vary={"train.lr": [0.05, 0.2]})
    found = run_all(configs, tmp_path / "grid", processes=2)
    assert not found.failures
    assert len(found.runs) == 4
    assert all(same_weights(run.first, source.at(8)) for run in found.runs.values())
    assert not same_weights(found.runs["lr=0.05+seed=0"].final, found.runs["lr=0.2+seed=0"].final)


def test_the_same_weights_are_the_same_start_whatever_their_directory_is_called(source, tmp_path):
    train(later(source), tmp_path / "later")
    moved = shutil.copytree(source.path, tmp_path / "moved")
    train(later(source, start=start_from(f"{moved}@8")), tmp_path / "later", resume=True)
    with pytest.raises(UserError, match=r"start\.sha256 is .* there and .* here"):
        train(later(source, start=start_from(f"{moved}@12")), tmp_path / "later", resume=True)


def test_a_start_that_cannot_be_is_refused_in_a_sentence_and_nothing_is_touched(source, tmp_path):
    with pytest.raises(UserError, match="has no checkpoint at step 9; the nearest are at 8 and 12"):
        start_from(f"{source.path}@9")
    with pytest.raises(UserError, match="is no directory"):
        start_from(tmp_path / "nowhere@8")
    other_task = later(source, task=ModularTask(p=13, train_fraction=0.5))
    with pytest.raises(UserError, match=r"source@8 does not fit .* its embed\.W_E is 12 × 16, and 14 × 16 is needed"):
        train(other_task, tmp_path / "x")
    no_mlp = later(source, model=TransformerSpec(n_heads=2, d_model=16, d_head=8, attn_only=True))
    with pytest.raises(UserError, match=r"its blocks\.0\.mlp\.W_in is 16 × 24, and none is needed"):
        train(no_mlp, tmp_path / "x")
    with pytest.raises(UserError, match="does not fit"):
        run_all({"a": later(source), "b": other_task}, tmp_path / "x")
    with pytest.raises(UserError, match=r"take what interp\.start_from returns"):
        Start(path="checkpoints/quick", step=3)
    changed = shutil.copytree(source.path, tmp_path / "changed")
    config = later(source, start=start_from(f"{changed}@8"))
    train(tiny_config(train=MEMORYLESS, seeds=Seeds(model=7)), changed, overwrite=True)
    with pytest.raises(UserError, match="changed@8 has other weights than those that the run begins with"):
        train(config, tmp_path / "x")
    assert not (tmp_path / "x").exists()
    for train_it in (
        lambda config: train(config, changed, overwrite=True),
        lambda config: run_all({"changed": config, "b": later(source)}, tmp_path, overwrite=True),
    ):
        with pytest.raises(UserError, match=r"--overwrite would delete .*changed, from which the run is to begin"):
            train_it(later(source, start=start_from(f"{changed}@8")))
    assert len(open_run(changed)) == 4


def test_a_network_of_directions_begins_from_one_of_directions_alone(tmp_path):
    """From other weights it would be another function, since it brings each to a norm of its own."""
    model = TransformerSpec(n_heads=2, d_model=8, d_head=4, d_mlp=12, biases="frozen")
    how = TrainConfig(steps=4)
    plain, directed = tiny_config(model=model, train=how), tiny_config(model=model.but(directions=True), train=how)
    for config, name in ((plain, "plain"), (directed, "directed")):
        train(config, tmp_path / name)
    with pytest.raises(UserError, match="begin from a run with directions"):
        train(directed.but(start=start_from(tmp_path / "plain")), tmp_path / "x")
    begun = train(directed.but(start=start_from(tmp_path / "directed")), tmp_path / "y")
    other = open_run(tmp_path / "directed").final.weights
    for key, tensor in begun.at(0).weights.items():
        torch.testing.assert_close(tensor, other[key], rtol=1e-5, atol=1e-7)
