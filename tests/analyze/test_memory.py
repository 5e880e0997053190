"""Measuring in chunks within --memory: the same numbers, whole files only, and never more than was allowed."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from interp import analyze
from interp.base import UserError
from interp.models.network import initial_weights
from interp.store import CheckpointError, open_run
from interp.views import neurons
from interp.views import walk as _common
from interp.views.directions import neurons_over_table
from interp.views.residues import Spectrum


@pytest.mark.parametrize("name", ["fourier", "norms", "superposition"])
def test_a_checkpoint_at_a_time_gives_what_all_at_once_give(tiny, name, monkeypatch):
    sizes, stacked = [], type(tiny).stacked
    monkeypatch.setattr(type(tiny), "stacked", lambda run, *names: sizes.append(len(run)) or stacked(run, *names))
    whole = analyze.measure(tiny, name)
    monkeypatch.setattr(_common, "CHUNK", 1)
    apart = analyze.measure(tiny, name)
    assert sizes == [len(tiny), *[1] * len(tiny)]
    for variable in whole.data_vars:
        np.testing.assert_allclose(apart[variable], whole[variable], rtol=1e-12, err_msg=str(variable))


def test_memory_decides_how_many_checkpoints_are_measured_at_once(tiny):
    torch.set_num_threads(2)
    try:
        assert _common.shares(tiny.within(10_000), each=1000, beside=0, at_most=100) == (
            2,
            4,
        )  # 8 checkpoints, 2 threads
        assert _common.shares(tiny.within(6_000), each=1000, beside=1000, at_most=100) == (2, 2)
        assert _common.shares(tiny.within(3_999), each=1000, beside=1000, at_most=100) == (1, 2)
        assert _common.shares(tiny.within(2_000), each=1000, beside=1000, at_most=100) == (1, 1)
        assert _common.shares(tiny.within(10_000), each=1000, beside=0, at_most=3) == (2, 3)
    finally:
        torch.set_num_threads(1)
    with pytest.raises(UserError):
        _common.shares(tiny.within(1_999), each=1000, beside=1000, at_most=100)


def test_chunks_side_by_side_stay_in_order(tiny, monkeypatch):
    alone = analyze.measure(tiny, "norms")
    monkeypatch.setattr(_common, "CHUNK", 1)
    torch.set_num_threads(3)
    try:
        together = analyze.measure(tiny, "norms")
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(1)
    for variable in alone.data_vars:
        np.testing.assert_allclose(together[variable], alone[variable], rtol=1e-12)


def test_sums_over_the_table_are_those_of_the_cache(tiny, monkeypatch):
    """Many checkpoints at once, one at a time, in parts of some prompts, and HookedTransformer's run_with_cache."""
    targets = torch.from_numpy(tiny.task.table().targets)
    slow = []
    for checkpoint in tiny:
        post = checkpoint.cache(["blocks.0.mlp.hook_post"])["blocks.0.mlp.hook_post"][:, -1]
        slow.append(torch.stack([post[targets == answer].sum(dim=0) for answer in range(tiny.task.p)]))
    for activations in (1 << 30, 4 * 24 * len(targets), 4 * 24 * 50):
        monkeypatch.setattr(neurons, "ACTIVATIONS", activations)
        with torch.inference_mode():
            sums = neurons_over_table(Spectrum.of(tiny)).sums(tiny.stacked())
        torch.testing.assert_close(sums, torch.stack(slow), rtol=1e-5, atol=1e-5)


def test_a_flipped_byte_is_noticed_also_in_a_run_that_was_measured(tiny_copy):
    analyze.measure(tiny_copy, "norms")
    path = tiny_copy.at(20).path
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    for run in (tiny_copy, open_run(tiny_copy.path)):
        with pytest.raises(CheckpointError, match=r"00000020\.safetensors is damaged: its content"):
            analyze.measure(run, "fourier")


def test_a_file_is_hashed_once_for_several_analyses(tiny, monkeypatch):
    from interp.store import tensors

    hashed = []
    digest = tensors.digest
    monkeypatch.setattr(tensors, "digest", lambda *given: hashed.append(1) or digest(*given))
    run = open_run(tiny.path)
    for name in ("fourier", "superposition", "tsne"):
        analyze.measure(run.select(), name)
    assert len(hashed) == len(run) + 1  # and the resume state, which says how far the history goes


def test_weights_that_are_not_finite_are_refused_by_name(tiny_copy):
    from interp.store.layout import checkpoint_header
    from interp.store.tensors import write_tensors

    checkpoint = tiny_copy.at(20)
    weights = {name: tensor.clone() for name, tensor in checkpoint.weights.items()}
    weights["embed.W_E"][0, 0] = float("nan")
    write_tensors(checkpoint.path, weights, checkpoint_header(tiny_copy.record.config_sha256, 20))
    with pytest.raises(UserError, match=r"00000020\.safetensors has embed.W_E with numbers that are not finite"):
        analyze.measure(tiny_copy, "norms")


def test_too_little_memory_is_a_sentence(tiny):
    with pytest.raises(UserError, match=r"--memory is 1 KiB; measuring .* takes at least"):
        analyze.measure(tiny.within(1024), "superposition")


PEAK = """
import sys, torch
from pathlib import Path
from interp import analyze
from interp.store import open_run
torch.set_num_threads(2)
run = open_run(sys.argv[1])
names, few = sys.argv[3:], {"ablate": {"repeats": 2}, "curvature": {"probes": 2, "at_most": 40}, "sharpness": {"iterations": 1}}
few["plane"] = {"points": 5}
analyze.measure(run.select(last=1), "superposition")  # libraries and the plan
def peak():  # not getrusage's, which begins with that of the process before
    return next(int(row.split()[1]) for row in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in row)
before = peak()
for name in names:
    analyze.measure(run.within(int(sys.argv[2])), name, **few.get(name, {}))
print(1024 * (peak() - before))
"""


@pytest.mark.parametrize(
    ("names", "checkpoints", "bound"),
    [
        ("fourier norms superposition", 40, 96_000_000),
        pytest.param("groups", 4, 360_000_000, marks=pytest.mark.slow),
        ("attention logits neurons progress clock_pizza numerics", 2, 500_000_000),
        pytest.param("gap complexity", 2, 500_000_000, marks=pytest.mark.slow),
        pytest.param("readout", 2, 500_000_000, marks=pytest.mark.slow),
        pytest.param("ablate", 1, 850_000_000, marks=pytest.mark.slow),
        pytest.param("curvature sharpness", 1, 850_000_000, marks=pytest.mark.slow),
        pytest.param("lazy", 2, 850_000_000, marks=pytest.mark.slow),
        pytest.param("plane", 2, 400_000_000, marks=pytest.mark.slow),
    ],
)
def test_the_bound_holds(tmp_path, names, checkpoints, bound):
    """Checkpoints of the paper's model, 0.9 MB of weights each, measured in so much beside the libraries.

    Forty together in 96 MB; one after the other, with all activations over the table, in several times as much.
    """
    from interp.config import RunConfig
    from interp.store import RunWriter

    config = RunConfig()
    weights = initial_weights(config.model, config.task.shape, seed=0)
    with RunWriter(tmp_path / "run", config) as writer:
        for step in range(checkpoints):
            writer.checkpoint(step, weights)
    words = [sys.executable, "-c", PEAK, str(tmp_path / "run"), str(bound), *names.split()]
    found = subprocess.run(words, capture_output=True, text=True, check=True)
    assert int(found.stdout) < bound
