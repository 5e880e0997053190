"""The one page: every figure of a run under its question, with definition, source, numbers and command."""

import html
from pathlib import Path

import plotly.graph_objects as go
import xarray as xr
from plotly.offline import get_plotlyjs

from interp import analyze
from interp.report.files import QUIET, table_text
from interp.store import Run
from interp.store.files import write_whole

STYLE = """
body { max-width: 1080px; margin: 2rem auto; padding: 0 1rem; color: #1f2933; line-height: 1.5;
       font-family: Inter, 'Helvetica Neue', Arial, sans-serif; }
h1 { margin-bottom: .2rem; } h2 { margin-top: 3rem; border-top: 1px solid #d9dfe5; padding-top: 1.2rem; font-size: 1.25rem; }
th { text-align: left; padding-right: 1.5rem; font-weight: 500; color: #57606a; vertical-align: top; }
pre { background: #f4f6f8; padding: .8rem; overflow-x: auto; font-size: .82rem; }
.note { color: #57606a; font-size: .9rem; } code { background: #f4f6f8; padding: .1rem .3rem; }
summary { cursor: pointer; color: #2563ab; font-size: .9rem; } nav a { margin-right: 1.2rem; color: #2563ab; }
"""


def write_page(
    run: Run, measured: dict[str, tuple[xr.Dataset, go.Figure]], left_out: dict[str, str], path: Path
) -> None:
    """Write the page to `path`: self-contained, no network, text from the run escaped."""
    sections = [section(run, name, found, figure, path.parent) for name, (found, figure) in measured.items()]
    absent = "".join(f"<li><code>{html.escape(name)}</code>: {html.escape(why)}</li>" for name, why in left_out.items())
    links = "".join(f'<a href="#{name}">{name}</a>' for name in measured)
    title = html.escape(run.name)
    page = (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{title} – interp</title><style>{STYLE}</style>"
        f"<script>{get_plotlyjs()}</script></head><body><h1>{title}</h1>{run._repr_html_()}<p><nav>{links}</nav></p>"  # pyright: ignore[reportPrivateUsage]  IPython names it
        f"{''.join(sections)}"
        + (f"<h2>Left out</h2><ul class='note'>{absent}</ul>" if absent else "")
        + "</body></html>"
    )
    write_whole(path, page.encode())


def section(run: Run, name: str, found: xr.Dataset, figure: go.Figure, directory: Path) -> str:
    """One analysis: its question, figure, table and provenance."""
    files = " ".join(
        f'<a href="{name}.{kind}">.{kind}</a>'
        for kind in ("csv", "nc", "png")
        if (directory / f"{name}.{kind}").exists()
    )
    return (
        f"<h2 id='{name}'>{html.escape(analyze.analyses()[name])}</h2>"
        f"{figure.to_html(full_html=False, include_plotlyjs=False, include_mathjax=False, config=QUIET)}"
        f"<details><summary>numbers</summary><pre>{html.escape(table_text(analyze.summarise(found), rows=25))}</pre></details>"
        f"<p class='note'>{html.escape(found.attrs['definition'])}. Source: {html.escape(found.attrs['source'])}.<br>"
        f"<code>{html.escape(found.attrs['command'])}</code> {files}</p>"
    )
