"""Numbers before and after a rebuilding of the code: weights, histories and every analysis of short runs, to the last bit.

    python benchmarks/unchanged.py record DIR     with the code as it was: train, measure, and keep all numbers in DIR
    python benchmarks/unchanged.py compare DIR    with other code: do it again, print what differs, exit 1 if a number does

Same machine and thread count both times. A number differs if its bits, type, shape, dimensions or name do (NaN equals NaN).
Words (titles, units, the sentence in which an analysis declines) may differ; they are listed at the end.
"""

import argparse
import pickle
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import interp

SHORT = {"train.steps": 30, "train.log_every": 5, "train.checkpoint_every": 15, "train.checkpoints_per_decade": 1}
FEW = SHORT | {"train.steps": 100, "train.checkpoint_every": 50}
SMALL = {"task.p": 29, "task.train_fraction": 0.6, "model.d_mlp": 64}
TWO_LAYERS = {
    "model.n_layers": 2,
    "model.normalization": "LN",
    "model.act_fn": "gelu",
    "model.attention": "bidirectional",
}
MEASURED: dict[str, tuple[str, dict[str, Any]]] = {
    "quick": ("quick", {"train.steps": 300, "train.checkpoint_every": 50, "train.checkpoints_per_decade": 2}),
    "grokked": (
        "quick",
        SMALL | {"task.train_fraction": 0.75, "train.lr": 5e-3, "train.steps": 400, "train.checkpoint_every": 20},
    ),
    "s5": ("s5", SHORT | {"train.steps": 40, "train.checkpoint_every": 20}),
    "joint": ("joint", SHORT | {"task.p": 31}),
    "skip_trigram": ("skip_trigram", FEW | {"train.steps": 200}),
    "repeated": ("repeated", SHORT),
    "addition": ("addition", FEW),
    "toy-superposition": ("toy-superposition", FEW | {"train.steps": 400}),
    "toy-double-descent": (
        "toy-double-descent",
        FEW | {"task.n_features": 100, "task.examples": 50, "task.sparsity": 0.9},
    ),
    "corrupted labels": ("quick", SMALL | FEW | {"corruption.labels": 50}),
    "corrupted joint": ("joint", SHORT | {"task.p": 13, "corruption.share": 0.1}),
    "two layers": ("quick", SMALL | SHORT | TWO_LAYERS),
    "pizza": ("quick", SMALL | FEW | {"model.attention_rate": 0.0, "task.prompt": "ab"}),
    "division": ("quick", SMALL | SHORT | {"task.operation": "divide", "task.operands": "separate"}),
    "toy untied": ("toy-double-descent", SHORT | {"task.n_features": 20, "task.examples": 30, "model.tied": False}),
}
"""Runs on which every analysis is tried: preset, and the fields that differ from it."""

TRAINED: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("quick", {"train.optimizer": "sgd", "train.lr": 0.1, "train.weight_decay": 1e-3}),
    "sgd nesterov": ("quick", {"train.optimizer": "sgd", "train.nesterov": True, "train.lr": 0.1, "train.weight_decay": 0.0}),
    "adam, coupled l2": ("quick", {"train.optimizer": "adam", "train.weight_decay": 1e-3}),
    "cosine": ("quick", {"train.schedule": "cosine", "train.lr_end": 1e-4, "train.warmup_steps": 3}),
    "sam": ("quick", {"train.sam": 0.05}),
    "grokfast ma": ("quick", {"train.grokfast": "ma", "train.grokfast_window": 5}),
    "grokfast ema": ("quick", {"train.grokfast": "ema"}),
    "orthogonal gradients": ("quick", {"train.orthogonal_gradients": True}),
    "clipping": ("quick", {"train.max_gradient_norm": 0.1}),
    "stablemax": ("quick", {"train.loss": "stablemax"}),
    "label smoothing": ("quick", {"train.label_smoothing": 0.1}),
    "noisy weights": ("quick", {"train.noise": "weights", "train.noise_scale": 0.01}),
    "noisy gradients": ("quick", {"train.noise": "gradients", "train.noise_scale": 0.01}),
    "noisy updates": ("quick", {"train.noise": "updates", "train.noise_scale": 1.0}),
    "dropout": ("quick", {"train.dropout": 0.1}),
    "l1": ("quick", {"train.l1": 1e-4}),
    "decay to initial": ("quick", {"train.decay_to": "initial"}),
    "mini-batches": ("quick", {"train.batch_size": 100}),
    "float64": ("quick", {"train.precision": "float64"}),
    "bfloat16 gradients": ("quick", {"train.precision": "bfloat16_gradients"}),
    "bfloat16": ("quick", {"train.precision": "bfloat16"}),
    "loss in float32": ("quick", {"train.loss_precision": "float32"}),
    "loss in bfloat16": ("quick", {"train.loss_precision": "bfloat16"}),
    "two layers, LN, gelu, bidirectional": ("quick", TWO_LAYERS),
    "LNPre, silu": ("quick", {"model.normalization": "LNPre", "model.act_fn": "silu", "model.biases": "trained"}),
    "solu": ("quick", {"model.act_fn": "solu", "model.biases": "frozen"}),
    "solu_ln": ("quick", {"model.act_fn": "solu_ln", "model.normalization": "LN"}),
    "attention only": ("quick", {"model.attn_only": True, "model.n_layers": 2}),
    "initialised as hooked": ("quick", {"model.init": "hooked", "model.init_scale": 2.0}),
    "conjugation": ("s5", {"task.group": "S4", "task.operation": "conjugate", "task.prompt": "aob=", "task.answers": "tokens"}),
    "joint on a group": ("joint", {"task.operations": ("compose", "aba"), "task.group": "D5"}),
    "corrupted stream": ("addition", {"corruption.share": 0.2, "task.digits": 2}),
    "toy, untied, gelu": ("toy-superposition", {"model.tied": False, "model.output": "gelu", "model.hidden": "gelu"}),
    "toy, solu_ln": ("toy-superposition", {"model.hidden": "solu_ln", "task.importance": (0.9,), "train.precision": "float64"}),
    "toy, linear, mean": ("toy-superposition", {"model.output": "none", "model.bias": False, "train.loss_reduction": "mean"}),
    "toy, sets": ("toy-superposition", {"task.sets": "together", "task.n_features": 6, "train.noise": "gradients",
                                        "train.noise_scale": 0.01}),
    "toy, repeated": ("toy-double-descent", {"task.examples": 50, "task.repeated": 5, "task.copies": 3, "train.batch_size": 16}),
}  # fmt: skip
"""Runs whose weights and history alone are kept, all of them SHORT."""

TOGETHER = {
    "side by side": ("quick", SMALL | SHORT, {"train.weight_decay": (0.5, 2.0)}),
    "toys side by side": ("toy-double-descent", SHORT | {"task.n_features": 50}, {"train.lr": (1e-3, 1e-2)}),
}
"""Runs that are trained in one batch, two seeds of each value, and compared by the analyses that compare."""

ANALYSES = (
    "ablate", "attention", "breakdown", "clock_pizza", "complexity", "curves", "double_descent", "fourier", "gap", "geometry",
    "groups", "lazy", "logits", "neurons", "norms", "numerics", "phases", "positions", "progress", "readout", "superposition",
    "tsne",
)  # fmt: skip
COMPARED = ("curves", "double_descent", "geometry", "phases", "positions")
OPTIONS: dict[str, dict[str, Any]] = {"ablate": {"checkpoints": 3, "repeats": 4}, "tsne": {"frames": 3}}
VERSIONS, WRITTEN_NUMBERS = ("interp_version",), ("key_frequencies",)
"""Attributes that may differ without a word, and those whose text is numbers."""

Item = tuple[dict[str, Any], dict[str, str]]
"""Numbers (dimensions, array) by name, and words by name."""


def config_of(name: str, preset: str, changes: dict[str, Any]) -> interp.RunConfig:
    """The preset with these fields, by dotted name."""
    config = interp.preset(preset).config
    for section in dict.fromkeys(field.split(".")[0] for field in changes):
        fields = {field.split(".")[1]: value for field, value in changes.items() if field.startswith(f"{section}.")}
        config = config.but(**{section: getattr(config, section).but(**fields)})
    return config.but(name=name.replace(",", "").replace(" ", "-"))


def plain(values: Any) -> np.ndarray:
    """An array whose bytes can be compared: one NaN is like another, and objects are as Python writes them."""
    array = np.asarray(values).copy()
    if array.dtype == object:
        return np.array([repr(value) for value in array.ravel()]).reshape(array.shape)
    if array.dtype.kind == "f":
        array[np.isnan(array)] = np.nan
    return array


def of_weights(run: Any) -> Item:
    """Every tensor of every checkpoint."""
    each = {f"{point.step} {name}": tensor for point in run for name, tensor in point.weights.items()}
    return {name: ((), plain(tensor)) for name, tensor in each.items()}, {}


def of_table(table: pd.DataFrame, prefix: str = "") -> Item:
    """Index and columns of a table by their places; their names are words."""
    columns = [table.index, *(table.iloc[:, place] for place in range(table.shape[1]))]
    named = {f"{prefix}column {place}": column for place, column in enumerate(columns)}
    return {key: ((), plain(column)) for key, column in named.items()}, {key: str(c.name) for key, c in named.items()}


def of_analysis(run: Any, analysis: str) -> Item:
    """Variables, coordinates, attributes and summary of a measurement; attributes that are text are words."""
    found = run.measure(analysis, **OPTIONS.get(analysis, {}))
    numbers, words = of_table(interp.summarise(found), "summary, ")
    numbers |= {str(name): (variable.dims, plain(variable)) for name, variable in found.variables.items()}
    for owner, attributes in (
        ("", found.attrs),
        *((f"{name}, ", each.attrs) for name, each in found.variables.items()),
    ):
        for name in attributes.keys() - VERSIONS:
            value, key = attributes[name], f"{owner}attribute {name}"
            if isinstance(value, str) and name not in WRITTEN_NUMBERS:
                words[key] = value.replace(str(run.path), "RUN")
            else:
                numbers[key] = ((), plain(value))
    return numbers, words


def of_comparison(runs: list[Any], analysis: str) -> Item:
    """The table over several runs."""
    return of_table(interp.compare([run.measure(analysis) for run in runs]))


def tried(measure: Callable[[Any, str], Item], of: Any, analysis: str, path: Path) -> Item:
    """What it measures, or the sentence in which it declines."""
    try:
        return measure(of, analysis)
    except interp.UserError as error:
        return {}, {"declines": str(error).replace(str(path), "RUN")}


def of_run(name: str, run: Any, analyses: tuple[str, ...]) -> Iterator[tuple[str, str, Item]]:
    """What training wrote, and each analysis."""
    yield name, "weights", of_weights(run)
    yield name, "history", of_table(run.history)
    yield from ((name, analysis, tried(of_analysis, run, analysis, run.path)) for analysis in analyses)


def everything(data: Path, scratch: Path) -> Iterator[tuple[str, str, Item]]:
    """Run, name and content of each item; runs are trained into `scratch`, and those in `data` copied there."""
    for path in sorted(data.iterdir()):
        yield from of_run(path.name, interp.open_run(shutil.copytree(path, scratch / path.name)), ANALYSES)
    for name, (preset, changes) in MEASURED.items():
        yield from of_run(name, interp.train_run(config_of(name, preset, changes), scratch / name), ANALYSES)
    for name, (preset, changes) in TRAINED.items():
        yield from of_run(name, interp.train_run(config_of(name, preset, SHORT | changes), scratch / name), ())
    for name, (preset, changes, vary) in TOGETHER.items():
        runs = interp.train_runs(interp.grid(config_of(name, preset, changes), 2, vary), scratch / name)
        for place, run in enumerate(runs):
            yield from of_run(f"{name} {place}", run, ())
        for analysis in COMPARED:
            yield name, f"compare {analysis}", tried(of_comparison, runs, analysis, scratch / name)


def verdict(was: Item, now: Item) -> str:
    """`same`, `declines` (both times), or which numbers differ and by how much at most."""
    if ("declines" in was[1]) != ("declines" in now[1]):
        return f"DIFFERS: {'measures what it declined' if 'declines' in was[1] else now[1]['declines']}"
    if odd := sorted(was[0].keys() ^ now[0].keys()):
        return f"DIFFERS: {len(odd)} only then or only now: {', '.join(odd[:9])}"
    differ = {name: by for name in was[0] if (by := distance(*was[0][name], *now[0][name])) is not None}
    if not differ:
        return "declines" if "declines" in was[1] else "same"
    worst = max(differ, key=lambda name: differ[name])
    return f"DIFFERS: {len(differ)} of {len(was[0])}, at most by {differ[worst]:.2g} of itself: {worst}"


def distance(old_dims: Any, old: np.ndarray, new_dims: Any, new: np.ndarray) -> float | None:
    """Largest relative difference; None for the same bits, infinite for another shape, type, text, or place of a NaN."""
    if (old_dims, old.dtype, old.shape) != (new_dims, new.dtype, new.shape):
        return np.inf
    if old.tobytes() == new.tobytes():
        return None
    if old.dtype.kind not in "fiu" or (np.isfinite(old) != np.isfinite(new)).any():
        return np.inf
    a, b = old.astype(float), new.astype(float)
    with np.errstate(invalid="ignore"):  # 0 and 0, or both infinite
        return float(np.nanmax(np.abs(a - b) / np.maximum(np.abs(a), np.abs(b)), initial=0.0))


def reworded(was: Item, now: Item) -> Iterator[tuple[str, str, str]]:
    """Words that differ: their name, and both from a little before the first difference."""
    for name in sorted(was[1].keys() | now[1].keys()):
        old, new = was[1].get(name, "(none)"), now[1].get(name, "(none)")
        if old != new:
            agree = [a == b for a, b in zip(old, new, strict=False)]
            begin = max(0, [*agree, False].index(False) - 20)
            yield name, old[begin : begin + 80], new[begin : begin + 80]


def main() -> int:
    """Record, or compare; returns the exit code."""
    print(f"interp is {interp.__file__}", flush=True)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("record", "compare"))
    parser.add_argument("dir", type=Path)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    recording, data, numbers = asked.what == "record", asked.dir / "data", asked.dir / "numbers.pickle"
    if asked.dir.exists() if recording else not numbers.exists():
        parser.error(f"{asked.dir} {'is there already' if recording else 'holds no record'}")
    if recording:
        shutil.copytree(Path(interp.__file__).parents[1] / "tests" / "data", data)
    known = {} if recording else pickle.loads(numbers.read_bytes())
    kept, says, words, begin = {}, {}, Counter(), time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        for run, name, item in everything(data, Path(scratch)):
            was = item if recording else known.get((run, name), ({}, {}))
            kept[run, name], says[run, name] = item, verdict(was, item)
            words.update(reworded(was, item))
            print(f"{time.perf_counter() - begin:4.0f} s  {run:<36} {name:<23} {says[run, name]}", flush=True)
    if recording:
        numbers.write_bytes(pickle.dumps(kept))
    for missing in known.keys() - kept.keys():
        says[missing] = "DIFFERS: not measured now"
        print(*missing, says[missing])
    for (name, old, new), count in words.items():
        print(f"words, {count} times: {name}: {old!r} is now {new!r}")
    differ = sum(each.startswith("DIFFERS") for each in says.values())
    print(f"{len(says)} items, {differ} differ, {sum(len(item[0]) for item in kept.values())} arrays")
    return int(differ > 0)


if __name__ == "__main__":
    sys.exit(main())
