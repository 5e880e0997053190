"""interp/store/writer.py: one writer, nothing overwritten silently."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import tiny_config

from interp.base import UserError
from interp.models.network import initial_weights
from interp.recipe import Seeds, TrainConfig
from interp.store import RunWriter, open_run
from interp.store.history import Row
from interp.store.layout import checkpoint_steps, resume_files
from interp.store.record import Session

ROW: Row = {"step": 0, "train_loss": 1.0, "test_loss": 0.1 + 0.2, "train_accuracy": 0.5, "test_accuracy": 1 / 3}

HOWS: list[dict[str, Any]] = [{}, {"resume": True}, {"overwrite": True}]
"""Ways to open a directory for writing."""


def opened(path, config, **how):
    """Open a directory for writing and leave it again."""
    with RunWriter(path, config, **how):
        pass


def weights():
    config = tiny_config()
    return initial_weights(config.model, config.task.shape, seed=0)


def test_what_was_written_is_what_is_read(tmp_path):
    with RunWriter(tmp_path / "x", tiny_config()) as writer:
        writer.log(ROW)
        writer.checkpoint(0, weights())
    run = open_run(tmp_path / "x")
    assert run.config == tiny_config()
    assert run.history.reset_index().iloc[0].to_dict() == ROW  # floats read back exactly
    assert all(torch.equal(tensor, weights()[name]) for name, tensor in run.at(0).weights.items())


def test_a_second_writer_is_turned_away(tmp_path):
    with (
        RunWriter(tmp_path / "x", tiny_config()),
        pytest.raises(UserError, match=f"process {os.getpid()} on .* is writing to"),
    ):
        opened(tmp_path / "x", tiny_config(), resume=True)


def test_a_directory_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for how in HOWS:
        with pytest.raises(UserError, match="is no run"):
            RunWriter(tmp_path, tiny_config(), **how)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_overwriting_removes_the_old_run_and_nothing_else(tmp_path):
    with RunWriter(tmp_path / "x", tiny_config()) as writer:
        writer.checkpoint(7, weights())
    (tmp_path / "x" / "notes.txt").write_text("mine")
    with RunWriter(tmp_path / "x", tiny_config(seeds=Seeds(model=1)), overwrite=True):
        assert checkpoint_steps(tmp_path / "x") == []
    assert (tmp_path / "x" / "notes.txt").read_text() == "mine"


def test_resuming_another_configuration_names_the_difference(tmp_path):
    with RunWriter(tmp_path / "x", tiny_config()):
        pass
    with pytest.raises(UserError, match=r"seeds\.model is 0 there and 1 here"):
        opened(tmp_path / "x", tiny_config(seeds=Seeds(model=1)), resume=True)


def test_resuming_drops_the_rows_after_the_saved_step(tmp_path):
    with RunWriter(tmp_path / "x", tiny_config()) as writer:
        for step in (0, 5, 10):
            writer.log(ROW | {"step": step})
            if step == 5:
                writer.save_resume(5, {f"model/{name}": tensor for name, tensor in weights().items()})
        with (tmp_path / "x" / "history.csv").open("a") as file:
            file.write("15,0.1")  # torn
    with RunWriter(tmp_path / "x", tiny_config(), resume=True) as writer:
        assert writer.resume_step == 5
        writer.checkpoint(10, weights())
        writer.log(ROW | {"step": 10})
    assert list(open_run(tmp_path / "x").history.index) == [0, 5, 10]


def test_the_directory_is_free_again_after_a_fault(tmp_path):
    with pytest.raises(RuntimeError), RunWriter(tmp_path / "x", tiny_config()):
        raise RuntimeError
    with RunWriter(tmp_path / "x", tiny_config(), resume=True):
        pass


def test_the_last_two_resume_states_are_kept(tmp_path):
    state = {f"model/{name}": tensor for name, tensor in weights().items()}
    with RunWriter(tmp_path / "x", tiny_config()) as writer:
        for step in (5, 10, 15):
            writer.save_resume(step, state)
    assert [file.name for file in resume_files(tmp_path / "x")] == ["00000015.safetensors", "00000010.safetensors"]


def test_a_damaged_state_gives_way_to_the_one_before_it(tmp_path, capsys):
    state = {f"model/{name}": tensor for name, tensor in weights().items()}
    with RunWriter(tmp_path / "x", tiny_config()) as writer:
        for step in (0, 5, 10):
            writer.log(ROW | {"step": step})
            writer.save_resume(step, state)
    newest = resume_files(tmp_path / "x")[0]
    newest.write_bytes(newest.read_bytes()[:-1])
    with RunWriter(tmp_path / "x", tiny_config(), resume=True) as writer:
        assert writer.resume_step == 5
        said = capsys.readouterr().err
        assert str(newest) in said
        assert "Going on from the state before it, of step 5" in said
        assert list(writer.resume_state()) == sorted(state)
    run_steps = open_run_history(tmp_path / "x")
    assert run_steps == [0, 5]


def open_run_history(path):
    """Steps in a history of a run that may have no checkpoint."""
    from interp.store.history import read_history

    return list(read_history(path / "history.csv", 100, None).index)


def test_a_state_of_another_model_is_refused(tmp_path):
    with RunWriter(tmp_path / "x", tiny_config()) as writer:
        writer.save_resume(5, {"model/embed.W_E": torch.zeros(3)})
    with pytest.raises(UserError, match="does not fit its run"):
        opened(tmp_path / "x", tiny_config(), resume=True)


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path):
    """Also when it was killed, and its name is still in the file."""
    script = (
        "import os, signal, sys; from pathlib import Path; sys.path.insert(0, 'tests'); from helpers import tiny_config; "
        "from interp.store import RunWriter; writer = RunWriter(Path(sys.argv[1]), tiny_config()); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path / "x")], cwd=Path(__file__).parents[2])
    assert killed.returncode == -signal.SIGKILL
    assert '"process"' in (tmp_path / "x/.lock").read_text()
    with RunWriter(tmp_path / "x", tiny_config(), resume=True):
        pass


def test_what_a_killed_writer_left_is_swept_by_the_next(tmp_path):
    with RunWriter(tmp_path / "x", tiny_config()):
        pass
    scraps = [tmp_path / "x/.run.json.abc.tmp", tmp_path / "x/steps/.00000005.safetensors.abc.tmp"]
    for scrap in scraps:
        scrap.write_bytes(b"torn")
    with RunWriter(tmp_path / "x", tiny_config(), resume=True):
        assert not any(scrap.exists() for scrap in scraps)


def test_a_run_that_begins_anew_to_go_further_keeps_what_it_had_announced(tmp_path):
    """Killed before its first resume state, then asked for more steps: its checkpoint carries the digest it began with."""
    with RunWriter(tmp_path / "x", tiny_config()) as writer:
        writer.begin(Session.begin(0, "cpu", 1))
        writer.log(ROW)
        writer.checkpoint(0, weights())
    config = tiny_config()
    with RunWriter(tmp_path / "x", config.but(train=config.train.but(steps=80)), resume=True) as writer:
        assert writer.resume_step is None
    run = open_run(tmp_path / "x")
    assert run.config.train.steps == 80
    assert all(torch.equal(tensor, weights()[name]) for name, tensor in run.at(0).weights.items())


def test_checkpoints_without_their_record_are_left_alone(tmp_path):
    with RunWriter(tmp_path / "x", tiny_config()) as writer:
        writer.checkpoint(7, weights())
    (tmp_path / "x" / "run.json").unlink()
    for how in HOWS[:2]:
        with pytest.raises(
            UserError, match=r"has (history\.csv|steps/00000007\.safetensors) and no run\.json; restore it"
        ):
            RunWriter(tmp_path / "x", tiny_config(seeds=Seeds(model=1)), **how)
    assert checkpoint_steps(tmp_path / "x") == [7]


def test_a_state_larger_than_that_of_its_model_is_not_read(tmp_path):
    """A file of holes takes no room on the disk, and a minute to hash."""
    with RunWriter(tmp_path / "x", tiny_config()) as writer:
        writer.save_resume(5, {f"model/{name}": tensor for name, tensor in weights().items()})
    os.truncate(resume_files(tmp_path / "x")[0], 60 << 30)
    with pytest.raises(UserError, match=r"00000005\.safetensors has 64,424,509,440 bytes, and at most"):
        opened(tmp_path / "x", tiny_config(), resume=True)


def test_folders_that_only_share_a_name_with_ours_are_somebody_s_own(tmp_path):
    mine = [tmp_path / "analysis/thesis.ipynb", tmp_path / "steps/mine.pt"]
    for file in mine:
        file.parent.mkdir()
        file.write_text("years of work")
        for how in HOWS:
            with pytest.raises(UserError, match="is no run"):
                RunWriter(tmp_path, tiny_config(), **how)
        assert file.exists()
    with RunWriter(tmp_path / "x", tiny_config()) as writer:
        writer.checkpoint(7, weights())
    (tmp_path / "x/analysis").mkdir()
    notes = [tmp_path / "x/analysis/notes.txt", tmp_path / "x/steps/mine.pt"]
    for file in [*notes, tmp_path / "x/analysis/fourier.html"]:
        file.write_text("x")
    opened(tmp_path / "x", tiny_config(), overwrite=True)
    assert all(file.exists() for file in notes)
    assert not (tmp_path / "x/analysis/fourier.html").exists()


def test_no_run_is_cleared_before_all_are_ours(tmp_path):
    """Of several that are to be overwritten, one is in use: none is touched."""
    from interp.train.loop import train_many

    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        with RunWriter(path, tiny_config()) as writer:
            writer.begin(Session.begin(0, "cpu", 1))
            writer.checkpoint(0, weights())
    with RunWriter(paths[1], tiny_config(), resume=True), pytest.raises(UserError, match="is writing to"):
        train_many([tiny_config(), tiny_config()], paths, overwrite=True)
    assert [checkpoint_steps(path) for path in paths] == [[0], [0]]


@pytest.mark.parametrize("tail", [b"\0" * 40 + b"\n12,1,2,3,4,abcdefgh\n", b"15,\xff\xfe", b"\xff\n"])
def test_what_a_power_cut_left_beyond_the_saved_rows_does_not_keep_a_run_from_going_on(tmp_path, tail):
    with RunWriter(tmp_path / "x", tiny_config()) as writer:
        for step in (0, 5):
            writer.log(ROW | {"step": step})
        writer.save_resume(5, {f"model/{name}": tensor for name, tensor in weights().items()})
    with (tmp_path / "x/history.csv").open("ab") as file:
        file.write(tail)
    with RunWriter(tmp_path / "x", tiny_config(), resume=True) as writer:
        writer.log(ROW | {"step": 10})
    assert open_run_history(tmp_path / "x") == [0, 5, 10]


def test_a_run_that_somebody_s_own_loop_wrote_is_never_begun_again(tmp_path):
    """Without a resume state: at any step it is refused, at its last one it is finished. No file of it changes."""
    from interp.train.loop import train

    config = tiny_config()
    for last in (3, 40):
        path = tmp_path / f"to step {last}"
        with RunWriter(path, config) as writer:
            for step in (0, last):
                writer.log(ROW | {"step": step})
                writer.checkpoint(step, weights())
        before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file() and file.name != ".lock"}
        if last == 40:
            assert train(config, path, resume=True).steps == (0, 40)
            with RunWriter(path, config, resume=True) as writer:
                assert writer.resume_step == 40
                with pytest.raises(UserError, match="is finished and has no resume state"):
                    writer.resume_state()
            config = config.but(train=config.train.but(steps=80))
        with pytest.raises(
            UserError, match=f"has no resume state, so training cannot go on after its step {last}; restore"
        ):
            train(config, path, resume=True)
        with pytest.raises(UserError, match=f"--from .*@{last}, or begin it again with --overwrite"):
            opened(path, config, resume=True)
        assert all(file.read_bytes() == content for file, content in before.items())
    with RunWriter(tmp_path / "rows alone", tiny_config()) as writer:
        writer.log(ROW | {"step": 5})
    with pytest.raises(UserError, match=r"after its step 5; restore .*, or begin it again"):
        opened(tmp_path / "rows alone", tiny_config(), resume=True)


def test_what_a_bare_writer_left_is_never_begun_again(tmp_path):
    """Training has not begun a run without a session, so it would replace weights that are not its own."""
    from interp.train.loop import train

    ours = {name: torch.full_like(tensor, 7.0) for name, tensor in weights().items()}
    unfinished, finished = tiny_config(), tiny_config(train=TrainConfig(steps=0))
    for name, config in {"unfinished": unfinished, "finished": finished}.items():
        with RunWriter(tmp_path / name, config) as writer:
            writer.log(ROW)
            writer.checkpoint(0, ours)
    with pytest.raises(UserError, match="has no resume state, so training cannot go on after its step 0; restore"):
        train(unfinished, tmp_path / "unfinished", resume=True)
    assert train(finished, tmp_path / "finished", resume=True).steps == (0,)
    for run in map(open_run, (tmp_path / "unfinished", tmp_path / "finished")):
        assert run.history.reset_index().iloc[0].to_dict() == ROW
        assert all(torch.equal(tensor, ours[name]) for name, tensor in run.at(0).weights.items())
