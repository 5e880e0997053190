"""In what several runs differ: the fields of a sweep, from their measurements."""

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd
import xarray as xr

from interp.base import UserError
from interp.config import flatten

AXES = {"task.examples": "training examples T"}
"""What fields are called on an axis."""


def swept(found: Sequence[xr.Dataset]) -> pd.DataFrame:
    """A row for each run: the fields other than seeds in which the runs differ."""
    configs = [flatten(json.loads(each.attrs["config"])) for each in found]
    names = dict.fromkeys(name for config in configs for name in config)
    differ = [
        name
        for name in names
        if not name.startswith(("seeds.", "name")) and len({str(config.get(name)) for config in configs}) > 1
    ]
    return pd.DataFrame([{name: groupable(config.get(name)) for name in differ} for config in configs])


def groupable(value: Any) -> Any:
    """A value that can be grouped by."""
    return str(value) if isinstance(value, list) else value


def the_number(found: Sequence[xr.Dataset]) -> str:
    """The one field in which the runs differ, seeds apart.

    Raises:
        UserError: they differ in no number, or in several fields.
    """
    fields = swept(found)
    if len(fields.columns) != 1 or not pd.api.types.is_numeric_dtype(fields.iloc[:, 0]):
        raise UserError(
            f"the runs differ in {', '.join(fields.columns) or 'seeds alone'}; a figure over runs needs one field that is a "
            "number, such as task.examples"
        )
    return str(fields.columns[0])
