"""What a command loads before it has something to do."""

import re
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from interp import analyze

HEAVY = ("torch", "transformer_lens", "pandas", "xarray", "sklearn", "plotly")


def loaded_after(code: str) -> set[str]:
    """Top-level modules that are loaded once the code has run."""
    script = f"import sys\ntry:\n    {code}\nexcept SystemExit: pass\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stderr.split()}


@pytest.mark.parametrize(
    "code",
    [
        "import interp.config",
        "import interp.__main__ as m; m.main([])",
        "import interp.train.__main__ as m; m.main(['--help'])",
        "import interp.train.__main__ as m; m.main(['quick', '--help'])",
        "import interp.analyze.__main__ as m; m.main(['--help'])",
    ],
)
def test_help_loads_nothing_heavy(code):
    assert not loaded_after(code) & set(HEAVY)


@pytest.mark.parametrize(
    "words", [["interp.analyze", "norms", "{run}", "--out", "{out}"], ["interp.train", "--resume", "{run}"]]
)
def test_in_a_terminal_the_first_words_come_before_what_is_slow_to_load(words, tiny_copy, tmp_path):
    words = [word.format(run=tiny_copy.path, out=tmp_path / "out") for word in words]
    # importtime prints every module once it is loaded
    child = pexpect.spawn(sys.executable, ["-X", "importtime", "-m", *words], encoding="utf-8", timeout=120)
    child.expect("loading")
    assert "| interp" in str(child.before) and not re.search(r"\| +torch\b", str(child.before))
    child.expect(pexpect.EOF)
    assert re.search(r"\| +torch\b", str(child.before)) and "\r\x1b[K" in str(child.before)  # and are gone then


def test_training_and_analysing_load_no_transformer_lens(tiny, tmp_path):
    words = ["superposition", str(tiny.path), "--out", str(tmp_path)]
    loaded = loaded_after(f"import interp.train.loop, interp.analyze.__main__ as m; m.main({words!r})")
    assert "torch" in loaded
    assert "transformer_lens" not in loaded


def test_import_interp_loads_no_third_party_module():
    assert not loaded_after("import interp") & {"numpy", "pydantic", "tyro", *HEAVY}


def test_the_analyses_are_known_without_a_file_being_read_again(monkeypatch):
    known = analyze.analyses()

    def opened(*_, **__):
        raise AssertionError("a file was opened")

    monkeypatch.setattr("builtins.open", opened)
    monkeypatch.setattr(Path, "open", opened)
    assert analyze.analyses() == known
    assert known["curves"].endswith("?")
