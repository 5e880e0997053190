"""The same question of convolutional networks, widened by k: the 5-layer CNN of Nakkiran et al. (2019).

python analyses/model_wise/convnets.py            # 8 × 8 digits and 14 × 14 images of MNIST, k from 1 to 16, wrong labels
python analyses/model_wise/convnets.py --small    # 200 digits, four widths, two seeds
"""

import sys
from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go
from study import MEASURES, NOISE, NULL, WRONG, named, told

import interp
from interp import figures
from interp.config import RunConfig
from interp.store import Run
from interp.study import means, peaks, script

WIDTHS = (1, 2, 3, 4, 6, 8, 12, 16)
IMAGES = {
    "digits": (interp.preset("digits-convnet").config, 3_000, (*NOISE, NULL)),
    "mnist_5k": (interp.preset("mnist-convnet").config, 6_000, (0.2,)),
}
"""Recipe, optimiser updates and shares of wrong labels by the images."""
CELL = ["images", "noise"]
TOLD = ["valley_mean", "peak", "peak_mean", "height", "last_mean", "p_value", "threshold", "holm"]
"""Columns of `peaks` that the README tells."""


def configs(small: bool) -> Mapping[str, RunConfig]:
    """A run for each set of images, width, share of wrong labels and seed."""
    found: dict[str, RunConfig] = {}
    for name, (preset, usual, shares) in IMAGES.items():
        if small and name != "digits":
            continue
        steps = 200 if small else usual
        base = preset.but(
            task=preset.task.but(examples=200) if small else preset.task,
            train=preset.train.but(
                steps=steps, batch_size=50 if small else preset.train.batch_size, checkpoint_every=steps,
                checkpoints_per_decade=1,
            ),
        )  # fmt: skip
        for width in (1, 2, 4, 8) if small else WIDTHS:
            of_width = base.but(name=f"{name}+k={width}", model=base.model.but(width=width))
            grid = interp.grid(of_width, 2 if small else 3, {WRONG: (0.0, 0.4) if small else shares})
            found |= {config.name: config for config in grid.values()}
    return found


def report(runs: Mapping[str, Run]) -> script.Report:
    """Errors by width k, with threshold and peak of each set of images and share of wrong labels."""
    table = pd.DataFrame([{"images": run.config.task.model_dump()["images"], **told(run)} for run in runs.values()])
    by_width = means(table.drop(columns="seed"), [*CELL, "width"])
    found = peaks(table, "width", list(MEASURES), each=CELL, fits="train_error")
    errors = pd.DataFrame(found.xs("test_error", level="what", drop_level=False))
    return script.Report(
        {
            "convnets": found,
            "convnets_told": errors.filter(TOLD),
            "convnets_by_k": by_width,
            "convnets_runs": table.set_index([*CELL, "width", "seed"]),
        },
        {"convnets": draw(by_width)},
    )


def draw(by_width: pd.DataFrame) -> go.Figure:
    """Test error at the end and at the best step, and test loss, against k: a row for each set of images."""
    images = list(dict.fromkeys(by_width.index.get_level_values("images")))
    titles = [f"{name}: {what}" for name in images for what in MEASURES.values()]
    figure = figures.panels(titles, heights=[5] * len(images), columns=3, title="Wider convolutions", over_steps=False)
    shares = list(dict.fromkeys(by_width.index.get_level_values("noise")))
    for row, name in enumerate(images, start=1):
        of_images = by_width.xs(name)
        for noise in dict.fromkeys(of_images.index.get_level_values("noise")):
            cell, colour = of_images.xs(noise), figures.PALETTE[shares.index(noise)]
            for column, measure in enumerate(MEASURES, start=1):
                figure.add_scatter(
                    x=cell.index, y=cell[measure], error_y={"array": cell[f"{measure} ±"], "width": 2},
                    name=named(noise), line={"color": colour, "dash": "dot" if noise == NULL else "solid"},
                    legendgroup=named(noise), showlegend=row == column == 1, row=row, col=column,
                )  # fmt: skip
    figure.update_xaxes(type="log", tickvals=WIDTHS)
    figure.update_xaxes(title_text="width k", row=len(images))
    return figure.update_layout(margin={"r": 200}, width=1_250)


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report))
