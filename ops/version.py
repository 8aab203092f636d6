"""The version of Holdfast: `version` in pyproject.toml, of which no code has a copy."""

from __future__ import annotations

import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def holdfast_version() -> str:
    """By the metadata of the installed package; the image installs none, and has pyproject.toml instead."""
    try:
        return version("holdfast")
    except PackageNotFoundError:
        project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))
        return str(project["project"]["version"])
