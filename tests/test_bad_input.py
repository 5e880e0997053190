"""One sentence that names what was given, what is allowed and what to do; exit code 2; no traceback; nothing lost."""

import os
import shutil
import stat

import pytest

from interp.analyze.__main__ import main as analyze
from interp.probe import main as probe
from interp.train.__main__ import main as train


@pytest.fixture
def says(capsys):
    """Run a command that must fail, and return its sentence."""

    def says(command, *words) -> str:
        with pytest.raises(SystemExit) as stopped:
            command([str(word) for word in words])
        assert stopped.value.code == 2
        said = capsys.readouterr().err.strip().splitlines()
        assert "Traceback" not in "\n".join(said)
        return said[-1]

    return says


def test_an_unknown_analysis_names_the_near_miss(says):
    assert says(analyze, "furier", "x") == 'error: no analysis "furier"; did you mean "fourier"?'
    assert "known are" in says(analyze, "zzz", "x")


def test_an_unknown_preset_names_the_near_miss(says):
    assert says(train, "quik") == 'error: no preset "quik"; did you mean "quick"?'


def test_a_missing_directory(says, tmp_path):
    assert "is no directory" in says(analyze, "fourier", tmp_path / "nowhere")
    assert "is no directory" in says(train, "--resume", tmp_path / "nowhere")
    assert "is no directory" in says(probe, tmp_path / "nowhere")


def test_a_missing_directory_beside_runs_names_the_near_miss(says, tiny):
    assert f'did you mean "{tiny.path}"?' in says(analyze, "fourier", str(tiny.path) + "y")


def test_an_empty_directory(says, tmp_path):
    assert "is empty" in says(analyze, "fourier", tmp_path)


def test_a_directory_that_is_no_run(says, tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    assert "has no run.json, so it is no run" in says(analyze, "all", tmp_path)


def test_a_directory_of_runs_names_them(says, tiny):
    assert str(tiny.path) in says(analyze, "all", tiny.path.parent)


def test_no_directory(says):
    assert "no run given" in says(analyze, "fourier")


def test_a_run_that_the_analysis_cannot_read(says, tmp_path):
    from helpers import tiny_config

    from interp.config import TrainConfig
    from interp.tasks import ModularTask
    from interp.train.loop import train as learn

    learn(tiny_config(task=ModularTask(p=3, train_fraction=0.5), train=TrainConfig(steps=1)), tmp_path / "p3")
    said = says(analyze, "fourier", tmp_path / "p3")
    assert 'has p = 3; analysis "fourier" needs at least 5 residues' in said
    assert analyze(["all", str(tmp_path / "p3")]) == 0  # what does not fit is left out, the rest is there
    assert (tmp_path / "p3/analysis/norms.nc").exists()
    assert not (tmp_path / "p3/analysis/fourier.nc").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--task.p", "1"], "error: task.p is 1; it should be greater than or equal to 3"),
        (["--task.train-fraction", "1.5"], "error: task.train_fraction is 1.5; it should be less than 1"),
        (["--task.train-fraction", "0"], "error: task.train_fraction is 0.0; it should be greater than 0"),
        (["--task.train-fraction", "0.0001"], "leaves nothing to train on; take at least"),
        (["--task.operation", "divide", "--task.p", "12"], "has no inverse modulo 12; take a prime task.p such as 13"),
        (["--train.batch-size", "0"], 'take a number from 1 up, or "full"'),
        (["--train.betas", "0.9", "1.0"], "each must be at least 0 and less than 1"),
        (["--train.lr", "nan"], "error: train.lr is nan; it should be"),
        (["--name", "../x"], "error: name is '../x'; it may have letters, digits and ._+=@- only"),
        (["--threads", "0"], "error: --threads is 0; it should be at least 1"),
    ],
)
def test_values_that_are_not_allowed(says, tmp_path, words, sentence):
    assert sentence in says(train, "quick", *words, "--out", tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_an_unknown_option_names_the_near_one(capsys, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        train(["quick", "--train.weight-dekay", "1"])
    assert stopped.value.code == 2
    assert "--train.weight-decay" in capsys.readouterr().err


def test_output_that_is_a_file(says, tiny, tmp_path):
    (tmp_path / "file").write_text("x")
    assert "is a file" in says(analyze, "norms", tiny.path, "--out", tmp_path / "file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere, also into a read-only directory")
def test_output_that_cannot_be_written(says, tiny, tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    assert "permission denied" in says(analyze, "norms", tiny.path, "--out", tmp_path / "x")


def test_output_on_a_system_file_tree(says, tiny):
    said = says(analyze, "norms", tiny.path, "--out", "/proc/interp")  # not writable, for root neither
    assert said.startswith("error: cannot write /proc/interp")
    assert "--out" in said
    assert "cannot write /proc/interp" in says(train, "quick", "--out", "/proc/interp")


def test_a_truncated_checkpoint_is_named_and_can_be_left_out(says, tiny_copy, capsys):
    broken = tiny_copy.at(20).path
    broken.write_bytes(broken.read_bytes()[:-5])
    said = says(analyze, "fourier", tiny_copy.path)
    assert str(broken) in said
    assert "--skip-broken" in said
    assert analyze(["fourier", str(tiny_copy.path), "--skip-broken"]) == 0
    assert str(broken) in capsys.readouterr().err
    import xarray as xr

    with xr.open_dataset(tiny_copy.path / "analysis/fourier.nc") as found:
        assert set(tiny_copy.steps) - set(found["step"].values) == {20}


def test_of_several_runs_the_good_ones_are_measured(tiny_copy, tmp_path, capsys):
    good = tmp_path / "good"
    shutil.copytree(tiny_copy.path, good)
    assert analyze(["curves", str(tmp_path / "missing"), str(good)]) == 2
    assert (good / "analysis/curves.nc").exists()
    assert "missing is no directory" in capsys.readouterr().err


def test_a_step_without_a_checkpoint_names_the_nearest(says, tiny):
    assert "no checkpoint at step 39; the nearest are at 30 and 40" in says(
        analyze, "norms", tiny.path, "--steps", "39"
    )


def test_a_frequency_that_the_modulus_has_not(says, tiny):
    assert "it should be 1 to 5" in says(analyze, "tsne", tiny.path, "--frequency", "6")


def test_the_help_asked_for_is_no_error(capsys):
    assert train(["--help"]) == 0
    assert analyze(["--help"]) == 0
    assert probe(["--help"]) == 0
    assert train([]) == analyze([]) == probe([]) == 2
