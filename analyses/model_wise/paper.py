"""The same question at the paper's size, for a GPU: pre-activation ResNet18 of width k, 4,000 passes, 15 % wrong labels.

python analyses/model_wise/paper.py            # 60,000 images of Fashion-MNIST, moved and mirrored, k from 1 to 64: GPU-days
python analyses/model_wise/paper.py --small    # 200 digits, k of 1, 2 and 4, two passes

Nakkiran et al. (2019), figure 1, have CIFAR-10, whose images have three colours; tasks here have one. The four idx files of
Fashion-MNIST (Xiao et al. 2017, MIT) are read from checkpoints/fashion-mnist.
"""

import sys
from collections.abc import Mapping

import convnets
from study import WRONG

import interp
from interp.config import RunConfig
from interp.store import Run
from interp.study import script

IMAGES = "checkpoints/fashion-mnist"
WIDTHS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 20, 24, 32, 40, 48, 64)
BATCH, PASSES = 128, 4_000


def configs(small: bool) -> Mapping[str, RunConfig]:
    """A run for each width k, share of wrong labels and seed."""
    base = interp.preset("digits-convnet").config
    examples, batch = (200, 50) if small else (60_000, BATCH)
    images = {} if small else {"images": IMAGES, "test_examples": 10_000, "crop": 4, "flip": True}
    passes = 2 if small else PASSES
    each = -(-examples // batch)
    base = base.but(
        task=base.task.but(examples=examples, **images),
        train=base.train.but(
            steps=passes * each, batch_size=batch, lr=1e-4, log_every=each, checkpoint_every=passes * each
        ),
    )
    found: dict[str, RunConfig] = {}
    for width in (1, 2, 4) if small else WIDTHS:
        model = base.model.but(architecture="resnet18", width=width)
        of_width = base.but(name=f"resnet18+k={width}", model=model)
        grid = interp.grid(of_width, 2 if small else 3, {WRONG: [0.0, 0.15]})
        found |= {config.name: config for config in grid.values()}
    return found


def report(runs: Mapping[str, Run]) -> script.Report:
    """What `convnets.py` reports, under names of its own."""
    found = convnets.report(runs)
    return script.Report(
        {name.replace("convnets", "paper"): table for name, table in found.tables.items()},
        {name.replace("convnets", "paper"): figure for name, figure in found.figures.items()},
    )


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report))
