"""What Sphinx builds, and how: it reads this file by its name. The pages are the Markdown files where they are, and
the start page is the README. A file that is added is found, and stands in the navigation, without a change here."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pygments.lexers.special import TextLexer

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parent.parent
START = "README"
DECISIONS = "docs/decisions/README"


def names(*patterns: str, first: Iterable[str] = ()) -> list[str]:
    """Markdown files that match, without their suffix: those of `first` in its order, then the others by name."""
    found = sorted(path.relative_to(ROOT).with_suffix("").as_posix() for one in patterns for path in ROOT.glob(one))
    found = [name for name in found if not name.startswith(".")]
    positions = {name: position for position, name in enumerate(first)}
    return sorted(found, key=lambda name: positions.get(name, len(positions)))


GUIDES = names(
    "docs/*.md",
    first=(
        "docs/first-ticket", "docs/first-payment", "docs/going-live", "docs/front-end",
        "docs/promises", "docs/architecture", "docs/states", "docs/schema", "docs/messages",
        "docs/websocket", "docs/webhooks", "docs/api-stability", "docs/sandbox", "docs/operations", "docs/glossary",
    ),
)  # fmt: skip
RECORDS = [name for name in names("docs/decisions/*.md") if name != DECISIONS]
READMES = names("*.md", "*/README.md", "*/*/README.md", first=("CONTRIBUTING", "tests/README", "bench/README"))
PROJECT = [name for name in READMES if name not in (START, DECISIONS)]


def contents(pages: Iterable[str], caption: str = "") -> str:
    """A part of the navigation, as the page under which it stands has it."""
    options = [":hidden:", *([f":caption: {caption}"] if caption else [])]
    return "\n".join(["\n\n```{toctree}", *options, "", *pages, "```"])


NAVIGATION = {
    START: contents(["Start <self>"])
    + contents([f"/{name}" for name in [*GUIDES, DECISIONS]], "Guides")
    + contents([f"/{name}" for name in PROJECT], "Project"),
    DECISIONS: contents(f"/{name}" for name in RECORDS),
}

project = "Holdfast"
html_title = project
root_doc = START
include_patterns = [f"{name}.md" for name in [START, *GUIDES, DECISIONS, *RECORDS, *PROJECT]]
# Folders that Sphinx need not search; its sources are above.
exclude_patterns = [".*", "build", "site"]

extensions = ["myst_parser"]
myst_enable_extensions = ["tasklist"]
source_suffix = {".md": "markdown"}
# Links to headings work as on the forge, and one to a heading that there is not fails the build.
myst_heading_anchors = 6

html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = ["diagrams.js"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_use_index = False


def add_navigation(_: Sphinx, name: str, source: list[str]) -> None:
    """The navigation is added here and not in the files: the forge would show it as text."""
    source[0] += NAVIGATION.get(name, "")


def copy_start(app: Sphinx, error: Exception | None) -> None:
    """The start page of the folder: servers and people expect index.html."""
    if error is None:
        shutil.copyfile(Path(app.outdir) / f"{START}.html", Path(app.outdir) / "index.html")


def setup(app: Sphinx) -> None:
    # A diagram is left as its text, and drawn by static/diagrams.js.
    app.add_lexer("mermaid", TextLexer)
    app.connect("source-read", add_navigation)
    app.connect("build-finished", copy_start)
