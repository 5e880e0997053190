"""Do wrong labels get neurons of their own, the wider the network is? Of the runs of study.py at one rate, at their end.

python analyses/second_rise/neurons.py            # widths 16 to 2,048, 20 and 60 % wrong labels, and the null
python analyses/second_rise/neurons.py --small    # widths 16 to 512, 20 and 60 % wrong labels
"""

import sys
from collections.abc import Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from study import NULL
from study import configs as trained

import interp
from interp import figures
from interp.config import RunConfig
from interp.store import Run
from interp.study import means, script

WIDTHS = (16, 32, 64, 128, 512, 2_048)
NOISE = (0.2, 0.6, NULL)
MEASURES = {
    "share": "neurons selective for wrong labels",
    "specificity": "fall of log-probability, corrupted less clean, nats",
}


def configs(small: bool) -> Mapping[str, RunConfig]:
    """The runs of these widths and shares of wrong labels."""
    return {
        name: config
        for name, config in trained(small).items()
        if name.startswith("adam+")
        and config.model.model_dump()["width"] in WIDTHS
        and config.corruption.share in NOISE
        and config.seeds.model < 3
    }


def report(runs: Mapping[str, Run]) -> script.Report:
    """Selective neurons, and what is lost without the most selective ones, by width, beside chance and matched neurons."""
    table = pd.DataFrame([told(run) for run in runs.values()])
    by_width = means(table.drop(columns="seed"), ["noise", "width"])
    return script.Report(
        {"neurons": by_width, "neurons_runs": table.set_index(["noise", "width", "seed"])}, {"neurons": draw(by_width)}
    )


def told(run: Run) -> dict[str, Any]:
    """What is found of one run."""
    found: Any = interp.measure(run.select(last=1), "neurons_for_noise").isel(step=0)
    logs = found.sel(score="log_probability")
    shares = found.sel(score="accuracy")
    return {
        "noise": run.config.corruption.share,
        "width": run.config.model.model_dump()["width"],
        "seed": run.config.seeds.model,
        "share": float(found["share"]),
        "share_null": float(found["share_null"]),
        "p_value": float(found["p_value"]),
        "fall_corrupted": float(shares["fall"].sel(examples="corrupted")),
        "fall_clean": float(shares["fall"].sel(examples="clean")),
        "fall_test": float(shares["fall"].sel(examples="test")),
        "specificity": float(logs["specificity"]),
        **{f"specificity_{control}": float(logs["specificity_random"].sel(control=control)) for control in CONTROLS},
        **{f"p_{control}": float(logs["specificity_p"].sel(control=control)) for control in CONTROLS},
    }


CONTROLS = ("number", "energy")
"""What neurons at random are matched in."""


def draw(by_width: pd.DataFrame) -> go.Figure:
    """Both measures against the width, solid; what chance or neurons of equal energy give, dotted."""
    figure = figures.panels(
        list(MEASURES.values()),
        heights=[6],
        columns=2,
        title="Do wrong labels have neurons of their own?",
        over_steps=False,
    )
    shares: Any = by_width.index.get_level_values("noise").unique()
    for colour, noise in zip(figures.PALETTE, shares, strict=False):
        cell = by_width.xs(noise)
        name = "labels by chance" if noise == NULL else f"{100 * noise:g} % wrong labels"
        for column, (measure, control) in enumerate(
            {"share": "share_null", "specificity": "specificity_energy"}.items(), 1
        ):
            for what, dash in ((measure, "solid"), (control, "dot")):
                figure.add_scatter(
                    x=cell.index, y=cell[what], error_y={"array": cell[f"{what} ±"], "width": 2}, name=name,
                    line={"color": colour, "dash": dash}, legendgroup=name, row=1, col=column,
                    showlegend=column == 1 and dash == "solid",
                )  # fmt: skip
    figure.update_xaxes(type="log", title_text="width", tickformat="~s", dtick=1)
    figure.update_yaxes(tickformat=".0%", col=1)
    return figure.update_layout(margin={"r": 190}, width=1_050)


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report))
