"""`python -m bench.baseline RESULT.json`: store the figures of the release before from the JSON of a run."""

from __future__ import annotations

import sys
from pathlib import Path

import orjson

from bench.baseline.stored import STORED, write
from bench.errors import BenchError

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("python -m bench.baseline RESULT.json")
    try:
        write(orjson.loads(Path(sys.argv[1]).read_bytes()))
    except (BenchError, OSError, ValueError) as error:
        sys.exit(f"bench.baseline: {error}")
    print(f"stored in {STORED}")
