"""Measured once, kept: what is answered is what measuring gives, whatever happened to the run, the files or the code."""

import os
import random
import shutil
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from helpers import tiny_config

from interp import analyze, kept
from interp.cli.analyze import main as command
from interp.kept import code, file
from interp.kept.shelf import by_checkpoint
from interp.models import ToySpec
from interp.recipe import Seeds, TrainConfig
from interp.run import open_run
from interp.store.files import CheckpointError
from interp.store.history import read_history, write_history
from interp.store.layout import checkpoint_header
from interp.store.tensors import write_tensors
from interp.tasks import SparseFeaturesTask
from interp.train.loop import train

ALONE = [name for name in analyze.analyses() if by_checkpoint(name)]
"""Analyses that say that they measure each checkpoint alone."""

SHORT = TrainConfig(steps=20, lr=3e-3, checkpoint_every=10, checkpoints_per_decade=3, log_every=5)


def config(name):
    """A run of twenty steps that the analysis is about."""
    if name == "regimes":
        task, model = SparseFeaturesTask(n_features=12, sparsity=0.7, examples=5, test_examples=9), ToySpec(d_hidden=2)
        return tiny_config(task=task, model=model, train=SHORT)
    return tiny_config(train=SHORT)


def files_of(run, name):
    return sorted((run.path / "analysis/kept").glob(f"{name}-*"))


def the_same(found, expected):
    """Everything is equal, numbers save rounding: a product rounds by how many checkpoints stand side by side."""
    xr.testing.assert_allclose(found, expected, rtol=1e-5)
    assert str(found.attrs) == str(expected.attrs)
    assert list(found.variables) == list(expected.variables)
    for each in found.variables:
        assert found[each].attrs == expected[each].attrs


def other_weights(run, step):
    """Replace a checkpoint by a whole one with other weights."""
    weights = {name: tensor + 0.01 for name, tensor in run.at(step).weights.items()}
    write_tensors(run.at(step).path, weights, checkpoint_header(run.record.config_sha256, step))


@pytest.fixture(params=ALONE)
def alone(request):
    return request.param


def test_of_a_run_that_has_grown_new_checkpoints_alone_are_measured(alone, tmp_path):
    run = open_run(train(config(alone), tmp_path / "run").path)
    first = kept.measure(run, alone)
    assert first.measured == len(run)
    longer = config(alone).but(**{"train.steps": 40})
    train(longer, tmp_path / "run", resume=True)
    grown = open_run(tmp_path / "run")
    answer = kept.measure(grown, alone)
    assert answer.measured == len(grown) - len(run) + 1  # and one that was known, as a check
    assert answer.why == f"{len(grown) - len(run)} checkpoints more"
    the_same(answer.found, analyze.measure(grown, alone))
    again = kept.measure(open_run(tmp_path / "run"), alone)
    assert again.measured == 0
    xr.testing.assert_identical(again.found, answer.found)


def test_of_a_checkpoint_that_changed_the_number_is_new(alone, tmp_path):
    run = open_run(train(config(alone), tmp_path / "run").path)
    before = kept.measure(run, alone).found
    other_weights(run, 10)
    answer = kept.measure(open_run(run.path), alone)
    assert (answer.measured, answer.why) == (2, "step 10 has other weights")
    the_same(answer.found, analyze.measure(open_run(run.path), alone))
    changed = [name for name in before.data_vars if not before[name].identical(answer.found[name])]
    assert changed
    also_in_memory = kept.measure(run, alone)
    the_same(also_in_memory.found, answer.found)


@pytest.mark.parametrize("name", ["logits", "curves", "progress", "phases"])
def test_what_looks_at_all_checkpoints_together_is_measured_anew(name, tiny_copy):
    kept.measure(tiny_copy, name)
    part = kept.measure(tiny_copy.select(last=3), name)
    xr.testing.assert_identical(part.found, analyze.measure(tiny_copy.select(last=3), name))
    assert kept.measure(open_run(tiny_copy.path), name).measured == 0
    other_weights(tiny_copy, 10)
    answer = kept.measure(open_run(tiny_copy.path), name)
    assert answer.measured == (0 if name == "curves" else len(tiny_copy))  # curves reads no weights
    xr.testing.assert_identical(answer.found, analyze.measure(tiny_copy, name))


def test_any_choice_of_checkpoints_is_answered_from_all_of_them(tiny_copy):
    kept.measure(tiny_copy, "norms")
    for view in (tiny_copy.select(every=3), tiny_copy.select(last=1), tiny_copy.select(steps=[0, 20])):
        answer = kept.measure(open_run(tiny_copy.path).select(steps=view.steps), "norms")
        assert answer.measured == 0
        the_same(answer.found, analyze.measure(tiny_copy.select(steps=view.steps), "norms"))


def test_all_checkpoints_after_some_of_them_measure_the_rest(tiny_copy):
    kept.measure(tiny_copy.select(every=2), "norms")
    answer = kept.measure(tiny_copy, "norms")
    assert 0 < answer.measured < len(tiny_copy)
    the_same(answer.found, analyze.measure(tiny_copy, "norms"))


def test_an_option_has_a_result_of_its_own(tiny_copy):
    kept.measure(tiny_copy, "neurons")
    other = kept.measure(open_run(tiny_copy.path), "neurons", threshold=0.6)
    assert other.measured == len(tiny_copy)
    xr.testing.assert_identical(other.found, analyze.measure(tiny_copy, "neurons", threshold=0.6))
    assert kept.measure(open_run(tiny_copy.path), "neurons").measured == 0
    assert len(files_of(tiny_copy, "neurons")) == 2


def test_an_option_in_the_place_of_another_is_not_believed(tiny_copy):
    kept.measure(tiny_copy, "neurons")
    kept.measure(tiny_copy, "neurons", threshold=0.6)
    one, other = files_of(tiny_copy, "neurons")
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    answer = kept.measure(open_run(tiny_copy.path), "neurons", threshold=0.6)
    assert answer.why == "its options have changed"
    xr.testing.assert_identical(answer.found, analyze.measure(tiny_copy, "neurons", threshold=0.6))


@pytest.mark.parametrize("name", ["norms", "logits"])
def test_other_code_measures_anew(name, tiny_copy, monkeypatch):
    kept.measure(tiny_copy, name)
    monkeypatch.setattr("interp.kept.code.versions", lambda: "torch 3")
    code.digest.cache_clear()
    answer = kept.measure(tiny_copy, name)
    assert (answer.measured, answer.why) == (len(tiny_copy), "its code has changed")
    assert kept.measure(tiny_copy, name).measured == 0
    code.digest.cache_clear()


def test_the_version_follows_every_file_that_an_analysis_may_use(tmp_path, monkeypatch):
    home = tmp_path / "interp"
    shutil.copytree(code.HOME, home, ignore=shutil.ignore_patterns("__pycache__"))
    fourier = analyze.ANALYSES["fourier"]
    mine = home / "analyze/mechanism/fourier.py"
    monkeypatch.setattr("interp.LOADED_AT", time.time() + 1000)
    monkeypatch.setattr(code, "HOME", home)
    monkeypatch.setattr(fourier.module, "__file__", str(mine))
    code.files_below.cache_clear()
    before = code.version_of(fourier)
    assert before == code.version_of(fourier)
    versions = {before}
    for path in (mine, home / "maths/fourier.py", home / "views/walk.py", home / "models/mlp/forward.py"):
        path.write_text(path.read_text() + "# more\n")
        versions.add(code.version_of(fourier))
    assert len(versions) == 5
    other = home / "analyze/learning/norms.py"
    other.write_text(other.read_text() + "# more\n")
    assert code.version_of(fourier) in versions
    code.files_below.cache_clear()


def test_code_that_was_edited_after_python_loaded_it_keeps_nothing(tiny_copy, monkeypatch):
    monkeypatch.setattr("interp.LOADED_AT", 0.0)
    assert kept.measure(tiny_copy, "norms").measured == len(tiny_copy)
    assert kept.measure(tiny_copy, "norms").measured == len(tiny_copy)
    assert not files_of(tiny_copy, "norms")


def test_a_history_that_was_written_anew_measures_anew(tiny_copy):
    kept.measure(tiny_copy, "norms")
    rows = read_history(tiny_copy.path / "history.csv", 100, None).reset_index().to_dict(orient="records")
    rows[0]["train_loss"] += 1
    write_history(tiny_copy.path / "history.csv", [{**row, "step": int(row["step"])} for row in rows])
    for state in (tiny_copy.path / "resume").iterdir():  # which know the history as it was
        state.unlink()
    answer = kept.measure(open_run(tiny_copy.path), "norms")
    assert (answer.measured, answer.why) == (len(tiny_copy), "the history was written anew")
    assert answer.found["train_loss"].values[0] == rows[0]["train_loss"]


def test_results_of_another_run_are_not_believed(tiny_copy, tmp_path):
    other = open_run(train(tiny_config(seeds=Seeds(model=1)), tmp_path / "other").path)
    for name in ("norms", "logits"):
        kept.measure(other, name)
    shutil.copytree(other.path / "analysis", tiny_copy.path / "analysis")
    for name in ("norms", "logits"):
        answer = kept.measure(tiny_copy, name)
        assert (answer.measured, answer.why) == (len(tiny_copy), "the run is another")
        xr.testing.assert_identical(answer.found, analyze.measure(tiny_copy, name))


def test_a_file_with_any_changed_bit_is_refused(tiny_copy):
    kept.measure(tiny_copy, "fourier")
    (path,) = files_of(tiny_copy, "fourier")
    whole, drawn = path.read_bytes(), random.Random(0)
    for _ in range(300):
        place = drawn.randrange(len(whole))
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << drawn.randrange(8)]) + whole[place + 1 :])
        with pytest.raises(CheckpointError):
            file.read(path)
    for length in (0, 7, 8, 100, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            file.read(path)
    answer = kept.measure(open_run(tiny_copy.path), "fourier")
    assert (answer.measured, answer.why) == (len(tiny_copy), "what was kept is damaged")
    xr.testing.assert_identical(answer.found, analyze.measure(tiny_copy, "fourier"))


@pytest.mark.parametrize(
    "description",
    [
        b"",
        b"null",
        b"[" * 100_000,
        b'{"source": {}, "attrs": {}, "arrays": {}}',
        b'{"source": SOURCE, "attrs": {}, "arrays": {"x": {"dims": ["step"], "attrs": {}, "coordinate": false}}}',
        b'{"source": SOURCE, "attrs": {}, "arrays": {"x": {"dims": ["step"], "attrs": {}, "coordinate": false, '
        b'"texts": ["a"], "shape": [1000000000000], "dtype": "object"}}}',
        b'{"source": SOURCE, "attrs": {}, "arrays": {"x": {"dims": ["step"], "attrs": {}, "coordinate": false, '
        b'"texts": ["a"], "shape": [1], "dtype": "<U999999999"}}}',
    ],
)
def test_a_file_that_is_sealed_and_makes_no_sense_is_refused(tiny_copy, description):
    kept.measure(tiny_copy, "fourier")
    (path,) = files_of(tiny_copy, "fourier")
    text = description.replace(b"SOURCE", file.read(path)[0].model_dump_json().encode())
    write_tensors(path, {"description": torch.frombuffer(bytearray(text + b" "), dtype=torch.uint8)}, file.FORMAT)
    with pytest.raises(CheckpointError):
        file.read(path)
    xr.testing.assert_identical(
        kept.measure(open_run(tiny_copy.path), "fourier").found, analyze.measure(tiny_copy, "fourier")
    )


def test_what_lies_in_the_place_of_a_file_is_no_trouble(tiny_copy):
    kept.measure(tiny_copy, "norms")
    (path,) = files_of(tiny_copy, "norms")
    path.unlink()
    os.mkfifo(path)
    assert kept.measure(open_run(tiny_copy.path), "norms").measured == len(tiny_copy)
    path.unlink()
    path.mkdir()
    assert kept.measure(open_run(tiny_copy.path), "norms").measured == len(tiny_copy)
    shutil.rmtree(tiny_copy.path / "analysis")
    (tiny_copy.path / "analysis").write_text("my notes")
    assert kept.measure(open_run(tiny_copy.path), "norms").measured == len(tiny_copy)
    assert (tiny_copy.path / "analysis").read_text() == "my notes"


def test_a_damaged_checkpoint_is_told_and_not_passed_over(tiny_copy):
    kept.measure(tiny_copy, "norms")
    kept.measure(tiny_copy, "curves")
    path = tiny_copy.at(20).path
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(CheckpointError, match="00000020"):
        kept.measure(open_run(tiny_copy.path), "norms")
    assert kept.measure(open_run(tiny_copy.path), "curves").measured == 0  # which reads no weights


def test_weights_of_a_resume_state_are_not_kept(tmp_path):
    run = open_run(train(config("norms").but(**{"train.checkpoint_every": 15}), tmp_path / "run").path)
    state = replace(run, steps=run.steps[:-1], newest=None)
    newest = replace(state, steps=run.steps, newest=type("N", (), {"step": 20, "weights": run.final.weights})())
    kept.measure(newest, "norms")
    assert not files_of(run, "norms")


def test_what_is_given_out_is_a_copy(tiny_copy):
    first = kept.measure(tiny_copy, "norms").found
    whole = first.copy(deep=True)
    first["l2"].values[:] = 0
    first.attrs["definition"] = "mine"
    xr.testing.assert_identical(kept.measure(tiny_copy, "norms").found, whole)


def test_a_second_answer_comes_at_once(tiny_copy):
    tiny_copy = open_run(tiny_copy.path)
    tiny_copy.measure.neurons()
    began = time.process_time()
    tiny_copy.measure.neurons()
    assert time.process_time() - began < 0.05


def test_every_kind_of_value_reads_back_as_it_was(tiny_copy, tmp_path):
    """What a file would give back otherwise is not kept."""
    values = {
        "numbers": ("step", np.array([0.1, np.nan, -np.inf])),
        "halves": ("step", np.array([0.1, 1, 2], dtype=np.float16)),
        "counts": ("step", np.array([1, 2, 2**62])),
        "flags": ("step", np.array([True, False, True])),
        "words": ("step", np.array(["", "β", "two words"])),
        "objects": ("step", np.array(["a", "", "b"], dtype=object)),
        "one": ((), np.float32(3)),
        "none": (("nothing", "step"), np.array([[1.0, 2.0, 3.0]])[:0]),
        "none_of_every": (("step", "nothing"), np.array([[1.0], [2.0], [3.0]])[:, :0]),
    }
    found = xr.Dataset(values, {"step": [1, 2, 5]}, {"nan": float("nan"), "number": 0.1, "text": "–", "none": 3})
    found["numbers"].attrs["units"] = "1"
    kept.measure(tiny_copy, "norms")
    made_from, _ = file.read(files_of(tiny_copy, "norms")[0])
    file.write(tmp_path / "x", made_from, found)
    again, back = file.read(tmp_path / "x")
    assert again == made_from
    xr.testing.assert_identical(back, found)
    assert {name: back[name].dtype for name in back} == {name: found[name].dtype for name in found}
    for odd in (np.array([object()] * 3), np.array(["2020-01-01"] * 3, dtype="datetime64[ns]")):
        with pytest.raises(file.NotKept):
            file.write(tmp_path / "x", made_from, found.assign(odd=("step", odd)))


def test_few_files_are_kept_of_one_analysis(tiny_copy):
    for number in range(12):
        kept.measure(tiny_copy, "curves", threshold=0.5 + number / 100)
    assert len(files_of(tiny_copy, "curves")) == 8


def test_overwriting_a_run_deletes_what_was_kept(tiny_copy):
    kept.measure(tiny_copy, "norms")
    (tiny_copy.path / "analysis/kept/notes.txt").write_text("mine")
    train(tiny_copy.config, tiny_copy.path, overwrite=True)
    assert not files_of(tiny_copy, "norms")
    assert (tiny_copy.path / "analysis/kept/notes.txt").exists()


def test_the_command_says_what_was_kept_and_what_is_no_longer_so(tmp_path, capsys, no_browser):
    run = open_run(train(config("norms"), tmp_path / "run").path)

    def said(*words):
        assert command([*words[:1], str(run.path), *words[1:]]) == 0
        return capsys.readouterr().err

    assert "measuring norms" in said("norms")
    again = said("norms")
    assert again.startswith("as measured before: norms; --anew measures again\n")
    assert "measuring" not in again
    assert "measuring norms" in said("norms", "--anew")
    said("logits")
    train(config("norms").but(**{"train.steps": 40}), run.path, resume=True)
    grown = said("norms")
    assert "norms: 3 of 8 checkpoints measured (2 checkpoints more)" in grown
    assert (
        f"from before, and no longer so: logits (2 checkpoints more); renew with: python -m interp.analyze logits {run.path}"
        in grown
    )
    assert "logits: measured anew (2 checkpoints more)" in said("logits")


def test_json_keeps_nothing_beside_the_run(tiny_copy, capsys):
    assert command(["norms", str(tiny_copy.path), "--json"]) == 0
    assert not (tiny_copy.path / "analysis").exists()
    capsys.readouterr()


def test_all_writes_numbers_for_xarray_where_they_are_asked_for_or_not_kept(tiny_copy, monkeypatch, no_browser):
    monkeypatch.setattr("interp.cli.analyze.fitting", lambda run, left_out: ["norms"])
    results, path = tiny_copy.path / "analysis", str(tiny_copy.path)
    assert command(["all", path, "--nc"]) == 0
    assert (results / "norms.nc").exists()
    assert command(["all", path]) == 0  # which would leave an older one beside newer numbers
    assert not (results / "norms.nc").exists()
    shutil.rmtree(results / "kept")
    (results / "kept").write_text("no folder")
    assert command(["all", path]) == 0
    with xr.open_dataset(results / "norms.nc") as found:
        xr.testing.assert_equal(found.load(), analyze.measure(tiny_copy, "norms"))


def test_an_answer_says_whether_it_is_kept(tiny_copy):
    assert not kept.measure(tiny_copy, "norms", write=False).kept
    assert not kept.measure(tiny_copy, "norms").kept  # answered from memory
    assert kept.measure(open_run(tiny_copy.path), "norms").kept
    assert kept.measure(open_run(tiny_copy.path), "norms").kept
