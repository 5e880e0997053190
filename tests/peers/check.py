"""Whether curvlinops finds what `curvature` does: `python check.py`, in an environment that has both.

A line for each network, with the largest relative difference of eigenvalues and how many standard errors the traces are apart;
exit code 1 when any disagrees.
"""

import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from curvlinops import GGNLinearOperator, HessianLinearOperator  # pyright: ignore
from scipy.sparse.linalg import eigsh
from torch import nn

from interp import analyze
from interp.config import RunConfig
from interp.models import TransformerSpec
from interp.models.network import load
from interp.recipe import TrainConfig
from interp.store import Run
from interp.tasks import ModularTask
from interp.train.loop import train

TOLERANCE = 1e-5
"""Of the largest eigenvalue: both are in float64, from float32 weights, and search to 1e-8."""

ONE = TransformerSpec(n_heads=2, d_model=12, d_head=6, d_mlp=16)
MODELS = {
    "one layer": ONE,
    "two layers with LayerNorm, GELU": ONE.but(n_layers=2, normalization="LN", act_fn="gelu", biases="trained"),
}
OPERATORS = {"hessian": HessianLinearOperator, "gauss_newton": GGNLinearOperator}


class LastLogits(nn.Module):
    """A HookedTransformer's logits at the last position."""

    def __init__(self, run: Run):
        super().__init__()
        self.model = load(run.config.model, run.task.shape, run.final.weights).double()

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits [n, answer]."""
        return self.model(tokens)[:, -1]


def differences(run: Run, matrix: str) -> tuple[float, float]:
    """Largest relative difference of the top four eigenvalues, and the traces' difference in standard errors of ours."""
    how: dict[str, Any] = {"precision": "float64", "tolerance": 1e-8, "at_most": 2000, "probes": 32}
    found = analyze.measure(run, "curvature", matrices=(matrix,), **how).isel(step=-1, matrix=0)
    model, train_set = LastLogits(run), run.split.train
    learned = {f"model.{name}" for name in run.config.model.learned(run.task.shape)}
    moved = [parameter for name, parameter in model.named_parameters() if name in learned]
    for parameter in model.parameters():
        parameter.requires_grad_(any(parameter is each for each in moved))
    data = [(torch.from_numpy(train_set.inputs), torch.from_numpy(train_set.targets))]
    theirs = OPERATORS[matrix](model, nn.CrossEntropyLoss(), moved, data).to_scipy()
    start: Any = np.ones(theirs.shape[0])
    values = np.sort(np.asarray(eigsh(theirs, k=4, which="LA", v0=start, return_eigenvectors=False)))[::-1]
    apart = np.abs(values - found["eigenvalue"].values).max() / values[0]
    trace = sum(float((theirs @ unit)[index]) for index, unit in enumerate(np.eye(theirs.shape[0])))
    return float(apart), float(abs(found["trace"] - trace) / found["trace_error"])


def main() -> int:
    """Exit code: 1 if anything disagrees."""
    print(f"curvlinops {version('curvlinops-for-pytorch')}, torch {torch.__version__}")
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for name, model in MODELS.items():
            how = TrainConfig(steps=30, lr=1e-2, checkpoint_every=30, checkpoints_per_decade=1)
            config = RunConfig(task=ModularTask(p=7, train_fraction=0.6), model=model, train=how)
            run = train(config, Path(folder) / name.replace(" ", "-").replace(",", ""))
            for matrix in OPERATORS:
                apart, errors = differences(run, matrix)
                wrong = apart > TOLERANCE or errors > 5
                failed = failed or wrong
                print(
                    f"{'WRONG' if wrong else 'ok':5} {name}, {matrix}: {apart:.1e} of λmax, trace {errors:.1f} errors apart"
                )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
