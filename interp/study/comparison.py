"""Settings of a study compared by permutation: can so few runs tell them apart?"""

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from interp.base import UserError, near_miss
from interp.maths.permutation import Stratum, holm, later, permuted
from interp.maths.phases import kaplan_meier_median
from interp.study.table import STEPS, having, watched


def compare(
    table: pd.DataFrame,
    by: str,
    of: Sequence[str],
    within: Sequence[str] = (),
    *,
    each: Sequence[str] = (),
    control: object = None,
    steps: Sequence[str] = STEPS,
) -> pd.DataFrame:
    """A table with a row for each pair of settings in column `by` and each column of `of`: do the settings differ?

    `p_value` is the exact two-sided permutation p of the difference of mean ranks (Mann and Whitney). A run that did not arrive
    comes after all that arrived by the step to which it was watched (Gehan). `holm` is it corrected for all rows of the
    table. `least_p_value` is the smallest that so many runs can give; where it is not small, the row can show nothing. `less`
    is the share of pairs of runs, one of each setting, where that of `setting` is less; ties and unknown ones count half.
    `left_out` counts runs that have none of the other setting in their stratum.

    Args:
        table: a row for each run.
        by: column of the settings.
        of: columns to compare, of numbers.
        within: columns whose runs are compared only where these agree (strata). With the seed this is the sign test.
        each: columns whose cells are compared apart, as one family; a cell with one setting has no row.
        control: setting that each other is compared with; by default every pair is compared.
        steps: columns where NaN says that a run did not arrive by `…_until`, or by its last step if there is no such column.

    Raises:
        UserError: the table lacks a column, a value or a setting.
    """
    settings = checked(table, by, of, (*within, *each), steps)
    if control is not None and control not in settings:
        raise UserError(f'no run has {by} = "{control}"{near_miss(str(control), map(str, settings))}')
    rows = {}
    for key, cell in cells(table, each):
        here = [setting for setting in settings if setting in entries(cell, by)]
        others = [(one, control) for one in here if one != control and control in here]
        for what in of:
            for one, other in others if control is not None else combinations(here, 2):
                rows[(*key, what, one, other)] = row_of_two(cell, by, what, within, (one, other), steps)
    return corrected(rows, [*each, "what", "setting", "against"], by)


def trend(
    table: pd.DataFrame,
    by: str,
    of: Sequence[str],
    within: Sequence[str] = (),
    *,
    each: Sequence[str] = (),
    order: Sequence[object] | None = None,
    steps: Sequence[str] = STEPS,
    limit: int = 100_000,
    draws: int = 100_000,
    seed: int = 0,
) -> pd.DataFrame:
    """A table with a row for each column of `of`: does it rise or fall with the ordered settings in column `by`?

    The statistic is that of Jonckheere and Terpstra. `p_value` is two-sided and exact up to `limit` permutations of a stratum;
    beyond, it is of `draws` random ones with `seed`, and `p_value_error` is its standard error (0: exact). `less` is the share of
    pairs of runs in different settings where that of the lower setting is less. Other columns are as in `compare`.

    Args:
        table: a row for each run.
        by: column of the settings.
        of: columns to compare, of numbers.
        within: columns whose runs are compared only where these agree.
        each: columns whose cells are compared apart, as one family; a cell with one setting has no row.
        order: the settings from the lowest to the highest; by default numbers in their order.
        steps: columns where NaN says that a run did not arrive, as in `compare`.
        limit: number of permutations of a stratum up to which all are counted.
        draws: number of random ones beyond.
        seed: seed of the draws.

    Raises:
        UserError: the table lacks a column, a value or a setting, or its settings have no order.
    """
    settings = checked(table, by, of, (*within, *each), steps)
    if order is None and not all(isinstance(setting, int | float) for setting in settings):
        raise UserError(f'settings in column "{by}" are no numbers ({settings[0]!r}); a trend needs their order')
    if order is not None and {*settings} != {*order}:
        names = ", ".join(map(str, settings))
        raise UserError(f"the order is {', '.join(map(str, order))}; it should have each setting of {by} once: {names}")
    rows = {}
    for key, cell in cells(table, each):
        here = [setting for setting in order or settings if setting in entries(cell, by)]
        for what in of if len(here) > 1 else ():
            strata, left_out = dealt(cell, by, what, within, here, steps)
            found = permuted(strata, limit, draws, seed)
            rows[(*key, what)] = {
                "settings": len(here),
                "runs": len(cell) - left_out,
                "less": share(found.statistic, found.pairs),
                "p_value": found.p,
                "p_value_error": found.p_error,
                "least_p_value": found.least_p,
                "left_out": left_out,
            }
    return corrected(rows, [*each, "what"], by)


def row_of_two(
    cell: pd.DataFrame,
    by: str,
    what: str,
    within: Sequence[str],
    pair: tuple[object, object],
    steps: Sequence[str],
) -> dict[str, float]:
    """The row of a pair of settings: number of runs, medians, and how sure it is that they differ."""
    both = cell.loc[cell[by].isin(pair)]
    strata, left_out = dealt(both, by, what, within, list(pair), steps)
    found = permuted(strata)
    one, other = (watched(both.loc[both[by] == setting], what, steps) for setting in pair)
    return {
        "runs": len(one[0]),
        "runs_against": len(other[0]),
        "median": median(*one),
        "median_against": median(*other),
        "less": share(found.statistic, found.pairs),
        "p_value": found.p,
        "least_p_value": found.least_p,
        "left_out": left_out,
    }


def checked(
    table: pd.DataFrame, by: str, of: Sequence[str], parts: Sequence[str], steps: Sequence[str]
) -> list[object]:
    """Settings of the table in their order, once it is known to have what is asked for; UserError if it has not."""
    having(table, (by, *of, *parts))
    if not of:
        raise UserError("no column to compare is given")
    for name in (by, *parts):
        if missing := int(table[[name]].isna().to_numpy().sum()):
            raise UserError(f'column "{name}" has no value in {missing} of {len(table)} runs')
    for name in of:
        if not pd.api.types.is_numeric_dtype(table[name]):
            raise UserError(f'column "{name}" has no numbers; compare a column of numbers')
        values, until = watched(table, name, steps)
        if missing := int((np.isnan(values) & np.isnan(until)).sum()):
            raise UserError(
                f'column "{name}" has no value in {missing} of {len(table)} runs; leave these runs out, or if it is a step '
                f'that they did not reach, name it among the steps and give a column "{name}_until" or "last_step"'
            )
    settings = pd.Series(entries(table, by)).sort_values().unique().tolist()
    if len(settings) < 2:
        raise UserError(f'column "{by}" has one setting in all runs; a comparison needs two')
    return settings


def entries(table: pd.DataFrame, name: str) -> list[object]:
    """A column as a list."""
    return table[name].tolist()


def cells(table: pd.DataFrame, each: Sequence[str]) -> Iterator[tuple[tuple[object, ...], pd.DataFrame]]:
    """Cells of runs that agree in the columns `each`, with the values in which they do."""
    if not each:
        yield (), table
    for key, cell in table.groupby(list(each)) if each else ():
        yield key if isinstance(key, tuple) else (key,), cell


def dealt(
    cell: pd.DataFrame,
    by: str,
    what: str,
    within: Sequence[str],
    settings: Sequence[object],
    steps: Sequence[str],
) -> tuple[list[Stratum], int]:
    """Strata in which there are runs of several settings, and the number of runs in others."""
    strata, left_out = [], 0
    for _, runs in cells(cell, within):
        labels = np.unique([settings.index(setting) for setting in entries(runs, by)], return_inverse=True)[1]
        if labels.max() == 0:
            left_out += len(runs)
            continue
        strata.append((later(*watched(runs, what, steps)), labels))
    return strata, left_out


def watched_unlike(table: pd.DataFrame, by: str, of: Sequence[str], steps: Sequence[str] = STEPS) -> list[str]:
    """Columns in which runs did not arrive though settings were watched for unlike numbers of steps: p is not exact there."""
    found: list[str] = []
    for what in of:
        values, until = watched(table, what, steps)
        of_setting = np.asarray(entries(table, by), dtype=object)
        longest = {float(until[of_setting == setting].max()) for setting in dict.fromkeys(of_setting)}
        if np.isnan(values).any() and len(longest) > 1:
            found.append(what)
    return found


def median(values: np.ndarray, until: np.ndarray) -> float:
    """Median of runs as `spread` has it: that of Kaplan and Meier for steps, the ordinary one otherwise."""
    arrived = ~np.isnan(values)
    return float(np.median(values)) if np.isnan(until).all() else kaplan_meier_median(values[arrived], until[~arrived])


def share(statistic: int, pairs: int) -> float:
    """Share of pairs with the lesser value in the first setting, from pairs for it less pairs against it."""
    return 0.5 + statistic / (2 * pairs) if pairs else np.nan


def corrected(rows: dict[tuple[object, ...], dict[str, float]], names: list[str], by: str) -> pd.DataFrame:
    """Rows as a table with p corrected for all of them beside p; UserError if there is no row."""
    if not rows:
        raise UserError(f'no cell has two settings of column "{by}"; there is nothing to compare')
    index = pd.MultiIndex.from_tuples(rows, names=names)
    found = pd.DataFrame(list(rows.values()), index if len(names) > 1 else index.get_level_values(0))
    found.insert(list(found).index("p_value") + 1, "holm", holm(found["p_value"].to_numpy()))
    return found
