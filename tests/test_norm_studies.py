"""The studies of norms at their small size, and what their scripts compute beside their runs."""

import importlib.util
import sys
from subprocess import run as command
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from study_scripts import ROOT, load, small
from torch import nn

from interp.base import UserError
from interp.train.learner import Learner


def beside(study, name, monkeypatch) -> Any:
    """The module of a further script of a study, which imports names of its study.py."""
    monkeypatch.setitem(sys.modules, "study", load(study))
    spec = importlib.util.spec_from_file_location(name, ROOT / "analyses" / study / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tables_of(study, name, work):
    """The tables that a further script writes at its small size, by name."""
    script = ROOT / "analyses" / study / f"{name}.py"
    command([sys.executable, str(script), "--small", "--work", str(work)], check=True)
    assert (work / "small" / f"{name}.png").stat().st_size > 10_000
    return {file.stem: pd.read_csv(file) for file in (work / "small").glob("*.csv")}


@pytest.mark.slow
def test_omnigrok(tmp_path):
    tables, results = small("omnigrok", tmp_path)
    shapes = tables["shapes"].set_index(["task", "seed"])
    assert (shapes[["L", "U", "corner", "lowest"]] == 1).to_numpy().all()
    losses = tables["teacher"].set_index("alpha")
    assert losses.loc[6.31, "test_loss"] > 1e3 * losses.loc[1.0, "test_loss"]
    ends = tables["classes"].set_index(["task", "setting", "what"])["median"]
    assert ends["digits", "clamped 1", "test_error"] < 0.1 and ends["digits", "labels by chance 1", "test_error"] > 0.8
    assert ends["digits", "clamped 6.31", "train_error"] < 0.05 < 0.5 < ends["digits", "clamped 6.31", "test_error"]
    assert ends["sums", "clamped 0.8", "test_error"] < 0.1 < 0.3 < ends["sums", "clamped 1.3", "test_error"]
    assert ends["sums", "labels by chance 0.8", "test_error"] > 0.9
    assert (results / "omnigrok.png").stat().st_size > 10_000


@pytest.mark.slow
def test_the_delay_of_digits(tmp_path):
    tables = tables_of("omnigrok", "delay", tmp_path)
    runs = tables["delay_runs"].set_index("arm")
    assert (runs.loc["clamped at 1", "delay"] <= 0).all() and (runs.loc["scale 1, decay 0.8", "delay"] <= 0).all()
    assert (runs.loc["scale 8, decay 0.8", "delay"] > 300).all()
    assert runs.loc["scale 8, decay 0.4", "delay"].min() > runs.loc["scale 8, decay 0.8", "delay"].max()
    assert (
        abs(runs.loc["scale 8, decay 0.4", "of_decay_alone"] - 1) < 0.1
    ).all()  # the norm shrinks by decay and little else
    assert (runs.loc["scale 8, labels by chance", "test_accuracy"] < 0.15).all()


@pytest.mark.slow
def test_the_published_step(tmp_path):
    found = tables_of("omnigrok", "their_step", tmp_path)["their_step"].set_index(["arm", "alpha"])
    assert (found.loc["clamp", ["train_loss ÷ clamp", "test_loss ÷ clamp"]] == 1).all(axis=None)
    assert found.loc[("clamp, targets by chance", 6.31), "train_loss"] < 0.01  # all are fitted, and
    by_chance = found.loc["clamp, targets by chance", "test_loss"]
    assert by_chance.min() > 50 * found.loc["clamp", "test_loss"].min()  # there is no norm at which it helps


def test_an_l_and_a_u_are_told_from_what_only_falls_or_is_flat():
    shape, alphas = load("omnigrok").shape, np.array([0.1, 0.3, 1.0, 3.0, 10.0])
    train, test = np.array([1, 0.1, 1e-5, 1e-6, 1e-5]), np.array([1, 0.2, 0.1, 2, 50.0])
    assert shape(alphas, train, test, fits=1e-4) == {
        "corner": 1.0, "lowest": 1.0, "falls": 10.0, "rises": 500.0, "L": 1.0, "U": 1.0
    }  # fmt: skip
    falls = shape(alphas, np.ones(5), np.array([5, 4, 3, 2, 1.0]), fits=1e-4)
    assert np.isnan(falls["corner"]) and falls["L"] == falls["U"] == 0 and falls["lowest"] == 10
    flat = shape(alphas, np.zeros(5), np.array([1.1, 1, 0.9, 1, 1.1]), fits=1e-4)
    assert (flat["corner"], flat["L"], flat["U"]) == (0.1, 0, 0)
    again = shape(
        alphas, np.array([1, 0, 1, 0, 0.0]), test, fits=0.5
    )  # what is fitted once and not beyond is no corner
    assert again["corner"] == 3


def test_a_loss_stands_beside_the_published_one_by_its_median_over_seeds():
    study = load("omnigrok")
    rows = [
        {"alpha": alpha, "seed": seed, "train_loss": 0.0, "test_loss": loss * factor, "least_test_loss": loss, "mean_answer": 1}
        for alpha, loss in ((1.0, 0.01), (10.0, 9.0))
        for seed, factor in enumerate((0.5, 1.0, 3.0))
    ]  # fmt: skip
    theirs = pd.DataFrame({"train_loss": 0.0, "test_loss": [0.006, 3.0]}, index=pd.Index([1.0, 10.0], name="alpha"))
    found = study.beside_published(pd.DataFrame(rows), theirs)
    assert found["ratio"].tolist() == pytest.approx([1 / 0.6, 3]) and found["within"].tolist() == [1, 0]
    assert found["seeds below"].tolist() == [1, 0] and found["test_loss highest"].tolist() == pytest.approx([0.03, 27])
    assert list(pd.read_csv(study.PUBLISHED)["alpha"]) == list(study.ALPHAS)


def test_runs_are_compared_up_to_the_last_step_of_the_shortest():
    table = pd.DataFrame(
        {
            "generalised": [500, 3_000, np.nan],
            "generalised_until": [600.0, 4_000, 1_500],
            "last_step": [2_000, 6_000, 6_000],
        }
    )
    found = load("omnigrok").as_long(table)
    assert found["generalised"].tolist()[0] == 500 and found["generalised"].isna().tolist() == [False, True, True]
    assert found["generalised_until"].tolist() == [600, 2_000, 1_500] and set(found["last_step"]) == {2_000}


def test_the_slope_over_the_decay_is_fitted_for_each_seed(monkeypatch):
    delay = beside("omnigrok", "delay", monkeypatch)
    rows = [
        {"seed": seed, "decay": decay, "one": 1_000 / decay, "other": decay**slope}
        for seed, slope in enumerate((-0.9, -1.1))
        for decay in (0.1, 0.2, 0.4)
    ]
    rows.append({"seed": 0, "decay": 0.8, "one": np.nan, "other": 0.8**-0.9})
    found = delay.slopes(pd.DataFrame(rows), ["one", "other"])
    assert found.loc["one", ["slope", "±", "seeds", "missing"]].tolist() == pytest.approx([-1, 0, 2, 1])
    assert found.loc["other", ["slope", "±"]].tolist() == pytest.approx([-1, 0.1])
    assert found.loc["other", ["low", "high"]].tolist() == pytest.approx(
        [-1 - 1.2706, -1 + 1.2706], abs=1e-3
    )  # t of 1 degree


def few(study):
    """Two clamped runs of the teacher's task in float64, at norms of which one is small."""
    configs = [
        c for c in study.configs(True).values() if c.train.constraint_scale in (0.158, 1.0) and c.seeds.model == 0
    ]
    return [c.but(train=c.train.but(precision="float64")) for c in configs]


def test_the_plain_loop_under_a_clamp_is_the_run_that_it_stands_beside(monkeypatch):
    step = beside("omnigrok", "their_step", monkeypatch)
    configs = few(step)
    weights, x, y = step.start(configs, torch.float64)
    learner = Learner.make(configs, "cpu")
    for number in range(20):
        learner.update(number)
    step.descend(step.Arm("clamp"), weights, x, y, configs[0].train.lr, configs[0].train.betas, 20)
    for name, tensor in weights.items():
        own = learner.weights[name].detach()[tuple(slice(n) for n in tensor.shape)]
        torch.testing.assert_close(tensor.detach(), own, rtol=1e-9, atol=1e-12)


def test_the_published_step_is_that_of_modules_whose_weights_are_scaled_between_loss_and_gradient(monkeypatch):
    """The modules keep, of the forward pass, the weights that it had: the gradient is theirs and not that of the scaled ones."""
    step = beside("omnigrok", "their_step", monkeypatch)
    configs = few(step)[:1]
    weights, x, y = step.start(configs, torch.float64)
    net = nn.Sequential(nn.Linear(5, 100), nn.Tanh(), nn.Linear(100, 100), nn.Tanh(), nn.Linear(100, 5)).double()
    with torch.no_grad():
        for parameter, name in zip(net.parameters(), weights, strict=True):
            parameter.copy_(weights[name][0].T if parameter.dim() == 2 else weights[name][0])
    squares = lambda: sum(p.detach().square().sum() for p in [next(net.parameters()), *net.parameters()])  # noqa: E731
    kept, optimizer = squares(), torch.optim.Adam(net.parameters(), lr=3e-4)
    for _ in range(20):
        optimizer.zero_grad()
        loss = (net(x[0]) - y[0]).square().mean()
        factor = (kept / squares()) ** 0.5
        for parameter in net.parameters():
            parameter.data = parameter * factor
        loss.backward()
        optimizer.step()
    step.descend(step.ARMS[0], weights, x, y, 3e-4, (0.9, 0.999), 20)
    for parameter, tensor in zip(net.parameters(), weights.values(), strict=True):
        ours = tensor.detach()[0]
        torch.testing.assert_close(ours.T if ours.dim() == 2 else ours, parameter.detach(), rtol=1e-9, atol=1e-12)


def test_a_tangential_gradient_is_at_right_angles_to_the_weights_and_differs_along_them_alone(monkeypatch):
    step, generator = beside("omnigrok", "their_step", monkeypatch), torch.Generator().manual_seed(0)
    sizes = {"layers.0.W": (2, 3, 4), "b": (2, 4)}
    weights, gradients = (
        {n: torch.randn(s, generator=generator, dtype=torch.float64) for n, s in sizes.items()} for _ in "wg"
    )
    found = step.tangential(gradients, weights)
    along = torch.stack([(found[n] * weights[n]).flatten(1).sum(dim=1) for n in sizes]).sum(dim=0)
    assert along.abs().max() < 1e-12
    shares = torch.cat([((gradients[n] - found[n]) / weights[n]).flatten(1) for n in sizes], dim=1)
    torch.testing.assert_close(shares, shares[:, :1].expand_as(shares))


@pytest.mark.slow
def test_sphere(tmp_path):
    tables, results = small("sphere", tmp_path)
    cells = tables["by_rate"].set_index(["p", "arm", "rate"]).xs("batches of 128", level="arm").loc[31]
    assert cells.loc[5e-3, "convergence"] == 2 and cells.loc[2e-2, "chaotic equilibrium"] == 2
    assert cells.loc[1.0, "divergence"] == 2 and cells.loc[1e-3, "test_highest"] < 0.1
    assert (results / "sphere.png").stat().st_size > 10_000


@pytest.mark.slow
def test_periodic_behaviour(tmp_path):
    runs = tables_of("sphere", "periodic", tmp_path)["periodic_runs"].set_index("arm")
    assert (runs.loc["no decay", "jumps"] == 0).all() and (runs.loc["decay 0.01, rate 0.3", "jumps"] >= 2).all()
    assert (abs(runs.loc["decay 0.01, rate 0.3", "climb"] - 1) < 0.1).all()  # between jumps the norm shrinks by decay


def test_regimes_are_told_by_how_the_loss_ends():
    study, numbers, step = load("sphere"), np.random.default_rng(0), np.arange(1, 201)
    chance, noise = np.log(31), numbers.standard_normal(200)
    curves = (
        (1.0 / step**2, study.CONVERGENCE),
        (3 * np.exp(-step / 200), study.UNFINISHED),
        (3 * np.exp(-step / 200) * np.exp(0.5 * noise), study.CHAOS),  # what falls by less than its noise is not seen to fall
        (1.5 + 0.2 * noise, study.CHAOS),
        (chance + 0.1 * noise, study.DIVERGENCE),
        (np.where(step < 150, 1.5 + 0.2 * noise, 1e-4), study.CONVERGENCE),
    )  # fmt: skip
    for loss, expected in curves:
        assert study.regime(loss, chance) == expected


def test_the_power_of_the_phase_diagram_is_that_of_the_rows_below_one_nat():
    study, loss = load("sphere"), np.geomspace(3, 1e-4, 60)
    gradient = np.where(loss < 1, 7 * loss**0.8, 100)
    gradient[0] = np.nan  # before the first update there is none
    assert study.power(loss, gradient) == pytest.approx(0.8)
    assert np.isnan(study.power(loss[:5], gradient[:5]))


def test_the_top_of_convergence_is_the_last_rate_before_one_that_does_not_converge():
    study = load("sphere")

    def found(accuracy, converge=(1, 5, 5, 5, 0, 2)):
        rates = [1e-5, 1e-4, 1e-3, 5e-3, 1e-2, 1.0]
        index = pd.MultiIndex.from_product([[31], [study.BATCHES], rates], names=study.CELL)
        table = pd.DataFrame({"seeds": 5, study.CONVERGENCE: converge, "test_accuracy": accuracy}, index=index)
        return study.generalises(table).loc[31]

    near = found([0, 0.01, 0.02, 0.9, 0.3, 0.03])
    assert near[["lowest that converges", "top", "best", "near the top"]].tolist() == [1e-4, 5e-3, 5e-3, 1]
    assert near["best accuracy far below"] == 0.02
    assert found([0, 0.01, 0.95, 0.96, 0.3, 0.03])["near the top"] == 0  # a rate far below generalises as well
    assert found([0, 0.01, 0.02, 0.5, 0.3, 0.03])["near the top"] == 0  # none generalises
    assert found([0, 0.01, 0.02, 0.9, 0.3, 0.03], [5, 5, 5, 5, 5, 5])["top"] == 1.0
    assert np.isnan(found([0] * 6, [0] * 6)["top"])


def test_windows_of_the_phase_diagram_are_means_of_all_rows_but_the_first():
    study = load("sphere")
    steps = np.arange(0, 1_001, 10)
    history = pd.DataFrame(
        dict.fromkeys(("train_loss", "test_accuracy", "effective_gradient"), steps + 1.0), index=steps
    )
    config = next(iter(study.configs(True).values()))
    found = study.windows(SimpleNamespace(history=history, config=config))
    assert found["rows"].sum() == 100 and found["step"].iloc[-1] == 1_000
    assert (found["train_loss"] * found["rows"]).sum() == pytest.approx((steps[1:] + 1).sum())


def test_a_jump_is_a_fall_to_a_third_and_counts_once_until_the_rate_has_risen_again(monkeypatch):
    jumps = beside("sphere", "periodic", monkeypatch).jumps
    assert jumps(np.geomspace(1e-3, 1, 50)) == [] and jumps(np.array([1, 0.5, 1, 0.4, 1.0])) == []
    saw = np.array([0.01, 0.1, 1.0, 0.05, 0.01, 0.02, 0.025, 0.01, 0.2, 2.0, 0.1])
    assert jumps(saw) == [(1.0, 0.01), (2.0, 0.1)]


@pytest.mark.slow
def test_phase_diagram(tmp_path):
    tables, results = small("phase_diagram", tmp_path)
    runs = tables["runs"].set_index(["rate", "other", "seed"])
    assert (runs.loc[1e-5, "train_step"].isna()).all()  # too slow for 2,000 updates
    assert (runs.loc[(0.01, 0.0), "phase"] == "memorisation").all()
    assert (runs["rqi_null"] < 0.3).all()
    told = tables["told"].iloc[0]
    assert told[["comprehension", "grokking", "memorisation", "confusion"]].sum() == told["runs"] == 18
    assert (results / "phases.png").stat().st_size > 10_000


@pytest.mark.slow
def test_the_critical_fraction(tmp_path):
    found = tables_of("phase_diagram", "critical_fraction", tmp_path)
    shares = found["fractions"].set_index("trained")
    assert shares.loc[11, "by rank: linear"] == 0 and shares.loc[46, "by rank: linear"] > 0.99
    runs = found["fraction_runs"].set_index(["trained", "seed"])
    assert (runs.loc[46, "free"] == 2).all() and (runs.loc[11, "free"] > 2).all()


def test_phases_are_those_of_liu_et_al():
    phase = load("phase_diagram").phase
    assert phase(100, 1_099) == "comprehension" and phase(100, 1_100) == "grokking"
    assert phase(100, np.nan) == "memorisation" and phase(np.nan, 100) == phase(np.nan, np.nan) == "confusion"
    assert phase(500, 200) == "comprehension"


def test_the_table_of_the_toy_model_has_55_sums_and_its_null_the_same_answers():
    study = load("phase_diagram")
    x, y, answers = study.task().shared_operands()
    np.testing.assert_array_equal(answers, x + y)
    assert (x <= y).all() and len(x) == 55 and study.task().n_train == study.TRAINED
    chance = study.task(3).shared_operands()[2]
    np.testing.assert_array_equal(np.sort(chance), np.sort(answers))
    assert (chance != answers).mean() > 0.8
    for seed in study.splits(2):
        pairs = study.pairs_of(study.task(), seed)
        assert pairs.trained.sum() == study.TRAINED and set(pairs.answer[~pairs.trained]) <= set(
            pairs.answer[pairs.trained]
        )


def test_the_papers_size_has_every_cell_of_its_grids():
    study = load("phase_diagram")
    names = pd.Series([name.split("+")[0] for name in study.paper()]).value_counts()
    assert names.to_dict() == {
        "rates": 300, "decay-squared_error": 330, "decay-cross-entropy": 330, "decay-cross-entropy-answers_by_chance": 330
    }  # fmt: skip


@pytest.mark.slow
def test_the_papers_sizes_have_the_settings_of_their_sources(tmp_path, monkeypatch):
    forks = load("connectivity").paper()
    assert {(each.task.p, each.model.n_layers, each.train.batch_size, each.train.steps) for each in forks.values()} == {
        (97, 2, 2_048, 12_000)
    }
    norms = [each for name, each in load("what_the_norm_does").paper().items() if "+LayerNorm-before+" in name]
    assert {(each.task.p, each.train.weight_decay, each.train.lr) for each in norms} == {(113, 1.0, 1e-3)}
    sizes = {
        len(each.split().train) for name, each in load("circuits_compete").paper().items() if name.startswith("afresh")
    }
    assert sizes == {390, 488, 610, 763, 955, 1_194, 1_494, 2_000, 3_200}
    omnigrok = load("omnigrok")
    with pytest.raises(UserError, match="checkpoints/mnist"):
        monkeypatch.chdir(tmp_path)
        omnigrok.paper()


def test_a_cell_has_the_phase_of_most_seeds_and_of_equals_the_one_that_has_learned_least():
    study = load("phase_diagram")
    rows = [
        {"sweep": "rates", "rate": rate, "other": 1.0, "phase": phase, "rqi": rqi, "test_accuracy": 0.5}
        for rate, phases in ((0.1, ("grokking", "grokking", "confusion")), (0.2, ("comprehension", "memorisation", "grokking")))
        for phase, rqi in zip(phases, (0.1, 0.9, 0.2), strict=True)
    ]  # fmt: skip
    cells = study.cells_of(pd.DataFrame(rows)).droplevel(["sweep", "other"])
    assert cells["phase"].tolist() == ["grokking", "memorisation"] and cells["seeds"].tolist() == [2, 1]
    assert cells["rqi"].tolist() == [0.2, 0.2]
