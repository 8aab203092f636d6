"""`holdfast audit` as an operator runs it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from tests.forked import CommandResult, holdfast


async def audit(
    data: Path, *arguments: str, environment: Mapping[str, str] = MappingProxyType({})
) -> CommandResult:
    """Run the command. It finds the stack by its data folder, or by what `environment` says instead."""
    return await holdfast("audit", "--data", str(data), *arguments, environment=environment)
