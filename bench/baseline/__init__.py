"""The release that the working tree is compared with: its own code in its own environment, asked by this driver.

`release.py` makes its checkout and its environment, `stage.py` runs it, `phase.py` measures both in turn, and
`stored.py` stands in for it where it cannot be run.
"""

from __future__ import annotations

__all__ = ["BASELINE"]

# The commit of the release before. Whoever makes a release names it here, and stores its figures anew:
# `make bench ARGS="--only baseline"`, then `python -m bench.baseline bench/results/….json`.
BASELINE = "83f531c5af04b89dfde363b22876a853e0b16dbd"
