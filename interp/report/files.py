"""Results as files: .nc and .csv for programs, .png for people."""

import io
import json
import math
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import xarray as xr
from PIL import Image

from interp import figures
from interp.base import UserError
from interp.store.files import told_in_a_sentence, write_whole

PNG_SECONDS = 60
"""Longest wait for the browser that draws a PNG: kaleido can hang when it meets a broken one."""

GIF_FRAME, GIF_REST = 150, 3000
"""Milliseconds for which a frame of a moving picture is seen, and the last one."""

GIF_COLOURS = 64
"""Number of colours of a moving picture: enough for curves and the edges of letters."""

NO_BROWSER = (
    "no .png: the exporter needs Chrome or Chromium (Debian: apt install chromium; anywhere: plotly_get_chrome)"
)


def write_netcdf(found: xr.Dataset, path: Path) -> None:
    """The whole measurement with names, units and definition, packed; xarray.open_dataset reads it back equal."""
    large = [name for name, variable in found.data_vars.items() if variable.size > 200 and variable.dtype.kind in "bfi"]
    packing = {name: {"zlib": True, "complevel": 4, "shuffle": True} for name in large}
    write_whole(path, bytes(found.to_netcdf(engine="h5netcdf", encoding=packing)))


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """The table that is printed, with every row, in six digits."""
    write_whole(path, table.to_csv(float_format="%.6g").encode())


def write_long_csv(found: xr.Dataset, path: Path) -> None:
    """The whole measurement in long form: a row for every number, with its variable, coordinates and value."""
    write_whole(path, long_form(found).to_csv(index=False).encode())


def write_beside(beside: Sequence[xr.Dataset], path: Path) -> None:
    """Measurements of the runs beside one in long form, with the run in the first column; without any, no such file is left."""
    if not beside:
        path.unlink(missing_ok=True)
        return
    parts = [long_form(found).assign(run=found.attrs.get("path", found.attrs["run"])) for found in beside]
    whole = pd.concat(parts, ignore_index=True)
    write_whole(path, whole[["run", *whole.columns.drop("run")]].to_csv(index=False).encode())


def long_form(found: xr.Dataset) -> pd.DataFrame:
    """Columns variable, step, one for each further dimension, and value; empty where a variable has no such dimension."""
    parts = [
        pd.DataFrame({"value": [variable.item()], "variable": name})  # xarray makes no table of a single number
        if not variable.dims
        else variable.reset_coords(drop=True).to_series().rename("value").reset_index().assign(variable=name)
        for name, variable in found.data_vars.items()
    ]
    dims = [str(dim) for dim in found.dims if dim != "step"]
    whole = pd.concat(parts, ignore_index=True).reindex(columns=["variable", "step", *dims, "value"])
    return whole.astype({dim: "Int64" for dim in ("step", *dims) if whole[dim].dtype == float and is_whole(found[dim])})


def is_whole(coordinate: xr.DataArray) -> bool:
    """Whether it counts: an integer stays one beside variables that do not have it, where pandas would make it a float."""
    return coordinate.dtype.kind == "i"


def browser() -> str | None:
    """The Chrome or Chromium that kaleido would use, or None."""
    from choreographer.browsers import Chromium

    found = Chromium.find_browser(skip_local=False)
    return str(found) if found else None


class Pictures:
    """Figures that are drawn as pictures, in a process of its own, while others are still computed.

    Each pixel of a figure, 1,000 of them across, has `scale` dots of the file. Leaving the context waits until all are
    drawn, for so long at most; `trouble` is then a sentence if that was not possible.
    """

    def __init__(self, scale: float = 2):
        self.scale, self.trouble, self._number = scale, "", 0
        self._process: subprocess.Popen[str] | None = None

    def add(self, path: Path, figure: go.Figure) -> None:
        """Have a figure drawn. An older picture at that path is deleted: it would pass for this one."""
        path.unlink(missing_ok=True)
        if self._process is None and not self.trouble:
            self._start()
        self._number += 1
        if self._process is not None:
            self._send(json.dumps([str(path), figure.to_json(), self.scale]) + "\n")

    def _start(self) -> None:
        """Start the process, if there is a browser."""
        if browser() is None:
            self.trouble = NO_BROWSER
            return
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            [sys.executable, "-m", "interp.report.png"], stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )

    def _send(self, text: str) -> None:
        """Write to the process; if it has ended, its last words are read when the context is left."""
        assert self._process is not None and self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(text)
            self._process.stdin.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        if self._process is None:
            return
        if kind is not None and not issubclass(kind, Exception):  # a Ctrl-C does not wait
            self._process.kill()
        try:
            said = self._process.communicate(timeout=PNG_SECONDS + 5 * self._number)[1]
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            self.trouble = f"no .png: the browser {browser()} did not answer in time"
            return
        if self._process.returncode != 0:
            self.trouble = f"no .png: the browser {browser()} failed: {said.strip().splitlines()[-1:]}"


def write_pngs(pictures: dict[Path, go.Figure], scale: float = 2) -> str:
    """Draw figures as pictures; a sentence when that was not possible."""
    with Pictures(scale) as drawn:
        for path, figure in pictures.items():
            drawn.add(path, figure)
    return drawn.trouble


def write_gif(figure: go.Figure, path: Path) -> str:
    """Draw the frames of a figure with a slider as a picture that moves; a sentence when that was not possible.

    It rests at the last frame and begins anew. All frames have the colours of the last, in which everything is drawn.
    """
    frames: Any = figure.frames
    with tempfile.TemporaryDirectory() as work:
        stills = {Path(work) / f"{index}.png": figures.still(figure, index) for index in range(len(frames))}
        if trouble := write_pngs(stills, scale=1):
            return trouble.replace(".png", ".gif", 1)
        drawn = [Image.open(io.BytesIO(picture.read_bytes())).convert("RGB") for picture in stills]
    colours = drawn[-1].quantize(GIF_COLOURS)
    first, *others = [picture.quantize(palette=colours, dither=Image.Dither.NONE) for picture in drawn]
    moving = io.BytesIO()
    durations = [GIF_FRAME] * len(others) + [GIF_REST]
    first.save(moving, "GIF", save_all=True, append_images=others, duration=durations, loop=0, disposal=1)
    write_whole(path, moving.getvalue())
    return ""


def prepared(directory: Path) -> Path:
    """The directory, made if need be; UserError when it cannot be written to."""
    with told_in_a_sentence(directory):
        if directory.exists() and not directory.is_dir():
            raise UserError(f"{directory} is a file; give --out a directory")
        directory.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=directory).close()
    return directory


def table_text(table: pd.DataFrame, rows: int = 9, width: int | None = None) -> str:
    """A table as text: at most so many rows, evenly chosen, first and last among them; one row stands upright.

    Columns that do not fit into `width` are below the others, beside the index once more.
    """
    chosen = np.unique(np.linspace(0, len(table) - 1, min(rows, len(table))).round().astype(int))
    shown = table.iloc[chosen].map(cell)
    return fitted(shown, width) if len(table) > 1 else shown.reset_index().T.to_string(header=False)


def fitted(table: pd.DataFrame, width: int | None = None, **how: Any) -> str:
    """A table as text in lines of at most `width` characters; `how` is as for pandas' to_string."""
    text = table.to_string(line_width=width, **how)
    return text if width is None else "\n".join(line.removesuffix("\\").rstrip() for line in text.splitlines())


def terminal_width() -> int:
    """Characters in a line of the terminal; 120 where there is none."""
    return shutil.get_terminal_size((120, 24)).columns


def cell(value: Any) -> str:
    """A value in three digits, whole numbers and those above 1,000 whole, a dash for what is not a number."""
    if value is None:
        return "–"
    if not isinstance(value, int | float | np.number):
        return str(value)
    if math.isnan(value):
        return "–"
    whole = float(value).is_integer() or abs(value) >= 1000
    return f"{value:,.0f}" if whole and abs(value) < 1e9 else f"{value:.3g}"


def as_json(found: xr.Dataset) -> dict[str, Any]:
    """A measurement as plain JSON values: attributes, coordinates and variables, null for what is not a number."""
    plain = found.to_dict()
    return without_nan({"attrs": plain["attrs"], "coords": plain["coords"], "data_vars": plain["data_vars"]})


def without_nan(value: Any) -> Any:
    """Plain values with None in place of NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {str(key): without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
