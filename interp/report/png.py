"""Draws figures as pictures; run as a process of its own, since the browser behind it can hang.

Reads on stdin a JSON list [path, figure, scale] a line, each figure as plotly's JSON text, and draws it as it comes. At the end
the pictures are made small: of COLOURS colours, a fifth of what the browser writes.
"""

import asyncio
import io
import json
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any

import kaleido
from PIL import Image

from interp.store.files import write_whole

if TYPE_CHECKING:
    from kaleido.kaleido import FigureDict

WIDTH = 1000
"""Pixels; each of them has `scale` dots of the file."""
COLOURS = 128
"""Number of colours of a picture: enough for heat maps and the edges of letters."""


def read(lines: SimpleQueue[str]) -> None:
    """Put every line into a queue, so that who writes them never waits for the browser; an empty one at the end."""
    for line in sys.stdin:
        lines.put(line)
    lines.put("")


async def work(begun: list[Path]) -> AsyncGenerator["FigureDict"]:
    """What kaleido is to draw; the path of each is put into `begun`."""
    lines = SimpleQueue[str]()
    Thread(target=read, args=(lines,), daemon=True).start()
    while line := await asyncio.to_thread(lines.get):
        path, text, scale = json.loads(line)
        figure = json.loads(text)
        on_paper(figure["layout"])
        begun.append(Path(path))
        height = figure["layout"]["height"]
        yield {
            "path": path,
            "fig": figure,
            "opts": {"format": "png", "width": WIDTH, "height": height, "scale": scale},
        }


def on_paper(layout: dict[str, Any]) -> None:
    """Take out of a layout what does nothing in a picture: buttons, and sliders, whose words go below the title."""
    layout.pop("updatemenus", None)
    for slider in layout.pop("sliders", ()):
        here = slider["steps"][slider.get("active", 0)]["label"]
        title = layout.setdefault("title", {})
        title["text"] = f"{title.get('text', '')}<br><sup>{here}</sup>"


def slim(path: Path) -> None:
    """Write a picture anew with few colours."""
    with Image.open(path) as drawn:
        few = drawn.convert("RGB").quantize(COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    small = io.BytesIO()
    few.save(small, "PNG")
    write_whole(path, small.getvalue())


def main() -> None:
    """Draw what stdin says."""
    begun: list[Path] = []
    # MathJax would come from the network.
    asyncio.run(kaleido.write_fig_from_object(work(begun), kopts={"mathjax": False}))
    for path in begun:
        if path.exists():  # one that failed is not there
            slim(path)


if __name__ == "__main__":
    main()
