"""`python -m interp COMMAND` and `python -m interp.table`."""

import shutil

import numpy as np
import pandas as pd
import pytest

from interp.cli.overview import main as interp
from interp.cli.table import main as table
from interp.store import runs_in


@pytest.fixture
def folder(tiny, tmp_path):
    """A directory of two runs with a folder of results beside them."""
    for name in ("one", "two"):
        shutil.copytree(tiny.path, tmp_path / "runs" / name)
    (tmp_path / "runs/analysis").mkdir()
    return tmp_path / "runs"


def test_the_version_names_what_decides_the_numbers(capsys):
    assert interp(["--version"]) == 0
    assert "torch 2" in capsys.readouterr().out


def test_a_command_may_follow_the_package(capsys):
    assert interp(["train", "--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: python -m interp.train PRESET")
    with pytest.raises(SystemExit) as stopped:
        interp(["trian", "quick"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err == 'error: no command "trian"; did you mean "train"?\n'


def test_a_folder_of_results_beside_runs_is_passed_over(folder):
    assert runs_in(sorted(folder.iterdir())) == [folder / "one", folder / "two"]
    assert runs_in([folder]) == [folder / "one", folder / "two"]
    assert runs_in([folder / "analysis"]) == [
        folder / "analysis"
    ]  # whoever asks for it alone is told that it is no run


def test_the_table_of_runs_has_a_row_for_each_folder(folder, tmp_path, capsys):
    assert table([str(folder), "--out", str(tmp_path / "runs.csv")]) == 0
    printed = capsys.readouterr().out
    assert [line.split()[0] for line in printed.splitlines()[2:]] == ["one", "two"]
    assert "_until" not in printed
    kept = pd.read_csv(tmp_path / "runs.csv")
    assert list(kept["run"]) == ["one", "two"]
    assert "generalised_until" in kept


def test_the_table_names_the_fields_in_which_runs_differ(folder, capsys):
    with pytest.raises(SystemExit) as stopped:
        table([str(folder), "--by", "train.lr"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err == 'error: the runs do not differ in "train.lr"; leave --by out\n'


def test_the_table_of_runs_is_parquet_if_its_name_says_so(folder, tmp_path, capsys):
    for name in ("runs.csv", "runs.parquet"):
        assert table([str(folder), "--out", str(tmp_path / name)]) == 0
    text, binary = pd.read_csv(tmp_path / "runs.csv", index_col=0), pd.read_parquet(tmp_path / "runs.parquet")
    assert list(text) == list(binary) and list(text.index) == list(binary.index)
    for name in text.select_dtypes("number"):
        np.testing.assert_allclose(binary[name].astype(float), text[name], rtol=1e-5)
