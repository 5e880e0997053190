"""Documents name what exists: files, commands, presets, analyses; and code says what it returns."""

import ast
import json
import re
import shlex
import tomllib
from pathlib import Path

import yaml

import interp
from interp.cli.analyze import parse as parse_analyze
from interp.cli.app import parse as parse_app
from interp.cli.connect import parse as parse_connect
from interp.cli.convert import parse as parse_convert
from interp.cli.export import parse as parse_export
from interp.cli.overview import COMMANDS
from interp.cli.store import parse as parse_store
from interp.cli.study import parse as parse_study
from interp.cli.table import parse as parse_table
from interp.cli.train import parse as parse_train

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    file
    for file in sorted(ROOT.rglob("*.md"))
    if not {".venv", ".venv-bridge", ".venv-docs", ".venv-peers", "build", "node_modules"}
    & set(file.relative_to(ROOT).parts)
]
PARSERS = {
    "interp.app": parse_app,
    "interp.analyze": lambda words: parse_analyze(words[0], words[1:]),
    "interp.connect": parse_connect,
    "interp.convert": parse_convert,
    "interp.export": lambda words: parse_export(words[0], words[1:]),
    "interp.store": parse_store,
    "interp.study": parse_study,
    "interp.table": parse_table,
}
MADE_BY_COMMANDS = ("checkpoints/", ".venv")


def named(file: Path) -> str:
    return str(file.relative_to(ROOT))


def test_links_and_paths_lead_somewhere():
    lost = []
    for document in DOCUMENTS:
        text = document.read_text()
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            if not target.startswith("http") and not (document.parent / target).exists():
                lost.append(f"{named(document)} links to {target}")
        for path in re.findall(r"`((?:interp|docs|tests|analyses|benchmarks)/[\w./-]+)`", text):
            lost += [] if (ROOT / path).exists() else [f"{named(document)} names {path}"]
    assert not lost, lost


def slug(heading: str) -> str:
    """What a link to a heading ends in: lower case, a hyphen for each space, no other signs."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def anchors(document: Path) -> set[str]:
    return {slug(heading) for heading in re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)}


def test_links_to_headings_lead_to_one():
    lost = [
        f"{named(document)} links to {target}#{anchor}"
        for document in DOCUMENTS
        for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", document.read_text())
        if anchor not in anchors(document.parent / target if target else document)
    ]
    assert not lost, lost


def test_the_glossary_says_every_term_in_words_before_any_formula():
    terms = re.findall(r"^### (.+)\n+(.+)", (ROOT / "docs/glossary.md").read_text(), re.MULTILINE)
    assert len(terms) > 100
    for term, text in terms:
        assert len(re.findall(r"[A-Za-z]{2,}", text.split("`")[0])) >= 4, term


EXPLAINED = ROOT / "docs" / "figures-explained"


def test_the_reference_has_every_public_name():
    reference = re.findall(r"^\.\. (?:auto|py:)\w+:: ([\w.]+)$", (ROOT / "docs/reference.md").read_text(), re.MULTILINE)
    assert sorted(name for name in reference if name.count(".") == 1) == sorted(
        f"interp.{name}" for name in dir(interp)
    )


def test_the_index_of_decisions_leads_to_each():
    folder = ROOT / "docs" / "decisions"
    links = re.findall(r"\]\((\d.*?\.md)\)", (folder / "README.md").read_text())
    assert links == sorted(file.name for file in folder.glob("0*.md"))


def test_every_figure_is_explained_on_a_page_that_the_index_leads_to():
    index = (EXPLAINED / "README.md").read_text()
    assert sorted(file.stem for file in EXPLAINED.glob("*.md")) == sorted([*interp.analyses(), "README"])
    for name in interp.analyses():
        assert f"]({name}.md)" in index
        text = (EXPLAINED / f"{name}.md").read_text()
        parts = re.findall(r"^\*\*(.+?)\.\*\* ", text, re.MULTILINE)
        assert parts == ["Drawn", "Look for", "Which figure", "When it goes wrong"], name
        assert f"](../definitions.md#{name})" in text
        assert "](../glossary.md#" in text, name


def test_every_term_of_the_glossary_is_needed_by_a_page():
    pages = "".join(file.read_text() for file in (ROOT / "docs").rglob("*.md"))
    used = set(re.findall(r"glossary\.md#([\w-]+)\)", pages))
    terms = re.findall(r"^### (.+)$", (ROOT / "docs/glossary.md").read_text(), re.MULTILINE)
    assert len(set(terms)) == len(terms)
    assert {slug(term) for term in terms} == used


def shown_commands(document: Path) -> list[list[str]]:
    """The commands of this project that a document shows, in words, but for patterns and for help."""
    text = document.read_text().replace("\\\n", " ")  # a command may go on in the next line
    lines = re.findall(r"python -m (interp[\w.]*(?: [^`\n#&|]*)?)", text)
    commands = [shlex.split(line.replace("…", "")) for line in lines]
    return [
        words for words in commands
        if words[1:] and "--help" not in words and not any(word.isupper() for word in words[1:])
    ]  # fmt: skip


def test_commands_that_documents_show_are_understood():
    misunderstood = []
    for document in DOCUMENTS:
        for module, *words in shown_commands(document):
            if module == "interp" and words[0] in COMMANDS:
                module, words = f"interp.{words[0]}", words[1:]
            try:
                if module == "interp.train" and words[0] != "--resume":
                    parse_train(words)
                elif module in PARSERS:
                    PARSERS[module](words)
                else:
                    known = module in ("interp.train", "interp.probe") or [module, *words] == ["interp", "--version"]
                    assert known, "there is no such command"
            except (Exception, SystemExit) as refused:
                misunderstood.append(f"{named(document)} shows python -m {shlex.join([module, *words])}: {refused!r}")
    assert not misunderstood, "\n".join(misunderstood)


def test_make_targets_that_documents_show_exist():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    shown = {
        (named(document), target)
        for document in DOCUMENTS
        for target in re.findall(r"`make ([\w-]+)`", document.read_text())
    }
    assert not [f"{document} shows make {target}" for document, target in sorted(shown) if target not in targets]


def test_every_analysis_and_preset_has_a_row_where_they_are_listed():
    for document, names in {"docs/analyses.md": interp.analyses(), "docs/training.md": interp.PRESETS}.items():
        rows = re.findall(r"^\| `([\w-]+)` \|", (ROOT / document).read_text(), re.MULTILINE)
        assert sorted(rows) == sorted(names), document


def test_the_readme_is_one_screen_that_leads_to_every_page():
    readme = (ROOT / "README.md").read_text()
    assert len(readme.splitlines()) <= 60
    for page in sorted((ROOT / "docs").glob("*.md")):
        if page.name != "reliability.md":  # a table of counts, which store.md leads to
            assert f"]({named(page)})" in readme


def test_python_that_documents_show_parses():
    for document in DOCUMENTS:
        for block in re.findall(r"```python\n(.*?)```", document.read_text(), re.DOTALL):
            ast.parse(block, filename=named(document))


def test_the_citation_states_the_name_version_and_licence_of_the_package():
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["title"] == package["name"]
    assert citation["version"] == package["version"]
    assert citation["license"] == package["license"]
    assert citation["authors"] == package["authors"]
    (licence,) = package["license-files"]
    assert package["license"] in (ROOT / licence).read_text()


def test_public_names_say_what_comes_back():
    silent = []
    for file in (ROOT / "interp").rglob("*.py"):
        module = ast.parse(file.read_text())
        assert ast.get_docstring(module), f"{named(file)} has no docstring"
        for node in module.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                silent += [] if ast.get_docstring(node) else [f"{named(file)}: {node.name}"]
    assert not silent


def test_every_option_says_what_it_does():
    parts = (
        interp.RunConfig,
        interp.ModularTask,
        interp.GroupTask,
        interp.JointTask,
        interp.TransformerSpec,
        interp.TrainConfig,
        interp.Corruption,
        interp.Seeds,
    )
    for part in parts:
        for name, field in part.model_fields.items():
            nested = name in ("task", "model", "train", "corruption", "seeds", "kind") and part in (
                interp.RunConfig,
                interp.ModularTask,
                interp.GroupTask,
                interp.JointTask,
                interp.TransformerSpec,
            )
            assert field.description or nested, f"{part.__name__}.{name}"


def test_presets_are_what_the_papers_and_the_documents_say():
    nanda = interp.preset("nanda").config
    assert isinstance(nanda.task, interp.ModularTask)
    assert isinstance(nanda.model, interp.TransformerSpec)
    assert (nanda.task.p, nanda.task.train_fraction, nanda.task.operation) == (113, 0.3, "add")
    assert (nanda.train.lr, nanda.train.weight_decay, nanda.train.betas) == (1e-3, 1.0, (0.9, 0.98))
    assert (nanda.train.steps, nanda.train.batch_size, nanda.train.warmup_steps) == (25_000, "full", 10)
    assert (nanda.model.d_model, nanda.model.n_heads, nanda.model.d_head, nanda.model.d_mlp) == (128, 4, 32, 512)
    assert (nanda.model.init, nanda.model.biases, nanda.model.act_fn) == ("nanda", "mlp", "relu")
    for name, preset in interp.PRESETS.items():
        assert preset.config.name == name
        assert preset.minutes > 0
        assert json.loads(preset.config.model_dump_json()) == json.loads(
            type(preset.config).model_validate_json(preset.config.model_dump_json()).model_dump_json()
        )
