"""Whether Node.js is there, in a version on which holdfast.js runs."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.generators.install import Missing
from tests.generators.made import or_skip, ran
from tests.generators.npm import NODE_MIN


async def needs_node() -> None:
    """Skips the test where it is not, or fails it where the tools have to be there."""
    if shutil.which("node") is None:
        or_skip(Missing("Node.js is not installed"))
    version = (await ran("node", "--version", folder=Path.cwd())).strip()
    if int(version.removeprefix("v").partition(".")[0]) < NODE_MIN:
        or_skip(Missing(f"Node.js {version} is too old: {NODE_MIN} or newer is needed"))
