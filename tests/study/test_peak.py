"""Double descent over the settings of a table: thresholds and peaks, by the command and from Python."""

import numpy as np
import pandas as pd
import pytest

from interp.base import UserError
from interp.cli.study import main
from interp.study import peaks

WIDTHS = [4, 8, 16, 32, 64]
TEST = {0.0: [0.30, 0.25, 0.20, 0.15, 0.10], 0.2: [0.30, 0.20, 0.35, 0.25, 0.15]}
TRAIN = [0.40, 0.20, 0.02, 0.00, 0.00]


@pytest.fixture
def table():
    numbers = np.random.default_rng(0)
    rows = [
        {
            "noise": noise,
            "width": width,
            "seed": seed,
            "train_error": fit,
            "test_error": error + 0.01 * numbers.normal(),
        }
        for noise, errors in TEST.items()
        for width, error, fit in zip(WIDTHS, errors, TRAIN, strict=True)
        for seed in range(4)
    ]
    return pd.DataFrame(rows).sample(frac=1, random_state=0)


def test_a_peak_is_found_where_there_is_one(table):
    found = peaks(table, "width", ["test_error"], each=["noise"], fits="train_error")
    clean, noisy = (found.loc[(noise, "test_error")] for noise in TEST)
    assert (noisy["valley"], noisy["peak"], noisy["threshold"]) == (8, 16, 32)
    assert noisy["height"] == pytest.approx(0.15, abs=0.02) and noisy["holm"] < 0.001
    assert noisy["last_mean"] == pytest.approx(0.15, abs=0.02) and noisy["runs"] == 20
    assert clean["p_value"] > 0.05 and found["holm"].loc[(0.0, "test_error")] >= clean["p_value"]
    assert peaks(table, "width", ["test_error"], each=["noise"], fits="train_error", level=0.03)[
        "threshold"
    ].tolist() == [16, 16]


def test_the_command_prints_and_writes_what_python_gives(table, tmp_path, capsys):
    path, out = tmp_path / "runs.csv", tmp_path / "peaks.csv"
    table.to_csv(path, index=False)
    words = [str(path), "--over", "width", "--of", "test_error", "--where", "noise=0.2", "--fits", "train_error"]
    assert main(["peak", *words, "--out", str(out)]) == 0
    expected = peaks(table.loc[table["noise"] == 0.2], "width", ["test_error"], fits="train_error")
    assert pd.read_csv(out)["height"].to_numpy() == pytest.approx(expected["height"].to_numpy(dtype=float), rel=1e-5)
    printed = capsys.readouterr().out
    assert "threshold" in printed and f"{expected['height'].iloc[0]:,.4g}" in printed


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop(columns="width"), 'no column "width"'),
        (lambda t: t.assign(width="wide"), 'column "width" has no numbers'),
        (lambda t: t.loc[t["width"] > 20], 'column "width" has 2 settings at noise = 0.0; a peak needs three'),
        (lambda t: t.loc[t["seed"] == 0], 'column "test_error" has one run a setting'),
        (lambda t: t.assign(test_error=t["test_error"].where(t["width"] != 8)), "has no value at width = 8"),
    ],
)
def test_what_has_no_peak_is_refused_in_a_sentence(table, change, words):
    with pytest.raises(UserError, match=words):
        peaks(change(table), "width", ["test_error"], each=["noise"])
