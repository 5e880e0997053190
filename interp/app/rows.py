"""Rows of the list of runs on the live page, as words, and the function by which the page draws them."""

import math
from urllib.parse import quote

from interp.app.listing import Listed

NONE = "no run yet; train one with: python -m interp.train quick"
HEADS = ("run", "task and model", "step", "of", "train accuracy", "test accuracy", "state")

DRAW = """
function draw(rows) {
  const body = document.getElementById("rows");
  const made = (tag, more) => Object.assign(document.createElement(tag), more);
  body.replaceChildren(...rows.map(([name, href, about, ...words]) => {
    const row = made("tr"), first = row.appendChild(made("td"));
    first.append(made("a", {href, textContent: name}));
    row.append(made("td", {className: "quiet", textContent: about}));
    words.forEach((textContent, i) => row.append(made("td", {className: i < 4 ? "number" : "", textContent})));
    return row;
  }));
  if (!rows.length) body.append(made("tr")), body.lastChild.append(made("td", {colSpan: 7, textContent: "NONE"}));
  return window.dash_clientside.no_update;
}
""".strip().replace("NONE", NONE)
"""Draws the rows in the page. As components of dash 200 of them took four seconds of the browser. Words are text, not HTML."""


def rows_of(runs: list[Listed]) -> list[list[str]]:
    """A row for each run: its name, where that leads, and its words under `HEADS`."""
    return [
        [
            run.name,
            f"/run/{quote(run.name, safe='')}",
            run.about,
            f"{run.last.step:,}",
            f"{run.steps:,}",
            *(share(run.last.columns.get(f"{part}_accuracy", math.nan)) for part in ("train", "test")),
            state(run),
        ]
        for run in runs
    ]


def share(value: float) -> str:
    """An accuracy in percent; a dash where there is none."""
    return "–" if math.isnan(value) else f"{value:.1%}"


def state(run: Listed) -> str:
    """Whether a run is training, finished or stopped."""
    if run.training:
        return "training" if math.isnan(run.left) else f"training, {time_left(run.left)} left"
    return "finished" if run.last.step >= run.steps else "stopped"


def time_left(seconds: float) -> str:
    """A time in words."""
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5_400
        else f"{seconds / 3600:.1f} h"
    )
