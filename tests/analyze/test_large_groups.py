"""`groups` on groups whose logits over all pairs do not fit into memory: in parts, the same numbers, within the estimate."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from interp import analyze
from interp.maths import groups
from interp.maths.irrep_power import LogitSums, logit_similarity
from interp.maths.irreps import real_irreps
from interp.models import MlpSpec
from interp.models.network import initial_weights
from interp.store import RunWriter
from interp.tasks import GroupTask
from interp.views import elements


def test_cosines_of_logits_that_come_in_parts_are_those_of_all_at_once():
    group = real_irreps(groups.symmetric(4), "S4")
    cube = torch.randn(24, 24, 24, generator=torch.Generator().manual_seed(0))
    sums = LogitSums(group)
    for part in cube.split((5, 1, 18)):
        sums.add(part)
    assert torch.equal(sums.similarity(), logit_similarity(cube, group))


@pytest.mark.parametrize("rows", [1, 4, 10])
def test_a_run_is_measured_in_parts_as_whole(tiny, rows, monkeypatch):
    """To what float32 leaves when the network is computed over some prompts after the others."""
    run = tiny.select(last=2)
    whole = analyze.measure(run, "groups")
    monkeypatch.setattr(elements, "AT_ONCE", rows * 11 * run.task.shape.outputs.n)
    parts = analyze.measure(run, "groups")
    for variable in whole.data_vars:
        np.testing.assert_allclose(parts[variable], whole[variable], rtol=1e-5, atol=1e-6, err_msg=str(variable))


PEAK = """
import json, sys
from pathlib import Path
from interp import analyze
from interp.analyze.mechanism.groups import Network, Options
from interp.store import open_run
from interp.views import elements

elements.AT_ONCE = 1 << 20

def peak():  # not getrusage's, which begins with that of the process before
    return next(int(row.split()[1]) for row in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in row)

small, large = map(open_run, sys.argv[1:])
analyze.measure(small, "groups")  # libraries
before = peak()
analyze.measure(large, "groups")
seen = elements.Elements.of(large)
print(json.dumps({"used": 1024 * (peak() - before), "needed": Network(seen, Options()).bytes, "parts": len(seen.prompts.parts)}))
"""


def initial(path, group):
    """A run of an MLP on a group with its initial weights."""
    from helpers import tiny_config

    task = GroupTask(group=group, prompt="ab", operands="separate")
    model = MlpSpec(inputs="embedded", d_model=16, width=64, act_fn="relu")
    with RunWriter(path, tiny_config(task=task, model=model)) as writer:
        writer.checkpoint(0, initial_weights(model, task.shape, seed=0))
    return path


def test_a_large_group_takes_no_more_than_is_estimated(tmp_path):
    """C200: 8 million logits, which with their loss in float64 would take 224 MB at once."""
    words = [sys.executable, "-c", PEAK, str(initial(tmp_path / "C5", "C5")), str(initial(tmp_path / "C200", "C200"))]
    found = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    assert found["parts"] == 8
    assert found["used"] < found["needed"] < 8_000_000 * (4 + 3 * 8)
