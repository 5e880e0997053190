"""The layout of Chughtai et al. (2023, arXiv 2302.03025): a folder with `cfg.json` and `model.pt`, or a folder of such folders.

Beside them may lie `checkpoints/epoch_{e}.pt`, saved after the update of epoch e; `metrics.csv`, what they measured of these;
and `summary_metrics.json`, what they measured of `model.pt`. Their MLP is logits = relu([W_x[a], W_y[b]]·W)·W_U. Their
transformer is a HookedTransformer with copies of its embedding. Prompts are drawn by `torch.randperm` from the seed, none
moved for seed 0. They number permutations as sympy does (numbering.py).
"""

import csv
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from interp.models import Family, MlpSpec
from interp.store.files import CheckpointError, read_bytes, read_json
from interp.store.foreign.contents import LARGEST, MOST_ROWS, Contents, whole_number
from interp.store.foreign.nanda import NO_MORE, plain
from interp.store.foreign.pickles import REMEDY, load
from interp.store.foreign.states import State
from interp.store.tensors import Tensors

LAYOUT = "Chughtai et al. (2023)"
GROUPS = {"CyclicGroup": "C", "DihedralGroup": "D", "SymmetricGroup": "S", "AlternatingGroup": "A"}
"""First letters of groups in interp, by `group` of their configuration."""
MODELS = ("OneLayerMLP", "Transformer")
"""Their models that interp describes, by `model` of their configuration."""
EPOCH_FILE = re.compile(r"epoch_(\d{1,9})\.pt")
COLUMNS = {
    "train_loss": "train_loss",
    "test_loss": "test_loss",
    "train_acc": "train_accuracy",
    "test_acc": "test_accuracy",
}
"""Columns of a history, by their names in metrics.csv and summary_metrics.json."""
MOST_BYTES = 1 << 28
"""Most bytes of a metrics.csv that is read."""
OWN = ("cfg.json", "model.pt", "metrics.csv", "summary_metrics.json")
"""Names of the files of a run, each of which stands for its folder."""


def recognise(path: Path) -> list[Contents] | None:
    """Contents of the run in a folder, or of the runs in its folders, or of the run that a file belongs to; None for others."""
    if not path.is_dir():
        return [run(path.parent)] if path.name in OWN and is_theirs(path.parent) else None
    if is_theirs(path):
        return [run(path)]
    return [run(folder) for folder in sorted(path.iterdir()) if folder.is_dir() and is_theirs(folder)] or None


def is_theirs(folder: Path) -> bool:
    """Whether a folder has a configuration of theirs."""
    return (folder / "cfg.json").exists() and configuration(folder).get("group") in GROUPS


def configuration(folder: Path) -> dict[str, Any]:
    """The configuration in a folder; an empty one if it holds no object."""
    found = load(folder / "cfg.json")
    return found if isinstance(found, dict) else {}


def run(folder: Path) -> Contents:
    """Contents of the run in a folder."""
    path, config = folder / "cfg.json", configuration(folder)
    if config.get("model") not in MODELS:
        raise CheckpointError(
            f"{path} has model {str(config.get('model'))!r:.60}; of {LAYOUT} interp reads {' and '.join(MODELS)}"
        )
    contents = Contents(folder.absolute().name, LAYOUT, [path, folder / "model.pt"])
    n = add_task(contents, path, config)
    mlp = config["model"] == "OneLayerMLP"
    contents.task |= {"prompt": "ab", "operands": "separate"} if mlp else {"prompt": "ab="}
    contents.model = {"act_fn": "relu", "init": "default" if mlp else "hooked", "init_scale": 1.0}
    contents.model["normalization"] = "none"
    if not mlp:
        contents.model |= {"attention": "causal", "biases": "trained"}
    contents.train = {
        "optimizer": "adamw", "batch_size": "full", "warmup_steps": 0, "eps": 1e-8, **NO_MORE, "loss_precision": "float32",
        **{name: value for name in ("lr", "weight_decay", "betas") if (value := plain(config.get(name))) is not None},
    }  # fmt: skip
    add_split(contents, path, config, n)
    last = whole_number(path, "num_epochs", config.get("num_epochs"))
    add_weights(contents, folder, last)
    add_figures(contents, folder, last)
    return contents


def add_task(contents: Contents, path: Path, config: dict[str, Any]) -> int:
    """Add the group to the task; returns its order. Composition in a cyclic group is x + y modulo its order."""
    number = whole_number(path, "group_parameter", config.get("group_parameter"), 1024)
    letter = GROUPS[config["group"]]
    if letter == "C":
        contents.task = {"operation": "add", "p": number}
        return number
    contents.task = {"group": f"{letter}{number}", "operation": "compose"}
    # 7! is too many for interp, which says so itself.
    return 2 * number if letter == "D" else math.factorial(min(number, 7)) // (2 if letter == "A" else 1)


def add_split(contents: Contents, path: Path, config: dict[str, Any], n: int) -> None:
    """Add the training set that their code draws for n elements, if the configuration has a share and a seed."""
    share, seed = plain(config.get("frac_train")), config.get("seed")
    if not isinstance(share, float) or not 0 < share < 1:
        return
    contents.task["train_fraction"] = share
    if seed is None or n > 1024:
        return
    contents.train_index = their_split(n, share, whole_number(path, "seed", seed, (1 << 63) - 1))
    contents.notes.append(f"the training set is what their code draws from seed {seed}")


def their_split(n: int, train_fraction: float, seed: int) -> Int[np.ndarray, " n_train"]:
    """Rows of the table of n elements, as they number them, that their code trains on: the first share of a permutation."""
    rows = torch.randperm(n * n, generator=torch.Generator().manual_seed(seed)) if seed else torch.arange(n * n)
    return rows[: int(train_fraction * n * n)].sort().values.numpy()


def add_weights(contents: Contents, folder: Path, last: int) -> None:
    """Add the checkpoints in their order, and the weights after the last update."""
    inside = folder / "checkpoints"
    files = inside.iterdir() if inside.is_dir() else ()
    epochs = {int(found[1]): file for file in files if (found := EPOCH_FILE.fullmatch(file.name))}
    for epoch, file in sorted(epochs.items()):
        contents.files.append(file)
        contents.add_state(epoch + 1, file, load(file))
    contents.add_state(last, folder / "model.pt", load(folder / "model.pt"))


def add_figures(contents: Contents, folder: Path, last: int) -> None:
    """Add losses and accuracies of the checkpoints and of the last weights; a note names what is not taken in."""
    measured, summary = folder / "metrics.csv", folder / "summary_metrics.json"
    others: set[str] = set()
    if measured.exists():
        contents.files.append(measured)
        for row in table(measured):
            epoch = whole(measured, "epoch", row.get("epoch"))
            contents.rows[epoch + 1] = figures(measured, row)
            others |= row.keys() - COLUMNS.keys() - {"", "epoch"}
    if summary.exists():
        contents.files.append(summary)
        row = read_json(summary, 1 << 24, REMEDY)
        if isinstance(row, dict):
            contents.rows[last] = figures(summary, row)
            others |= row.keys() - COLUMNS.keys() - {"epoch"}
    if others:
        contents.notes.append(
            f"{len(others)} measures of theirs in {' and '.join(file.name for file in (measured, summary) if file.exists())}, "
            f"such as {min(others):.60}, are not taken in; python -m interp.analyze groups measures the weights"
        )


def table(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file by the names of its columns."""
    try:
        text = read_bytes(path, MOST_BYTES, REMEDY).decode()
        rows = list(csv.DictReader(text.splitlines(), restkey="", restval=""))
    except (UnicodeDecodeError, csv.Error) as error:
        raise CheckpointError(f"{path} is no CSV file ({error!s:.80}); {REMEDY}") from None
    if not rows or len(rows) > MOST_ROWS or "epoch" not in rows[0]:
        raise CheckpointError(f"{path} has no rows, too many, or no column epoch; {REMEDY}")
    return rows


def figures(path: Path, row: dict[str, Any]) -> dict[str, float]:
    """Losses and accuracies in a row, by the names of a history's columns; those that are missing or NaN are left out."""
    found = {}
    for theirs, ours in COLUMNS.items():
        if row.get(theirs) in (None, ""):
            continue
        try:
            value = float(row[theirs])
        except (TypeError, ValueError):
            value = math.inf
        if math.isinf(value) or abs(value) > LARGEST:
            raise CheckpointError(f"{path} has {str(row[theirs])!r:.40} as its {theirs}; finite numbers are expected")
        if not math.isnan(value):
            found[ours] = value
    return found


def whole(path: Path, what: str, text: Any) -> int:
    """The whole number that a cell of a table holds; CheckpointError for anything else."""
    if not re.fullmatch(r"[0-9]{1,9}(\.0*)?", str(text)):
        raise CheckpointError(f"{path} has {str(text)!r:.40} as its {what}; a whole number is expected")
    return int(float(text))


def is_mlp(state: State) -> bool:
    """Whether a state dict has the names of their MLP."""
    return state.keys() == {"W_x", "W_y", "W", "W_U"}


def mlp(path: Path, state: State, model: dict[str, Any]) -> tuple[Tensors, Family]:
    """Weights and specification of their MLP: tokens of a and of b have rows of their own in one W_E.

    Raises:
        CheckpointError: the shapes do not fit each other.
    """
    sizes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    d_model, width = sizes["W_x"][-1] if sizes["W_x"] else 0, sizes["W"][-1] if sizes["W"] else 0
    answers = sizes["W_U"][-1] if sizes["W_U"] else 0
    n = sizes["W_x"][0] if sizes["W_x"] else 0
    fits = {"W_x": (n, d_model), "W_y": (n, d_model), "W": (2 * d_model, width), "W_U": (width, answers)}
    if sizes != fits or not min(n, d_model, width, answers):
        raise CheckpointError(
            f"{path} has W_x {sizes['W_x']}, W_y {sizes['W_y']}, W {sizes['W']} and W_U {sizes['W_U']}; of an MLP of {LAYOUT} "
            "they are n × d, n × d, 2d × width and width × n"
        )
    weights = {
        "embed.W_E": torch.cat([state["W_x"], state["W_y"]]),
        "layers.0.W": state["W"].unflatten(0, (2, d_model)),
        "unembed.W_U": state["W_U"],
    }
    shape: dict[str, Any] = {"inputs": "embedded", "d_model": d_model, "biases": False}
    shape |= {"width": width, "n_hidden": 1, "widths": ()}
    return {name: tensor.float().contiguous() for name, tensor in weights.items()}, MlpSpec(**{**model, **shape})
