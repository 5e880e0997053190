"""Double descent over a study's settings: where runs begin to fit, where their error peaks, and whether it does at all."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from interp.base import UserError
from interp.maths.peaks import peak, standard_errors, threshold
from interp.maths.permutation import holm
from interp.study.comparison import cells
from interp.study.table import having


def peaks(
    table: pd.DataFrame,
    over: str,
    of: Sequence[str],
    *,
    each: Sequence[str] = (),
    fits: str | None = None,
    level: float = 0.01,
    draws: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """A table with a row for each column of `of`: the rise of its mean over the settings in column `over`.

    `valley` and `peak` are settings with their means, and `height` is the rise between them, with its error: the largest
    of those at least half as sure, by their ratio to their errors, as the surest (`interp.maths.peaks`). `p_value` is
    the chance of so sure a rise if the curve never rises, `holm` is it corrected for all rows. `last` is of the last setting.
    `threshold` is the first setting whose median of column `fits` is below `level`.

    Args:
        table: a row for each run.
        over: column of the settings, numbers such as a width.
        of: columns whose peak is looked for, such as test_error.
        each: columns whose cells are looked at apart, as one family.
        fits: column of what is fitted, such as train_error.
        level: value of `fits` below which a setting fits.
        draws: number of curves that are drawn under the null.
        seed: seed of these.

    Raises:
        UserError: the table lacks a column, numbers, three settings, or two runs of a setting.
    """
    having(table, (over, *of, *each, *([fits] if fits else ())))
    for name in (over, *of, *([fits] if fits else ())):
        if not pd.api.types.is_numeric_dtype(table[name]):
            raise UserError(f'column "{name}" has no numbers; a peak is of numbers over numbers')
    rows = {}
    for key, cell in cells(table, each):
        settings = np.unique(cell[over].dropna().to_numpy(dtype=float))
        if len(settings) < 3:
            raise UserError(f'column "{over}" has {len(settings)} settings{where(each, key)}; a peak needs three')
        for what in of:
            rows[(*key, what)] = row(cell, over, what, settings, draws, seed) | (
                {}
                if fits is None
                else {"threshold": threshold(settings, by_setting(cell, over, fits, settings), level)}
            )
    found = pd.DataFrame(rows).T
    found.index = pd.MultiIndex.from_tuples(list(rows), names=[*each, "what"])
    return found.assign(holm=holm(found["p_value"].to_numpy(dtype=float)))


def row(cell: pd.DataFrame, over: str, what: str, settings: np.ndarray, draws: int, seed: int) -> dict[str, float]:
    """What is found of one curve."""
    curve = by_setting(cell, over, what, settings)
    try:
        found = peak(curve, draws, seed)
    except ValueError:
        raise UserError(f'column "{what}" has one run a setting; a peak is told from noise by two or more') from None
    means, errors = np.nanmean(curve, axis=1), standard_errors(curve)
    return {
        "runs": int((~np.isnan(curve)).sum()),
        "settings": len(settings),
        "valley": settings[found.valley],
        "valley_mean": means[found.valley],
        "peak": settings[found.peak],
        "peak_mean": means[found.peak],
        "height": found.height,
        "height_error": found.height_error,
        "last_mean": means[-1],
        "last_error": errors[-1],
        "p_value": found.p,
    }


def by_setting(cell: pd.DataFrame, over: str, what: str, settings: np.ndarray) -> np.ndarray:
    """Values [setting, run] of a column; NaN where a setting has fewer runs than others.

    Raises:
        UserError: a setting has no value.
    """
    each = [cell.loc[cell[over] == setting, what].dropna().to_numpy(dtype=float) for setting in settings]
    if empty := [f"{setting:g}" for setting, values in zip(settings, each, strict=True) if not len(values)]:
        raise UserError(f'column "{what}" has no value at {over} = {empty[0]}; leave these runs out')
    curve = np.full((len(settings), max(map(len, each))), np.nan)
    for line, values in zip(curve, each, strict=True):
        line[: len(values)] = values
    return curve


def where(each: Sequence[str], key: Sequence[object]) -> str:
    """Words for a cell."""
    return " at " + ", ".join(f"{name} = {value}" for name, value in zip(each, key, strict=True)) if each else ""
