"""`holdfast audit` as an operator runs it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    error: str

    @property
    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.out)
        return body


async def audit(data: Path, *arguments: str, environment: Mapping[str, str] = MappingProxyType({})) -> Said:
    """The command, as it finds the stack by its data folder alone unless told otherwise."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    command = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "ops", "audit", "--data", str(data), *arguments),
        cwd=ROOT,
        env={**kept, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await command.communicate()
    assert command.returncode is not None
    return Said(command.returncode, out.decode(), error.decode())
