"""interp/export/: each program's own library reads back the numbers of the history and of measurements."""

import importlib
import json
import math
import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from interp import analyze
from interp.base import UserError
from interp.cli.export import main
from interp.export import export
from interp.export.curves import curves_of


@pytest.fixture
def expected(tiny):
    curves, left_out = curves_of(tiny, ["norms", "fourier"])
    assert "fourier/power" in left_out
    return curves


def test_curves_are_what_was_logged_and_what_was_measured_at_each_step(tiny, expected):
    for name, column in tiny.history.items():
        assert expected[str(name)] == {step: value for step, value in column.items() if math.isfinite(value)}
    norms = analyze.measure(tiny, "norms")
    assert expected["norms/total_sum_of_squares"][40] == pytest.approx(float(norms["total_sum_of_squares"][-1]))
    one = norms["l2"].sel(tensor="embed.W_E")
    assert list(expected["norms/l2/embed.W_E"].values()) == pytest.approx(one.values.tolist())
    ratio = norms["l2_ratio"].sel(tensor="unembed.b_U")
    assert len(expected.get("norms/l2_ratio/unembed.b_U", {})) == int(np.isfinite(ratio).sum())


def same(found: dict[str, dict[int, float]], expected, rel=0.0):
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, rel=rel), name


def test_tensorboard_reads_back_every_number(tiny, expected, tmp_path, capsys):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert main(["tensorboard", str(tiny.path), "--analyses", "norms", "fourier", "--out", str(tmp_path)]) == 0
    assert f"look at it with: tensorboard --logdir {tmp_path}" in capsys.readouterr().out
    events = EventAccumulator(str(tmp_path / tiny.path.name), size_guidance={"scalars": 0}).Reload()
    found = {tag: {each.step: each.value for each in events.Scalars(tag)} for tag in events.Tags()["scalars"]}
    same(found, expected, rel=1e-6)  # TensorBoard keeps float32
    with pytest.raises(UserError, match="has event files already; move them away, or choose another --out"):
        export(tiny, "tensorboard", expected, tmp_path, "interp")


def records_of(content: bytes) -> Iterator[bytes]:
    """Records of a file in LevelDB's log format, as Weights & Biases writes it: parts in blocks of 32 KiB."""
    place, record = 7, b""  # behind the file's own header
    while place + 7 <= len(content):
        length, kind = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        record += content[place + 7 : place + 7 + length]
        place += 7 + length
        if 32768 - place % 32768 < 7:  # no room for another part's header
            place += 32768 - place % 32768
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


def test_weights_and_biases_reads_back_every_number_without_a_network(tiny, expected, tmp_path, capsys):
    messages: Any = importlib.import_module("wandb.proto.wandb_internal_pb2")

    assert main(["wandb", str(tiny.path), "--analyses", "norms", "fourier", "--out", str(tmp_path)]) == 0
    assert f"send it by: wandb sync {tmp_path}/wandb/offline-run-" in capsys.readouterr().out
    (file,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    found, config = dict[str, dict[int, float]](), dict[str, Any]()
    import wandb

    wandb.teardown()  # its own process may still be writing the last row
    for data in records_of(file.read_bytes()):
        record = messages.Record()
        record.ParseFromString(data)
        config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        values = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for name, value in values.items():
            if not name.startswith("_"):
                found.setdefault(name, {})[int(values["_step"])] = value
    same(found, expected)
    assert config["task"]["p"] == 11


def test_trackio_reads_back_every_number(tiny, expected, tmp_path, monkeypatch):
    if find_spec("trackio") is None:
        pytest.skip("trackio needs pillow<13; install it by itself: pip install interp[trackio]")
    monkeypatch.setenv("TRACKIO_DIR", os.environ.get("TRACKIO_DIR", ""))
    shown = export(tiny, "trackio", expected, tmp_path, "mine")
    assert shown == f"TRACKIO_DIR={tmp_path} trackio show --project mine"
    storage: Any = importlib.import_module("trackio.sqlite_storage").SQLiteStorage

    found = dict[str, dict[int, float]]()
    for row in storage.get_logs("mine", tiny.path.name):
        for name, value in row.items():
            if name not in ("timestamp", "step"):
                found.setdefault(name, {})[row["step"]] = value
    same(found, expected)
    with pytest.raises(UserError, match=r'project "mine" of trackio has a run .* already; choose another --project'):
        export(tiny, "trackio", expected, tmp_path, "mine")


def test_a_library_that_is_absent_is_one_sentence(tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "trackio", None)
    monkeypatch.setattr("interp.export.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'trackio is not installed; install it by pip install "interp\[trackio\]"'):
        export(tiny, "trackio", {}, None, "interp")
