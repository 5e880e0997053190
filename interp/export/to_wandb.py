"""Curves as an offline run of Weights & Biases (extra interp[wandb]). Nothing is sent; `wandb sync` is what sends."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path

import wandb

from interp.store import Run
from interp.store.files import told_in_a_sentence


def write(run: Run, rows: Mapping[int, Mapping[str, float]], out: Path | None, project: str) -> str:
    """Write an offline run of the run's name; returns the command that sends it.

    Raises:
        UserError: the directory cannot be written.
    """
    place = out or Path()
    with told_in_a_sentence(place):
        place.mkdir(parents=True, exist_ok=True)
    # No code, console, packages or machine: what goes along is the configuration and the curves.
    quiet = wandb.Settings(
        silent=True, console="off", disable_git=True, disable_code=True, x_disable_stats=True, x_disable_meta=True
    )
    config = json.loads(run.config.model_dump_json())
    name = run.path.absolute().name
    with wandb.init(
        project=project, name=name, dir=str(place), mode="offline", config=config, settings=quiet, reinit="create_new"
    ) as there:
        for step, values in rows.items():
            there.log(dict(values), step=step)
        folder = Path(there.dir).parent
    return f"wandb sync {shlex.quote(str(folder))}"
