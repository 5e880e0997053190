"""Settings of the documentation site, which `make docs` builds of the documents as they stand and of the docstrings."""

from importlib import metadata

from sphinx.application import Sphinx

project = "interp"
author = copyright = "the authors of interp"
release = metadata.version("interp")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "sphinx_copybutton"]
root_doc = "README"
include_patterns = ["*.md", "docs/**.md", "analyses/*/README.md", "checkpoints/README.md"]
exclude_patterns = [".*", "build"]

myst_heading_anchors = 3
highlight_language = "bash"  # of what stands without a language: commands
autodoc_default_options = {"members": True, "inherited-members": "BaseModel,BaseException", "member-order": "bysource"}
maximum_signature_line_length = 100
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = f"interp {release}"
html_copy_source = False

CONTENTS = {
    "README": {
        "Train and measure": [
            "docs/tutorial",
            "docs/how-to/README",
            "docs/training",
            "docs/analyses",
            "docs/figures-explained/README",
            "docs/store",
            "docs/python",
        ],
        "What things are": [
            "docs/glossary",
            "docs/definitions",
            "docs/reference",
            "checkpoints/README",
            "docs/reliability",
        ],
        "What was found": ["docs/what-decides", "docs/studies", "docs/speed"],
        "Project": ["CONTRIBUTING", "docs/decisions/README", "CHANGELOG"],
    },
    "docs/how-to/README": {"": ["docs/how-to/*"]},
    "docs/figures-explained/README": {"": ["docs/figures-explained/*"]},
    "docs/studies": {"": ["analyses/*/README"]},
    "docs/decisions/README": {"": ["docs/decisions/*"]},
}
"""Pages below a page, by the caption that they stand under: here, so that the documents have no marks of the site in them."""


def add_contents(_: Sphinx, page: str, source: list[str]) -> None:
    """Add to the text of a page, before it is read, the hidden lists of what stands below it."""
    for caption, below in CONTENTS.get(page, {}).items():
        lines = "\n".join(f"/{name}" for name in below)
        named = f":caption: {caption}\n" if caption else ""
        source[0] += f"\n\n```{{toctree}}\n:hidden:\n:glob:\n{named}\n{lines}\n```\n"


def keep_as_it_is(_: Sphinx, what: str, __: str, ___: object, ____: object, lines: list[str]) -> None:
    """Begin the text on a field with an empty comment: in a first line "type: text" would be read, where ours says "adamw: …"."""
    if what in ("attribute", "property"):
        lines[:0] = ["..", ""]


def setup(app: Sphinx) -> None:
    """Called by Sphinx when it begins."""
    app.connect("source-read", add_contents)
    app.connect("autodoc-process-docstring", keep_as_it_is, priority=400)  # before that of napoleon, at 500
