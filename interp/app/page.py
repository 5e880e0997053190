"""The live page itself, in dash: the list of runs, and a run or two side by side with an analysis and a slider for the step."""

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote

from dash import MATCH, Dash, Input, Output, Patch, State, ctx, dcc, html, no_update, set_props
from plotly.graph_objects import Figure

from interp import analyze
from interp.app.listing import Listing
from interp.app.measuring import Measurements
from interp.app.rows import DRAW, HEADS, rows_of, state
from interp.app.views import frame_at, height_of, labels, marked, numbers, plain
from interp.base import UserError
from interp.store import open_run

EVERY = 2_000
"""Milliseconds between two looks at the files."""
FIRST = "curves"
"""Analysis that is shown first: it needs the history alone."""

STYLE = """
body { margin: 0 auto; max-width: 1400px; padding: 1rem; color: #1f2933; line-height: 1.45;
       font-family: Inter, 'Helvetica Neue', Arial, sans-serif; }
a { color: #2563ab; }
h1 { font-size: 1.35rem; margin: .2rem 0; }
h2 { font-size: 1.05rem; margin: .6rem 0 0; overflow-wrap: anywhere; }
p { margin: .3rem 0; }
table { border-collapse: collapse; font-size: .86rem; }
th { text-align: left; color: #57606a; font-weight: 500; }
th, td { padding: .22rem .9rem .22rem 0; border-bottom: 1px solid #e9edf1; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
button { font: inherit; padding: .25rem .8rem; cursor: pointer; }
.scrolls { overflow-x: auto; }
.quiet { color: #57606a; font-size: .88rem; }
.choices > * { margin: .4rem 0; }
.panes { display: flex; gap: 1.5rem; flex-wrap: wrap; }
.pane { flex: 1 1 380px; min-width: 0; }
.bar { height: 6px; background: #e9edf1; border-radius: 3px; max-width: 320px; }
.bar div { height: 6px; background: #0f8a6d; border-radius: 3px; }
"""


def make(directory: Path) -> Dash:
    """The page over the runs in a directory. It writes nothing but kept measurements."""
    listing, measurements = Listing(directory.resolve()), Measurements()
    app = Dash(
        "interp", title=f"{directory.resolve().name} – interp", update_title="", suppress_callback_exceptions=True
    )
    app.index_string = app.index_string.replace("</head>", f"<style>{STYLE}</style></head>")
    app.layout = html.Div([dcc.Location(id="where"), dcc.Interval(id="clock", interval=EVERY), html.Div(id="page")])
    route(app, listing)
    follow(app, listing)
    measure(app, listing, measurements)
    return app


def told(error: Exception) -> None:
    """Tell at the top of the page why nothing changes, such as a run that is gone; what is no UserError is a fault of ours."""
    if not isinstance(error, UserError):
        raise error
    set_props("trouble", {"children": str(error)})


def route(app: Dash, listing: Listing) -> None:
    """Show the list of runs, or the runs that the address names."""

    @app.callback(Output("page", "children"), Input("where", "pathname"), State("where", "search"))
    def page(pathname: str, search: str) -> Any:
        if not pathname.startswith("/run/"):
            return listed(listing)
        asked = parse_qs((search or "").removeprefix("?"))
        names = [unquote(pathname.removeprefix("/run/")), *asked.get("beside", [])[:1]]
        try:
            return shown(listing, names, asked.get("analysis", [FIRST])[0])
        except UserError as error:
            return html.Div([html.P(str(error)), dcc.Link("all runs", href="/")])


def listed(listing: Listing) -> Any:
    """The list of runs."""
    table = html.Table([html.Thead(html.Tr([html.Th(each) for each in HEADS])), html.Tbody(id="rows")])
    rows = dcc.Store(id="listed", data=rows_of(listing.all()))
    return html.Div([html.H1(f"Runs in {listing.directory}"), html.Div(table, className="scrolls"), rows])


def shown(listing: Listing, names: list[str], analysis: str) -> Any:
    """One run, or two side by side, with the choice of the analysis."""
    paths = [listing.path_of(name) for name in names]
    fitting = [name for path in paths[:1] for name in analyze.applies(open_run(path)).fitting]
    analysis = analysis if analysis in fitting else FIRST
    choice = dcc.Dropdown(
        [{"label": f"{name}: {analyze.analyses()[name]}", "value": name} for name in fitting],
        analysis, id="analysis", clearable=False,
    )  # fmt: skip
    others = [run.name for run in listing.all()]
    beside = dcc.Dropdown(
        [{"label": f"beside {name}" if name != names[0] else "beside itself, at another step", "value": name} for name in others],
        names[1] if len(names) > 1 else None, id="beside", placeholder="beside another run or step",
    )  # fmt: skip
    panes = [pane(number, name, path) for number, (name, path) in enumerate(zip(names, paths, strict=True))]
    choices = html.Div([dcc.Link("all runs", href="/"), choice, beside], className="choices")
    return html.Div([choices, html.Div(panes, className="panes")])


def pane(number: int, name: str, path: Path) -> Any:
    """A run: what it is, how far it is, its figure, and its numbers at the slider's step."""

    def part(what: str) -> dict[str, Any]:
        return {"part": what, "pane": number}

    summary = [
        f"{topic}: {words}"
        for topic, words in open_run(path).summary().items()
        if topic in ("task", "model", "training")
    ]
    return html.Div(
        [
            html.H2(name),
            html.P([each for line in summary for each in (line, html.Br())], className="quiet"),
            html.P(id=part("progress"), className="quiet"),
            dcc.Store(id=part("run"), data=name),
            dcc.Store(id=part("steps"), data=[]),
            dcc.Store(id=part("count"), data=0),
            html.Div(id=part("measuring")),
            html.Button("measure", id=part("measure"), hidden=True),
            dcc.Slider(
                0, 1, 1, value=0, marks=None, updatemode="drag", allow_direct_input=False, id=part("slider")
            ),
            html.P(id=part("step"), className="quiet"),
            dcc.Graph(id=part("figure"), config={"displaylogo": False, "responsive": True}),
            html.Div(id=part("numbers"), className="scrolls"),
        ],
        className="pane",
    )  # fmt: skip


def follow(app: Dash, listing: Listing) -> None:
    """Look at the files again while the page is open, and go where its choices lead."""

    # An output that never changes: without one, dash does not call it for what a callback put on the page.
    app.clientside_callback(DRAW, Output("rows", "title"), Input("listed", "data"))

    @app.callback(
        Output("listed", "data"), Input("clock", "n_intervals"), State("listed", "data"), prevent_initial_call=True
    )
    def rows(_: int, before: list[list[str]]) -> Any:
        now = rows_of(listing.all())
        return no_update if now == before else now

    @app.callback(
        Output({"part": "progress", "pane": MATCH}, "children"),
        Input("clock", "n_intervals"), State({"part": "run", "pane": MATCH}, "data"),
    )  # fmt: skip
    def progress(_: int, name: str) -> Any:
        run = listing.listed(listing.path_of(name))
        words = f"step {run.last.step:,} of {run.steps:,}, {state(run)}"
        saved = open_run(run.path).steps
        return f"{words}; {len(saved):,} checkpoints" + (f", the newest at {saved[-1]:,}" if saved else "")

    @app.callback(
        Output("where", "search"), Output("page", "children", allow_duplicate=True),
        Input("beside", "value"), State("where", "pathname"), State("analysis", "value"), prevent_initial_call=True,
    )  # fmt: skip
    def put_beside(beside: str | None, pathname: str, analysis: str) -> Any:
        names = [unquote(pathname.removeprefix("/run/")), *([beside] if beside else [])]
        search = f"?analysis={quote(analysis, safe='')}" + (f"&beside={quote(beside, safe='')}" if beside else "")
        return search, shown(listing, names, analysis)


def measure(app: Dash, listing: Listing, measurements: Measurements) -> None:
    """Show what is measured, measure what is not, and move with the slider."""

    def part(what: str) -> dict[str, Any]:
        return {"part": what, "pane": MATCH}

    @app.callback(
        Output(part("figure"), "figure"), Output(part("steps"), "data"), Output(part("slider"), "max"),
        Output(part("slider"), "value"), Output(part("measuring"), "children"), Output(part("measure"), "hidden"),
        Output(part("count"), "data"), Output(part("figure"), "style"),
        Input("analysis", "value"), Input("clock", "n_intervals"), Input(part("measure"), "n_clicks"),
        State(part("run"), "data"), State(part("count"), "data"), State(part("slider"), "value"), State(part("slider"), "max"),
    )  # fmt: skip
    def figure(analysis: str, _: int, __: int, name: str, before: Any, place: int, last: int) -> Any:
        path = listing.path_of(name)
        if isinstance(ctx.triggered_id, dict) and ctx.triggered_id.get("part") == "measure":
            measurements.ask(path, analysis)
        held, bar = measurements.of(path, analysis), being_made(measurements, path, analysis)
        if held is None:
            words = bar or "not measured yet"
            return ({} if before else no_update, [], no_update, no_update, words, bar is not None, None, {})
        steps = labels(held.found)
        told = bar or ("" if measurements.is_of_all(path, analysis) else "there are newer checkpoints")
        now = [analysis, len(steps), steps[-1]]
        hidden = not told or bar is not None
        if before == now:
            return (*[no_update] * 4, told, hidden, no_update, no_update)
        at_end = not before or before[0] != analysis or place == last
        end, height = len(steps) - 1, {"height": f"{height_of(held.figure)}px"}
        return plain(held.figure), steps, end, end if at_end else place, told, hidden, now, height

    @app.callback(
        Output(part("numbers"), "children"), Output(part("step"), "children"),
        Output(part("figure"), "figure", allow_duplicate=True),
        Input(part("slider"), "value"), Input(part("steps"), "data"), State(part("run"), "data"), State("analysis", "value"),
        prevent_initial_call=True,
    )  # fmt: skip
    def at_step(place: int, steps: list[int], name: str, analysis: str) -> Any:
        held = measurements.held(listing.path_of(name), analysis) if steps else None
        if held is None:
            return "", "", no_update
        step = steps[min(place, len(steps) - 1)]
        rows = [
            html.Tr([html.Th(what), html.Td(value, className="number")]) for what, value in numbers(held.found, step)
        ]
        return html.Table(html.Tbody(rows)), f"step {step:,}", moved(held.figure, step)


def moved(drawn: Figure, step: int) -> Any:
    """What changes of the figure at another step: the lines that mark it, or its frame."""
    patch = Patch()
    number = frame_at(drawn, step)
    if number is not None:
        frame: Any = drawn.frames[number]
        for trace, change in zip(frame.traces, frame.data, strict=True):
            for name, value in change.to_plotly_json().items():
                if name != "type":
                    patch["data"][trace][name] = value
        return patch
    patch["layout"]["shapes"] = marked(drawn, step)
    return patch


def being_made(measurements: Measurements, path: Path, analysis: str) -> Any:
    """How far a measurement is that was asked for; None if it was not, a sentence if it failed."""
    state = next((each for asked, each in measurements.states.items() if asked == (path, analysis)), None)
    if state is None or state.trouble:
        return state.trouble if state else None
    words = f"measuring: {state.done:,} of {state.total:,} checkpoints" if state.total else "measuring"
    width = 100 * state.done / max(state.total, 1)
    return html.Div([words, html.Div(html.Div(style={"width": f"{width:.0f}%"}), className="bar")])
