"""The code of the tutorial and of the how-to pages does what the pages say."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from interp import analyze
from interp.tasks import TASKS

DOCS = Path(__file__).parents[1] / "docs"


def code_of(page: str) -> list[str]:
    """Python that a page shows, block by block."""
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


def carried_out(page: str, names: dict[str, Any]) -> dict[str, Any]:
    """Names after the blocks of a page in this folder; a block that begins with the name of a file is that file."""
    for block in code_of(page):
        if file := re.match(r"# (\w+\.py)\n", block):
            Path(file[1]).write_text(block)
        else:
            exec(compile(block, page, "exec"), names)
    return names


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder, in which code is typed; what it adds to the package is taken out again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for registry in (TASKS, analyze.ANALYSES):
        monkeypatch.setattr(registry, "_known", dict(registry._known))
    return tmp_path


def test_a_task_and_an_analysis_of_the_how_to_pages_are_used_as_any_other(folder):
    names = carried_out("how-to/own-task.md", {})
    assert "parity of 5 bits" in repr(names["run"])
    names = carried_out("how-to/own-analysis.md", names)
    found = names["run"].measure("spread")["spread"]
    assert found.sizes["step"] == len(names["run"].steps)
    first = names["run"].at(0).weights["embed.W_E"].std(dim=0).mean()
    assert float(found[0]) == pytest.approx(float(first), rel=1e-5)


def test_a_loop_of_the_how_to_page_is_recorded_and_measured(folder):
    names = carried_out("how-to/own-loop.md", {})
    run, net, inputs = names["run"], names["net"], names["inputs"]
    assert torch.equal(run.at(300).model(inputs), net.eval()(inputs))
    assert run.steps[-1] == 300
    norm = sum(float(weight.detach().double().square().sum()) for weight in net.parameters())
    assert float(names["norms"]["total_sum_of_squares"][-1]) == pytest.approx(norm, rel=1e-6)
    assert run.history["train_loss"].iloc[-1] < 0.01 < run.history["train_loss"].iloc[0]


def test_a_model_of_the_how_to_page_is_measured_as_one_of_our_own(folder):
    run = carried_out("how-to/own-model.md", {})["run"]
    assert {"fourier", "neurons", "progress", "logits", "examples", "curvature"} <= set(run.applies.fitting)
    assert run.history["test_accuracy"].iloc[-1] > 0.95
    logged = run.history["train_loss"].loc[list(run.steps)]
    assert run.measure.progress().loss.sel(split="train").values == pytest.approx(logged.values, rel=1e-4)


@pytest.mark.slow
def test_the_tutorial_finds_what_it_says(folder):
    names = carried_out("tutorial.md", {})
    assert names["generalised"] > names["memorised"] + 200
    assert 2 <= len(names["keys"]) <= 6
    assert float(names["gini"][-1]) > 0.5 > 0.2 > float(names["twin_gini"][-1])
    alone = names["ablation"].sel(ablation="neurons: keys kept")
    assert float(alone["loss"]) < 0.01 < 3 < float(alone["random_energy_loss"].median())
    p = float(names["answer"]["p_value"].iloc[0])
    assert p < 0.06  # .029; .057 if on another processor one run changes places with one of the other setting


def test_the_notebook_has_the_code_of_the_tutorial():
    cells = json.loads((DOCS / "tutorial.ipynb").read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert code == [block.strip() for block in code_of("tutorial.md")]
