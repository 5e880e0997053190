"""Memory of `groups` against the order of the group: estimated, and used, each in a process of its own."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import common

GROUPS = ("S4", "S5", "S6")
"""Groups of 24, 120 and 720 elements."""


def trained(group: str, out: Path) -> None:
    """Write a run of the MLP of Chughtai et al. (2023) with its initial weights, on which `groups` costs what it costs later."""
    from interp.config import RunConfig
    from interp.models import MlpSpec
    from interp.recipe import TrainConfig
    from interp.tasks import GroupTask
    from interp.train.loop import train

    task = GroupTask(group=group, prompt="ab", operands="separate", train_fraction=0.25)
    model = MlpSpec(inputs="embedded", d_model=256, width=128, act_fn="relu")
    train(RunConfig(name=group, task=task, model=model, train=TrainConfig(steps=0)), out)


def measured(path: Path) -> None:
    """Print the memory that `groups` is estimated to take, that it takes beyond what importing takes, and its seconds."""
    from interp import analyze
    from interp.analyze.mechanism.groups import Network, Options
    from interp.store import open_run
    from interp.views.elements import Elements

    run, before = open_run(path).within("6GiB"), common.peak_memory()
    begin = time.perf_counter()
    analyze.measure(run, "groups")
    seconds, whole = time.perf_counter() - begin, common.peak_memory()
    estimate = Network(Elements.of(run), Options()).bytes / 2**20
    print(json.dumps({"estimate": estimate, "grown": whole - before, "peak": whole, "seconds": seconds}))


def child(*words: str) -> str:
    """What this script prints when called with these words."""
    return subprocess.run([sys.executable, __file__, *words], capture_output=True, check=True, text=True).stdout


def main() -> None:
    """Write the table."""
    from interp.maths.groups import order

    rows = []
    with tempfile.TemporaryDirectory() as directory:
        for group in GROUPS:
            child(group, f"{directory}/{group}", "train")
            found = json.loads(child(group, f"{directory}/{group}", "measure"))
            sizes = [f"{found[name]:,.0f}" for name in ("estimate", "grown", "peak")]
            rows.append([group, str(order(group)), *sizes, f"{found['seconds']:.0f}"])
    common.write(
        "groups_memory",
        "`groups` of one checkpoint of an MLP of 128 neurons; MiB, beyond imports and of the whole process",
        ["group", "elements", "estimated, MiB", "used, MiB", "process, MiB", "seconds"],
        rows,
    )


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    elif sys.argv[3] == "train":
        trained(sys.argv[1], Path(sys.argv[2]))
    else:
        measured(Path(sys.argv[2]))
