"""The release that the working tree is compared with: its own code in its own environment, asked by this driver.

`release.py` makes its checkout and its environment, `stage.py` runs it, `phase.py` measures both in turn, and
`stored.py` stands in for it where it cannot be run. Which release it is stands in pyproject.toml.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

__all__ = ["BASELINE", "ROOT"]

ROOT = Path(__file__).resolve().parents[2]
# Its commit. Whoever names another one stores its figures anew: `make bench ARGS="--only baseline"`, and then
# `python -m bench.baseline bench/results/….json`.
BASELINE: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["holdfast"]["release-before"]
