"""The studies of what decides when a network understands at their small size, and what they compute beside their runs."""

import itertools
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch
from study_scripts import load, small

import interp
from interp.models.network import initial_weights
from interp.train.learner import Learner


@pytest.mark.slow
def test_what_the_norm_does(tmp_path):
    tables, results = small("what_the_norm_does", tmp_path)
    runs = tables["runs"]
    arrived = runs.assign(generalised=runs["generalised"].fillna(np.inf))
    ended = arrived[~runs["null"]].groupby(["loss", "arm", "setting"])["generalised"].median()
    assert ended["cross_entropy", "clamp", "0.85"] < ended["cross_entropy", "clamp", "1.0"]  # a smaller norm is sooner
    assert ended["cross_entropy", "LayerNorm before", "MLP"] < ended["cross_entropy", "LayerNorm before", "none"]
    assert (runs.loc[runs["null"], "test_accuracy"] < 0.1).all()  # nothing can be generalised from wrong labels
    clamped = runs["arm"].isin(["clamp", "norm alone"]) & ~runs["null"]
    assert np.allclose(runs.loc[clamped, "norm"], runs.loc[clamped, "value"])
    at = runs[(runs["setting"] == "1.0") & ~runs["null"]].groupby(["loss", "seed"])
    assert (at["generalised"].nunique() <= 1).all()  # all arms share that run
    slopes = tables["slopes"].set_index(["loss", "arm"])
    assert slopes.loc[("cross_entropy", "clamp"), "share of the clamp's"] == 1
    assert (results / "what_the_norm_does.png").stat().st_size > 10_000


def homogeneous(eps):
    """A quadratic MLP without biases, whose outputs are of degree 3 in its weights, in float64."""
    base = interp.preset("gromov").config
    train = base.train.but(loss="cross_entropy", precision="float64", eps=eps, steps=60)
    return base.but(task=base.task.but(p=11), model=base.model.but(width=16), train=train)


def test_in_a_homogeneous_network_the_norm_acts_through_the_logits_and_the_rate_alone():
    """At twice the norm, with logits as large and a rate in proportion, the weights are twice as large after every update."""
    study, config = load("what_the_norm_does"), homogeneous(eps=1e-30)
    twice = 2 * study.REFERENCE
    assert study.logit_scale(config, twice) == pytest.approx(8 * study.logit_scale(config, study.REFERENCE), rel=1e-6)
    arms = {arm: study.in_arm(config, arm, twice) for arm in (study.RATE, study.NORM, study.SCALE)}
    arms["reference"] = study.in_arm(config, study.CLAMP, study.REFERENCE)
    ended = {}
    for arm, each in arms.items():
        learner = Learner.make([each], "cpu")
        for step in range(40):
            learner.update(step)
        ended[arm] = {name: stack.detach().clone() for name, stack in learner.weights.items()}
    for name, reference in ended["reference"].items():
        # the temperature is computed in float32
        assert torch.allclose(
            ended[study.RATE][name], 2 * reference, rtol=1e-3, atol=1e-4 * float(reference.abs().max())
        )
        assert not torch.allclose(ended[study.NORM][name], 2 * reference, rtol=0.05)
        assert not torch.allclose(ended[study.SCALE][name], reference, rtol=0.05)


def test_every_run_of_what_the_norm_does_is_found_again_by_its_name():
    study = load("what_the_norm_does")
    names = [name.split("+") for name in study.configs(small=False)]
    known = {*study.WORDS, study.PRESET, study.START}
    assert {word[1] for word in names} == known - {study.slug(each) for each in (study.EMBEDDING, *study.PLACES)}
    cells = Counter(tuple(word[:-1]) for word in names)
    seeds = {True: study.SEEDS_OF_S5, False: study.SEEDS}
    assert all(number == seeds[key[1] == study.slug(study.S5)] for key, number in cells.items())


def test_only_the_embedding_of_a_start_is_larger(tmp_path):
    study = load("what_the_norm_does")
    configs = {name: each for name, each in study.configs(small=True).items() if name.endswith("+0")}
    start = next(each for name, each in configs.items() if study.START in name.split("+"))
    factor = start.train.constraint_scale
    run = interp.train_run(start, tmp_path / start.name)
    plain = f"ce+{study.PRESET}+2+0"
    begun = study.further({start.name: run, plain: type("Run", (), {"config": configs[plain]})})
    (config,) = begun.values()
    assert config.train == configs[plain].train and config.start.step == 0
    initial = initial_weights(start.model, start.task.shape, start.seeds.model)
    for name, tensor in run.final.weights.items():
        assert torch.allclose(tensor, initial[name] * (factor if name == "embed.W_E" else 1), rtol=1e-5)


def arms(study, seeds=4):
    """Runs whose steps are planted: by the logits' scale s alone, which the clamp sets to α⁵, times a number of each seed."""
    rows = []
    for arm, seed, alpha in itertools.product(study.ARMS[:3], range(seeds), (0.8, 0.9, 1.0)):
        scale = study.REFERENCE**5 if arm == study.NORM else alpha**5
        row = {"loss": "cross_entropy", "arm": arm, "value": alpha, "null": False, "seed": seed, "last_step": 10_000}
        row |= {"norm": study.REFERENCE if arm == study.SCALE else alpha, "logit_scale": scale}
        rows.append(row | {"generalised": 1_000 * (1 + seed) * scale**2})
    return pd.DataFrame(rows, index=[f"run {number}" for number in range(len(rows))])


def test_an_arm_that_does_what_the_clamp_does_has_its_slope_and_the_scale_that_is_at_work_explains_the_steps():
    study = load("what_the_norm_does")
    table = arms(study)
    found = study.slopes(table).loc["cross_entropy"]
    share = found["share of the clamp's"]
    assert share[study.SCALE] == pytest.approx(1) and share[study.NORM] == pytest.approx(0, abs=1e-12)
    assert found["slope"][study.CLAMP] == pytest.approx(5 * np.log(1.0**2 / 0.8**2) / 0.2, rel=1e-9)
    assert found["answer"].to_dict() == {study.CLAMP: "as the clamp", study.SCALE: "as the clamp", study.NORM: "not"}
    assert (found["share ±"] < 1e-9).all() and (found["not_arrived"] == 0).all()
    of = study.explained(table.assign(generalised=1_000 * table["logit_scale"] ** 2)).loc["cross_entropy"]
    assert of.loc["logit_scale", ["R²", "rank correlation"]].tolist() == pytest.approx([1, 1])
    assert of.loc["norm", "R²"] < 0.7


def test_an_arm_is_told_from_the_clamp_only_beyond_two_standard_errors():
    answer = load("what_the_norm_does").answer
    assert [answer(0.9, 0.1), answer(0.9, 0.2), answer(0.1, 0.1), answer(0.1, 0.2), answer(0.5, 0.0)] == [
        "as the clamp", "between", "not", "between", "between",
    ]  # fmt: skip


def test_runs_that_did_not_arrive_are_counted_and_make_slopes_smaller():
    study = load("what_the_norm_does")
    table = arms(study).assign(last_step=800)
    late = table["generalised"] > 800
    found = study.slopes(table.assign(generalised=table["generalised"].where(~late))).loc["cross_entropy"]
    assert found["not_arrived"].sum() == late.sum() > 0
    assert found["slope"][study.CLAMP] < study.slopes(table).loc["cross_entropy", "slope"][study.CLAMP]


@pytest.mark.slow
def test_lazy_to_rich(tmp_path):
    tables, results = small("lazy_to_rich", tmp_path)
    runs = tables["runs"].set_index(["recipe", "seed"])
    rule, null = runs.loc["decay"], runs.loc["decay, wrong labels"]
    assert (rule["the network, most"] > 0.9).all() and (null["the network, most"] < 0.1).all()
    assert (rule["the network"] > rule["memorised"]).all()  # it groks
    assert (rule["linearised at step 0, most"] < 0.5).all()  # and not as a linear network
    assert (rule["kernel distance, last"] > 0.3).all()
    curves = tables["curves"].set_index(["recipe", "seed", "step"])
    assert (curves.xs(0, level="step")["kernel distance"].abs() < 1e-9).all()
    first = curves.xs(0, level="step")
    assert np.allclose(first["the network"], first["linearised at step 0"])  # where it is linearised they are one
    assert set(tables["leads"]["setting"]) == {"refitted to train", "refitted to half of test", "kernel distance"}
    assert (results / "lazy_to_rich.png").stat().st_size > 10_000


def planted(study, own, refitted, kernel):
    """A run whose accuracies step up at these steps, and whose kernel makes its way at another, memorised at step 100."""
    steps = np.arange(0, 1_001, 50)
    curves = {study.OWN: own, study.REFITTED: refitted, study.HELD_OUT: own, study.FIRST: 2_000, study.SECOND: 2_000}
    index = pd.Index(steps, name="step")
    accuracies = pd.DataFrame({name: (steps >= at) * 1.0 for name, at in curves.items()}, index)
    kernels = {study.DISTANCE: (steps >= kernel) * 0.8, study.ALIGNMENT: (steps >= kernel) * 0.3}
    kernels |= {"nonlinearity": steps / 1_000, "linearised train accuracy": 0.2}
    return study.Measured(
        100.0, accuracies, pd.DataFrame(kernels, index), pd.DataFrame({"shuffled": 0.0, "untrained": 0.1}, index)
    )


def test_what_came_first_is_found_where_it_was_planted():
    study = load("lazy_to_rich")
    found = study.facts(planted(study, own=600, refitted=300, kernel=200))
    # the crossing lies on the line between the last checkpoint below and the first one above
    assert [found[name] for name in (study.OWN, study.REFITTED, study.DISTANCE)] == [575, 275, 175]
    assert (found["furthest ahead"], found["furthest ahead at"]) == (1, 300)
    assert found["share of the kernel's way, at memorisation"] == 0 and found["nonlinearity, at memorisation"] == 0.1
    assert found[f"{study.FIRST}, most"] == 0 and found[f"{study.OWN}, last"] == 1


def test_a_lead_counts_by_signs_over_the_seeds_and_beyond_the_spacing_of_checkpoints():
    study, rows = load("lazy_to_rich"), []
    for seed in range(6):
        of = planted(study, own=500 + 50 * seed, refitted=250 + 50 * seed, kernel=500 + 50 * seed)
        rows.append({"recipe": "decay", "seed": seed} | study.facts(of))
    never = planted(study, own=5_000, refitted=5_000, kernel=200)
    rows += [{"recipe": "no decay", "seed": seed} | study.facts(never) for seed in range(6)]
    found = study.leads(pd.DataFrame(rows))
    assert set(found.index.get_level_values("recipe")) == {"decay"}  # where no seed gets there nothing leads
    refitted, kernel = (found.loc[("decay", name)] for name in (study.REFITTED, study.DISTANCE))
    assert refitted["p_value"] == 2 / 2**6 and refitted["beyond"] == 6 and refitted["factor"] > 1
    assert kernel["p_value"] == 1 and kernel["beyond"] == 0 and kernel["factor"] == 1


def test_null_twins_of_lazy_to_rich_differ_from_their_runs_in_labels_alone():
    configs = load("lazy_to_rich").configs(small=False)
    twins = {name: each for name, each in configs.items() if "+null+" in name}
    assert len(configs) == 50 and len(twins) == 10
    for name, twin in twins.items():
        of = configs[name.replace("+null+", "+rule+")]
        assert twin.but(name=of.name, corruption=of.corruption) == of and twin.corruption.share == 1


@pytest.mark.slow
def test_circuits_compete(tmp_path):
    tables, results = small("circuits_compete", tmp_path)
    ended = tables["by_share"].set_index(["what", "decay", "share"]).stack()
    assert ended["rule, many examples", 2, 0.7, "test_accuracy"] > 0.99
    assert ended["rule, gone on", 2, 0.7, "test_accuracy"] > 0.99  # that it goes on is not what makes it forget
    assert ended["rule, gone on", 2, 0.1, "test_accuracy"] < 0.95 < ended["rule, gone on", 2, 0.4, "test_accuracy"]
    assert (
        ended["random answers", 2, 0.4, "test_accuracy"]
        < 0.1
        < 0.99
        < ended["random answers", 2, 0.1, "train_accuracy"]
    )
    assert ended["random answers", 2, 0.4, "efficiency"] < ended["random answers", 2, 0.1, "efficiency"]
    assert (results / "circuits_compete.png").stat().st_size > 10_000


def competing(study, memorising, generalising, forgets_below, seeds=3):
    """Runs whose efficiency of memorising is so much ÷ the share, and whose test accuracy steps up at a share."""
    rows = []
    for seed in range(seeds):
        rows += [(study.GENERALISING, share, 2, seed, generalising, 1.0) for share in study.MANY]
        for share in study.SHARES:
            rows.append((study.MEMORISING, share, 2, seed, memorising / share, 0.0))
            rows += [(study.GONE_ON, share, decay, seed, 0.0, float(share >= forgets_below)) for decay in study.DECAYS]
        rows.append((study.GONE_ON, study.PARENT, 2, seed, 0.0, 1.0))
    return pd.DataFrame(rows, columns=["what", "share", "decay", "seed", "efficiency", "test_accuracy"])


def test_the_critical_share_is_where_efficiencies_cross_and_where_test_accuracy_has_its_half():
    study = load("circuits_compete")
    # .1 ÷ .2 = .5 and .1 ÷ .25 = .4: the crossing of .45 lies half-way on the line between these shares
    table = competing(study, memorising=0.1, generalising=0.45, forgets_below=0.25)
    found = study.critical(table)
    assert found.loc[found["of"] == study.PREDICTED, "critical"].tolist() == pytest.approx([0.225] * 3)
    assert found.loc[found["of"] == f"{study.GONE_ON}, decay 4", "critical"].tolist() == pytest.approx([0.225] * 3)
    right = study.predictions(table, found)
    assert (right["right"] == right["runs"]).all()
    counts = right.loc[(study.GONE_ON, 2), ["runs", "generalise", "constant"]]
    assert counts.tolist() == [27, 9, 18]  # the control at the parent's share is left out


def test_where_efficiencies_do_not_cross_nothing_is_predicted_to_generalise():
    study = load("circuits_compete")
    table = competing(study, memorising=10.0, generalising=0.45, forgets_below=0.25)
    found = study.critical(table)
    assert found.loc[found["of"] == study.PREDICTED, "critical"].isna().all()
    right = study.predictions(table, found)
    assert (right["right"] == right["runs"] - right["generalise"]).all()


def test_networks_go_on_with_some_of_the_examples_that_they_had():
    study = load("circuits_compete")
    configs = study.configs(small=False)
    table = next(each for name, each in configs.items() if name == f"many+{study.PARENT}+2+3")
    had = {tuple(pair) for pair in table.split().train.inputs.tolist()}
    for share in study.SHARES:
        of = {tuple(pair) for pair in configs[f"afresh+{share}+2+3"].split().train.inputs.tolist()}
        assert of < had
    memorise = configs["random+0.12+2+3"], configs["random+0.4+2+3"]
    few, many = (dict(zip(map(tuple, of.inputs.tolist()), of.targets.flatten().tolist(), strict=True))
                 for of in (each.split().train for each in memorise))  # fmt: skip
    assert few.items() < many.items() and memorise[0].task.table_seed == 3
