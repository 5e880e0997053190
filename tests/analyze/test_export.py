"""interp/report/files.py: pictures when there is a browser, a sentence when there is none or it hangs."""

import time

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from PIL import Image, ImageSequence

from interp import figures
from interp.report import files as _export


@pytest.fixture
def figure():
    return go.Figure(layout={"height": 300})


def test_without_a_browser_one_line_says_how_to_get_one(figure, tmp_path, monkeypatch):
    monkeypatch.setattr(_export, "browser", lambda: None)
    said = _export.write_pngs({tmp_path / "x.png": figure})
    assert "apt install chromium" in said
    assert "\n" not in said
    assert not (tmp_path / "x.png").exists()


def test_a_browser_that_hangs_is_given_up(figure, tmp_path, monkeypatch):
    stuck = tmp_path / "chromium"
    stuck.write_text("#!/bin/sh\nsleep 600\n")
    stuck.chmod(0o755)
    monkeypatch.setenv("BROWSER_PATH", str(stuck))
    monkeypatch.setattr(_export, "PNG_SECONDS", 4)
    monkeypatch.setattr(_export, "browser", lambda: str(stuck))
    began = time.monotonic()
    said = _export.write_pngs({tmp_path / "x.png": figure})
    assert said.startswith("no .png")
    assert str(stuck) in said
    assert time.monotonic() - began < 60


def test_a_browser_that_fails_at_once_costs_the_pictures_and_no_more(figure, tmp_path, monkeypatch):
    monkeypatch.setattr(_export, "browser", lambda: "no-such-browser")
    monkeypatch.setattr(_export.sys, "executable", "/bin/false")
    older = tmp_path / "0.png"
    older.write_bytes(b"of another measurement")
    with _export.Pictures() as pictures:
        for number in range(3):
            pictures.add(tmp_path / f"{number}.png", figure)
            time.sleep(0.1)
    assert pictures.trouble.startswith("no .png: the browser no-such-browser failed")
    assert not list(tmp_path.iterdir())


def test_a_browser_draws_a_picture(figure, tmp_path):
    if _export.browser() is None:
        pytest.skip("no Chrome or Chromium on this machine to draw with")
    assert not _export.write_pngs({tmp_path / "x.png": figure})
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


@pytest.fixture
def growing():
    figure = figures.panels(["loss"], heights=[3], title="a curve")
    figure.add_scatter(x=np.arange(5), y=np.arange(5.0))
    return figures.animated(figure, range(5))


def test_a_moving_picture_has_every_frame_and_begins_anew(growing, tmp_path):
    if _export.browser() is None:
        pytest.skip("no Chrome or Chromium on this machine to draw with")
    assert not _export.write_gif(growing, tmp_path / "x.gif")
    with Image.open(tmp_path / "x.gif") as moving:
        assert moving.info["loop"] == 0  # for ever
        assert moving.size == (1000, growing.layout.height)
        frames = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(moving)]
        assert len(frames) == 5
        assert [moving.info["duration"] for _ in ImageSequence.Iterator(moving)] == [150] * 4 + [3000]
    blue = [int((abs(frame.astype(int) - frames[-1][0, 0]).sum(axis=-1) > 60).sum()) for frame in frames]
    assert blue == sorted(blue), "what was drawn stays"
    assert blue[0] < blue[-1]


def test_without_a_browser_there_is_no_moving_picture(growing, tmp_path, monkeypatch):
    monkeypatch.setattr(_export, "browser", lambda: None)
    said = _export.write_gif(growing, tmp_path / "x.gif")
    assert said.startswith("no .gif")
    assert not (tmp_path / "x.gif").exists()


@pytest.mark.parametrize(("length", "lines"), [(2, 2), (3, 3), (5, 5), (50, 5)])
def test_a_long_table_is_thinned_and_keeps_its_ends(length, lines):
    table = pd.DataFrame({"x": range(length)}, index=pd.Index(range(0, 10 * length, 10), name="step"))
    printed = _export.table_text(table, rows=5).splitlines()[2:]
    assert len(printed) == lines
    assert printed[0].split() == ["0", "0"]
    assert printed[-1].split() == [str(10 * (length - 1)), str(length - 1)]


def test_what_is_not_a_number_is_a_dash_and_what_was_not_reached_is_words():
    table = pd.DataFrame([{"a": float("nan"), "b": "not reached", "c": 1e-7}], index=pd.Index([3], name="step"))
    assert _export.table_text(table).split() == ["step", "3", "a", "–", "b", "not", "reached", "c", "1e-07"]


def test_columns_that_do_not_fit_stand_below_beside_the_index():
    table = pd.DataFrame({f"column {i}": range(3) for i in range(9)}, index=pd.Index(range(3), name="step"))
    lines = _export.table_text(table, width=40).splitlines()
    assert max(map(len, lines)) <= 40
    assert lines.count("step") == 3
    assert " ".join(lines).count("column 8") == 1
    assert _export.table_text(table).splitlines()[0].split()[-2:] == ["column", "8"]
