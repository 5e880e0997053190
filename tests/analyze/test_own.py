"""interp/analyze/own.py: a file or a module of one's own as the name of an analysis, and what is kept of it."""

import importlib
import os
import sys
from importlib.metadata import EntryPoint

import numpy as np
import pytest

from interp import analyze, kept
from interp.analyze import own
from interp.base import UserError
from interp.cli.analyze import main
from interp.kept.code import version_of
from interp.run import open_run

SPREAD = '''"""Spread: how far apart?"""

from interp import figures
from interp.measurement import AnalysisOptions, Var, by_step, dataset
from interp.views.view import Checkpoints
from interp.views.walk import over_checkpoints


class Options(AnalysisOptions):
    """Its options."""

    factor: float = 1.0
    """Factor on the spread."""


VARIABLES = {"spread": Var("step", "standard deviation over the tokens")}


def measure(seen: Checkpoints, options: Options):
    """Spread of the embedding."""

    def spread(weights):
        return {"spread": options.factor * weights["embed.W_E"].std(dim=(1, 2))}

    found = over_checkpoints(seen.run, spread, each=64)
    return dataset(seen.run, options, found, VARIABLES, definition="standard deviation", source="ours")


def draw(found):
    """The spread over steps."""
    figure = figures.panels(["spread"], heights=[4], title="Spread")
    figures.line(figure, found["spread"], "spread", figures.INK, row=1)
    return figure


def summarise(found):
    """The spread at each step."""
    return by_step(found).assign(spread=found["spread"].values)
'''


@pytest.fixture
def spread(tmp_path, monkeypatch):
    """The file of an analysis in the folder in which commands are typed; what it adds is taken out again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(analyze.ANALYSES, "_known", dict(analyze.ANALYSES._known))
    monkeypatch.setattr(own, "FILES", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "spread", raising=False)  # another test's
    (tmp_path / "spread.py").write_text(SPREAD)
    return tmp_path / "spread.py"


def test_the_path_of_a_file_is_the_name_of_an_analysis(spread, tiny_copy, capsys, no_browser):
    assert main(["./spread.py", str(tiny_copy.path), "--factor", "2"]) == 0
    said = capsys.readouterr().out
    assert f"spread of {tiny_copy.path}: Spread: how far apart?" in said
    results = tiny_copy.path / "analysis"
    assert {file.suffix for file in results.glob("spread*")} == {".html", ".csv", ".nc"}
    assert f"python -m interp.analyze ./spread.py {tiny_copy.path} --factor 2" in (results / "spread.html").read_text()
    with pytest.raises(SystemExit):
        main(["./spread.py", "--help"])
    assert "Factor on the spread" in capsys.readouterr().out


def test_a_module_or_a_path_stands_for_the_name_in_python(spread, tiny_copy, monkeypatch):
    monkeypatch.syspath_prepend(spread.parent)
    run, module = open_run(tiny_copy.path), importlib.import_module("spread")
    found = run.measure(module, factor=2)
    assert float(found["spread"][-1]) == pytest.approx(2 * float(run.final.weights["embed.W_E"].std()), rel=1e-5)
    assert found.attrs["command"] == f"python -m interp.analyze spread.py {run.path} --factor 2.0"
    np.testing.assert_array_equal(run.measure("./spread.py", factor=2)["spread"], found["spread"])
    np.testing.assert_array_equal(analyze.measure(run, module)["spread"] * 2, found["spread"])
    assert run.plot(module).layout.title.text.startswith("Spread")
    assert "spread" in run.applies.fitting
    del sys.modules["spread"]


def test_what_is_kept_of_a_file_is_answered_until_the_file_or_what_it_imports_changes(spread, tiny_copy):
    def measured():
        return kept.measure(open_run(tiny_copy.path), analyze.called("spread.py"))

    assert measured().measured == len(tiny_copy)
    assert measured().measured == 0
    spread.write_text(SPREAD.replace("options.factor *", "3 * options.factor *"))
    tripled = measured()
    assert (tripled.measured, tripled.why) == (len(tiny_copy), "its code has changed")
    spread.write_text(SPREAD)
    np.testing.assert_allclose(3 * measured().found["spread"], tripled.found["spread"], rtol=1e-6)
    (spread.parent / "beside_it.py").write_text("FACTOR = 1.0\n")
    spread.write_text(SPREAD.replace("from interp import figures", "import beside_it\nfrom interp import figures"))
    before = version_of(analyze.ANALYSES[analyze.called("spread.py")])
    assert not before  # the file beside it was written after this process began: what runs may be another
    del sys.modules["beside_it"]


def test_a_digest_of_own_code_has_every_file_and_library_that_it_imports(spread, monkeypatch):
    (spread.parent / "beside_it.py").write_text("import einops\n")
    os.utime(spread.parent / "beside_it.py", (1e9, 1e9))
    spread.write_text(SPREAD.replace("from interp import figures", "import beside_it\nfrom interp import figures"))
    analysis = analyze.ANALYSES[analyze.called("spread.py")]
    before = version_of(analysis)
    assert before and before == version_of(analysis)
    (spread.parent / "beside_it.py").write_text("import einops  # changed\n")
    os.utime(spread.parent / "beside_it.py", (1e9, 1e9))
    assert version_of(analysis) not in ("", before)
    monkeypatch.setattr("interp.kept.code.version_of_import", lambda name: f"another {name}")
    assert version_of(analysis) not in ("", before)
    del sys.modules["beside_it"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x = (", "bad.py is no Python ('(' was never closed in line 1); mend it, or give another file"),
        ("x = 1 / 0", "bad.py cannot be run (ZeroDivisionError: division by zero); mend it"),
        ("import sys; sys.exit()", "bad.py cannot be run (SystemExit: ); mend it"),
        (
            SPREAD.replace("def measure", "def gauge"),
            "bad.py is no analysis, since it lacks measure(seen, options); docs/",
        ),
        (SPREAD.replace("seen: Checkpoints", "seen"), "the first parameter of measure in bad.py has no type, and it"),
        (SPREAD.replace("seen: Checkpoints", "seen: dict"), "the first parameter of measure in bad.py is dict, and it"),
        (SPREAD.replace("seen: Checkpoints", 'seen: "Nothing"'), "the types of measure in bad.py cannot be read (name"),
        (SPREAD.replace(", options: Options)", ")"), "measure in bad.py has the parameters seen; it should have two"),
        (
            SPREAD.replace("Options(AnalysisOptions)", "Options"),
            "Options of bad.py is no class of options; write class",
        ),
        (
            "#" + SPREAD[3:].replace('?"""', "?"),
            "bad.py has no docstring, whose first line is the question that it asks",
        ),
        (None, "bad.py cannot be read: no such file or directory"),
    ],
)
def test_a_bad_file_is_one_sentence_and_exit_code_2(text, sentence, spread, tiny, capsys):
    if text is not None:
        (spread.parent / "bad.py").write_text(text)
    with pytest.raises(SystemExit) as stopped:
        main(["bad.py", str(tiny.path)])
    assert stopped.value.code == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"error: {sentence}")


def test_a_file_with_the_name_of_another_analysis_is_refused(spread, tiny):
    (spread.parent / "norms.py").write_text(SPREAD)
    with pytest.raises(UserError, match='there is another analysis "norms"; choose another name'):
        analyze.measure(tiny, "./norms.py")
    with pytest.raises(UserError, match="3 is no analysis; give a name, the path of a file, or a module"):
        analyze.measure(tiny, 3)  # type: ignore[arg-type]


def test_an_installed_analysis_that_cannot_be_loaded_says_so_and_the_others_are_measured(spread, tiny, monkeypatch):
    point = EntryPoint("broken", "nothing_of_that_name", "interp.analyses")
    monkeypatch.setitem(analyze.ANALYSES._installed, "broken", point)
    assert "cannot be imported (No module named" in analyze.analyses()["broken"]
    assert "cannot be imported (No module named" in analyze.applies(tiny)["broken"]
    assert "curves" in analyze.applies(tiny).fitting
