"""The release that the working tree is compared with: its own code and environment, under this driver's load.

`release.py` makes its checkout and its environment, `stage.py` runs it, `phase.py` measures both in turn, and
`stored.py` replaces it by stored figures where it cannot be run. Its commit is in pyproject.toml.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

__all__ = ["BASELINE", "ROOT"]

ROOT = Path(__file__).resolve().parents[2]
# The commit. To name another one, change pyproject.toml and store its figures: `make bench ARGS="--only baseline"`,
# then `python -m bench.baseline bench/results/….json`.
BASELINE: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["holdfast"]["release-before"]
