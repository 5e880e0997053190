"""Shared by all tests: shapes checked as annotated, one thread, and one tiny run trained once."""

import os

import pytest
import torch
from jaxtyping import install_import_hook

install_import_hook(
    [
        "interp.maths",
        *(f"interp.models.{name}" for name in ("block", "dense", "plan", "products", "shared", "tail")),
        "interp.tasks",
    ],
    "beartype.beartype",
)

from helpers import tiny_config  # noqa: E402  after the hook

from interp.store import Run, open_run  # noqa: E402
from interp.train.loop import train  # noqa: E402

os.environ.setdefault("COLUMNS", "120")


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Two test processes on two cores; more threads would only wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Run:
    """A tiny run, trained once; read only."""
    return train(tiny_config(), tmp_path_factory.mktemp("runs") / "tiny")


@pytest.fixture
def tiny_copy(tiny, tmp_path) -> Run:
    """A copy of the tiny run, to damage."""
    import shutil

    return open_run(shutil.copytree(tiny.path, tmp_path / "tiny"))
