"""The layout of Nanda et al. (2023, arXiv 2301.05217; code of the progress-measures paper).

One file or a folder: `final.pth` or any single .pth with `model`, `train_losses`, `test_losses`, `optimizer`, `config`; a
folder with `{epoch}.pth` (`model`, `train_loss`, `test_loss`, `epoch`) beside `init.pth` (`train_data`, `test_data`). Loss
curves may come without weights: `{train_losses, test_losses}`, a list of losses, or [fractions, [train, test, …]].

Its loop computes both losses, updates, and then saves: the loss of epoch e is that of the weights after e updates, and
`{epoch}.pth` holds those after epoch + 1. A model has 4 heads, causal attention, no LayerNorm, and every token may be answered.
"""

import random
import re
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from interp.config import TrainConfig
from interp.store.files import CheckpointError
from interp.store.foreign.asked import Asked
from interp.store.foreign.contents import LARGEST, Contents, numbers, numbers_or_none, rows_of_table, whole_number
from interp.store.foreign.curves import leave_rest, take_curves
from interp.store.foreign.pickles import load
from interp.store.foreign.states import axes_of_W_O

LAYOUT = "Nanda et al. (2023)"
OPERATIONS = {"add": "add", "subtract": "subtract", "x2xyy2": "x2_xy_y2"}
"""Names of operations in interp, by `fn_name` of Nanda et al. Their `rand` is a random table that no file holds."""

NO_MORE = {
    name: TrainConfig.model_fields[name].default
    for name in (
        "schedule", "schedule_period", "lr_end", "lr_parts", "lr_scale", "decay_to", "decay_parts", "l1", "sam",
        "grokfast", "grokfast_gain", "grokfast_window", "grokfast_momentum", "orthogonal_gradients",
        "max_gradient_norm", "loss", "loss_precision", "loss_reduction", "label_smoothing", "noise", "noise_scale",
        "dropout", "constraint", "output_temperature",
    )
}  # fmt: skip
"""Training fields at their defaults: what the code of Nanda et al. and of Zhong et al. lacks. Both take the loss in float64."""

EPOCH_FILE = re.compile(r"(\d{1,9})\.pth")


def recognise_folder(path: Path, asked: Asked) -> list[Contents] | None:
    """Contents of a folder with files of this layout: `{epoch}.pth`, `init.pth` and `final.pth`; None if it has none."""
    epochs = {file: int(found[1]) for file in path.iterdir() if (found := EPOCH_FILE.fullmatch(file.name))}
    first, final = path / "init.pth", path / "final.pth"
    files = [*sorted(epochs, key=epochs.__getitem__), *filter(Path.exists, [final, first])]
    if not any(map(is_of_theirs, {*files[:1], *files[-2:]})):
        return None
    contents = Contents(path.absolute().name, LAYOUT, [])
    for file in files:
        with asked.costs_itself(file):
            found = load(file)
            if file in epochs:
                add_epoch(contents, file, found, epochs[file])
            elif file == final:
                add_whole(contents, file, found)
            else:
                add_start(contents, file, found)
            contents.files = sorted([*contents.files, file])
    told_by_the_paper(contents)
    return [contents]


def is_of_theirs(file: Path) -> bool:
    """Whether a file can be read and is one of this layout."""
    try:
        found = load(file)
    except CheckpointError:  # which reading every file says
        return False
    return is_theirs(found) or is_their_end(found)


def is_theirs(found: Any) -> bool:
    """Whether a loaded file is one that the loop of Nanda et al. saves in an epoch."""
    return isinstance(found, dict) and axes_of_W_O(found.get("model")) == 2 and "epoch" in found


def is_their_end(found: Any) -> bool:
    """Whether a loaded file is one that the code of Nanda et al. saves before its loop, or after it."""
    beside = {"train_losses", "train_data"}
    return isinstance(found, dict) and axes_of_W_O(found.get("model")) == 2 and bool(beside & found.keys())


def recognise(path: Path, found: Any) -> list[Contents] | None:
    """Contents of a single file of Nanda et al., given loaded; None for another file."""
    if isinstance(found, list) and len(found) == 2 and all(isinstance(part, list) for part in found):
        return sweep(path, *found)
    contents = Contents(path.stem, LAYOUT, [path])
    if isinstance(found, list) and numbers_or_none(found):
        contents.add_losses(path, "train_loss", found)
        return [contents]
    if is_their_end(found) and "train_losses" in found:
        add_whole(contents, path, found)
    elif isinstance(found, dict) and is_theirs(found):
        add_epoch(contents, path, found, whole_number(path, "epoch", found["epoch"]))
    else:
        return None
    told_by_the_paper(contents)
    return [contents]


def sweep(path: Path, fractions: list[Any], curves: list[Any]) -> list[Contents]:
    """Contents of a run for each train fraction, from learning curves [fractions, [train, test, train, test, …]]."""
    shares = numbers(path, "train fractions", fractions)
    if len(curves) != 2 * len(shares):
        raise CheckpointError(f"{path} has {len(shares)} fractions and {len(curves)} curves; two for each are expected")
    found = []
    for index, share in enumerate(shares):
        contents = Contents(f"train_fraction={share:g}", LAYOUT, [path], task={"train_fraction": share})
        add_curves(contents, path, curves[2 * index], curves[2 * index + 1])
        found.append(contents)
    return found


def add_epoch(contents: Contents, path: Path, found: Any, epoch: int) -> None:
    """Add a file saved in epoch `epoch`: the weights after its update, and the losses before it."""
    contents.add_state(epoch + 1, path, of(path, found, "model"))
    used = take_curves(contents, path, found, at=epoch, ignoring=["model"])
    leave_rest(contents, path, found, used | {"model"})


def add_start(contents: Contents, path: Path, found: Any) -> None:
    """Add the file saved before the first update: the weights, and the prompts that are trained on. All others are for tests."""
    contents.add_state(0, path, of(path, found, "model"))
    if "train_data" in found:
        p = len_vocabulary(contents, 0) - 1
        contents.train_index = rows_of_table(path, found["train_data"], p)
        contents.task["train_fraction"] = len(contents.train_index) / p**2
    leave_rest(contents, path, found, {"model", "train_data", "test_data"})


def add_whole(contents: Contents, path: Path, found: Any) -> None:
    """Add a file of a whole run: curves, and the weights after the last update."""
    used = take_curves(contents, path, found, ignoring=["model", "optimizer", "config"])
    used |= add_settings(contents, path, found)
    step = contents.train.pop("updates", contents.end)
    contents.knows_steps = bool(step)
    contents.add_state(step, path, of(path, found, "model"))
    leave_rest(contents, path, found, used | {"model"})


def add_curves(contents: Contents, path: Path, train: Any, test: Any) -> None:
    """Add the train loss of every epoch, and the test loss of every epoch or of every n-th."""
    take_curves(contents, path, {"train_losses": train, "test_losses": test})


def add_settings(contents: Contents, path: Path, found: dict[str, Any]) -> set[str]:
    """Add the configuration, and what the optimiser was given, which do not always agree; returns the entries that it read."""
    config, optimizer = dictionary(found, "config"), dictionary(found, "optimizer")
    groups = optimizer.get("param_groups")
    group = groups[0] if isinstance(groups, list) and groups and isinstance(groups[0], dict) else {}
    for ours, theirs in (("lr", "initial_lr"), ("weight_decay", "weight_decay"), ("betas", "betas"), ("eps", "eps")):
        value, given = plain(group.get(theirs, group.get(ours))), plain(config.get(ours))
        if isinstance(value, float) and isinstance(given, float) and value != given:
            contents.notes.append(
                f"its config says {ours} {given:g}, its optimizer {value:g}; the optimizer's is taken"
            )
        if (value := given if value is None else value) is not None:
            contents.train[ours] = value
    state = dictionary(optimizer, "state")
    if state:
        updates = dictionary(state, next(iter(state))).get("step")
        if isinstance(updates, Tensor) and updates.numel() == 1 and bool(updates.isfinite()):
            updates = int(updates)
        contents.train["updates"] = whole_number(path, "count of updates", updates)
    operation = OPERATIONS.get(str(config.get("fn_name")))
    if operation is not None and "p" in config:
        contents.task |= {"operation": operation, "p": whole_number(path, "p", config["p"], 1024)}
    share = config.get("frac_train")
    if isinstance(share, float) and 0 < share < 1:
        contents.task["train_fraction"] = share
    if str(config.get("act_type")) in ("ReLU", "GeLU"):
        contents.model["act_fn"] = str(config["act_type"]).lower()
    if "train_fraction" in contents.task and {"p", "seed"} <= config.keys():
        p, seed = whole_number(path, "p", config["p"], 1024), whole_number(path, "seed", config["seed"])
        contents.train_index = their_split(p, contents.task["train_fraction"], seed)
        contents.notes.append(f"the training set is what their code draws from seed {config['seed']}")
    return {name for name, read in (("config", config), ("optimizer", optimizer)) if read}


def their_split(p: int, train_fraction: float, seed: int) -> np.ndarray:
    """Rows of the table that `gen_train_test` of Nanda et al. trains on: the first share of all pairs after Python's shuffle."""
    rows = list(range(p * p))
    random.Random(seed).shuffle(rows)
    return np.sort(rows[: int(train_fraction * p * p)])


def told_by_the_paper(contents: Contents) -> None:
    """Add what no file says and the code of Nanda et al. does for every run with weights. It always applies its causal mask."""
    if contents.states:
        contents.model["attention"] = "causal"
        contents.model |= {"normalization": "none", "biases": "mlp", "init": "nanda", "init_scale": 1.0}
        contents.train |= {"optimizer": "adamw", "batch_size": "full", "warmup_steps": 10, **NO_MORE}


def len_vocabulary(contents: Contents, step: int) -> int:
    """Size of the vocabulary: columns of W_E, which the layout has as [d_model, d_vocab]."""
    path, state = contents.states[step]
    if "embed.W_E" not in state or state["embed.W_E"].ndim != 2:
        raise CheckpointError(f"{path} has no embed.W_E with two axes")
    return state["embed.W_E"].shape[1]


def plain(value: Any) -> float | tuple[float, ...] | None:
    """A finite number, or a tuple of such; None for anything else."""
    if isinstance(value, list | tuple):
        parts = [plain(part) for part in value]
        return tuple(part for part in parts if isinstance(part, float)) if len(parts) == 2 else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < LARGEST:
        return None
    return float(value)


def dictionary(found: dict[Any, Any], name: Any) -> dict[Any, Any]:
    """The dictionary at `name`; an empty one if there is none."""
    part = found.get(name)
    return part if isinstance(part, dict) else {}


def of(path: Path, found: Any, name: str) -> Any:
    """The value at `name` in a loaded dictionary; CheckpointError if there is none."""
    if not isinstance(found, dict) or name not in found:
        raise CheckpointError(f"{path} has no {name!r}; a dictionary with one is expected")
    return found[name]
