"""The one page: a verdict, then each figure of a run under its question, with how to read it, numbers and definitions."""

import functools
import html
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import plotly.graph_objects as go
import xarray as xr
from markupsafe import Markup, escape

from interp import analyze, figures
from interp.report.document import Drawing, Table, drawing, render, table
from interp.report.story import in_order
from interp.report.words import Guide, glossary, guide, statements, terms
from interp.store import Run
from interp.store.files import write_whole


class Section(NamedTuple):
    """One analysis on the page."""

    name: str
    question: str
    drawing: Drawing
    guide: list[tuple[str, Markup]]
    """How the figure is read, by what it tells."""
    table: Table
    variables: list[tuple[Markup, Markup]]
    """What was measured: the name, with that of the variable under the mouse, and what it means."""
    definition: list[tuple[str, str]]
    source: str
    command: str
    files: list[str]


def write_page(
    run: Run, measured: Mapping[str, tuple[xr.Dataset, go.Figure]], left_out: dict[str, str], path: Path
) -> None:
    """Write the page to `path`: self-contained, no network, text from the run escaped."""
    names = in_order(measured)
    sections = [section(name, *measured[name], path.parent) for name in names]
    used = terms(key for name in names for key in guide(name).terms)
    others = [("left-out", "left out")] * bool(left_out) + [("glossary", "glossary")] * bool(used)
    page = render(
        "run.html",
        title=run.name,
        verdict=analyze.verdict([measured[name][0] for name in names]),
        summary=run.cells(),
        sections=sections,
        left_out=left_out,
        glossary=used,
        contents=[*((name, name.replace("_", " ")) for name in names), *others],
    )
    write_whole(path, page)


def section(name: str, found: xr.Dataset, figure: go.Figure, directory: Path) -> Section:
    """One analysis: its question, figure, table and provenance."""
    about, kinds = guide(name), ("csv", "nc", "png", "html")
    return Section(
        name=name,
        question=analyze.analyses()[name],
        drawing=drawing(name, figure),
        guide=list(about.parts.items()),
        table=table(analyze.summarise(found)),
        variables=[(named(variable), linked(meaning(variable), about)) for variable in found.data_vars.values()],
        definition=statements(found.attrs["definition"]),
        source=found.attrs["source"],
        command=found.attrs["command"],
        files=[f"{name}.{kind}" for kind in kinds if (directory / f"{name}.{kind}").exists()],
    )


def named(variable: xr.DataArray) -> Markup:
    """The name of a variable in words; as it is in files, under the mouse."""
    name = str(variable.name)
    return Markup('<span title="{}">{}</span>').format(name, name.replace("_", " "))


def meaning(variable: xr.DataArray) -> str:
    """What a variable means, with what it is over and in which units."""
    units, over = variable.attrs.get("units", ""), [str(dim) for dim in variable.dims if dim != "step"]
    return (
        variable.attrs.get("long_name", "")
        + (f", for each {', '.join(over).replace('_', ' ')}" if over else "")
        + (f" ({units})" if units not in ("", "1") else "")
    )


def linked(text: str, about: Guide) -> Markup:
    """Text in which the terms that the guide of an analysis uses lead to the glossary, each where it first stands."""
    known = sorted((glossary()[key] for key in about.terms if key in glossary()), key=lambda term: -len(term.name))
    names = {term.name.lower(): term.key for term in known}
    if not names:
        return escape(text)
    one_of = "|".join(map(re.escape, names))
    parts = re.split(rf"(?<!\w)({one_of})(?!\w)", text, flags=re.IGNORECASE)
    link = functools.partial(Markup('<a href="#term-{}">{}</a>').format)
    return Markup("").join(link(names[part.lower()], part) if i % 2 else part for i, part in enumerate(parts))


def write_html(figure: go.Figure, path: Path) -> None:
    """The figure alone on a page that needs neither a network nor another file."""
    notes: list[str] = [each.text for each in figure.select_annotations(selector={"name": figures.CAPTION})]
    title, caption = (plain(text or "") for text in (figure.layout.title.text, "; ".join(notes)))
    page = render(
        "figure.html", title=title or path.stem, caption=caption, contents=[], drawing=drawing("figure", figure)
    )
    write_whole(path, page)


def plain(text: str) -> str:
    """Text of a figure without the tags that plotly understands."""
    return html.unescape(re.sub("<[^>]*>", " ", text))
