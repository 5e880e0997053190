"""Comparisons of settings: known p, censored runs, strata, families, and one sentence for bad input."""

import numpy as np
import pandas as pd
import pytest

from interp.base import UserError
from interp.cli.study import main
from interp.study import compare, trend

RUNS = pd.DataFrame(
    {
        "decay": [1, 1, 1, 2, 2, 2, 3, 3, 3],
        "seed": [0, 1, 2] * 3,
        "generalised": [300, 310, np.nan, 200, 210, 220, 100, 110, 120],
        "final": [0.9, 0.8, 0.7, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4],
        "last_step": 1000,
    }
)


def test_each_pair_has_its_p_its_runs_and_its_medians():
    found = compare(RUNS, "decay", ["generalised", "final"])
    assert found.index.names == ["what", "setting", "against"]
    assert len(found) == 6
    row = found.loc[("generalised", 1, 2)]
    assert (row["runs"], row["runs_against"], row["p_value"], row["least_p_value"]) == (3, 3, 0.1, 0.1)
    assert (row["median"], row["median_against"]) == (310, 210)  # of Kaplan and Meier: the third comes later
    assert row["less"] == 0
    assert found.loc[("final", 1, 2), ["p_value", "less"]].tolist() == [1, 0.5]
    assert found.loc[("final", 1, 3), "less"] == 0
    # Five rows of p = .1 and one of 1, as one family of six.
    assert found["holm"].tolist() == pytest.approx([0.6, 0.6, 0.6, 1, 0.6, 0.6])


def test_a_control_stands_against_every_other_setting():
    found = compare(RUNS, "decay", ["generalised"], control=2)
    assert found.index.tolist() == [("generalised", 1, 2), ("generalised", 3, 2)]
    assert found["less"].tolist() == [0, 1]
    assert found["holm"].tolist() == [0.2, 0.2]


def test_a_step_that_was_not_reached_comes_later_only_than_what_arrived_by_then():
    cut = RUNS.assign(generalised_until=150.0)  # the run without the step is known not to have arrived by 150
    assert compare(RUNS, "decay", ["generalised"]).loc[("generalised", 1, 2), "less"] == 0
    assert compare(cut, "decay", ["generalised"]).loc[("generalised", 1, 2), "less"] == pytest.approx(1.5 / 9)
    collapsed = RUNS.assign(collapsed=[np.nan, np.nan, 150.0] + [np.nan] * 6)
    pd.testing.assert_frame_equal(compare(collapsed, "decay", ["generalised"]), compare(cut, "decay", ["generalised"]))


def test_strata_keep_what_differs_between_them_out():
    # Within each modulus decay 2 is sooner by 1; between the moduli steps differ a thousandfold.
    table = pd.DataFrame({"p": [5] * 6 + [97] * 6, "decay": ([1] * 3 + [2] * 3) * 2, "step": [4, 5, 6, 1, 2, 3] * 2})
    table.loc[table["p"] == 97, "step"] *= 1000
    assert compare(table, "decay", ["step"])["p_value"].item() > 0.1
    found = compare(table, "decay", ["step"], within=["p"])
    assert found["p_value"].item() == found["least_p_value"].item() == 2 / 20**2
    pd.testing.assert_frame_equal(
        found, compare(table.assign(step=table["step"] + 1e6 * (table["p"] == 97)), "decay", ["step"], within=["p"]).assign(
            median=found["median"], median_against=found["median_against"]
        )
    )  # fmt: skip


def test_with_the_seed_as_stratum_it_is_the_sign_test():
    found = compare(RUNS, "decay", ["generalised"], within=["seed"]).loc[("generalised", 1, 2)]
    assert found["p_value"] == found["least_p_value"] == 2 / 2**3


def test_runs_that_have_nothing_to_be_compared_with_are_counted():
    table = RUNS.assign(p=[5, 5, 5, 5, 5, 7, 5, 5, 5])
    assert compare(table, "decay", ["final"], within=["p"]).loc[("final", 1, 2), "left_out"] == 1
    assert trend(table, "decay", ["final"], within=["p"]).loc["final", ["runs", "left_out"]].tolist() == [8, 1]


def test_cells_are_compared_apart_and_corrected_together():
    both = pd.concat([RUNS.assign(p=5), RUNS.assign(p=7)])
    alone, found = compare(RUNS, "decay", ["final"]), compare(both, "decay", ["final"], each=["p"])
    assert found.index.names == ["p", "what", "setting", "against"]
    assert found.loc[5, "p_value"].tolist() == found.loc[7, "p_value"].tolist() == alone["p_value"].tolist()
    assert found.loc[(5, "final", 1, 3), "holm"] == pytest.approx(0.6)
    assert alone.loc[("final", 1, 3), "holm"] == pytest.approx(0.3)


def test_a_trend_is_one_test_over_all_settings():
    found = trend(RUNS, "decay", ["generalised", "final"])
    assert found.loc["generalised", ["p_value", "less"]].tolist() == [2 / 1680, 0]
    assert found.loc["generalised", "least_p_value"] == 2 / 1680
    words = RUNS.assign(decay=np.repeat(["little", "some", "much"], 3))
    ordered = trend(words, "decay", ["generalised", "final"], order=["little", "some", "much"])
    pd.testing.assert_frame_equal(found, ordered)
    turned = trend(words, "decay", ["generalised"], order=["much", "some", "little"])
    assert turned.loc["generalised", ["p_value", "less"]].tolist() == [2 / 1680, 1]


def test_what_cannot_be_compared_is_said_in_a_sentence():
    for words, refuse in {
        'no column "deacy"; did you mean "decay"': lambda: compare(RUNS, "deacy", ["final"]),
        'no column "fnal"; did you mean "final"': lambda: compare(RUNS, "decay", ["fnal"]),
        'no run has decay = "7"': lambda: compare(RUNS, "decay", ["final"], control=7),
        "one setting in all runs": lambda: compare(RUNS.iloc[:3], "decay", ["final"]),
        "has no numbers": lambda: compare(RUNS.assign(final="high"), "decay", ["final"]),
        "no value in 1 of 9 runs; leave these runs out": lambda: compare(RUNS, "decay", ["generalised"], steps=[]),
        '"decay" has no value in 1 of 9': lambda: compare(RUNS.assign(decay=RUNS["generalised"]), "decay", ["final"]),
        "a trend needs their order": lambda: trend(RUNS.assign(decay=["a", "b", "c"] * 3), "decay", ["final"]),
        "should have each setting of decay once": lambda: trend(RUNS, "decay", ["final"], order=[1, 2]),
        "no cell has two settings": lambda: compare(RUNS, "decay", ["final"], each=["decay"]),
        "no column to compare": lambda: compare(RUNS, "decay", []),
    }.items():
        with pytest.raises(UserError) as refused:
            refuse()
        assert words in str(refused.value)
        assert "\n" not in str(refused.value)


@pytest.fixture
def table(tmp_path):
    RUNS.to_csv(tmp_path / "runs.csv", index=False)
    return str(tmp_path / "runs.csv")


def test_the_command_prints_and_writes_what_the_functions_return(table, tmp_path, capsys):
    words = ["compare", table, "--by", "decay", "--of", "generalised", "final"]
    assert main([*words, "--control", "2", "--out", str(tmp_path / "pairs.csv")]) == 0
    said = capsys.readouterr()
    assert "0.1" in said.out
    assert "4 of 4 have too few runs for p below .05" in said.err
    written = pd.read_csv(tmp_path / "pairs.csv", index_col=[0, 1, 2])
    pd.testing.assert_frame_equal(written, compare(RUNS, "decay", ["generalised", "final"], control=2), rtol=1e-5)
    assert main([*words, "--trend", "--out", str(tmp_path / "trend.csv")]) == 0
    assert "too few" not in capsys.readouterr().err
    written = pd.read_csv(tmp_path / "trend.csv", index_col=0)
    pd.testing.assert_frame_equal(written, trend(RUNS, "decay", ["generalised", "final"]), rtol=1e-5, check_dtype=False)


def test_settings_that_were_watched_for_unlike_numbers_of_steps_are_named(table, tmp_path, capsys):
    words = ["--by", "decay", "--of", "generalised", "final"]
    assert main(["compare", table, *words]) == 0
    assert "unlike" not in capsys.readouterr().err
    RUNS.assign(last_step=[2000] * 3 + [1000] * 6).to_csv(tmp_path / "unlike.csv")
    assert main(["compare", str(tmp_path / "unlike.csv"), *words]) == 0
    assert "generalised: settings were watched for unlike numbers of steps" in capsys.readouterr().err


def test_the_command_takes_only_some_runs(table, tmp_path):
    words = ["compare", table, "--by", "decay", "--of", "final", "--out", str(tmp_path / "some.csv")]
    assert main([*words, "--where", "seed=0"]) == 0
    assert pd.read_csv(tmp_path / "some.csv")["runs"].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["compere"], 'no command "compere"'),
        (["compare", "nowhere.csv", "--by", "a", "--of", "b"], "nowhere.csv is no file"),
        (["compare", ".", "--by", "a", "--of", "b"], ". is no table in CSV"),
        (["compare", "TABLE", "--by", "deacy", "--of", "final"], 'no column "deacy"; did you mean "decay"?'),
        (["compare", "TABLE", "--by", "decay", "--of", "final", "--control", "7"], 'no run has decay = "7"'),
        (["compare", "TABLE", "--by", "decay", "--of", "final", "--where", "seed"], "should be COLUMN=VALUE"),
        (["compare", "TABLE", "--by", "decay", "--of", "final", "--order", "1"], "--order is of --trend only"),
        (["compare", "TABLE", "--by", "decay", "--of", "final", "--trend", "--control", "1"], "--control is of pairs"),
        (["compare", "TABLE", "--by", "decay", "--of", "final", "--trend", "--draws", "0"], "should be at least 1"),
        (["compare", "TABLE", "--by", "decay", "--of", "final", "--out", "/nowhere/x.csv"], "cannot be written"),
    ],
)
def test_bad_input_of_the_command_is_one_sentence_and_exit_code_2(words, sentence, table, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([table if word == "TABLE" else word for word in words])
    assert stopped.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert sentence in said[-1]
    assert "Traceback" not in "\n".join(said)
