"""`holdfast audit` as an operator runs it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from tests.forked import Said, holdfast


async def audit(data: Path, *arguments: str, environment: Mapping[str, str] = MappingProxyType({})) -> Said:
    """Run the command. It finds the stack by its data folder, or by what `environment` says instead."""
    return await holdfast("audit", "--data", str(data), *arguments, environment=environment)
