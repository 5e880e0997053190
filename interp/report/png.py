"""Draws figures as pictures; run as a process of its own, since the browser behind it can hang.

Reads on stdin a JSON list [path, figure, scale] a line, each figure as plotly's JSON text, and draws it as it comes.
"""

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING

import kaleido

if TYPE_CHECKING:
    from kaleido.kaleido import FigureDict

WIDTH = 1000
"""Pixels; each of them has `scale` dots of the file."""


def read(lines: SimpleQueue[str]) -> None:
    """Put every line into a queue, so that who writes them never waits for the browser; an empty one at the end."""
    for line in sys.stdin:
        lines.put(line)
    lines.put("")


async def work() -> AsyncGenerator["FigureDict"]:
    """What kaleido is to draw."""
    lines = SimpleQueue[str]()
    Thread(target=read, args=(lines,), daemon=True).start()
    while line := await asyncio.to_thread(lines.get):
        path, text, scale = json.loads(line)
        figure = json.loads(text)
        figure["layout"].pop("updatemenus", None)  # buttons do nothing on paper
        height = figure["layout"]["height"]
        yield {
            "path": path,
            "fig": figure,
            "opts": {"format": "png", "width": WIDTH, "height": height, "scale": scale},
        }


def main() -> None:
    """Draw what stdin says."""
    # MathJax would come from the network.
    asyncio.run(kaleido.write_fig_from_object(work(), kopts={"mathjax": False}))


if __name__ == "__main__":
    main()
