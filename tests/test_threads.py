"""Tests of how long torch's idle threads spin."""

import os
import subprocess
import sys

import pytest

DISPLAY = {"OMP_DISPLAY_ENV": "VERBOSE"}
"""Makes an OpenMP runtime print what it goes by when it is loaded."""


def spins(code: str, **environment: str) -> str:
    """The line in which GNU OpenMP says how many turns an idle thread waits, in a process that runs this code."""
    clean = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    words, environment = [sys.executable, "-W", "ignore", "-c", code], clean | DISPLAY | environment
    ran = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    return next(
        line.split("GOMP_SPINCOUNT")[1].strip(" ='") for line in ran.stderr.splitlines() if "GOMP_SPINCOUNT" in line
    )


@pytest.mark.skipif(sys.platform != "linux", reason="GNU OpenMP is torch's runtime on Linux alone")
def test_torch_goes_by_it_if_interp_comes_first():
    assert spins("import interp, torch; torch.ones(1)") == "1000"
    assert spins("import torch, interp; torch.ones(1)") == spins("import torch; torch.ones(1)") != "1000"


@pytest.mark.skipif(sys.platform != "linux", reason="GNU OpenMP is torch's runtime on Linux alone")
def test_what_a_user_has_set_stays():
    assert spins("import interp, torch; torch.ones(1)", GOMP_SPINCOUNT="77") == "77"
    assert spins("import interp, torch; torch.ones(1)", OMP_WAIT_POLICY="PASSIVE") != "1000"
