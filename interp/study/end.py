"""How runs end: errors and losses of each at its last and its best step, and their means over the runs of a cell."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from interp.base import UserError
from interp.maths.curves import least
from interp.store import Run
from interp.study.table import having


def ends(run: Run) -> dict[str, float]:
    """Errors (1 − accuracy) and losses of a run at its last logged step, and the least ones of its test set, by name.

    `best_test_error` is the least test error of all logged steps and `best_step` the first step with it: early stopping
    by the test set itself, and so a little too low. `least_test_loss` is chosen in the same way.

    Raises:
        UserError: the run has no accuracies, or nothing was logged.
    """
    history: Any = run.history
    if history.empty or history["test_accuracy"].isna().all():
        raise UserError(
            f"{run.path} has no accuracies in its history, and so no errors; take runs of a task with answers"
        )
    last, error = history.iloc[-1], 1 - history["test_accuracy"].to_numpy()
    best = least(history.index.to_numpy(), error)
    return {
        "train_error": 1 - float(last["train_accuracy"]),
        "test_error": float(error[-1]),
        "train_loss": float(last["train_loss"]),
        "test_loss": float(last["test_loss"]),
        "best_test_error": best.value,
        "best_step": int(best.step),
        "least_test_loss": float(history["test_loss"].min()),
    }


def means(table: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """A table with a row for each cell of runs that agree in `by`: the mean of every number, with its standard error as `… ±`.

    A standard error of one run is NaN. `runs` is the number of runs.

    Raises:
        UserError: the table has no such column.
    """
    having(table, by)
    cells = table.groupby(list(by))
    numbers = [name for name in table.select_dtypes("number") if name not in by]
    found = {}
    for name in numbers:
        found |= {name: cells[name].mean(), f"{name} ±": cells[name].sem()}
    return pd.DataFrame(found).assign(runs=cells.size())
