"""The site has every Markdown file of the project once, and what it needs beside them."""

from __future__ import annotations

import re
import subprocess

from website.conf import DECISIONS, NAVIGATION, RECORDS, ROOT, START, include_patterns, names

STATIC = ROOT / "website" / "static"


def test_every_markdown_file_is_a_page() -> None:
    """But for the forge's own, such as the text that a pull request begins with."""
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {name for name in listed.stdout.split() if not name.startswith(".")} <= set(include_patterns)


def test_every_page_is_in_the_navigation_once() -> None:
    listed = re.findall(r"^/(\S+)$", "\n".join(NAVIGATION.values()), re.MULTILINE)
    assert sorted(f"{name}.md" for name in [START, *listed]) == sorted(include_patterns)


def test_decisions_are_below_their_list_in_order() -> None:
    assert sorted(RECORDS) == RECORDS
    assert re.findall(r"^/(\S+)$", NAVIGATION[DECISIONS], re.MULTILINE) == RECORDS


def test_named_pages_come_first_and_one_that_is_not_there_is_no_error() -> None:
    found = names("docs/*.md", first=("docs/states", "docs/not-there", "docs/glossary"))
    assert found[:2] == ["docs/states", "docs/glossary"]
    assert found[2:] == sorted(found[2:])


def test_mermaid_is_shipped_with_its_licence_and_version() -> None:
    version = re.search(r"@mermaid-js/tiny (\d+\.\d+\.\d+)", (STATIC / "mermaid" / "README.txt").read_text())
    assert version
    assert f'"{version[1]}"' in (STATIC / "mermaid" / "mermaid.tiny.js").read_text(encoding="utf-8")
    assert "MIT License" in (STATIC / "mermaid" / "LICENSE").read_text()
