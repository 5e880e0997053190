"""The layout of Zhong et al. (2023, arXiv 2306.17844; code of the clock-and-pizza paper): `config_ID.json` + `model_ID.pt`.

Weights are those of the last update, in the layout of Nanda et al. Attention applies no mask, whatever the config's
`attention_dir` says. Its pattern is α·softmax + (1 − α), α = `attn_coeff`. With `diff_vocab` the second operand has
tokens of its own. With `eqn_sign` the prompt ends in "=".
"""

import re
import reprlib
from pathlib import Path
from typing import Any

from interp.store.files import CheckpointError
from interp.store.foreign.asked import Asked
from interp.store.foreign.contents import Contents, whole_number
from interp.store.foreign.nanda import NO_MORE, plain
from interp.store.foreign.pickles import load

LAYOUT = "Zhong et al. (2023)"
CONFIG_FILE = re.compile(r"config_([\w-]{1,80})\.json")
FUNCTION = re.compile(r"lambda x: \(x\[0\]([+*-])x\[1\]\)%(\d{1,4})")
"""Pattern of `funcs` in a configuration of Zhong et al., a lambda as text; it is matched, never evaluated."""
OPERATIONS = {"+": "add", "-": "subtract", "*": "multiply"}
ACTIVATIONS = {"ReLU": "relu", "GeLU": "gelu"}
REMEDY = "get the pair of files again from where it came"


def recognise(path: Path, asked: Asked) -> list[Contents] | None:
    """Contents of the runs in a folder, or of the run of either file of a pair; None if there are none."""
    if path.is_dir():
        found = []
        for config in sorted(file for file in path.iterdir() if CONFIG_FILE.fullmatch(file.name)):
            with asked.costs_itself(config):
                found.append(pair(config))
        return found or None
    if CONFIG_FILE.fullmatch(path.name):
        return [pair(path)]
    partner = path.with_name(path.name.replace("model_", "config_", 1)).with_suffix(".json")
    return [pair(partner)] if path.name.startswith("model_") and partner.exists() else None


def pair(path: Path) -> Contents:
    """Contents of a run, from its configuration and its weights."""
    config = load(path)
    found = CONFIG_FILE.fullmatch(path.name)
    if found is None or not isinstance(config, dict):
        raise CheckpointError(f"{path} is no configuration of {LAYOUT}: it holds no object; {REMEDY}")
    weights = path.with_name(f"model_{found[1]}.pt")
    contents = Contents(found[1], LAYOUT, [path, weights])
    if config.get("use_linear"):
        raise CheckpointError(f"{path} describes a model without attention; interp reads their transformers only")
    contents.task = task(path, config)
    contents.model = {
        "act_fn": chosen(path, config, "act_fn", ACTIVATIONS),
        "attention": "bidirectional",
        "attention_rate": share(path, config, "attn_coeff"),
        "normalization": "none",
        "biases": "mlp",
    }
    contents.train = {
        "optimizer": "adamw",
        "betas": (0.9, 0.98),
        "warmup_steps": 10,
        **NO_MORE,
        **{ours: value for ours in ("lr", "weight_decay") if isinstance(value := plain(config.get(ours)), float)},
    }
    if config.get("batch_size") == config.get("C", 0) ** 2:
        contents.train["batch_size"] = "full"
    if str(config.get("attention_dir")) != "bidirectional":
        contents.notes.append(
            f'its config says attention_dir "{config.get("attention_dir")!s:.20}"; their code applies no mask, so attention '
            "is bidirectional"
        )
    contents.add_state(whole_number(path, "epoch", config.get("epoch")), weights, load(weights))
    return contents


def task(path: Path, config: dict[str, Any]) -> dict[str, Any]:
    """Fields of the task that a configuration tells."""
    function = FUNCTION.fullmatch(str(config.get("funcs")))
    p = whole_number(path, "C", config.get("C"), 1024)
    if function is None or int(function[2]) != p:
        raise CheckpointError(
            f"{path} has funcs {config.get('funcs')!r:.60}; x[0] and x[1] joined by +, - or *, modulo its C, is expected"
        )
    return {
        "operation": OPERATIONS[function[1]],
        "p": p,
        "prompt": "ab=" if config.get("eqn_sign") else "ab",
        "operands": "separate" if config.get("diff_vocab") else "shared",
        "train_fraction": share(path, config, "frac"),
    }


def share(path: Path, config: dict[str, Any], name: str) -> float:
    """The number from 0 to 1 at `name` in a configuration; CheckpointError for anything else."""
    value = config.get(name)
    if not isinstance(number := plain(value), float) or not 0 <= number <= 1:
        raise CheckpointError(f"{path} has {name} {reprlib.repr(value)}; a number from 0 to 1 is expected")
    return number


def chosen(path: Path, config: dict[str, Any], name: str, known: dict[str, str]) -> str:
    """interp's name for the value at `name` in a configuration; CheckpointError for a value that is not known."""
    if str(config.get(name)) not in known:
        raise CheckpointError(f"{path} has {name} {reprlib.repr(config.get(name))}; interp reads {', '.join(known)}")
    return known[str(config[name])]
