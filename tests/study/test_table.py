"""Tables over runs, and the spread of facts in their cells."""

import shutil

import numpy as np
import pandas as pd
import pytest
from helpers import tiny_config

import interp
from interp.base import UserError
from interp.recipe import Seeds
from interp.store import open_run
from interp.study.table import spread, tabulate
from interp.train.loop import train_many

PLANTED = pd.DataFrame(
    {
        "train.lr": [1.0, 1.0, 1.0, 2.0, 2.0, 2.0],
        "memorised": [10.0, 20.0, 30.0, 5.0, 6.0, 7.0],
        "generalised": [100.0, np.nan, np.nan, 50.0, 70.0, np.nan],
        "gini": [0.1, 0.2, 0.9, 0.5, np.nan, 0.7],
        "last_step": [1000, 1000, 1000, 60, 1000, 1000],
    }
)


def test_a_row_says_what_differs_and_what_curves_measures(tmp_path):
    configs = {
        f"{decay}": tiny_config(seeds=Seeds(model=3), train=tiny_config().train.but(weight_decay=decay))
        for decay in (0.0, 1.0)
    }
    runs = dict(zip(configs, train_many(list(configs.values()), [tmp_path / name for name in configs]), strict=True))
    table = tabulate(runs)
    assert list(table.index) == ["0.0", "1.0"]
    assert [column for column in table if "." in column] == ["train.weight_decay"]
    for name, run in runs.items():
        curves, row = interp.measure(run, "curves"), table.loc[name]
        assert row["train.weight_decay"] == float(name)
        np.testing.assert_equal(row["memorised"], curves.attrs["memorised"])
        np.testing.assert_equal(row["generalised"], curves.attrs["generalised"])
        assert row["final_test_accuracy"] == run.history["test_accuracy"].iloc[-1]
        assert row["best_test_accuracy"] == run.history["test_accuracy"].max()
        assert row["last_step"] == 40
    assert tabulate(runs.values()).equals(table)


def test_the_spread_counts_runs_that_did_not_arrive_as_later():
    cells = spread(PLANTED, by=["train.lr"])
    assert cells.index.names == ["train.lr", "what"]
    assert cells.loc[(1.0, "memorised")].tolist() == [3, 0, 0, 20, 10, 30]
    # One of three arrived: fewer than half.
    np.testing.assert_equal(cells.loc[(1.0, "generalised")].tolist(), [1, 0, 2, np.nan, 100, 100])
    assert cells.loc[(2.0, "generalised")].tolist() == [2, 0, 1, 70, 50, 70]
    assert cells.loc[(2.0, "gini")].tolist() == [2, 0, 1, 0.6, 0.5, 0.7]
    assert list(cells.columns) == ["runs", "collapsed", "missing", "median", "lowest", "highest"]
    assert "last_step" not in cells.index.get_level_values("what")


def test_a_spread_of_other_facts_alone_needs_no_steps():
    cells = spread(PLANTED, by=["train.lr"], steps=())
    assert cells.loc[(2.0, "gini")].tolist() == [2, 0, 1, 0.6, 0.5, 0.7]
    assert list(cells.columns) == ["runs", "collapsed", "missing", "median", "lowest", "highest"]


def test_a_run_that_collapsed_is_a_category_of_its_own_and_is_censored_there():
    # The first arrived and lost it, the third fell before it arrived: it is known not to have arrived by 50, not by 1,000.
    table = PLANTED.assign(
        collapsed=[500, np.nan, 50, np.nan, np.nan, np.nan], generalised_until=[400, 1000, 1000, 60, 1000, 80]
    )
    cells = spread(table, by=["train.lr"])
    np.testing.assert_equal(cells.loc[(1.0, "generalised")].tolist(), [0, 1, 2, 100, 100, 100])
    assert cells.loc[(1.0, "memorised")].tolist() == [1, 2, 0, 20, 10, 30]
    assert not {"collapsed", "generalised_until"} & {*cells.index.get_level_values("what")}


def test_without_a_column_to_go_by_all_runs_are_one_cell():
    assert spread(PLANTED).loc["memorised"].tolist() == [6, 0, 0, 7, 5, 30]  # 7: the lower of the two in the middle
    assert spread(PLANTED, by=["train.lr"], steps=["memorised"]).loc[(2.0, "generalised"), "median"] == 60.0


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(UserError, match=r'the table has no column "train.rl"; did you mean "train.lr"'):
        spread(PLANTED, by=["train.rl"])


def test_runs_of_folders_with_one_name_are_told_by_their_paths_and_one_run_twice_is_refused(tiny, tmp_path):
    twin = tmp_path / "other" / tiny.path.name
    shutil.copytree(tiny.path, twin)
    other = open_run(twin)
    assert list(tabulate([tiny, other]).index) == [str(tiny.path), str(twin)]
    with pytest.raises(UserError, match="is given twice; give each run once"):
        tabulate([tiny, tiny])
