"""A tag is published only when it is the project's version and the changelog has that version's section."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from release.check import NotReady, notes

ROOT = Path(__file__).parents[2]
CHANGELOG = """# Changelog

## [Unreleased]

### Added

- something to come

## [1.2.0] - 2026-11-29

### Added

- **gateway**: an endpoint

## [1.1.0]

- undated

## [1.0.0] - 2026-01-01
"""


def test_the_notes_are_the_versions_section() -> None:
    assert notes("v1.2.0", "1.2.0", CHANGELOG) == "### Added\n\n- **gateway**: an endpoint"


@pytest.mark.parametrize(
    ("tag", "version", "reason"),
    [
        ("v1.2.1", "1.2.0", "must be 'v1.2.0'"),
        ("1.2.0", "1.2.0", "must be 'v1.2.0'"),
        ("v1.2.0-rc1", "1.2.0", "must be 'v1.2.0'"),
        ("v1.2", "1.2", "not of the form"),
        ("v01.2.0", "01.2.0", "not of the form"),
        ("v1.3.0", "1.3.0", "has no section"),
        ("vUnreleased", "Unreleased", "not of the form"),
        ("v1.1.0", "1.1.0", "no date"),
        ("v1.0.0", "1.0.0", "is empty"),
    ],
)
def test_what_is_not_ready_is_refused_with_the_reason(tag: str, version: str, reason: str) -> None:
    with pytest.raises(NotReady, match=reason):
        notes(tag, version, CHANGELOG)


def test_the_command_refuses_a_tag_that_is_not_the_projects_version() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "release.check", "v999.0.0"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("not ready for release: the tag is 'v999.0.0'")
