"""Does the delay of digits go with 1/decay, is it of the initial scale, and is it gone at a clamped norm?

python analyses/omnigrok/delay.py            # five decays, four initial scales, clamps, and labels by chance, five seeds
python analyses/omnigrok/delay.py --small    # two decays, two scales, two seeds
"""

import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from scipy import stats
from study import NULL, SEEDS, STEPS, steps_of

import interp
from interp import figures
from interp.config import RunConfig
from interp.store import Run
from interp.study import compare, script, spread

DECAYS = (0.05, 0.1, 0.2, 0.4, 0.8)
BASE = 0.2
"""Decay at which the initial scale is varied."""
SCALES = (1.0, 2.0, 4.0)
LARGE = 8.0
"""Initial scale of Omnigrok's images, at which the decay is varied."""
BUDGET = 2_000
"""Decay × updates of every run with decay; the others have the updates of the base decay."""
ROWS = 400
"""Logged rows of a run, so that steps are known to as small a share of it at every decay."""
LEVEL = 0.85
"""Test accuracy that counts as generalised: from 200 images little more is learned."""
CLAMPED = "clamped at 1"
TOLD = ["generalised", "delay", "decay × step", "of_decay_alone", "test_accuracy"]
"""What the README tells of each arm: medians of the runs that have it."""


class Arm(NamedTuple):
    """How the networks of an arm begin, and what becomes of their norm."""

    scale: float
    """Factor on the initial weights."""
    decay: float = 0.0
    clamped: bool = False
    by_chance: bool = False
    """Whether labels say nothing of the images."""

    @property
    def steps(self) -> int:
        """Updates."""
        return round(BUDGET / (self.decay or BASE))


def arms(small: bool) -> Mapping[str, Arm]:
    """Every arm by the word for it in the runs' names."""
    decays, scales, base = ((0.4, 0.8), (1.0,), 0.8) if small else (DECAYS, SCALES, BASE)
    found = {f"decay={decay:g}": Arm(LARGE, decay) for decay in decays}
    found |= {f"scale={scale:g}": Arm(scale, base) for scale in scales}
    found |= {
        "clamped=1": Arm(1.0, clamped=True),
        "clamped=8": Arm(LARGE, clamped=True),
        "free": Arm(LARGE),
        "by-chance": Arm(LARGE, base, by_chance=True),
    }
    return {word: arm for word, arm in found.items() if not small or word not in ("free", "clamped=8")}


def configs(small: bool) -> Mapping[str, RunConfig]:
    """A run for each arm and seed."""
    preset, found = interp.preset("digits").config, {}
    for word, arm in arms(small).items():
        steps = 2_500 if small and not arm.decay else arm.steps
        train = preset.train.but(
            weight_decay=arm.decay, steps=steps, log_every=steps // ROWS, checkpoint_steps=(steps,),
            constraint="clamp" if arm.clamped else "none", log_norms=True,
        )  # fmt: skip
        config = preset.but(
            name=f"delay+{word}", model=preset.model.but(init_scale=arm.scale), train=train,
            corruption=preset.corruption.but(share=NULL if arm.by_chance else 0.0),
        )  # fmt: skip
        found |= {each.name: each for each in interp.grid(config, 2 if small else SEEDS).values()}
    return found


def report(runs: Mapping[str, Run]) -> script.Report:
    """Slopes of the steps over the decay, steps and norms of each arm, and each other arm beside the clamped one."""
    table = pd.DataFrame([told(run) for run in runs.values()])
    varied: Any = table[(table["scale"] == LARGE) & (table["decay"] > 0) & (table["by_chance"] == 0)]
    compared = compare(table, "arm", ["delay"], control=CLAMPED, steps=["delay"])
    return script.Report(
        {
            "delay_slopes": slopes(varied, ["generalised", "delay"]),
            "delay_arms": spread(table.drop(columns=["seed", "by_chance"]), ["arm"], steps=STEPS),
            "delay_told": pd.DataFrame(table.groupby("arm")[TOLD].median()),
            "delay_comparisons": compared,
            "delay_runs": table.set_index(["arm", "seed"]),
        },
        {"delay": draw(runs, varied)},
    )


def labelled(config: RunConfig) -> str:
    """Words for the arm of a run."""
    scale, train = config.model.model_dump()["init_scale"], config.train
    if config.corruption:
        return f"scale {scale:g}, labels by chance"
    if train.constraint == "clamp":
        return f"clamped at {scale:g}"
    return f"scale {scale:g}, decay {train.weight_decay:g}" if train.weight_decay else f"scale {scale:g}, no decay"


def told(run: Run) -> dict[str, Any]:
    """Steps of a run, its accuracies, and its norm when it generalised, as a multiple of that of default initial weights.

    `of_decay_alone` is the step ÷ the one at which decay alone would have brought the norm there, ln(scale ÷ norm) ÷ (rate ×
    decay).
    """
    config, history = run.config, run.history
    steps = steps_of(run, LEVEL)
    generalised = steps["generalised"]
    scale, decay = config.model.model_dump()["init_scale"], config.train.weight_decay
    norm = scale * history["norm"] / history["norm"].iloc[0]
    at = float(norm[generalised]) if not np.isnan(generalised) else np.nan
    shrinks = config.train.lr * decay * generalised / np.log(scale / at) if decay and 0 < at < scale else np.nan
    return {
        "arm": labelled(config), "scale": scale, "decay": decay, "seed": config.seeds.model,
        "by_chance": float(bool(config.corruption)),
        **steps,
        "decay × step": decay * generalised, "norm": at, "last_norm": float(norm.iloc[-1]), "of_decay_alone": shrinks,
        "train_accuracy": float(history["train_accuracy"].iloc[-1]),
        "test_accuracy": float(history["test_accuracy"].iloc[-1]),
    }  # fmt: skip


def slopes(table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Slope of the logarithm of each column over that of the decay, fitted for each seed; mean, standard error and 95 % interval.

    Seeds are the sample: runs of one seed share their images and, but for rounding, their first steps. A seed counts with the
    decays at which it arrived, if those are two or more; `missing` are runs that did not.
    """
    rows = {}
    for name in names:
        each = []
        for _, cell in table.groupby("seed"):
            known: Any = cell[cell[name] > 0]
            if known["decay"].nunique() > 1:
                each.append(np.polyfit(np.log(known["decay"]), np.log(known[name]), 1)[0])
        n, mean, error = (
            len(each),
            float(np.mean(each)) if each else np.nan,
            stats.sem(each) if len(each) > 1 else np.nan,
        )
        reach = error * stats.t.ppf(0.975, n - 1) if n > 1 else np.nan
        rows[name] = {
            "slope": mean, "±": error, "low": mean - reach, "high": mean + reach, "seeds": n,
            "missing": len(table) - int((table[name] > 0).to_numpy().sum()),
        }  # fmt: skip
    return pd.DataFrame(rows).T.rename_axis("what")


def draw(runs: Mapping[str, Run], varied: pd.DataFrame) -> go.Figure:
    """Steps against the decay beside 1/decay, and accuracies over steps by initial scale, clamped, and with labels by chance."""
    figure = figures.panels(
        ["steps by decay", "train accuracy", "test accuracy"],
        heights=[5.5], columns=3, title="How late digits generalise, and what makes it so", over_steps=False,
    )  # fmt: skip
    for name, colour in zip(STEPS[:2], (figures.TRAIN, figures.TEST), strict=True):
        medians = varied.groupby("decay")[name].median()
        figure.add_scatter(x=medians.index, y=medians, name=f"{name}, median", line_color=colour, row=1, col=1)
        figure.add_scatter(
            x=varied["decay"], y=varied[name], name=f"{name}, a seed", mode="markers", row=1, col=1,
            marker={"color": colour, "symbol": "circle-open"},
        )  # fmt: skip
    products = varied["decay × step"].median()
    decays = np.array([varied["decay"].min(), varied["decay"].max()])
    line = {"color": figures.QUIET, "dash": "dash"}
    figure.add_scatter(x=decays, y=products / decays, name="1/decay", line=line, mode="lines", row=1, col=1)
    by_arm: dict[str, list[pd.DataFrame]] = {}
    for run in runs.values():
        by_arm.setdefault(labelled(run.config), []).append(run.history.loc[1:])
    base = next(label.split(", ")[1] for label in by_arm if label.startswith("scale 1,"))
    others = [label for label in by_arm if ", decay" not in label or label.endswith(base)]
    for colour, label in zip((*figures.PALETTE, figures.INK), others, strict=False):
        look = {"color": colour, "dash": "dot" if "chance" in label else "solid"}
        for column, split in enumerate(("train", "test"), start=2):
            each = [history[f"{split}_accuracy"] for history in by_arm[label]]
            median = pd.concat(each, axis=1).median(axis=1)
            figure.add_scatter(
                x=median.index, y=median, name=label, mode="lines", line=look, legendgroup=label,
                showlegend=column == 2, row=1, col=column,
            )  # fmt: skip
    figure.update_xaxes(type="log", title_text="step (optimiser updates)", dtick=1, exponentformat="power")
    figure.update_xaxes(title_text="weight decay γ", tickvals=varied["decay"].unique(), dtick=None, row=1, col=1)
    figure.update_yaxes(tickformat=".0%", range=[0, 1.02])
    figure.update_yaxes(type="log", title_text="step", tickformat=",", dtick="D1", range=None, row=1, col=1)
    return figure.update_layout(margin={"r": 230}, width=1_350)


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report))
