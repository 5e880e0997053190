"""Curves as a run of trackio, in its database on this machine (extra interp[trackio])."""

import contextlib
import importlib
import io
import json
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from interp.base import UserError
from interp.store import Run
from interp.store.files import told_in_a_sentence


def write(run: Run, rows: Mapping[int, Mapping[str, float]], out: Path | None, project: str) -> str:
    """Write a run of the run's name into the project's database; returns the command that shows it.

    Raises:
        UserError: the project has a run of that name, or the directory cannot be written.
    """
    name, place = run.path.absolute().name, None if out is None else str(out.absolute())
    if place is not None:
        with told_in_a_sentence(out or Path()):
            Path(place).mkdir(parents=True, exist_ok=True)
        os.environ["TRACKIO_DIR"] = place  # which trackio reads when it is imported, and its server too
    # By their names: it cannot be installed beside the versions that this project is tested with, and so not be checked.
    trackio: Any = importlib.import_module("trackio")
    storage: Any = importlib.import_module("trackio.sqlite_storage").SQLiteStorage
    home: Any = importlib.import_module("trackio.utils").TRACKIO_DIR
    if place is not None and Path(home) != Path(place):
        raise UserError(f"trackio was loaded with the directory {home}; leave --out out, or export in a new process")
    if name in storage.get_runs(project):
        raise UserError(f'project "{project}" of trackio has a run {name} already; choose another --project')
    with contextlib.redirect_stdout(io.StringIO()):  # it tells where its dashboard is, as we do below
        there = trackio.init(
            project=project, name=name, config=json.loads(run.config.model_dump_json()), embed=False,
            auto_log_gpu=False, auto_log_cpu=False,
        )  # fmt: skip
        for step, values in rows.items():
            there.log(dict(values), step=step)
        there.finish()
    shown = f"trackio show --project {shlex.quote(project)}"
    return shown if place is None else f"TRACKIO_DIR={shlex.quote(place)} {shown}"
