"""`python3 -m release.check v1.2.3`: a tag may be published when it is the version that pyproject.toml says and the
changelog has a dated section for it, which is printed as the release's notes. Needs nothing but Python."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The part of Semantic Versioning that Holdfast uses, and a section's heading as Keep a Changelog has it.
VERSION = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}")
HEADING = re.compile(r"^## \[(?P<version>[^]]+)\](?: - (?P<date>\d{4}-\d{2}-\d{2}))?$", re.MULTILINE)


class NotReady(ValueError):
    """The tag may not be published: the text says why."""


def notes(tag: str, version: str, changelog: str) -> str:
    """The section of `version` in `changelog`, without its heading. Raises NotReady."""
    if not VERSION.fullmatch(version):
        raise NotReady(f"the version in pyproject.toml is {version!r}, not of the form 1.2.3")
    if tag != f"v{version}":
        raise NotReady(f"the tag is {tag!r}, and by the version in pyproject.toml it must be 'v{version}'")
    headings = list(HEADING.finditer(changelog))
    for heading, following in zip(headings, [*headings[1:], None], strict=True):
        if heading["version"] != version:
            continue
        if heading["date"] is None:
            raise NotReady(f"CHANGELOG.md has no date: the heading must be '## [{version}] - YYYY-MM-DD'")
        if text := changelog[heading.end() : following.start() if following else None].strip():
            return text
        raise NotReady(f"the section of {version} in CHANGELOG.md is empty")
    raise NotReady(f"CHANGELOG.md has no section '## [{version}] - YYYY-MM-DD'")


def main(arguments: list[str]) -> int:
    """The exit code: 0 when the tag may be published, 1 when it may not, 2 when none is given."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python3 -m release.check v1.2.3\n")
        return 2
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    try:
        text = notes(arguments[0], project["version"], (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    except NotReady as reason:
        sys.stderr.write(f"not ready for release: {reason}\n")
        return 1
    sys.stdout.write(f"{text}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
