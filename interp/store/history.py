"""history.csv: train and test loss and accuracy at every logged step, appended row by row."""

from pathlib import Path
from typing import TYPE_CHECKING

from interp.store.files import CheckpointError, write_whole

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("step", "train_loss", "test_loss", "train_accuracy", "test_accuracy")
"""Losses in nats per prompt, accuracies as shares."""

Row = dict[str, float]


def header() -> str:
    """The first line of the file."""
    return ",".join(COLUMNS) + "\n"


def line(row: Row) -> str:
    """One row as text, in the fewest digits that read back exactly."""
    return ",".join(repr(row[column]) for column in COLUMNS) + "\n"


def read_history(path: Path) -> "pd.DataFrame":
    """The history as a table with one row per logged step, indexed by step; a torn last line is left out."""
    import io

    import pandas as pd

    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"cannot read {path}: {error}") from error
    whole = text[: text.rfind("\n") + 1]
    try:
        table = pd.read_csv(io.StringIO(whole or header()), float_precision="round_trip")
        if tuple(table.columns) != COLUMNS:
            raise ValueError(f"its columns are {', '.join(table.columns)}")
        table = table.astype({column: "int64" if column == "step" else "float64" for column in COLUMNS})
        if not table["step"].is_monotonic_increasing or table["step"].duplicated().any():
            raise ValueError("its steps do not ascend")
    except (pd.errors.ParserError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged: {error}; restore it") from error
    return table.set_index("step")


def cut_history(path: Path, last_step: int) -> None:
    """Drop every row after `last_step`, and a torn last line: a resumed run writes them again."""
    kept = read_history(path).loc[:last_step].reset_index().to_dict(orient="records")
    rows = [line({name: int(value) if name == "step" else value for name, value in row.items()}) for row in kept]
    write_whole(path, "".join([header(), *rows]).encode())
