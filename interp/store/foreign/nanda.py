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
from interp.store.foreign.contents import LARGEST, Contents, numbers, rows_of_table, spacing, whole_number
from interp.store.foreign.pickles import load
from interp.store.foreign.states import axes_of_W_O

LAYOUT = "Nanda et al. (2023)"
OPERATIONS = {"add": "add", "subtract": "subtract", "x2xyy2": "x2_xy_y2"}
"""Names of operations in interp, by `fn_name` of Nanda et al. Their `rand` is a random table that no file holds."""

NO_MORE = {
    name: TrainConfig.model_fields[name].default
    for name in (
        "schedule", "lr_end", "decay_to", "l1", "sam", "grokfast", "grokfast_gain", "grokfast_window", "grokfast_momentum",
        "orthogonal_gradients", "max_gradient_norm", "loss", "loss_precision", "loss_reduction", "label_smoothing", "noise",
        "noise_scale", "dropout",
    )
}  # fmt: skip
"""Training fields at their defaults: what the code of Nanda et al. and of Zhong et al. lacks. Both take the loss in float64."""

EPOCH_FILE = re.compile(r"(\d{1,9})\.pth")


def recognise_folder(path: Path) -> list[Contents] | None:
    """Contents of a folder with `{epoch}.pth` and `init.pth` or `final.pth`, or several with `epoch` inside; None otherwise."""
    epochs = {int(found[1]): file for file in path.iterdir() if (found := EPOCH_FILE.fullmatch(file.name))}
    first, final = path / "init.pth", path / "final.pth"
    if not first.exists() and not final.exists() and not (epochs and is_theirs(load(min(epochs.values())))):
        return None
    contents = Contents(path.name, LAYOUT, sorted([*epochs.values(), *filter(Path.exists, [first, final])]))
    for epoch, file in sorted(epochs.items()):
        add_epoch(contents, file, load(file), epoch)
    if final.exists():
        add_whole(contents, final, load(final))
    if first.exists():
        found = load(first)
        contents.add_state(0, first, of(first, found, "model"))
        if "train_data" in found:
            p = len_vocabulary(contents, 0) - 1
            contents.train_index = rows_of_table(first, found["train_data"], p)
            contents.task["train_fraction"] = len(contents.train_index) / p**2
    told_by_the_paper(contents)
    return [contents]


def is_theirs(found: Any) -> bool:
    """Whether a loaded file is one that the loop of Nanda et al. saves in an epoch."""
    return isinstance(found, dict) and axes_of_W_O(found.get("model")) == 2 and "epoch" in found


def recognise(path: Path, found: Any) -> list[Contents] | None:
    """Contents of a single file of Nanda et al., given loaded; None for another file."""
    if isinstance(found, list) and len(found) == 2 and all(isinstance(part, list) for part in found):
        return sweep(path, *found)
    contents = Contents(path.stem, LAYOUT, [path])
    if isinstance(found, list):
        contents.add_losses(path, "train_loss", found)
        return [contents]
    if not isinstance(found, dict):
        return None
    state = found.get("model")
    if "train_losses" in found and axes_of_W_O(state) != 3 and "checkpoints" not in found:
        add_whole(contents, path, found)
    elif axes_of_W_O(state) == 2:
        add_epoch(contents, path, found, whole_number(path, "epoch", found.get("epoch", 0)))
    elif axes_of_W_O(found) == 2:
        contents.add_state(0, path, found)
        contents.notes.append("the file does not say after how many updates its weights are; step 0 stands for that")
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
    for name in ("train_loss", "test_loss"):
        if name in found:
            contents.add_losses(path, name, [found[name]], first=epoch)


def add_whole(contents: Contents, path: Path, found: dict[str, Any]) -> None:
    """Add a file of a whole run: curves, and the weights after the last update if it has them."""
    add_curves(contents, path, found["train_losses"], found.get("test_losses"))
    last = max(contents.rows) + 1
    if "model" in found:
        add_settings(contents, path, found)
        contents.add_state(contents.train.pop("updates", last), path, found["model"])


def add_curves(contents: Contents, path: Path, train: Any, test: Any) -> None:
    """Add the train loss of every epoch, and the test loss of every epoch or of every n-th."""
    contents.add_losses(path, "train_loss", train)
    if test is None or test == []:
        return
    n_train, n_test = len(train), len(numbers(path, "test_loss", test))
    every = spacing(n_train, n_test)
    if every is None:
        contents.notes.append(
            f"the file has {n_train:,} train losses and {n_test:,} test losses, which does not tell their epochs: the test "
            "losses are left out"
        )
        return
    contents.add_losses(path, "test_loss", test, every=every)
    if every > 1:
        contents.notes.append(f"the file has a test loss for one epoch in {every}")


def add_settings(contents: Contents, path: Path, found: dict[str, Any]) -> None:
    """Add the configuration, and what the optimiser was given; the two do not always agree."""
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
