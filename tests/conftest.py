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


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items):
    """Tests that share what is made once, for a module or a parameter of it, go to one worker."""
    for item in items:
        if group := shared_by(item):
            item.add_marker(pytest.mark.xdist_group(group))


def shared_by(item) -> str | None:
    """The name of what a test shares with others: a parameter of a lasting fixture, or what its module makes once."""
    scopes = {name: found[-1].scope for name, found in item._fixtureinfo.name2fixturedefs.items()}
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    for name, value in parameters.items():
        if scopes.get(name) in ("module", "session"):  # each analysis, say, is measured once
            return f"{item.path.stem} {value if isinstance(value, str) else item.callspec.indices[name]}"
    return item.path.stem if "module" in scopes.values() else None


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Two test processes on two cores; more threads would only wait for each other."""
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

    return open_run(shutil.copytree(tiny.path, tmp_path / "tiny"))
