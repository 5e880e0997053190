"""interp/store/writer.py: one writer, nothing overwritten silently."""

import pytest
import torch
from helpers import tiny_config

from interp.base import UserError
from interp.config import Seeds
from interp.store import RunWriter, open_run
from interp.store.layout import checkpoint_steps

ROW = {"step": 0, "train_loss": 1.0, "test_loss": 0.1 + 0.2, "train_accuracy": 0.5, "test_accuracy": 1 / 3}


def weights():
    config = tiny_config()
    return config.model.initial_weights(config.task.shape, seed=0)


def test_what_was_written_is_what_is_read(tmp_path):
    with RunWriter(tmp_path / "x", tiny_config()) as writer:
        writer.log(ROW)
        writer.checkpoint(0, weights())
    run = open_run(tmp_path / "x")
    assert run.config == tiny_config()
    assert run.history.reset_index().iloc[0].to_dict() == ROW  # floats read back exactly
    assert all(torch.equal(tensor, weights()[name]) for name, tensor in run.at(0).weights.items())


def test_a_second_writer_is_turned_away(tmp_path):
    with RunWriter(tmp_path / "x", tiny_config()), pytest.raises(UserError, match="another process is writing"):
        RunWriter(tmp_path / "x", tiny_config(), resume=True)


def test_a_directory_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for how in ({}, {"resume": True}, {"overwrite": True}):
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
        RunWriter(tmp_path / "x", tiny_config(seeds=Seeds(model=1)), resume=True)


def test_resuming_drops_the_rows_after_the_saved_step(tmp_path):
    with RunWriter(tmp_path / "x", tiny_config()) as writer:
        for step in (0, 5, 10):
            writer.log(ROW | {"step": step})
        writer.save_resume(5, {"model/x": torch.zeros(1)})
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
