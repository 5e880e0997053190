"""interp/run.py, interp/cli/probe.py: a run at one's fingertips."""

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pexpect
import plotly.graph_objects as go
import pytest
import xarray as xr
from IPython.core.completer import provisionalcompleter
from IPython.testing.globalipapp import start_ipython

import interp
from interp.base import UserError
from interp.cli.probe import banner
from interp.config import RunConfig, TrainConfig
from interp.models import ToySpec, TransformerSpec
from interp.run import Run
from interp.tasks import GroupTask, SparseFeaturesTask


@pytest.fixture
def run(tiny_copy):
    return interp.open_run(tiny_copy.path)


def test_a_run_measures_and_draws_itself_by_name_and_by_attribute(run):
    found = run.measure("norms")
    assert isinstance(found, xr.Dataset)
    xr.testing.assert_identical(run.measure.norms(), found)
    assert isinstance(run.plot("norms"), go.Figure)
    assert isinstance(run.plot.curves(), go.Figure)


def test_options_go_by_keyword_and_wrong_ones_are_sentences(run):
    assert run.measure("curves", threshold=0.01).attrs["memorised"] <= 40
    with pytest.raises(UserError, match="thresold is not a known field"):
        run.measure("curves", thresold=0.5)
    with pytest.raises(UserError, match="did you mean"):
        run.measure("curvs")
    with pytest.raises(AttributeError):
        _ = run.measure.curvs


def test_a_selection_of_checkpoints_is_still_a_run_that_measures_itself(run):
    assert run.select(last=2).measure("norms").sizes["step"] == 2


def test_runs_below_a_directory(run):
    assert [found.path for found in interp.open_runs(run.path.parent)] == [run.path]
    with pytest.raises(UserError, match="there is no run"):
        interp.open_runs(run.path / "steps")


def test_what_is_shown_is_a_short_table(run):
    from IPython.lib.pretty import pretty

    assert pretty(run.final).splitlines()[0].split() == ["step", "40"]
    assert ["train.lr", "0.003"] in [line.split() for line in pretty(run.config).splitlines()]
    assert "train.log_norms" not in pretty(run.config)  # which is at its default
    shape = " × ".join(map(str, run.tensor_shapes["embed.W_E"]))
    assert any(
        line.split("  ")[:1] == ["embed.W_E"] and shape in line for line in pretty(run.final.weights).splitlines()
    )
    assert [line.split()[0] for line in pretty(interp.open_runs(run.path.parent)).splitlines()] == [
        "run",
        run.path.name,
    ]
    for shown in (run, run.final, run.config, run.final.weights, interp.open_runs(run.path.parent)):
        assert shown._repr_html_().startswith("<table><tr><th")
    assert eval(repr(run.config.train), {"TrainConfig": TrainConfig}) == run.config.train


def test_a_checkpoint_by_its_number_or_as_the_first_or_last(run):
    assert run[-1] == run.at("last") == run.final
    assert run[0] == run.at("first") == run.first
    with pytest.raises(UserError, match='no checkpoint "lst"; take a step, "first" or "last"'):
        run.at("lst")


def test_a_field_of_a_field_is_changed_by_its_dotted_name(run):
    other = run.config.but(**{"train.steps": 5, "train.lr": 0.1, "task.p": 7})
    assert (other.train.steps, other.train.lr, other.task.p) == (5, 0.1, 7)
    assert other.but(train=run.config.train, task=run.config.task) == run.config
    with pytest.raises(UserError, match=r"trian\.steps is not a known field"):
        run.config.but(**{"trian.steps": 5})
    with pytest.raises(UserError, match=r"train\.stops is not a known field"):
        run.config.but(**{"train.stops": 5})


def test_an_analysis_tells_its_options_and_variables(run):
    assert "threshold" in inspect.signature(run.measure.curves).parameters
    assert "Options:" in run.measure.curves.__doc__ and "train_loss" not in run.plot.norms.__doc__


def test_ipython_shows_the_sentence_of_a_mistake_alone(run, shell, capsys):
    shell.run_cell("import interp; interp.open_run('nowhere')")
    said = capsys.readouterr()
    assert "nowhere is no directory" in said.out + said.err
    assert "interp/store" not in said.out + said.err
    shell.run_cell(f"interp.train_run('quick', {str(run.path)!r})")
    assert (
        "go on with it by resume=True, replace it by overwrite=True, or choose another out" in capsys.readouterr().out
    )


def test_a_misspelt_analysis_is_a_sentence_and_no_attribute(run, shell, capsys):
    shell.user_ns["run"] = run
    shell.run_cell("run.measure.fourir()")
    assert capsys.readouterr().out.strip() == 'error: no analysis "fourir"; did you mean "fourier"?'
    assert not hasattr(run.measure, "fourir")


def test_options_complete_inside_the_brackets(run, shell):
    shell.user_ns["run"] = run
    text = "run.measure.fourier("
    with provisionalcompleter():
        offered = [each.text for each in shell.Completer.completions(text, len(text))]
    assert {"rule=", "anew="} <= {*offered}


@pytest.fixture
def far_away(monkeypatch):
    """A terminal over ssh: no display, and no browser that could take the terminal."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("far_away")
def test_a_figure_without_a_display_is_a_page_whose_place_is_told(run, shell, capsys):
    shell.user_ns["run"] = run
    shell.run_cell("run.plot.norms()")
    said = capsys.readouterr().out.strip()
    page = Path(said.rpartition("page: ")[2])
    assert page == (run.path / "analysis/shown/norms.html").resolve()
    text = page.read_text()
    assert "python -m interp.analyze norms" in text
    assert "plotly.js v" in text  # it stands alone
    run.plot.norms().show()
    assert capsys.readouterr().out == f"page: {page}\n"
    assert "traces" in repr(run.plot.norms())


@pytest.mark.usefixtures("far_away")
def test_a_figure_of_a_run_that_may_only_be_read_is_a_page_elsewhere(run, capsys):
    (run.path / "analysis").write_text("my notes")
    run.plot.curves().show()
    page = Path(capsys.readouterr().out.strip().removeprefix("page: "))
    assert page.exists()
    assert run.path not in page.parents


def test_a_figure_opens_in_the_browser_that_there_is(run, tmp_path):
    """A real process with a browser of its own, which only notes what it is given."""
    opened, browser = tmp_path / "opened", tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    browser.chmod(0o755)
    code = f"import interp; interp.open_run({str(run.path)!r}).plot.curves().show()"
    surroundings = os.environ | {"DISPLAY": ":0", "BROWSER": f"{browser} %s"}
    done = subprocess.run([sys.executable, "-c", code], env=surroundings, capture_output=True, text=True, check=True)
    page = (run.path / "analysis/shown/curves.html").resolve()
    assert done.stdout == f"page: {page}\n"
    assert opened.read_text().strip() == page.as_uri()


def test_a_preset_is_trained_by_its_name(tmp_path):
    with pytest.raises(UserError, match='no preset "quik"; did you mean "quick"'):
        interp.train_run("quik", tmp_path / "x")


@pytest.fixture(scope="module")
def shell() -> Any:
    """The one IPython of this process, with the extension."""
    found: Any = start_ipython()
    found.run_line_magic("load_ext", "interp.probe")
    return found


def test_names_complete_by_tab(run, shell):
    shell.user_ns["run"] = run
    with provisionalcompleter():
        completed = {completion.text.strip(".'\"") for completion in shell.Completer.completions("run.measure.fo", 14)}
        assert any(text.endswith("fourier") for text in completed)
    assert "superposition" in shell.complete("super", "run.measure('super", 18)[1]


@pytest.fixture(scope="module")
def others(tmp_path_factory) -> dict[str, Run]:
    """Runs that most analyses do not fit: a toy model, and products in S5, whose elements have no waves."""
    configs = {
        "toy": RunConfig(
            task=SparseFeaturesTask(n_features=8, examples=20),
            model=ToySpec(d_hidden=2),
            train=TrainConfig(steps=2, log_every=1, checkpoint_every=1),
        ),
        "s5": RunConfig(
            task=GroupTask(group="S5"),
            model=TransformerSpec(d_model=8, n_heads=1, d_head=4, d_mlp=8),
            train=TrainConfig(steps=2, log_every=1, checkpoint_every=1),
        ),
    }
    parent = tmp_path_factory.mktemp("others")
    return {name: interp.train_run(config, parent / name) for name, config in configs.items()}


@pytest.mark.parametrize(
    ("name", "fits", "does_not"), [("toy", "geometry", "fourier"), ("s5", "groups", "clock_pizza")]
)
def test_the_banner_and_tab_offer_what_fits_the_run_at_hand(shell, others, name, fits, does_not):
    run = others[name]
    shell.user_ns["run"] = run
    offered = shell.complete("", "run.plot('", 10)[1]
    assert fits in offered
    assert does_not not in offered
    assert set(offered) >= set(dir(run.plot)) == set(run.applies.fitting)
    listed = banner(run).rpartition("fit: ")[2]
    assert f"{fits}," in listed
    assert does_not not in listed
    with pytest.raises(UserError, match=re.escape(run.applies[does_not])):
        run.measure(does_not)


def test_the_command_opens_ipython_with_the_run_and_a_banner_of_three_lines(run):
    child = pexpect.spawn(
        sys.executable,
        ["-m", "interp.probe", str(run.path), "--simple-prompt", "--no-confirm-exit"],
        encoding="utf-8",
        timeout=60,
        dimensions=(40, 250),
    )
    child.expect(r"In \[1\]:")
    banner = [line for line in str(child.before).strip().splitlines() if line.strip()]
    assert len(banner) == 3
    assert str(run.path) in banner[0]
    child.sendline("print(run.final.step * 1000 + len(run))")
    child.expect(str(40_000 + len(run)))
    child.sendline("exit")
    child.expect(pexpect.EOF)


def test_in_a_notebook_measuring_says_what_it_does(tiny_copy, monkeypatch, capsys):
    run = interp.open_run(tiny_copy.path)
    run.measure("norms")
    assert "measuring" not in capsys.readouterr().err
    notebook = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel="a kernel"))
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    run.measure("norms", anew=True)
    assert "measuring norms" in capsys.readouterr().err
