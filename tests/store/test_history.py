"""interp/store/history.py: every row as it was written, a torn last line apart."""

import pytest

from interp.store.files import CheckpointError
from interp.store.history import HEADER_1, append, header, read_history, start, write_history

ROWS = [
    {"step": 5 * i, "train_loss": 4.0 / (i + 1), "test_loss": 0.1 + i, "train_accuracy": i / 7, "test_accuracy": 1 / 3}
    for i in range(6)
]


@pytest.fixture
def history(tmp_path):
    """A whole history, and where it ends."""
    path = tmp_path / "history.csv"
    return path, write_history(path, ROWS)


def test_rows_read_back_exactly(history):
    path, end = history
    assert read_history(path, 100, end).reset_index().to_dict(orient="records") == ROWS


def test_appended_rows_are_those_written_at_once(history, tmp_path):
    path, end = history
    other, position = tmp_path / "other.csv", start()
    other.write_text(header())
    for row in ROWS:
        position = append(other, row, position)
    assert position == end
    assert other.read_bytes() == path.read_bytes()


def test_a_value_that_is_not_known_is_left_empty_and_reads_as_nan(tmp_path):
    unknown = {**ROWS[0], "test_loss": float("nan")}
    end = write_history(tmp_path / "h.csv", [unknown])
    assert (tmp_path / "h.csv").read_text().splitlines()[1].split(",")[2] == ""
    assert read_history(tmp_path / "h.csv", 1, end)["test_loss"].isna().all()


def test_every_truncation_gives_the_rows_that_are_whole(history):
    path, _ = history
    content = path.read_bytes()
    for kept in range(len(header()), len(content)):
        path.write_bytes(content[:kept])
        found = read_history(path, 100, None).reset_index().to_dict(orient="records")
        assert found == ROWS[: content[:kept].count(b"\n") - 1]


def test_no_row_that_was_known_to_be_there_can_go_missing(history):
    path, end = history
    content = path.read_bytes()
    for kept in range(len(content)):
        path.write_bytes(content[:kept])
        with pytest.raises(CheckpointError, match=r"history\.csv is damaged"):
            read_history(path, 100, end)


def test_every_altered_byte_is_noticed(history):
    path, end = history
    content = path.read_bytes()
    for position in range(len(content)):
        for flip in (0x01, 0x10, 0x80):
            path.write_bytes(content[:position] + bytes([content[position] ^ flip]) + content[position + 1 :])
            with pytest.raises(CheckpointError, match=r"history\.csv is damaged"):
                read_history(path, 100, end)


def test_a_row_that_is_missing_or_moved_is_noticed(history):
    path, _ = history
    lines = path.read_text().splitlines(keepends=True)
    for others in ([*lines[:2], *lines[3:]], [lines[0], lines[2], lines[1], *lines[3:]], [*lines, lines[-1]]):
        path.write_text("".join(others))
        with pytest.raises(CheckpointError, match="does not match its check"):
            read_history(path, 100, None)


def test_the_history_of_another_run_is_noticed(history, tmp_path):
    path, _ = history
    other = write_history(tmp_path / "other.csv", [{**row, "train_loss": 1.0} for row in ROWS])
    with pytest.raises(CheckpointError, match="it is not the history of this run"):
        read_history(path, 100, other)


def test_a_file_longer_than_the_run_can_have_made_it_is_not_read(history):
    path, _ = history
    path.write_bytes(path.read_bytes() + b"9" * 10_000)
    with pytest.raises(CheckpointError, match="at most"):
        read_history(path, 6, None)


def test_format_1_has_no_checks(tmp_path):
    path = tmp_path / "h.csv"
    path.write_text(HEADER_1 + "0,1.0,2.0,0.5,0.25\n5,1.0,2")
    assert list(read_history(path, 10, None, checked=False).index) == [0]
    with pytest.raises(CheckpointError, match="its columns are"):
        read_history(path, 10, None)
    for step in ("9" * 400, "nan", "1e999", "x"):
        path.write_text(HEADER_1 + f"{step},1.0,2.0,0.5,0.25\n")
        with pytest.raises(CheckpointError, match=r"h\.csv is damaged"):
            read_history(path, 10, None, checked=False)
