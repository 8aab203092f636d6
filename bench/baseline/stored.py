"""Stored figures of the release before, for where it cannot run, with what one raw POST cost on their machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from bench.baseline import BASELINE
from bench.errors import BenchError

STORED = Path(__file__).with_name("stored.json")


@dataclass(frozen=True)
class Level:
    """At one concurrency: CPU of a booking and POST until payable (p50), both in ms, and bookings a second."""

    cpu_ms: float
    payable_p50_ms: float
    per_second: float


@dataclass(frozen=True)
class Stored:
    """The release `commit` on a machine on which one raw POST costs `raw_cpu_ms`; levels by their concurrency."""

    commit: str
    raw_cpu_ms: float
    levels: Mapping[int, Level]

    def scaled(self, raw_cpu_ms: float) -> Mapping[int, Level]:
        """The figures on a machine on which one raw POST costs `raw_cpu_ms`: all of them are bound by CPU."""
        slower = raw_cpu_ms / self.raw_cpu_ms
        return {
            concurrency: Level(each.cpu_ms * slower, each.payable_p50_ms * slower, each.per_second / slower)
            for concurrency, each in self.levels.items()
        }


def read(path: Path = STORED, commit: str = BASELINE) -> Stored:
    """Raises BenchError if the figures are missing, or another release's."""
    try:
        kept = orjson.loads(path.read_bytes())
    except OSError as error:
        raise BenchError(f"there are no stored figures of the release before: {error}") from None
    if kept["commit"] != commit:
        raise BenchError(f"the stored figures are those of {kept['commit'][:7]}, not of {commit[:7]}")
    levels = {int(concurrency): Level(**each) for concurrency, each in kept["levels"].items()}
    return Stored(kept["commit"], kept["raw_cpu_ms"], levels)


def write(result: Mapping[str, Any], path: Path = STORED) -> None:
    """From the JSON of a run in which the release before was measured. Raises BenchError if it was not."""
    found = result["phases"].get("baseline", {})
    if "before" not in found.get("ways", {}):
        raise BenchError("the release before was not measured in that run")
    levels = {
        str(each["concurrency"]): {
            "cpu_ms": each["cpu_sum"],
            "payable_p50_ms": each["payable_p50"],
            "per_second": each["per_second"],
        }
        for each in found["ways"]["before"]
    }
    kept = {
        "commit": found["commit"],
        "measured_at": result["measured_at"],
        "machine": result["machine"],
        "raw_cpu_ms": found["raw_cpu_ms"],
        "levels": levels,
    }
    path.write_bytes(orjson.dumps(kept, option=orjson.OPT_INDENT_2) + b"\n")
