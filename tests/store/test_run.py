"""interp/store/run.py and opening.py: opening, choosing checkpoints, and saying what is wrong."""

import json
import shutil

import pytest
import torch
from helpers import SHORT, StopAt, tiny_config

from interp import analyze
from interp.base import UserError
from interp.store import CheckpointError, find_runs, open_run
from interp.store.record import seal
from interp.train.loop import Interrupted, train


def test_a_run_knows_its_checkpoints_in_order(tiny):
    assert tiny.steps == tuple(sorted(tiny.steps))
    assert [checkpoint.step for checkpoint in tiny] == list(tiny.steps)
    assert len(tiny) == len(tiny.steps)
    assert tiny.final.step == 40


def test_weights_are_those_that_the_model_has(tiny):
    weights = tiny.final.weights
    model = tiny.final.model
    assert not model.training
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, weights[name])


def test_the_cache_is_that_of_the_whole_table(tiny):
    hook = "blocks.0.mlp.hook_post"
    cache = tiny.final.cache([hook])
    assert cache[hook].shape == (121, 3, 24)
    assert list(cache.keys()) == [hook]


def test_metrics_are_the_history_at_that_step(tiny):
    assert tiny.at(10).metrics["test_loss"] == tiny.history.loc[10, "test_loss"]


def test_checkpoints_are_chosen_by_every_last_and_steps(tiny):
    assert tiny.select(every=2).steps == tuple(sorted({*tiny.steps[::2], tiny.steps[-1]}))
    assert tiny.select(every=100).steps == (tiny.steps[0], tiny.steps[-1])
    assert tiny.select(last=3).steps == tiny.steps[-3:]
    assert tiny.select(steps=[40, 0]).steps == (0, 40)
    assert tiny.select(every=2).select(last=1).steps == tiny.steps[-1:]


@pytest.mark.parametrize("wrong", [{"every": 0}, {"last": 0}, {"steps": [39]}])
def test_an_impossible_choice_is_a_sentence(tiny, wrong):
    with pytest.raises(UserError):
        tiny.select(**wrong)


def test_a_missing_step_names_the_nearest(tiny):
    with pytest.raises(UserError, match="no checkpoint at step 39; the nearest are at 30 and 40"):
        tiny.at(39)


def test_a_broken_checkpoint_can_be_left_out(tiny_copy):
    broken = tiny_copy.at(20).path
    broken.write_bytes(broken.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"00000020\.safetensors"):
        _ = tiny_copy.at(20).weights
    whole, faults = tiny_copy.without_broken()
    assert set(tiny_copy.steps) - set(whole.steps) == {20}
    assert len(faults) == 1


def test_two_whole_files_exchanged_are_noticed(tiny_copy):
    first, second = tiny_copy.at(10).path, tiny_copy.at(20).path
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    with pytest.raises(CheckpointError, match="out of place: its step is 20"):
        _ = tiny_copy.at(10).weights


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format_version": 99}', b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_run_json_is_named(tiny_copy, content):
    (tiny_copy.path / "run.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"run\.json"):
        open_run(tiny_copy.path)


def test_an_unknown_field_in_run_json_is_named(tiny_copy):
    record = json.loads((tiny_copy.path / "run.json").read_text())
    record["config"]["train"]["learning_rat"] = 1
    del record["sha256"]
    (tiny_copy.path / "run.json").write_text(json.dumps({**record, "sha256": seal(record)}))
    with pytest.raises(CheckpointError, match=r"train\.learning_rat is not a known field"):
        open_run(tiny_copy.path)


def test_a_torn_last_line_of_the_history_is_left_out(tiny_copy):
    path = tiny_copy.path / "history.csv"
    rows = len(tiny_copy.history)
    path.write_text(path.read_text() + "45,0.12,0.")
    assert len(tiny_copy.history) == rows


def test_a_history_with_nonsense_is_named(tiny_copy):
    (tiny_copy.path / "history.csv").write_text("a,b\n1,2\n")
    with pytest.raises(CheckpointError, match=r"history\.csv"):
        _ = tiny_copy.history


def test_opening_what_is_no_run_says_what_to_do(tmp_path, tiny):
    with pytest.raises(UserError, match="is no directory"):
        open_run(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"is empty; train one with"):
        open_run(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match=r"has no run\.json"):
        open_run(tmp_path)
    with pytest.raises(UserError, match="tiny"):
        open_run(tiny.path.parent)
    assert find_runs(tiny.path.parent) == [tiny.path]


def test_the_table_in_a_notebook_escapes_what_a_run_says(tiny, tmp_path):
    from dataclasses import replace

    odd = tmp_path / "<b>x"
    odd.symlink_to(tiny.path)
    assert "<b>" not in replace(tiny, path=odd)._repr_html_()


@pytest.mark.parametrize("name", ["run.json", "history.csv", "steps/00000020.safetensors"])
def test_a_directory_in_place_of_a_file_is_named(tiny_copy, name):
    (tiny_copy.path / name).unlink()
    (tiny_copy.path / name).mkdir()
    with pytest.raises(CheckpointError, match=f"{name} is no regular file"):
        _ = open_run(tiny_copy.path).at(20).weights, tiny_copy.history


def test_a_damaged_resume_state_casts_no_doubt_on_the_history(tiny_copy):
    state = tiny_copy.path / "resume/00000040.safetensors"
    content = state.read_bytes()
    rows = f'\\"history\\": [{len(tiny_copy.history)}, '.encode()
    assert rows in content
    state.write_bytes(content.replace(rows, rows.replace(b"1", b"7")))
    assert len(tiny_copy.history) == len(open_run(tiny_copy.path).history) > 5


# The newest saved weights


def stopped_at(step, config, path):
    """A run that Ctrl-C stopped."""
    with pytest.raises(Interrupted):
        train(config, path, watcher=StopAt(step))
    return open_run(path)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_the_newest_saved_weights_are_those_of_the_step_at_which_a_run_was_stopped(tmp_path, precision):
    """Equal to a checkpoint there of a run that was to have one."""
    config = tiny_config(train=tiny_config().train.but(precision=precision))
    run = stopped_at(13, config, tmp_path / "stopped")
    listed = train(config.but(train=config.train.but(checkpoint_steps=(13,))), tmp_path / "listed")
    newest = run.with_newest()
    assert run.steps == (0, 1, 2, 5, 10)
    assert newest.steps == (*run.steps, 13)
    assert (newest.final.step, newest.view) == (13, ("--with-newest",))
    for found in (newest.final.weights, newest.final.mapped(), newest.at(13).weights):
        assert found.keys() == listed.at(13).weights.keys()
        assert all(torch.equal(found[name], tensor) for name, tensor in listed.at(13).weights.items())
    stack = newest.stacked()
    assert torch.equal(stack["embed.W_E"][-1], listed.at(13).weights["embed.W_E"])
    assert torch.equal(stack["embed.W_E"][0], run.first.weights["embed.W_E"])
    assert newest.final.model.state_dict()["embed.W_E"].equal(newest.final.weights["embed.W_E"])
    assert "with --with-newest up to the saved step 13" in run.summary()["checkpoints"]


def test_a_run_whose_last_checkpoint_is_as_new_is_what_it_is(tiny, tmp_path):
    assert tiny.with_newest() is tiny
    assert "--with-newest" not in tiny.summary()["checkpoints"]
    at_a_checkpoint = stopped_at(10, tiny.config, tmp_path / "stopped")
    assert at_a_checkpoint.with_newest() is at_a_checkpoint


def test_the_newest_weights_outlive_the_state_that_a_run_in_training_replaces(tiny, tmp_path):
    newest = stopped_at(13, tiny.config, tmp_path / "stopped").with_newest()
    before = newest.final.weights["embed.W_E"].clone()
    resumed = train(tiny.config, tmp_path / "stopped", resume=True)
    shutil.rmtree(resumed.path / "resume")
    assert torch.equal(newest.final.weights["embed.W_E"], before)
    assert resumed.steps == tiny.steps  # nothing was written at the step where it stopped


def test_the_newest_weights_are_added_to_a_choice_of_checkpoints(tiny, tmp_path):
    run = stopped_at(13, tiny.config, tmp_path / "stopped")
    assert run.select(every=2).with_newest().steps == (0, 2, 10, 13)
    assert run.select(last=1).with_newest().steps == (10, 13)
    assert run.with_newest().select(steps=[0, 13]).with_newest().steps == (0, 13)


def test_a_damaged_newest_state_is_named(tiny, tmp_path):
    run = stopped_at(13, tiny.config, tmp_path / "stopped")
    state = run.path / "resume/00000013.safetensors"
    state.write_bytes(state.read_bytes()[:-3])
    with pytest.raises(CheckpointError, match=r"resume/00000013\.safetensors is damaged"):
        run.with_newest()


def test_every_analysis_that_fits_a_run_measures_its_newest_weights(tiny, tmp_path):
    """As it measures a checkpoint there."""
    run = stopped_at(13, tiny.config, tmp_path / "stopped")
    listed = train(
        tiny.config.but(train=tiny.config.train.but(checkpoint_steps=(1, 2, 5, 10, 13))), tmp_path / "listed"
    )
    ours, theirs = run.with_newest().select(steps=[0, 5, 13]), listed.select(steps=[0, 5, 13])
    for name in ("fourier", "norms", "superposition"):
        found, expected = analyze.measure(ours, name), analyze.measure(theirs, name)
        for variable in set(found.data_vars) - {"train_loss", "test_loss", "train_accuracy", "test_accuracy"}:
            assert found[variable].equals(expected[variable]), (name, variable)
    for name in analyze.applies(ours).fitting:
        assert analyze.measure(ours, name, **SHORT.get(name, {})) is not None


def test_weights_that_are_saved_open_without_this_package(tiny, tmp_path):
    """`weights_only` refuses every class but torch's own and those of the standard library that it knows."""
    torch.save(tiny.final.weights, tmp_path / "weights.pt")
    found = torch.load(tmp_path / "weights.pt", weights_only=True)
    assert list(found) == list(tiny.final.weights)
    assert all(torch.equal(tensor, tiny.final.weights[name]) for name, tensor in found.items())
    assert "interp" not in str(type(found))
