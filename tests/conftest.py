"""Shared by all tests: shapes checked as annotated, one thread, and one tiny run trained once."""

import os

import pytest
import torch
from jaxtyping import install_import_hook

install_import_hook(
    [
        "interp.maths",
        "interp.models.products",
        *(f"interp.models.transformer.{name}" for name in ("block", "dense", "prefixes", "shared", "tail")),
        "interp.tasks",
    ],
    "beartype.beartype",
)

from helpers import tiny_config  # noqa: E402  after the hook

from interp.store import Run, open_run  # noqa: E402
from interp.train.loop import train  # noqa: E402

os.environ.setdefault("COLUMNS", "120")


@pytest.hookimpl(tryfirst=True)  # before fixtures are made
def pytest_runtest_setup(item):
    """A process for each core; more threads, which a command of the test before may have set, would only wait."""
    torch.set_num_threads(1)


@pytest.fixture
def no_browser(monkeypatch):
    """For commands whose pictures are no part of the claim: to draw one takes a browser longer than all the rest."""
    monkeypatch.setattr("interp.report.files.browser", lambda: None)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Run:
    """A tiny run, trained once; read only."""
    return train(tiny_config(), tmp_path_factory.mktemp("runs") / "tiny")


@pytest.fixture
def tiny_copy(tiny, tmp_path) -> Run:
    """A copy of the tiny run, to damage."""
    import shutil

    results = shutil.ignore_patterns("analysis")  # of other tests, which are answered again
    return open_run(shutil.copytree(tiny.path, tmp_path / "tiny", ignore=results))
