"""interp/report/runs.py and interp/figures/overlaid.py: what differs has a column, a colour and a median."""

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers import tiny_config

from interp import analyze, figures
from interp.cli.over_runs import Together
from interp.recipe import Seeds, TrainConfig
from interp.train.loop import train

DECAYS, SEEDS = (1.0, 2.0), (0, 1)


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """Runs of two weight decays, two seeds each."""
    place = tmp_path_factory.mktemp("grid")
    return [
        train(
            tiny_config(train=TrainConfig(steps=4, checkpoint_every=2, weight_decay=decay), seeds=Seeds(model=seed, split=seed)),
            place / f"decay={decay:g}+seed={seed}",
        )
        for decay in DECAYS
        for seed in SEEDS
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["curves", "phases"])
def test_settings_are_compared_apart_and_seeds_together(grid, name):
    found = [analyze.measure(run, name) for run in grid]
    table = analyze.compare(found)
    assert table.columns[0] == "train.weight_decay"
    of_one = analyze.compare(found[:2])
    assert "train.weight_decay" not in of_one
    for decay, runs in zip(DECAYS, (found[:2], found[2:]), strict=True):
        here: Any = table[table["train.weight_decay"] == decay].drop(columns="train.weight_decay")
        pd.testing.assert_frame_equal(here.sort_index(), analyze.compare(runs).sort_index(), check_dtype=False)
    assert list(table.index[::2]) == list(table.index[1::2]), "what is compared stands below each other"


def test_the_median_is_at_every_step_of_any_curve_and_only_over_those_that_are_there():
    low, high = pd.Series([0.0, 2.0], index=[0, 10]), pd.Series([4.0, 4.0, 8.0], index=[0, 5, 20])
    middle = figures.overlaid({"a": low.to_frame("x"), "b": high.to_frame("x")}, {"a": "s", "b": "s"}, "t")
    traces: list[Any] = list(middle.select_traces())
    thick = next(trace for trace in traces if trace.line.width == 3)
    assert list(thick.x) == [0, 5, 10, 20]
    np.testing.assert_allclose(thick.y, [2, 2.5, (2 + 4 + 4 / 3) / 2, 8])


def test_a_setting_has_one_colour_and_one_name_however_many_there_are():
    for count in (2, 30):
        tables = {f"run {i}": pd.DataFrame({"x": [1.0, 2], "y": [3.0, 4]}) for i in range(2 * count)}
        settings = {f"run {i}": f"lr = {i // 2}" for i in range(2 * count)}
        traces: list[Any] = list(figures.overlaid(tables, settings, "t").select_traces())
        colours = {trace.legendgroup: trace.line.color for trace in traces}
        assert len(set(colours.values())) == count
        assert all(trace.line.color == colours[trace.legendgroup] for trace in traces)
        assert sorted(trace.name for trace in traces if trace.showlegend) == sorted(
            f"lr = {i} (2)" for i in range(count)
        )


def test_the_page_over_runs_leads_to_each_and_tells_what_differs(grid, capsys):
    together, place = Together(several=True), grid[0].path.parent
    for run in grid:
        measured = {name: analyze.measure(run, name) for name in ("norms", "curves")}
        together.add(run.path.name, run.path / "analysis", measured)
    together.report(place / "analysis", json_only=False, page=True)
    text = (place / "analysis/index.html").read_text()
    links = re.findall(r'<a href="([^"#]+)">([^<]+)</a>', text)
    assert links == [(f"../{run.path.name}/analysis/index.html", run.path.name) for run in grid]
    assert "They differ in train.weight_decay." in text
    assert text.index('id="curves"') < text.index('id="norms"')
    assert "page over the runs" in capsys.readouterr().out


def test_of_a_single_run_there_is_no_page_over_runs(grid, tmp_path):
    together = Together(several=False)
    together.add("one", tmp_path, {"curves": analyze.measure(grid[0], "curves")})
    together.report(tmp_path, json_only=False, page=True)
    assert not list(tmp_path.iterdir())
