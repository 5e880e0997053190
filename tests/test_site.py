"""The documentation site: built of the documents and docstrings without a warning."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_explains_every_field(tmp_path):
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-E", "-c", "docs", ".", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    reference = (tmp_path / "docs/reference.html").read_text()
    for field in ("TrainConfig.lr", "ModularTask.p", "GroupTask.group", "TransformerSpec.d_model", "ToySpec.d_hidden"):
        assert f'id="interp.{field}"' in reference
    assert "Learning rate after the warm-up" in reference
    assert (tmp_path / "analyses/quick_preset/README.html").exists()
