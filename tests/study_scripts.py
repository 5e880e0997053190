"""The scripts in analyses/, which is no package: loaded, and run at their small size."""

import importlib.util
from pathlib import Path
from typing import Any

import pandas as pd

from interp.study import script

ROOT = Path(__file__).parents[1]


def load(name, which="study") -> Any:
    """The module of a study, or of another script in its folder."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "analyses" / name / f"{which}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def small(name, work):
    """The tables that a study writes at its small size, by name, and where they are."""
    study, words = load(name), ["--small", "--work", str(work)]
    more = getattr(study, "further", None)
    assert script.main(study.__file__, study.__doc__, study.configs, study.report, words, further=more) == 0
    return {file.stem: pd.read_csv(file) for file in (work / "small").glob("*.csv")}, work / "small"
