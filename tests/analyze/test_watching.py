"""What a person sees while checkpoints are measured; a library stays silent."""

import pytest

from interp import analyze
from interp.cli.analyze import main
from interp.store import CheckpointError
from interp.views import watched

pytestmark = pytest.mark.usefixtures("no_browser")


def test_elsewhere_than_in_a_terminal_lines_count_the_checkpoints_and_the_seconds_left(tiny, capsys, monkeypatch):
    monkeypatch.setattr(watched, "SECONDS", 0.0)
    with watched.shown("neurons"):
        analyze.measure(tiny, "neurons")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "measuring neurons"
    assert lines[1].startswith(f"measuring neurons: 1 of {len(tiny)} checkpoints, ")
    assert lines[-1].startswith(f"measuring neurons: {len(tiny) - 1} of {len(tiny)} checkpoints, ")


def test_a_terminal_has_a_bar(tiny, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with watched.shown("neurons"):
        analyze.measure(tiny, "neurons")
    assert "measuring neurons" in capsys.readouterr().err


def test_a_library_is_silent_also_after_someone_watched(tiny, capsys):
    with pytest.raises(ZeroDivisionError), watched.shown("x"):
        raise ZeroDivisionError
    capsys.readouterr()
    analyze.measure(tiny, "neurons")
    assert capsys.readouterr().err == ""


def test_a_damaged_checkpoint_stops_the_measuring_of_the_rest(tiny_copy, monkeypatch):
    measured, stacked = [], type(tiny_copy).stacked
    monkeypatch.setattr(type(tiny_copy), "stacked", lambda run, *names: measured.append(run) or stacked(run, *names))
    first = tiny_copy.first.path
    first.write_bytes(first.read_bytes()[:-1])
    with pytest.raises(CheckpointError):
        analyze.measure(tiny_copy, "neurons")
    assert len(measured) < len(tiny_copy)


def test_the_command_shows_it_on_stderr_alone(tiny_copy, capsys):
    assert main(["neurons", str(tiny_copy.path), "--json"]) == 0
    shown = capsys.readouterr()
    assert shown.err.splitlines()[0] == "measuring neurons"
    assert "measuring" not in shown.out


def test_all_says_the_how_manyth_of_those_that_fit_it_is(tiny_copy, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(analyze, "analyses", lambda: dict.fromkeys(("norms", "llc", "breakdown", "curves"), "?"))
    assert main(["all", str(tiny_copy.path), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr()
    assert said.err.splitlines()[:2] == ["measuring norms, 1 of 3", "measuring breakdown, 2 of 3"]
    assert "llc: left out, takes minutes" in said.out
