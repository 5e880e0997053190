"""Is it the efficiency of memorising and of generalising that decides from how many examples a network generalises?

    python analyses/circuits_compete/study.py            # x + y mod 53: nine sizes of the training set, three decays, five seeds
    python analyses/circuits_compete/study.py --small    # two sizes, one decay, two seeds
    python analyses/circuits_compete/study.py --size paper    # x + y mod 113, ten seeds, 50,000 and 500,000 updates, for a GPU

Efficiency is logit per norm of the parameters (Varma et al. 2023, arXiv 2309.02390). That of memorising is measured in networks
that memorise random answers of so many examples, that of generalising in networks that know the rule from many examples. Where
the first falls below the second, a network that has generalised should keep to the rule when it goes on with so few examples; it
should forget with fewer.
"""

import itertools
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

import interp
from interp import figures
from interp.config import RunConfig
from interp.maths.phases import crossing, lasting_crossing
from interp.store import Run
from interp.study import compare, means, script, trend

SHARES = (0.03, 0.05, 0.08, 0.12, 0.16, 0.2, 0.25, 0.3, 0.4)
"""Shares of the table that are trained on."""
MANY = (0.5, 0.7, 0.9)
"""Shares from which the rule is learned for certain."""
PARENT = 0.7
"""Share of the networks that go on with fewer examples, and, as a control, with as many."""
DECAYS = (1, 2, 4)
DECAY = 2
"""Weight decay of all but those that go on."""
STEPS, LONG, SEEDS = 2_000, 4_000, 5
"""Updates of networks on random answers and on many examples, and of those with few of the rule, which take long."""
HALF = 0.5
"""Test accuracy at the critical share."""

MEMORISING, GENERALISING = "random answers", "rule, many examples"
AFRESH, GONE_ON = "rule, afresh", "rule, gone on"
PREDICTED = "predicted by efficiency"
WORDS = {"random": MEMORISING, "many": GENERALISING, "afresh": AFRESH, "on": GONE_ON}
"""What runs are, by the word for it in their names."""


class Size(NamedTuple):
    """How much is run."""

    preset: str
    shares: tuple[float, ...]
    many: tuple[float, ...]
    steps: int
    long: int
    seeds: int


PAPER_EXAMPLES = (*(round(390 * (1_494 / 390) ** (place / 6)) for place in range(7)), 2_000, 3_200)
"""Examples of the 12,769 mod 113: the source's seven sizes from 390 to 1,494, spaced by ratios, and two further ones."""
SMALL, FULL, PAPER = (
    Size("quick", (0.1, 0.4), (PARENT,), 500, 500, 2),
    Size("quick", SHARES, MANY, STEPS, LONG, SEEDS),
    Size("nanda", tuple(round((n + 0.5) / 113**2, 6) for n in PAPER_EXAMPLES), MANY, 50_000, 500_000, 10),
)


def configs(small: bool) -> Mapping[str, RunConfig]:
    """Networks that begin with initial weights: on random answers, on many examples of the rule, on few."""
    return configs_of(SMALL if small else FULL)


def paper() -> Mapping[str, RunConfig]:
    """The source's: one layer mod 113, its sizes of the training set, ten seeds."""
    return configs_of(PAPER)


def configs_of(size: Size) -> Mapping[str, RunConfig]:
    """Networks of a size that begin with initial weights."""
    base = interp.preset(size.preset).config
    base = base.but(
        train=base.train.but(
            steps=size.steps, weight_decay=float(DECAY), checkpoint_steps=(), log_every=max(50, size.steps // 100)
        )
    )
    found = {}
    for seed in range(size.seeds):
        of_seed = base.but(seeds=base.seeds.but(split=seed, model=seed), train=ended(base, base.train.steps))
        for word, of in {"random": size.shares, "many": size.many, "afresh": size.shares}.items():
            for share in of:
                config = of_seed.but(task=of_seed.task.but(train_fraction=share, table_seed=seed))
                if word == "random":
                    config = interp.null_twin(config, "answers")
                if word == "afresh":
                    config = config.but(train=ended(config, size.long))
                name = f"{word}+{share}+{DECAY}+{seed}"
                found[name] = config.but(name=name)
    return found


def ended(config: RunConfig, steps: int) -> Any:
    """Training for so many steps, with a checkpoint at the last one."""
    return config.train.but(steps=steps, checkpoint_steps=(steps,))


def further(runs: Mapping[str, Run]) -> Mapping[str, RunConfig]:
    """Networks that know the rule and go on with fewer examples, which are some of those that they had."""
    afresh = [run.config for name, run in runs.items() if name.startswith("afresh")]
    shares = sorted({config.task.model_dump()["train_fraction"] for config in afresh})
    found = {}
    for name, run in runs.items():
        word, share, _, seed = name.split("+")
        if word == "many" and float(share) == PARENT:
            cells = [
                *itertools.product(shares, DECAYS if len(shares) > len(SMALL.shares) else (DECAY,)),
                (PARENT, DECAY),
            ]
            for fewer, decay in cells:
                of = f"on+{fewer}+{decay}+{seed}"
                task, train = run.config.task.but(train_fraction=fewer), afresh[0].train.but(weight_decay=float(decay))
                found[of] = run.config.but(name=of, task=task, train=train, start=interp.start_from(run.path))
    return found


def results(runs: Mapping[str, Run]) -> pd.DataFrame:
    """A row for each run: what it is, share, decay and seed, its efficiency and its accuracies at the end."""
    return pd.DataFrame([of_name(name) | facts(run) for name, run in runs.items()], index=pd.Index(runs, name="run"))


def of_name(name: str) -> dict[str, Any]:
    """What a run is, by its name."""
    word, share, decay, seed = name.split("+")
    return {"what": WORDS[word], "share": float(share), "decay": int(decay), "seed": int(seed)}


def facts(run: Run) -> dict[str, float]:
    """Mean margin on the training set, norm, margin per norm, accuracies and losses at the last checkpoint."""
    found = interp.measure(run.select(last=1), "gap").isel(step=-1)
    margin, norm = float(found["margin_mean"].sel(split="train")), float(found["norm"])
    row = {"examples": len(run.split.train), "margin": margin, "norm": norm, "efficiency": margin / norm}
    for split in ("train", "test"):
        row |= {f"{split}_{what}": float(found[what].sel(split=split)) for what in ("accuracy", "loss")}
    return row


def critical(table: Any) -> pd.DataFrame:
    """The critical share of each seed, as the efficiencies predict it and as test accuracy shows it; NaN: none in what was tried.

    Predicted: where that of random answers falls below the seed's mean over the networks that know the rule from many examples.
    Shown: from where on test accuracy is a half or more. Both lie on straight lines between the shares; the smallest share stands
    for itself and all below.
    """
    rows = []
    for seed, of_seed in table.groupby("seed"):
        level = of_seed.loc[of_seed["what"] == GENERALISING, "efficiency"].mean()
        shares, values = curve(of_seed[of_seed["what"] == MEMORISING], "efficiency")
        rows.append({"of": PREDICTED, "seed": seed, "critical": crossing(shares, -values, -level)})
        shown = of_seed[of_seed["what"].isin([AFRESH, GONE_ON]) & (of_seed["share"] != PARENT)]
        for (what, decay), each in shown.groupby(["what", "decay"]):
            at = lasting_crossing(*curve(each, "test_accuracy"), HALF)
            of = f"{what}, decay {decay}" if what == GONE_ON else what
            rows.append({"of": of, "seed": seed, "critical": at, "decay": decay if what == GONE_ON else np.nan})
    # one that is not found lies beyond what was tried
    return pd.DataFrame(rows).assign(critical_until=table.loc[table["what"] == MEMORISING, "share"].max())


def curve(rows: Any, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Shares in order, and what there is at each."""
    rows = rows.sort_values("share")
    return rows["share"].to_numpy(float), rows[what].to_numpy(float)


def predictions(table: Any, found: Any) -> pd.DataFrame:
    """Runs of the rule on few examples by what they are: how many end on the side of a half that the seed's efficiencies predict.

    `constant` is how many would if one answer were given to all, the better one.
    """
    predicted = found[found["of"] == PREDICTED].set_index("seed")["critical"]
    mine = table[table["what"].isin([AFRESH, GONE_ON]) & (table["share"] != PARENT)]
    above = mine["share"].to_numpy() >= predicted.reindex(mine["seed"]).fillna(np.inf).to_numpy()
    generalises = mine["test_accuracy"] >= HALF
    each = mine.assign(right=above == generalises, generalises=generalises).groupby(["what", "decay"])
    counts = each.agg(runs=("right", "size"), right=("right", "sum"), generalise=("generalises", "sum"))
    return counts.assign(constant=np.maximum(counts["generalise"], counts["runs"] - counts["generalise"]))


def report(runs: Mapping[str, Run]) -> script.Report:
    """Critical shares as predicted and as shown, what decides them, and both efficiencies by share."""
    table: Any = results(runs)
    found: Any = critical(table)
    tested = compare(found, "of", ["critical"], ["seed"], control=PREDICTED, steps=["critical"])
    spread = found.groupby("of")["critical"].agg(seeds="count", median="median", lowest="min", highest="max")
    tables = {"critical": spread, "comparisons": tested}
    if found["decay"].nunique() > 1:
        tables["decay"] = trend(found[found["decay"].notna()], "decay", ["critical"], ["seed"], steps=["critical"])
    memorising = table[table["what"] == MEMORISING]
    tables |= {
        "falls": trend(memorising, "share", ["efficiency", "margin", "norm"], ["seed"], steps=[]),
        "predictions": predictions(table, found),
        "by_share": means(table.drop(columns="seed"), ["what", "decay", "share"]),
        "critical_by_seed": found.set_index(["of", "seed"]),
        "runs": table,
    }
    return script.Report(tables, {"circuits_compete": draw(table, found)})


def draw(table: Any, found: Any) -> go.Figure:
    """Efficiencies and test accuracies over the share that is trained on; dotted: the predicted critical share of each seed."""
    titles = ["efficiency: mean margin on the training set ÷ norm", "test accuracy of networks that know the rule and go on",
              "test accuracy of networks that begin afresh"]  # fmt: skip
    figure = figures.panels(titles, [4, 4, 3], "Do two circuits compete by efficiency?", over_steps=False)
    panels = {
        1: [(what, table[table["what"] == what], "efficiency") for what in (MEMORISING, GENERALISING)],
        2: [
            (f"decay {decay}", table[(table["what"] == GONE_ON) & (table["decay"] == decay)], "test_accuracy")
            for decay in sorted(table["decay"].unique())
        ],
        3: [(f"{AFRESH}, decay {DECAY}", table[table["what"] == AFRESH], "test_accuracy")],
    }
    for row, groups in panels.items():
        where: dict[str, Any] = {"row": row, "col": 1, "legend": figures.legend_of(row)}
        for (name, rows, what), colour in zip(groups, figures.PALETTE, strict=False):
            medians = rows.groupby("share")[what].median()
            marker: dict[str, Any] = {"color": colour, "symbol": "circle-open", "size": 6}
            figure.add_scatter(x=rows["share"], y=rows[what], mode="markers", marker=marker, showlegend=False, **where)
            figure.add_scatter(x=medians.index, y=medians, name=name, mode="lines", line={"color": colour}, **where)
        for at in found.loc[found["of"] == PREDICTED, "critical"].dropna():
            line: dict[str, Any] = {"color": figures.QUIET, "dash": "dot", "width": 1}
            figure.add_vline(x=at, line=line, row=row, col=1)  # pyright: ignore
    figure.update_xaxes(tickformat=".0%", matches="x").update_xaxes(title_text="share of the table trained on", row=3)
    figure.update_yaxes(rangemode="tozero", row=1).update_yaxes(title_text="margin ÷ norm", row=1)
    for row in (2, 3):
        figure.update_yaxes(tickformat=".0%", range=[-0.05, 1.05], row=row)
    return figure.update_layout(margin={"r": 230})


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report, further=further, paper=paper))
