"""The documentation site: README.md as its front page, and the pages in the groups of CONTENTS (Sphinx, MyST, Furo).

The source folder is the repository, so that a link between pages is the same here, on a web host and in an editor. A
link to a file that is no page, such as recall.toml, gives the file as a download.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CONTENTS = {
    "Use it": [
        "docs/your-log",
        "examples/README",
        "docs/data-contract",
        "docs/recall",
        "docs/negative-sampling",
        "docs/extending",
    ],
    "Run it": [
        "docs/operations",
        "docs/publication",
        "docs/online",
        "docs/damaged-tables",
        "docs/deploy",
        "docs/airflow",
    ],
    "Where it runs": ["docs/cluster", "docs/object-stores"],
    "How it is made": ["docs/architecture", "docs/decisions/README", "benchmarks/RESULTS", "CONTRIBUTING", "CHANGELOG"],
}
DECISIONS = "docs/decisions/README"

project = "batch-recall"
html_title = project
copyright = ""
extensions = ["myst_parser"]
root_doc = "README"
include_patterns = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/**.md"]
include_patterns += ["benchmarks/RESULTS.md", "examples/README.md"]
FOLDERS = ("benchmarks", "docs", "examples")  # no other one is looked through
exclude_patterns = [path.name for path in ROOT.iterdir() if path.is_dir() and path.name not in FOLDERS]
exclude_patterns += ["benchmarks/out", "examples/out"]
smartquotes = False  # the text as it is written
myst_heading_anchors = 4
highlight_language = "none"  # of indented blocks, which are commands, TOML and output
html_theme = "furo"
html_show_copyright = html_show_sphinx = False
html_copy_source = html_show_sourcelink = html_use_index = False
html_theme_options = {"navigation_with_keys": True}


def toctree(pages: list[str], caption: str = "") -> str:
    """A hidden list of pages, which the navigation shows."""
    options = [":hidden:"]
    if caption:
        options.append(f":caption: {caption}")
    return "\n".join(["", "```{toctree}", *options, "", *(f"/{page}" for page in pages), "```", ""])


def add_contents(app: Any, page: str, source: list[str]) -> None:
    """Add the navigation to its two pages, and let links to the folder of decisions lead to its page."""
    text = source[0].replace("](docs/decisions/)", "](docs/decisions/README.md)")
    if page == root_doc:
        text += "".join(toctree(pages, caption) for caption, pages in CONTENTS.items())
    if page == DECISIONS:
        names = sorted(path.stem for path in Path(app.srcdir, DECISIONS).parent.glob("0*.md"))
        text += toctree([f"docs/decisions/{name}" for name in names])
    source[0] = text


def add_files_of_hosts(app: Any, error: Exception | None) -> None:
    """What web hosts look for: the front page as index.html, and a sign that folders such as _static are served."""
    if error is None and app.builder.format == "html":
        Path(app.outdir, ".nojekyll").touch()
        shutil.copyfile(Path(app.outdir, f"{root_doc}.html"), Path(app.outdir, "index.html"))


def setup(app: Any) -> None:
    app.connect("source-read", add_contents)
    app.connect("build-finished", add_files_of_hosts)
