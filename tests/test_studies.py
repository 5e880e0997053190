"""Every study at its small size: it trains, measures, tabulates and draws."""

import importlib.util
from pathlib import Path

import plotly.graph_objects as go
import pytest

ROOT = Path(__file__).parents[1]


def load(name):
    """The module of a study; analyses/ is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "analyses" / name / "study.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_progress_measures(tmp_path):
    study = load("progress_measures")
    tables = study.study("quick", 2, tmp_path)
    seeds = tables["seeds"]
    assert list(seeds.index) == [0, 1]
    assert (seeds["memorised"] < seeds["generalised"]).all()
    assert (seeds["restricted loss"] < seeds["test loss"]).all()
    assert (seeds["excluded loss"] > 1).all()
    assert (seeds["the same at random, median of 20"] < 0.01).all()
    assert tables["leads"].loc["half way, test accuracy", "reached"] == 2
    assert isinstance(study.draw(tables["curves"]), go.Figure)
    again = study.study("quick", 2, tmp_path)["seeds"]  # what is trained stays
    assert again.equals(seeds)
