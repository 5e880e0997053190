"""The table of wrong commands (tests/data/wrong_commands.txt): each gets its one sentence and exit code 2, and trains nothing."""

import importlib
import re
import shlex
import shutil
from pathlib import Path

import pytest
from helpers import tiny_config

from interp.models import ToySpec
from interp.store.foreign.convert import convert
from interp.tasks import SparseFeaturesTask
from interp.train.loop import train

LINES = (Path(__file__).parent / "data/wrong_commands.txt").read_text().splitlines()
ROWS = list(filter(None, LINES))
TABLE = list(zip(ROWS[::2], ROWS[1::2], strict=True))
"""A command and, indented, its sentence, in which … stands for anything."""


@pytest.fixture(scope="module")
def place(tiny, tmp_path_factory):
    """A directory with runs, what looks like one, and files of several kinds."""
    place = tmp_path_factory.mktemp("place")
    for name in ("run", "twins/run", "several/a", "several/b", "broken", "broken-json", "later"):
        shutil.copytree(tiny.path, place / name, ignore=shutil.ignore_patterns("analysis"))
    task = SparseFeaturesTask(n_features=12, sparsity=0.7, examples=5, test_examples=9)
    train(tiny_config(task=task, model=ToySpec(d_hidden=2)), place / "toy")
    checkpoint = place / "broken/steps/00000020.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-5])
    (place / "broken-json/run.json").write_text("{")
    (place / "later/run.json").write_text('{"format_version": 99}')
    (place / "empty").mkdir()
    (place / "notes").mkdir()
    files = {
        "notes/thesis.tex": "x",
        "file.txt": "x",
        "empty.pt": "",
        "no_analysis.py": "x = 1\n",
        "no_python.py": "an analysis\n",
        "letters.csv": "a,b\nc,d\n",
        "table.csv": "step,setting,generalised\n0,a,3\n1,a,4\n2,b,5\n",
        "curves.csv": "step,train_loss\n0,3\n1,2\n",
    }
    for name, text in files.items():
        (place / name).write_text(text)
    convert(place / "curves.csv", place / "losses")
    return place


def test_the_table_is_long():
    assert len(TABLE) > 200


EVERY = 3
"""One of so many commands is tried with every change; all are with the slow tests."""


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        pytest.param(*row, id=row[0], marks=() if place % EVERY == 0 else pytest.mark.slow)
        for place, row in enumerate(TABLE)
    ],
)
def test_a_wrong_command_gets_its_sentence(command, sentence, place, monkeypatch, capsys, no_browser):
    monkeypatch.chdir(place)
    name, *words = command.split() if "'" in command else shlex.split(command)
    module = importlib.import_module(f"interp.cli.{'overview' if name == 'interp' else name}")
    with pytest.raises(SystemExit) as stopped:
        module.main(words)
    assert stopped.value.code == 2
    said = capsys.readouterr().err.splitlines()
    pattern = ".*".join(map(re.escape, f"error: {sentence.strip()}".split("…")))
    assert re.fullmatch(pattern, said[-1]), said
    assert len(said) == 1 or said[:-1] == [f"measuring {words[0]}"]
    assert not (place / "checkpoints").exists()
