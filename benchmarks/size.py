"""Cost against size: time and memory of a training step for growing p, each in a process of its own."""

import json
import subprocess
import sys
import time

import common
import numpy as np

SIZES = (53, 97, 113, 199, 401)


def child(p: int) -> None:
    """Print seconds of some steps, and the memory that was needed at most beyond what importing takes."""
    from interp.config import RunConfig
    from interp.machine import keep_freed_memory
    from interp.tasks import ModularTask
    from interp.train.learner import Learner

    keep_freed_memory()
    before = common.peak_memory()
    learner = Learner.make([RunConfig(task=ModularTask(p=p))], "cpu")
    learner.update(100)
    seconds = []
    for _ in range(12):
        begin = time.perf_counter()
        learner.update(100)
        seconds.append(time.perf_counter() - begin)
    grown = common.peak_memory() - before
    print(json.dumps({"seconds": seconds, "mib": grown, "prompts": len(learner.examples[0])}))


def main() -> None:
    """Write the table."""
    found = {
        p: json.loads(subprocess.run([sys.executable, __file__, str(p)], capture_output=True, check=True).stdout)
        for p in SIZES
    }
    prompts = [each["prompts"] for each in found.values()]
    exponents = {
        name: np.polyfit(np.log(prompts), np.log(values), 1)[0]
        for name, values in {
            "time": [float(np.median(each["seconds"])) for each in found.values()],
            "memory": [each["mib"] for each in found.values()],
        }.items()
    }
    common.write(
        "size",
        "a step of the nanda model on 30 % of the table, 12 steps in a process of its own; quartiles in brackets",
        ["p", "prompts", "step, ms", "µs a prompt", "memory beyond imports, MiB"],
        [
            [
                str(p),
                f"{each['prompts']:,}",
                common.spread(each["seconds"]),
                f"{1e6 * float(np.median(each['seconds'])) / each['prompts']:.1f}",
                f"{each['mib']:.0f}",
            ]
            for p, each in found.items()
        ],
        f"Fitted: time ∝ prompts^{exponents['time']:.2f}, memory ∝ prompts^{exponents['memory']:.2f}.",
    )


if __name__ == "__main__":
    child(int(sys.argv[1])) if len(sys.argv) > 1 else main()
