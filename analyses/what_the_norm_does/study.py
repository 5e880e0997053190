"""What does the norm of the weights act through: the norm itself, the scale of the logits, or the LayerNorm?

    python analyses/what_the_norm_does/study.py            # x + y mod 53, two losses, five seeds; S5 under Muon, three seeds
    python analyses/what_the_norm_does/study.py --small    # two norms, one LayerNorm, one scale of the embedding, two seeds
    python analyses/what_the_norm_does/study.py --size paper    # x + y mod 113 for up to 30,000 updates, S5 for 15,000, for a GPU

A clamp at α times the initial norm changes three things at once: the norm, the scale of the logits, and how far a learning rate
goes in proportion. Each arm here changes one or two of them and holds the others.
"""

import itertools
import re
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
from scipy import stats

import interp
from interp import figures
from interp.config import RunConfig
from interp.models.network import initial_weights, over
from interp.store import Run
from interp.study import compare, script, spread, trend

REFERENCE = 1.0
"""Norm, as a multiple of the initial one, that all arms share; others are compared with it."""
ALPHAS = (0.85, 0.9, 1.1)
"""The other norms. Much below, memorising takes as long as generalising, and there is no delay to ask about."""
LOSSES = {"ce": "cross_entropy", "mse": "squared_error"}
REACHED = 0.9
"""Test accuracy that counts as generalising: at a constant norm some runs stay short of 99 %."""
STEPS, NULL_STEPS, SEEDS, SEEDS_OF_S5 = 2_500, 600, 5, 3
CHECKPOINTS = (50, 100, 200, 400, 800)
"""At the first of these from memorisation on the logits are measured."""
DECAYS = (0, 0.5, 1, 2, 4)
"""Weight decays; that of the preset is among them, 2 mod 53 and 1 mod 113."""
PLACES: Mapping[str, tuple[Any, ...]] = {
    "attention": ("attention",),
    "MLP": ("mlp",),
    "attention and MLP": ("attention", "mlp"),
    "unembedding": ("unembedding",),
    "all three": ("attention", "mlp", "unembedding"),
}
"""What a LayerNorm stands before."""
EMBEDDINGS = (0.5, 2, 4)
"""Factors on the initial embedding alone."""
ALIKE, UNLIKE, PARTED = 0.8, 0.2, 0.5
"""Shares of the clamp's slope from, and up to, which an arm does what the clamp does, or not; two standard errors part them."""
CEILINGS = (3, 2, 1.5, 1)
"""Ceilings on the norm of each hidden matrix of S5, as multiples of the initial one."""

CLAMP, SCALE, NORM, RATE = "clamp", "logit scale alone", "norm alone", "norm alone, rate ∝ norm"
CEILING, FINAL = "ceiling", "clamp, final LayerNorm"
ARMS = (CLAMP, SCALE, NORM, RATE, CEILING)
DECAY, LAYERNORM, EMBEDDING, S5 = "weight decay", "LayerNorm before", "initial embedding", "ceiling, S5 by Muon"
PRESET, START, NONE = "preset", "start", "none"
PUBLISHED = {
    LAYERNORM: {NONE: 7_763, "attention": 7_126, "attention and MLP": 3_297, "MLP": 954},
    S5: {NONE: 3_525, "3": 575, "2": 425, "1.5": 325, "1": 325},
}
"""Epochs by what a LayerNorm stands before, jaisidhsingh/layernorm-grok; steps by ceiling, PeterPonyu/muon-norm-cap-grokking."""


def logit_scale(config: RunConfig, alpha: float) -> float:
    """Root mean square of the initial network's logits with all weights times α, without each prompt's and answer's mean."""
    examples = config.split().train
    weights = initial_weights(config.model, config.task.shape, config.seeds.model)
    forward = over(config.model, config.task.shape, torch.from_numpy(examples.inputs))
    logits = forward({name: alpha * tensor for name, tensor in weights.items()}).double().reshape(len(examples), -1)
    logits = logits - logits.mean(dim=0)
    return float((logits - logits.mean(dim=1, keepdim=True)).square().mean().sqrt())


def in_arm(config: RunConfig, arm: str, alpha: float) -> RunConfig:
    """A run of an arm. Temperatures make the initial logits as large as a clamp at another norm has them."""
    kept = {"constraint": "ceiling" if arm == CEILING else "clamp", "constraint_scale": alpha, "weight_decay": 0.0}
    if arm in (SCALE, NORM, RATE):
        larger = logit_scale(config, alpha) / logit_scale(config, REFERENCE)
        if arm == SCALE:
            kept |= {"constraint_scale": REFERENCE, "output_temperature": 1 / larger}
        else:
            kept["output_temperature"] = larger
        if arm == RATE:
            kept["lr"] = config.train.lr * alpha / REFERENCE
    return config.but(train=config.train.but(**kept))


def slug(words: object) -> str:
    """Words in characters that the name of a run may have."""
    return re.sub(r"[^\w.]+", "-", str(words))


WORDS = {slug(each): each for each in (*ARMS, FINAL, DECAY, LAYERNORM, EMBEDDING, S5, *PLACES)}


class Size(NamedTuple):
    """How much is run, beside how many settings."""

    base: RunConfig
    steps: int
    """Updates at a constant norm."""
    free: int
    """Updates of the preset, of LayerNorms, decays and embeddings."""
    wrong: int
    """Updates where every label is wrong."""
    checkpoints: tuple[int, ...]
    seeds: int


def configs(small: bool) -> Mapping[str, RunConfig]:
    """A run for each loss, arm, setting and seed: their names are these words, and `null` where every label is wrong."""
    base = interp.preset("quick").config
    if small:
        return configs_of(Size(base, 700, 700, 200, CHECKPOINTS[:4], 2), small)
    return {
        **configs_of(Size(base, STEPS, base.train.steps, NULL_STEPS, CHECKPOINTS, SEEDS), small),
        **under_muon(1_500, SEEDS_OF_S5),
    }


def paper() -> Mapping[str, RunConfig]:
    """The sources': x + y mod 113 from 30 % of the table at their rate and decay, and S5 with eight seeds."""
    size = Size(interp.preset("nanda").config, 30_000, 20_000, 5_000, tuple(10 * step for step in CHECKPOINTS), SEEDS)
    return {**configs_of(size, small=False), **under_muon(15_000, 8)}


def configs_of(size: Size, small: bool) -> Mapping[str, RunConfig]:
    """Runs on sums, of one size."""
    found: dict[str, RunConfig] = {}

    def add(config: RunConfig, *words: object) -> None:
        name = "+".join(map(slug, (*words, config.seeds.model)))
        found[name] = config.but(name=name)

    base, own = size.base, f"{size.base.train.weight_decay:g}"
    train = base.train.but(steps=size.steps, log_every=20, log_norms=True, checkpoint_steps=size.checkpoints)
    alphas, arms, places, factors = ALPHAS, ARMS, PLACES, EMBEDDINGS
    decays = [decay for decay in DECAYS if f"{decay:g}" != own]
    if small:
        alphas, arms, decays, places, factors = ALPHAS[:1], ARMS[:3], [1], {"MLP": ("mlp",)}, EMBEDDINGS[1:2]
    for seed, (short, loss) in itertools.product(range(size.seeds), LOSSES.items()):
        seeds = base.seeds.but(split=seed, model=seed)
        kept = base.but(train=train.but(loss=loss), seeds=seeds)
        preset = kept.but(train=kept.train.but(steps=size.free))
        null = kept.but(train=kept.train.but(steps=size.wrong, checkpoint_steps=size.checkpoints[:3]))
        for arm, alpha in [(CLAMP, REFERENCE), *itertools.product(arms, alphas)]:
            if short == "ce" or arm not in (RATE, CEILING):
                add(in_arm(kept, arm, alpha), short, arm, alpha)
            if short == "ce" and arm != CEILING:
                add(interp.null_twin(in_arm(null, arm, alpha)), short, arm, alpha, "null")
        if short == "mse":
            continue
        add(preset, short, PRESET, own)
        for decay in decays:
            add(preset.but(train=preset.train.but(weight_decay=decay)), short, DECAY, decay)
        add(interp.null_twin(null), short, PRESET, own, "null")
        for place, before in places.items():
            model = base.model.but(normalization="LN", norm_before=before)
            add(preset.but(model=model), short, LAYERNORM, place)
            add(interp.null_twin(null.but(model=model)), short, LAYERNORM, place, "null")
        final = kept.but(model=base.model.but(normalization="LNPre", norm_before=PLACES["unembedding"]))
        for alpha in () if small else (REFERENCE, *ALPHAS):
            add(in_arm(final, FINAL, alpha), short, FINAL, alpha)
        for factor in factors:
            larger = {"constraint": "clamp", "constraint_parts": ("embed",), "constraint_scale": float(factor)}
            add(preset.but(train=preset.train.but(steps=0, checkpoint_steps=(), **larger)), short, START, factor)
    return found


def under_muon(steps: int, seeds_of: int) -> Mapping[str, RunConfig]:
    """S5 under Muon, without a constraint and with ceilings on each hidden matrix."""
    base = interp.preset("s5").config
    logged: dict[str, Any] = {"log_every": 25, "log_norms": True, "checkpoint_steps": CHECKPOINTS}
    train = base.train.but(steps=steps, optimizer="muon", muon_lr=0.02, weight_decay=0.01, batch_size=512, **logged)
    parts: dict[str, Any] = {"constraint_over": "tensor", "constraint_parts": ("attn QK", "attn OV", "mlp")}
    found = {}
    for seed, ceiling in itertools.product(range(seeds_of), (None, *CEILINGS)):
        limit = {"constraint": "ceiling", "constraint_scale": float(ceiling), **parts} if ceiling else {}
        name, seeds = f"ce+{slug(S5)}+{ceiling or NONE}+{seed}", base.seeds.but(split=seed, model=seed, order=seed)
        found[name] = base.but(name=name, train=train.but(**limit), seeds=seeds)
    return found


def further(runs: Mapping[str, Run]) -> Mapping[str, RunConfig]:
    """The preset's run, begun with weights of which only the embedding is larger or smaller than initial ones."""
    found = {}
    for name, run in runs.items():
        short, arm, factor, seed = name.split("+")[:4]
        if arm == START:
            of = f"{short}+{slug(EMBEDDING)}+{factor}+{seed}"
            plain = next(each for each in runs if re.fullmatch(rf"{short}\+{PRESET}\+[^+]+\+{seed}", each))
            found[of] = runs[plain].config.but(name=of, start=interp.start_from(run.path))
    return found


def results(runs: Mapping[str, Run]) -> pd.DataFrame:
    """A row for each run and arm that it is of: loss, arm, setting, seed, null or not, and what came of it."""
    rows: dict[str, dict[str, Any]] = {}
    for name, run in runs.items():
        short, arm, setting, *more = name.split("+")
        if arm != START:
            key = {"loss": LOSSES[short], "arm": WORDS.get(arm, arm), "setting": WORDS.get(setting, setting)}
            rows[name] = {**key, "null": more[0] == "null", "seed": int(more[-1]), **facts(run)}
    return shared(pd.DataFrame(rows).T.infer_objects().rename_axis("run"))


def facts(run: Run) -> dict[str, float]:
    """When a run memorised and generalised, its norm then or at its end, and its logits' size once it had memorised."""
    history: Any = run.history
    memorised = float(interp.measure(run, "curves").attrs["memorised"])
    generalised = float(interp.measure(run, "curves", threshold=REACHED).attrs["generalised"])
    last = int(history.index[-1])
    initial = initial_weights(run.known_model, run.task.shape, run.config.seeds.model)
    begin = torch.cat([initial[name].flatten() for name in run.known_model.learned(run.task.shape)]).double().norm()
    later = [step for step in run.steps if step >= memorised]
    sizes = interp.measure(run.select(steps=later[:1]), "gap")["output_sd"].sel(split="train") if later else [np.nan]
    return {
        "memorised": memorised,
        "generalised": generalised,
        "norm": float(history["norm"].loc[last if np.isnan(generalised) else generalised]) / float(begin),
        "logit_scale": float(sizes[0]),
        "test_accuracy": float(history["test_accuracy"].iloc[-1]),
        "last_step": last,
    }


def shared(table: Any) -> pd.DataFrame:
    """The table with the run at the reference in every arm over norms, and the preset's in those that it is a setting of."""
    rows = [table[table["arm"] != PRESET]]
    for _, of_loss in table.groupby("loss"):
        arms = set(of_loss["arm"])
        at = of_loss[(of_loss["arm"] == CLAMP) & (of_loss["setting"] == str(REFERENCE))]
        plain = of_loss[of_loss["arm"] == PRESET]
        of_plain = {DECAY: None, LAYERNORM: NONE, EMBEDDING: "1"}
        rows += [at.assign(arm=arm) for arm in ARMS if arm != CLAMP and arm in arms]
        rows += [
            plain.assign(arm=arm, setting=setting or plain["setting"])
            for arm, setting in of_plain.items()
            if arm in arms
        ]
    found: Any = pd.concat(rows)
    numbers = pd.to_numeric(found["setting"].where(~found["arm"].isin([LAYERNORM, S5])))
    return found.assign(value=numbers)


def slopes(table: Any) -> pd.DataFrame:
    """By loss and arm: slope of ln steps to generalise on α, mean over seeds with its error, and as a share of the clamp's.

    A run that did not arrive counts with its last step, which makes slopes too small: `not_arrived` are so many. The error of the
    share leaves one seed out at a time.
    """
    rows = {}
    mine = table[table["arm"].isin([*ARMS, FINAL]) & ~table["null"]]
    for loss, of_loss in mine.groupby("loss"):
        each = {arm: of_seeds(rows_of) for arm, rows_of in of_loss.groupby("arm")}
        for arm, found in each.items():
            both = np.stack([found, each[CLAMP]])
            apart = np.array([quotient(np.delete(both, seed, axis=1)) for seed in range(len(found))])
            share, error = quotient(both), float(np.sqrt((len(apart) - 1) * apart.var()))
            row = {"slope": found.mean(), "slope ±": stats.sem(found), "share of the clamp's": share, "share ±": error}
            missing = of_loss.loc[of_loss["arm"] == arm, "generalised"].isna()
            rows[loss, arm] = row | {"answer": answer(share, error), "runs": len(missing), "not_arrived": missing.sum()}
    return pd.DataFrame(rows).T.rename_axis(["loss", "arm"])


def quotient(both: np.ndarray) -> float:
    """The mean of the first row ÷ that of the second; NaN if that is 0."""
    one, other = both.mean(axis=1)
    return float(one / other) if other else np.nan


def answer(share: float, error: float) -> str:
    """Whether an arm does what the clamp does, by its share of the clamp's slope."""
    if share >= ALIKE and share - 2 * error > PARTED:
        return "as the clamp"
    return "not" if share <= UNLIKE and share + 2 * error < PARTED else "between" if share == share else "not known"


def of_seeds(rows: Any) -> np.ndarray:
    """Slope of ln steps on α of each seed."""
    each = rows.assign(log_steps=np.log(rows["generalised"].fillna(rows["last_step"]))).sort_values("seed")
    return np.array([stats.linregress(of["value"], of["log_steps"])[0] for _, of in each.groupby("seed")])


def explained(table: Any) -> pd.DataFrame:
    """By loss: how well the norm, and the logits' size at memorisation, tell the steps to generalise, in the arms that part them.

    `R²` is of ln steps on the logarithm by least squares, over runs that arrived; `rank correlation` (Spearman) is over all, with
    those that did not arrive last.
    """
    rows = {}
    mine = table[table["arm"].isin([CLAMP, SCALE, NORM, RATE]) & ~table["null"] & table["logit_scale"].notna()]
    mine = mine[~mine.index.duplicated()]  # the run at the reference is of every arm
    for (loss, of_loss), by in itertools.product(mine.groupby("loss"), ("norm", "logit_scale")):
        arrived = of_loss[of_loss["generalised"].notna()]
        steps = of_loss["generalised"].fillna(np.inf)
        ranks = stats.spearmanr(of_loss[by], steps)[0] if min(of_loss[by].nunique(), steps.nunique()) > 1 else np.nan
        both = np.log(arrived[[by, "generalised"]].to_numpy(float))
        line = np.corrcoef(both.T)[0, 1] if len(both) > 2 else np.nan
        rows[loss, by] = {"R²": line**2, "rank correlation": ranks, "runs": len(of_loss), "arrived": len(arrived)}
    return pd.DataFrame(rows).T.rename_axis(["loss", "by"])


def trends(table: Any) -> pd.DataFrame:
    """Does the step rise or fall with an arm's setting: to generalise, and to memorise where every label is wrong?"""
    labels = table["null"].map({False: "rule", True: "wrong"})
    numbers = table.assign(labels=labels)[table["value"].notna()]
    parts = ((numbers[~numbers["null"]], "generalised"), (numbers[numbers["null"]], "memorised"))
    cell = ["labels", "loss", "arm"]
    return pd.concat([trend(rows, "value", [what], ["seed"], each=cell, steps=[what]) for rows, what in parts])


def compared(table: Any) -> pd.DataFrame:
    """Places of a LayerNorm, and ceilings on S5, against none: medians, × sooner, p, and × sooner as published."""
    rows = table[table["arm"].isin(PUBLISHED)]
    parts = ((rows[~rows["null"]], "generalised"), (rows[rows["null"]], "memorised"))
    found = pd.concat([compare(of, "setting", [what], each=["arm"], control=NONE, steps=[what]) for of, what in parts])
    index: Any = found.index.droplevel("against")
    known = {(arm, "generalised", at): of[NONE] / n for arm, of in PUBLISHED.items() for at, n in of.items()}
    return found.assign(sooner=found["median_against"] / found["median"], published_sooner=index.map(known))


def report(runs: Mapping[str, Run]) -> script.Report:
    """What each arm does to the steps to generalise, and which of norm and logit scale tells them."""
    table: Any = results(runs)
    cell = ["loss", "arm", "setting", "null"]
    free = table[(table["arm"] == DECAY) & ~table["null"]].dropna(subset="generalised")
    norms = free.groupby("loss")["norm"].agg(runs="size", mean="mean", variation=lambda norm: norm.std() / norm.mean())
    return script.Report(
        {
            "slopes": slopes(table), "explained": explained(table), "trends": trends(table), "comparisons": compared(table),
            "free_norm": norms, "spread": spread(table.drop(columns=["value", "seed"]), by=cell), "runs": table,
        },
        {"what_the_norm_does": draw(table[~table["null"]])},
    )  # fmt: skip


COLOURS = dict(zip((*ARMS, FINAL), figures.PALETTE, strict=False))


def draw(table: Any) -> go.Figure:
    """Steps to generalise: over the norm and over the logits' scale for both losses, and over the other arms' settings."""
    of_arms = {"cross-entropy": LOSSES["ce"], "squared error": LOSSES["mse"]}
    titles = [f"{name}: over the {what}" for what in ("norm", "logits' scale at memorisation") for name in of_arms]
    others = [arm for arm in (LAYERNORM, EMBEDDING, DECAY, S5) if arm in set(table["arm"])]
    title = "Steps until test accuracy is 90 % (triangle: a run that is not there by then)"
    heights = [4.2] * (2 + (len(others) + 1) // 2)
    figure = figures.panels([*titles, *others], heights, title, columns=2, over_steps=False, gap=80)
    for column, loss in enumerate(of_arms.values(), start=1):
        for arm, rows in table[(table["loss"] == loss) & table["arm"].isin(COLOURS)].groupby("arm"):
            marks(figure, rows, rows["value"], COLOURS[arm], str(arm), (1, column), line=True)
            marks(figure, rows, rows["logit_scale"], COLOURS[arm], str(arm), (2, column), line=False)
        figure.update_xaxes(title_text="α (by the arm: norm, logits' scale, both)", row=1, col=column)
        figure.update_xaxes(type="log", title_text="standard deviation of the outputs", row=2, col=column)
    for place, arm in enumerate(others):
        rows, where = table[(table["arm"] == arm) & (table["loss"] == LOSSES["ce"])], (3 + place // 2, 1 + place % 2)
        marks(figure, rows, rows["setting"], figures.INK, "all other arms", where, line=arm != LAYERNORM)
        order = [NONE, *PLACES] if arm == LAYERNORM else [*sorted({*rows["setting"]} - {NONE}, key=float), NONE]
        present = [each for each in order if each in {*rows["setting"]}]
        figure.update_xaxes(type="category", categoryarray=present, row=where[0], col=where[1])
    ends = np.log10([table["generalised"].min() / 1.2, table["last_step"].max() * 1.2]).tolist()
    figure.update_yaxes(type="log", tickvals=[50, 100, 200, 500, 1000, 2000], range=ends)
    figure.update_yaxes(title_text="step (optimiser updates)", col=1)
    return figure.update_layout(margin={"r": 330}, width=1_350)


def marks(figure: go.Figure, rows: Any, x: Any, colour: str, name: str, where: tuple[int, int], *, line: bool) -> None:
    """Rings for runs that arrived, triangles for those that did not, and a line through the cells' medians."""
    here: dict[str, Any] = {"row": where[0], "col": where[1], "legendgroup": name, "showlegend": False}
    steps = rows["generalised"].fillna(rows["last_step"])
    symbols = ["triangle-up-open" if missing else "circle-open" for missing in rows["generalised"].isna()]
    marker = {"color": colour, "symbol": symbols, "size": 8}
    figure.add_scatter(x=x, y=steps, mode="markers", name=name, marker=marker, **here)
    if line:
        medians = steps.groupby(x.to_numpy()).median()
        here["showlegend"] = where in ((1, 1), (3, 2))
        figure.add_scatter(x=medians.index, y=medians, mode="lines", name=name, line={"color": colour}, **here)


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report, further=further, paper=paper))
