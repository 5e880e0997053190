"""interp/run.py, interp/cli/probe.py: a run at one's fingertips."""

import re
import sys
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
def run(tiny):
    return interp.open_run(tiny.path)


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
