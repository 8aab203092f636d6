"""`python -m pictures`: start a stack in a temporary folder, make a first booking, and write the picture."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path

from ops.errors import StartError
from ops.layout import Ports
from ops.postgres import Postgres
from ops.stack import Stack
from pictures.first_booking import Changed, record
from pictures.terminal import Terminal

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "pictures" / "first-booking.svg"


async def recorded(folder: Path) -> str:
    """The picture as SVG. Raises StartError, and Changed where an answer is not the README's."""
    # Nothing of the person's own settings: the picture is to be the same wherever it is made.
    settings = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    stack = Stack(folder, ports=Ports.free(), settings=settings)
    terminal = Terminal()
    try:
        await stack.start()
        await record(stack, terminal)
    finally:
        await stack.stop()
        postgres = stack.processes.get("postgres")
        if isinstance(postgres, Postgres) and postgres.data_dir.exists():
            await asyncio.to_thread(postgres.remove)
    return terminal.svg("A first booking with Holdfast")


def main() -> int:
    """The exit code: 0 when the picture is written."""
    with tempfile.TemporaryDirectory(prefix="holdfast-picture-") as folder:
        try:
            svg = asyncio.run(recorded(Path(folder) / "data"))
        except (StartError, Changed, TimeoutError) as error:
            sys.stderr.write(f"no picture: {error or type(error).__name__}\n")
            return 1
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(svg, encoding="utf-8")
    sys.stdout.write(f"written: {PICTURE.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
