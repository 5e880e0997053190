"""Draws figures as pictures; run as a process of its own, since the browser behind it can hang.

Reads a JSON list of [path, figure, scale] on stdin, each figure as plotly's JSON text.
"""

import json
import sys

import kaleido

WIDTH = 1000
"""Pixels; each of them has `scale` dots of the file."""


def main() -> None:
    """Draw what stdin says."""
    work = []
    for path, text, scale in json.load(sys.stdin):
        figure = json.loads(text)
        figure["layout"].pop("updatemenus", None)  # buttons do nothing on paper
        size = {"width": WIDTH, "height": figure["layout"]["height"], "scale": scale}
        work.append({"path": path, "fig": figure, "opts": {"format": "png", **size}})
    kaleido.write_fig_from_object_sync(work, kopts={"mathjax": False})  # MathJax would come from the network


if __name__ == "__main__":
    main()
