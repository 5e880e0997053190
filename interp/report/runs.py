"""The page over runs: a table of them, their curves over each other, and what is compared, each run a link to its page."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import pandas as pd
import plotly.graph_objects as go
import xarray as xr

from interp import analyze, figures
from interp.measurement import LEARNING
from interp.report.document import drawing, render, table
from interp.report.story import in_order
from interp.report.words import guide, terms
from interp.store.files import write_whole
from interp.views.swept import swept

PANELS = 6
"""Most curves of an analysis that are drawn over the runs: the first of its table."""


class Brief(NamedTuple):
    """What the page over runs keeps of one run, so that of many runs there is room for it."""

    name: str
    page: Path
    """Where the run's own page is."""
    fields: xr.Dataset
    """Nothing but the configuration, as an attribute."""
    curves: dict[str, pd.DataFrame]
    """By analysis, numbers by step, with a column for each that is drawn."""
    facts: dict[str, object]
    """What the table of runs says of it."""

    @classmethod
    def of(cls, name: str, page: Path, measured: Mapping[str, xr.Dataset]) -> Self:
        """What is kept of the measurements of a run."""
        config = next(iter(measured.values())).attrs["config"]
        curves = {each: series(found) for each, found in measured.items()}
        curves = {each: table for each, table in curves.items() if len(table.columns)}
        return cls(name, page, xr.Dataset(attrs={"config": config}), curves, facts(measured))


def series(found: xr.Dataset) -> pd.DataFrame:
    """Curves of a measurement by step: the numbers of its table; where that has a single row, its variables over steps alone.

    The losses and accuracies that every measurement has beside it are those of `curves`.
    """
    short = analyze.summarise(found)
    if len(short) > 1 and short.index.equals(pd.Index(found["step"].values)):
        return short.select_dtypes("number").iloc[:, :PANELS]
    own = [
        str(name)
        for name, variable in found.data_vars.items()
        if variable.dims == ("step",) and (name not in LEARNING or found.attrs["analysis"] == "curves")
    ]
    words = {name: found[name].attrs.get("long_name", name) for name in own}
    return pd.DataFrame({words[name]: found[name].values for name in own}, index=found["step"].values).iloc[:, :PANELS]


def facts(measured: Mapping[str, xr.Dataset]) -> dict[str, object]:
    """Steps and last values of the curves, and then the words of the verdict that are not about them."""
    told: dict[str, object] = {}
    if "curves" in measured:
        attrs, last = measured["curves"].attrs, measured["curves"].isel(step=-1)
        told = {name: attrs[name] for name in ("memorised", "generalised", "collapsed")}
        told |= {str(last[name].attrs["long_name"]): last[name].item() for name in LEARNING}
        told |= {"last step": int(last["step"])}
    verdict = analyze.verdict([measured[name] for name in in_order(measured)])
    return told | {topic: words for topic, words in verdict.items() if topic not in told}


def write_runs_page(title: str, briefs: Sequence[Brief], compared: Mapping[str, pd.DataFrame], path: Path) -> None:
    """Write the page over these runs to `path`, with the tables that were made of them by analysis."""
    fields = swept([each.fields for each in briefs])
    settings = {each.name: in_words(dict(fields.iloc[row])) for row, each in enumerate(briefs)}
    known = in_order({name for each in briefs for name in [*each.curves, *compared]})
    sections = [
        {
            "name": name,
            "question": analyze.analyses()[name],
            "drawing": drawing(name, overlaid(name, briefs, settings)) if any(name in each.curves for each in briefs) else None,
            "table": table(compared[name], most=400) if name in compared else None,
        }
        for name in known
    ]  # fmt: skip
    used = terms(key for name in known for key in guide(name).terms)
    page = render(
        "runs.html",
        title=title,
        varied=list(fields.columns),
        count=len(briefs),
        runs=table(table_of_runs(briefs, fields), most=len(briefs)),
        links=[os.path.relpath(each.page, path.parent) for each in briefs],
        sections=sections,
        glossary=used,
        contents=[("runs", "runs"), *((name, name.replace("_", " ")) for name in known), ("glossary", "glossary")],
    )
    write_whole(path, page)


def table_of_runs(briefs: Sequence[Brief], fields: pd.DataFrame) -> pd.DataFrame:
    """A row for each run: its name, the fields in which the runs differ, and its facts, a collapse only if there is one."""
    told = pd.DataFrame([each.facts for each in briefs])
    told = told.drop(columns=told.columns[told.isna().all()].intersection(["collapsed"]))
    names = pd.Index([each.name for each in briefs], name="run")
    return pd.concat([fields, told], axis=1).set_index(names)


def overlaid(name: str, briefs: Sequence[Brief], settings: Mapping[str, str]) -> go.Figure:
    """The curves of an analysis over each other."""
    tables = {each.name: each.curves[name] for each in briefs if name in each.curves}
    return figures.overlaid(tables, settings, analyze.analyses()[name])


def in_words(setting: Mapping[str, object]) -> str:
    """A setting as it is read in a legend: `weight_decay = 1, lr = 0.003`; nothing where runs differ in seeds alone."""
    return ", ".join(f"{str(name).rpartition('.')[2]} = {shown(value)}" for name, value in setting.items())


def shown(value: object) -> str:
    """A value of a field, numbers as short as they can be."""
    return f"{value:g}" if isinstance(value, float) else json.dumps(value) if value is None else str(value)
