"""Curvature, learning coefficient, Bézier curves, planes: peers on a plain HookedTransformer, and ours, in turn in one process.

    curvature   top four eigenvalues and trace: curvlinops (scipy's eigsh, Hutchinson's trace) against `curvature`
    llc         chains of Langevin dynamics: canonical-interp against `llc`, the same draws of the same chains
    bezier      updates of a curve's bend: torch.func.functional_call on the plain model against `connect`
    plane       25 × 25 points, ours alone

Runs in the environment of the peers: `make .venv-peers/base`, then `.venv-peers/bin/python benchmarks/landscape.py RUN`. RUN is
a trained run of preset `quick`. Writes benchmarks/results/landscape.md.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import common
import numpy as np
import torch
from torch import nn

import interp
from interp.models.network import load
from interp.store import Checkpoint, Run
from interp.store.between import Curve
from interp.train.bend import trained_bend
from interp.train.connect import minimised
from interp.train.loop import silently
from interp.views.walk import evenly

TOLERANCE = 1e-3
"""Residual ‖Hv − λv‖ ÷ λmax up to which both search."""


class LastLogits(nn.Module):
    """A HookedTransformer's logits at the last position, as a plain module."""

    def __init__(self, checkpoint: Checkpoint, learned: list[str]):
        super().__init__()
        self.model = load(checkpoint.run.config.model, checkpoint.run.task.shape, checkpoint.weights)
        for name, parameter in list(self.model.named_parameters()):
            if name not in learned:  # what does not learn is a buffer, which no peer moves
                place, _, own = name.rpartition(".")
                delattr(self.model.get_submodule(place), own)
                self.model.get_submodule(place).register_buffer(own, parameter.detach())

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits [n, answer]."""
        return self.model(tokens)[:, -1]


def training_set(run: Run) -> tuple[torch.Tensor, torch.Tensor]:
    """Prompts and answers that are trained on."""
    return torch.from_numpy(run.split.train.inputs), torch.from_numpy(run.split.train.targets)


def learned(run: Run) -> list[str]:
    """Names of the weights that learn."""
    return run.config.model.learned(run.task.shape)


def curvature_of_peer(checkpoint: Checkpoint, probes: int) -> dict[str, Any]:
    """Top four eigenvalues by eigsh and the trace by Hutchinson over curvlinops' products, with residuals and products."""
    from curvlinops import HessianLinearOperator  # pyright: ignore
    from scipy.sparse.linalg import LinearOperator, eigsh

    model = LastLogits(checkpoint, learned(checkpoint.run))
    moved = list(model.parameters())
    data = [training_set(checkpoint.run)]
    matrix = HessianLinearOperator(model, nn.CrossEntropyLoss(), moved, data, check_deterministic=False)
    counted = [0]
    scipys = matrix.to_scipy()

    def product(vector: np.ndarray) -> np.ndarray:
        counted[0] += 1
        return scipys @ vector

    n = scipys.shape[0]
    generator = np.random.default_rng(0)
    asked = LinearOperator((n, n), matvec=product, dtype=np.float32)  # pyright: ignore
    search: dict[str, Any] = {"tol": TOLERANCE, "v0": generator.standard_normal(n).astype(np.float32)}
    values, vectors = eigsh(asked, k=4, which="LA", **search)
    signs = np.array([-1, 1], dtype=np.float32)
    each = [float(z @ product(z)) for z in generator.choice(signs, (probes, n))]
    residual = max(float(np.linalg.norm(scipys @ v - w * v)) for w, v in zip(values, vectors.T, strict=True))
    return {
        "values": np.sort(values)[::-1],
        "residual": residual / values.max(),
        "trace": statistics.mean(each),
        "error": statistics.stdev(each) / probes**0.5,
        "products": counted[0],
    }


def curvature(run: Run, blocks: int, checkpoints: int) -> list[str]:
    """A row: seconds a checkpoint of both, blocks of checkpoints in turn, at equal residual and an equal error of the trace."""
    run = evenly(run, checkpoints)
    ours: list[float] = []
    theirs: list[float] = []
    apart, residuals, errors, products = [], [], [], []
    for block in np.array_split(np.array(run.steps), blocks):
        some = replace(run, steps=tuple(int(step) for step in block))
        begin = time.perf_counter()
        found = interp.analyze.measure(
            some, "curvature", checkpoints=len(some), tolerance=TOLERANCE, probes=4, density_steps=1
        ).isel(matrix=0)
        ours.append((time.perf_counter() - begin) / len(some))
        begin = time.perf_counter()
        peers = [curvature_of_peer(checkpoint, probes=30) for checkpoint in some]
        theirs.append((time.perf_counter() - begin) / len(some))
        for step, peer in zip(some.steps, peers, strict=True):
            here = found.sel(step=step)
            apart.append(float(np.abs(here["eigenvalue"].values / peer["values"] - 1).max()))
            largest = float(here["eigenvalue"].max())
            residuals.append((float(here["residual"].max()) / largest, peer["residual"]))
            errors.append((float(here["trace_error"] / here["trace"]), peer["error"] / peer["trace"]))
            products.append((float(here["dimensions"]) + 9, peer["products"]))
    assert max(apart) < 5e-3, f"eigenvalues differ by {max(apart):.1e}"
    middle = [
        " / ".join(f"{value:.2g}" for value in np.median(pairs, axis=0)) for pairs in (residuals, errors, products)
    ]
    notes = f"{len(run)} checkpoints; eigenvalues agree to {max(apart):.0e}; ours / peer, medians: residual ÷ λmax {middle[0]}, "
    return [
        "curvature: top four eigenvalues and trace",
        f"{common.spread(theirs, 's')} s a checkpoint (curvlinops)",
        f"{common.spread(ours, 's')} s",
        f"{common.ratio(theirs, ours):.1f} ×",
        notes + f"standard error ÷ trace {middle[1]}, products {middle[2]}",
    ]


def coefficient(run: Run, rounds: int, chains: int, draws: int) -> list[str]:
    """A row: seconds for all chains of a checkpoint, of both in turn; ours has two checkpoints at a time, as it has threads."""
    if not hasattr(itertools, "batched"):  # canonical-interp 0.1.5 imports it, which Python has from 3.12 on
        itertools.batched = None  # pyright: ignore
    from canonical_interp import LLCEstimator  # pyright: ignore
    from torch.utils.data import DataLoader, TensorDataset

    two, settings = evenly(run.select(last=2), 2), {"epsilon": 1e-5, "gamma": 100.0, "n_beta": 100.0}
    inputs, targets = training_set(run)
    loader = DataLoader(TensorDataset(inputs, targets), batch_size=len(inputs), shuffle=False)
    estimates: dict[str, list[float]] = {}

    def peer() -> None:
        each = []
        for checkpoint in two:
            estimator = LLCEstimator(
                draws=draws, chains=chains, burnin_steps=draws, steps_bw_draws=1, learning_rate=settings["epsilon"],
                localization=settings["gamma"], nbeta=settings["n_beta"],
            )  # fmt: skip
            model = LastLogits(checkpoint, learned(run))
            estimator.estimate_llc(model, loader, nn.functional.cross_entropy, compile=False, show_progress=False)
            kept, at = estimator.array_log_l.mean(dim=1), estimator.original_loss
            each.append(float(settings["n_beta"] * (kept - at).mean()))
        estimates["peer"] = each

    def ours() -> None:
        found = interp.analyze.measure(two, "llc", chains=chains, draws=draws, burn_in=draws, **settings)
        estimates["ours"] = found["llc"].values.tolist()

    seconds = common.interleaved({"peer": peer, "ours": ours}, rounds, warm_up=1)
    halved = {name: [second / 2 for second in each] for name, each in seconds.items()}
    said = ", ".join(
        f"{ours:.3g} / {peer:.3g}" for ours, peer in zip(estimates["ours"], estimates["peer"], strict=True)
    )
    return [
        f"llc: {chains} chains × {2 * draws} draws, burn-in included",
        f"{common.spread(halved['peer'], 's')} s a checkpoint (canonical-interp)",
        f"{common.spread(halved['ours'], 's')} s",
        f"{common.ratio(seconds['peer'], seconds['ours']):.1f} ×",
        f"all examples for every draw; λ̂ of the last two checkpoints, ours / peer: {said}",
    ]


def curve(run: Run, rounds: int, updates: int) -> list[str]:
    """A row: seconds of an update of the bend of a Bézier curve between the first checkpoint and the last, of both in turn."""
    examples, names = run.split.train, learned(run)
    A, B = run.first.weights, run.final.weights
    loss = minimised(examples, run.config, 1)
    model, (inputs, targets) = LastLogits(run.final, names), training_set(run)
    places, ended = np.random.default_rng(0).uniform(size=updates), {"ours": 0.0, "peer": 0.0}

    def peer() -> None:
        ends = [{f"model.{name}": each[name] for name in names} for each in (A, B)]
        bend = {name: ((ends[0][name] + ends[1][name]) / 2).requires_grad_() for name in ends[0]}
        adam = torch.optim.Adam(bend.values(), lr=1e-3)
        for t in places:
            parts = (1 - t) ** 2, 2 * t * (1 - t), t**2
            point = {n: parts[0] * ends[0][n] + parts[1] * bend[n] + parts[2] * ends[1][n] for n in bend}
            mean = nn.functional.cross_entropy(torch.func.functional_call(model, point, (inputs,)), targets)
            adam.zero_grad()
            mean.backward()
            adam.step()
            ended["peer"] = mean.item()

    def ours() -> None:
        found = trained_bend(A, B, loss, names, Curve(curve="bezier", steps=updates, lr=1e-3), silently())
        middle = {name: (A[name] / 4 + found[name] / 2 + B[name] / 4)[None] for name in A}
        ended["ours"] = loss(middle).item()

    seconds = common.interleaved({"peer": peer, "ours": ours}, rounds, warm_up=1)
    each = {name: [second / updates for second in some] for name, some in seconds.items()}
    return [
        f"bezier: an update of the bend, {updates} at a time",
        f"{common.spread(each['peer'])} ms (functional_call)",
        f"{common.spread(each['ours'])} ms",
        f"{common.ratio(seconds['peer'], seconds['ours']):.1f} ×",
        "all training examples at one t",
    ]


def plane(run: Run, rounds: int) -> list[str]:
    """A row: seconds of a plane of 25 × 25 points, training and test loss."""
    seconds = common.interleaved({"ours": lambda: interp.analyze.measure(run, "plane")}, rounds, warm_up=1)
    return ["plane: 25 × 25, training and test loss", "–", f"{common.spread(seconds['ours'], 's')} s", "–", ""]


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a trained run of preset quick")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--checkpoints", type=int, default=24, help="for curvature, of which a checkpoint counts as often"
    )
    parser.add_argument("--only", choices=list(ROWS), nargs="*", default=list(ROWS))
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    run = interp.open_run(arguments.run)
    rows = [ROWS[name](run, arguments) for name in arguments.only]
    common.write("landscape", "on preset quick, two threads", ["what", "peer", "ours", "ratio", "notes"], rows)


ROWS: dict[str, Callable[[Run, argparse.Namespace], list[str]]] = {
    "curvature": lambda run, asked: curvature(run, asked.rounds, asked.checkpoints),
    "llc": lambda run, asked: coefficient(run, asked.rounds, chains=8, draws=20),
    "bezier": lambda run, asked: curve(run, asked.rounds, updates=20),
    "plane": lambda run, asked: plane(run, asked.rounds),
}
"""Rows of the table by name."""


if __name__ == "__main__":
    main()
