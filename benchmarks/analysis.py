"""Time and memory of measuring many checkpoints: a plain loop with HookedTransformer and run_with_cache, against ours.

Blocks of checkpoints are measured by both in turn, in one process, so that whatever else the machine does falls on both;
they give the same numbers, or the benchmark fails. Then time and peak memory against the number of checkpoints, each in a
process of its own. Prints both tables and writes them to benchmarks/results/analysis.md.

    python benchmarks/analysis.py                       # against the plain loop
    python benchmarks/analysis.py --against ../earlier  # and against the build in another checkout, in the same process
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import common
import numpy as np
import torch

from interp import analyze
from interp.models.network import load
from interp.store import Run, open_run
from interp.tasks import ModularTask

ANALYSES = ("fourier", "norms", "superposition")
CHECKPOINTS, BLOCK, COUNTS = 200, 40, (10, 30, 100, 300, 1000)
HOOK = "blocks.0.mlp.hook_post"


def synthetic(path: Path, checkpoints: int) -> None:
    """A run of the paper's model (p = 113, one layer): initial weights, and noise that is new at every step.

    By the build whose region this is: an earlier one does not read what a later one writes.
    """
    from interp.config import RunConfig
    from interp.models.network import initial_weights
    from interp.store import RunWriter, files

    config, random = RunConfig(), torch.Generator().manual_seed(0)
    initial = initial_weights(config.model, config.task.shape, seed=0)
    files.os.fsync = lambda handle: None  # nothing here needs to survive a power cut
    with RunWriter(path, config) as writer:
        for step in range(checkpoints):
            noise = {
                name: 0.1 * torch.randn(w.shape, generator=random) * w.std() for name, w in initial.items() if w.any()
            }
            writer.log(
                dict.fromkeys(("train_loss", "test_loss", "train_accuracy", "test_accuracy"), 0.5) | {"step": step}
            )
            writer.checkpoint(step, {name: w + noise.get(name, 0.0) for name, w in initial.items()})


class PlainLoop:
    """What a reader of TransformerLens' documents writes: one model, a checkpoint at a time, run_with_cache with a filter.

    Everything that is the same for all checkpoints is made once.
    """

    def __init__(self, run: Run):
        assert isinstance(run.task, ModularTask)
        self.p = p = run.task.p
        self.model: Any = load(run.config.model, run.task.shape, run.first.weights)
        table = run.task.table()
        self.tokens = torch.from_numpy(table.inputs)
        self.labels = torch.from_numpy(table.targets)
        self.prompts = torch.bincount(self.labels)[:, None]
        angle = 2 * torch.pi / p * (torch.arange(1, p // 2 + 1)[:, None] * torch.arange(p) % p).double()
        waves = torch.stack([angle.cos(), angle.sin()], dim=1).reshape(p - 1, p)
        self.basis = waves / waves.norm(dim=1, keepdim=True)

    @torch.inference_mode()
    def measure(self, run: Run) -> dict[str, np.ndarray]:
        """The numbers of each checkpoint in view, stacked."""
        each = []
        for checkpoint in run:
            self.model.load_state_dict(checkpoint.weights, strict=False)  # HookedTransformer has buffers beside
            each.append(self.of_one())
        return {name: np.stack([np.asarray(one[name]) for one in each]) for name in each[0]}

    def of_one(self) -> dict[str, torch.Tensor]:
        """Spectra, superposition ratios and norms of the model as it is."""
        _, cache = self.model.run_with_cache(self.tokens, names_filter=HOOK)
        sums = torch.zeros(self.p, self.model.cfg.d_mlp).index_add_(0, self.labels, cache[HOOK][:, -1])
        W_E = self.model.W_E[: self.p].double()
        waves = {
            "W_E waves": self.basis @ W_E,
            "neuron waves": self.basis @ (sums / self.prompts).double(),
            "W_L waves": self.basis @ (self.model.W_out[0] @ self.model.W_U).T.double(),
        }
        features = {
            "W_E waves": waves["W_E waves"],
            "W_E tokens": W_E - W_E.mean(dim=0),
            "neuron waves": waves["neuron waves"],
            "W_L waves": waves["W_L waves"],
        }
        return (
            stacked([spectrum(waves["W_E waves"], of_neurons=False), spectrum(waves["W_L waves"])])
            | stacked([superposition(V) for V in features.values()])
            | norms(dict(self.model.named_parameters()))
        )


def stacked(each: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Dictionaries of numbers as one of arrays."""
    return {name: torch.stack([one[name] for one in each]) for name in each[0]}


def spectrum(V: torch.Tensor, of_neurons: bool = True) -> dict[str, torch.Tensor]:
    """Power, Gini coefficient and inverse participation ratios of a matrix over the waves; by the neuron if columns are some."""
    sizes = V.norm(dim=1)
    squares = sizes.square().view(-1, 2).sum(dim=1)
    power, n = squares / squares.sum(), len(sizes)
    weight = (n - torch.arange(1, n + 1) + 0.5) / n
    gini = 1 - 2 * (sizes.sort().values * weight).sum() / sizes.sum()
    columns = V.square().view(n // 2, 2, -1).sum(dim=1)
    neuron = (
        (columns / columns.sum(dim=0)).square().sum(dim=0).mean() if of_neurons else torch.tensor(torch.nan).double()
    )
    network = power.square().sum()
    return {"power": power, "norm": squares.sqrt(), "gini": gini, "ipr_network": network, "ipr_neuron": neuron}


def superposition(V: torch.Tensor) -> dict[str, torch.Tensor]:
    """The ratio and what stands beside it, of features V [n, d]; eigenvalues by the singular values of V."""
    mass = V.square().sum(dim=1)
    overlaps = (V @ V.T).square().sum(dim=1) / mass
    s = mass / mass.sum()
    eigenvalues = torch.linalg.svdvals(V).square()
    eigenvalues = eigenvalues / eigenvalues.sum()
    features, dimensions = torch.special.entr(s).sum().exp(), torch.special.entr(eigenvalues).sum().exp()
    D = mass / overlaps
    return {
        "ratio": features / dimensions,
        "features_represented": features,
        "dimensions_used": dimensions,
        "ratio_order_2": eigenvalues.square().sum() / s.square().sum(),
        "features_per_dimension": mass.sum() / V.shape[1],
        "heavy_share": (mass > 0.5).sum() / V.shape[1],
        "mean_dimensionality": D.mean(),
        "total_dimensionality": D.sum(),
        "mean_interference": (overlaps - mass).mean(),
    }


def norms(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Sizes of every tensor, and ranks of every matrix with the heads side by side."""
    flat = [tensor.flatten().double() for tensor in weights.values()]
    matrices = {name: tensor for name, tensor in weights.items() if tensor.ndim > 1 and ".b_" not in name}
    for name, tensor in matrices.items():
        if tensor.ndim == 3:
            matrices[name] = tensor.flatten(0, 1) if name.endswith("W_O") else tensor.transpose(0, 1).flatten(1)
    singular = [torch.linalg.svdvals(matrix.double()) for matrix in matrices.values()]
    return {
        "sum_of_squares": torch.stack([values.square().sum() for values in flat]),
        "linf": torch.stack([values.abs().max() for values in flat]),
        "rms": torch.stack([values.square().mean().sqrt() for values in flat]),
        "spectral_norm": torch.stack([values.max() for values in singular]),
        "stable_rank": torch.stack([values.square().sum() / values.max().square() for values in singular]),
        "effective_rank": torch.stack([torch.special.entr(v / v.sum()).sum().exp() for v in singular]),
        "participation_ratio": torch.stack([v.square().sum().square() / v.pow(4).sum() for v in singular]),
    }


def ours(run: Run) -> dict[str, np.ndarray]:
    """The same numbers by the analyses."""
    found = [analyze.measure(run, name) for name in ANALYSES]
    return {str(name): values.values for measured in found for name, values in measured.data_vars.items()}


class Earlier:
    """The same numbers by the analyses of an earlier build."""

    def __init__(self, checkout: Path):
        self.build = common.Build(checkout)

    def __call__(self, run: Run) -> dict[str, np.ndarray]:
        """Those of the checkpoints in view. Its own view of the run has to read every file again, as ours has."""
        with self.build:
            from interp import analyze
            from interp.store import open_run

            theirs = open_run(run.path).select(steps=run.steps)
            found = [analyze.measure(theirs, name) for name in ANALYSES]
        return {str(name): values.values for measured in found for name, values in measured.data_vars.items()}


def compare(path: Path, checkpoints: int, earlier: Path | None) -> dict[str, list[float]]:
    """Seconds a checkpoint by each, of each block in turn; AssertionError where their numbers differ."""
    run = open_run(path)
    measures = {"plain": PlainLoop(run).measure, "ours": ours} | ({"earlier": Earlier(earlier)} if earlier else {})
    seconds: dict[str, list[float]] = {name: [] for name in measures}
    for begin in (0, *range(0, checkpoints, BLOCK)):  # the first block twice: once to warm up
        steps, found = run.steps[begin : begin + BLOCK], {}
        for name, measure in measures.items():
            view = open_run(path).select(steps=steps)  # so that ours hashes every file, as the plain loop does
            start = time.perf_counter()
            found[name] = measure(view)
            seconds[name].append((time.perf_counter() - start) / len(steps))
        for name, expected in found["plain"].items():
            for each in found.keys() - {"plain"}:
                np.testing.assert_allclose(found[each][name], expected, rtol=1e-6, atol=1e-12, err_msg=f"{each} {name}")
    return {name: times[1:] for name, times in seconds.items()}


def cost(path: Path, checkpoints: int) -> dict[str, float]:
    """Seconds, and MiB of peak resident memory, of all three analyses over so many checkpoints in a process of its own."""
    words = [sys.executable, __file__, "--one", str(path), "--checkpoints", str(checkpoints)]
    return json.loads(subprocess.run(words, capture_output=True, text=True, check=True, env=os.environ).stdout)


def one(path: Path, checkpoints: int) -> None:
    """Print the cost, as JSON; `before` is the memory of Python and its libraries."""
    run = open_run(path)
    before = common.peak_memory()
    start = time.perf_counter()
    ours(run.select(steps=run.steps[:checkpoints]))
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "before": before, "peak": common.peak_memory()}))


def exponent(counts: Sequence[int], seconds: Sequence[float]) -> float:
    """Of the power law nearest to the times."""
    return float(np.polyfit(np.log(counts), np.log(seconds), 1)[0])


def main(checkpoints: int, earlier: Path | None) -> None:
    """Write the tables."""
    lines = [
        f"`python benchmarks/analysis.py` on {common.machine()}: p = 113, one layer (`nanda`), synthetic checkpoints; "
        "`fourier`, `norms` and `superposition`.",
        "",
    ]
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "run"
        with common.Build(earlier) if earlier else nullcontext():
            synthetic(path, max(*COUNTS, checkpoints))
        times = compare(path, checkpoints, earlier)
        columns = ["HookedTransformer, run_with_cache", "interp", "ratio of medians"]
        cells = [common.spread(times["plain"]), common.spread(times["ours"])]
        cells += [f"{common.ratio(times['plain'], times['ours']):.1f}"]
        if earlier:
            columns += [f"interp at {common.commit(earlier)}", "earlier ÷ interp"]
            cells += [common.spread(times["earlier"]), f"{common.ratio(times['earlier'], times['ours']):.2f}"]
        lines += [
            f"{checkpoints} checkpoints, blocks of {BLOCK} by each in turn: median of a block, ms a checkpoint, quartiles in "
            "brackets. All read and hash every file, and agree to 1e-6.",
            "",
            f"| {' | '.join(columns)} |",
            f"|{'---|' * len(columns)}",
            f"| {' | '.join(cells)} |",
            "",
            "In a process each; memory is resident, its peak, with that of Python and the libraries before measuring.",
            "",
            "| checkpoints | seconds | ms a checkpoint | peak, MiB | before, MiB |",
            "|---|---|---|---|---|",
        ]
        costs = [cost(path, count) for count in COUNTS]
        lines += [
            f"| {count} | {each['seconds']:.2f} | {1000 * each['seconds'] / count:.1f} | {each['peak']:.0f} | "
            f"{each['before']:.0f} |"
            for count, each in zip(COUNTS, costs, strict=True)
        ]
    large = [(count, each["seconds"]) for count, each in zip(COUNTS, costs, strict=True) if count >= 100]
    lines += ["", f"Seconds grow as checkpoints to the power {exponent(*zip(*large, strict=True)):.2f} from 100 up."]
    text = "\n".join(lines) + "\n"
    (common.RESULTS / "analysis.md").write_text(text)
    print(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoints", type=int, default=CHECKPOINTS)
    parser.add_argument("--one", type=Path, help="a run, to measure in this process")
    common.add_earlier(parser)
    given = parser.parse_args()
    one(given.one, given.checkpoints) if given.one else main(given.checkpoints, given.against)
