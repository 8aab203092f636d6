"""`python -m tests.simulation.choose`: write `seeds.py` anew, the seeds that the tests play.

Schedules change with the product. The tests then still find each planted mistake, but by trying one seed after the
other, up to a minute for each, and warn of it; the seeds that together reached every fault may no longer do so. A
seed that still shows its mistake stays, unless with `--anew`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from rich.console import Console

from ops.postgres import embedded_postgres
from tests.servers import without_fsync
from tests.simulation.planted import PLANTED, RARE
from tests.simulation.run import Result, Runner, make_databases
from tests.simulation.seeds import SHOWN_BY

SEEDS_FILE = Path(__file__).with_name("seeds.py")


async def results(urls: list[tuple[str, str]], planted: str, seeds: Iterable[int]) -> list[Result]:
    found: list[Result] = []
    await Runner(urls, planted=planted).play(seeds, found.append)
    return found


async def failures(urls: list[tuple[str, str]], planted: str, seeds: Iterable[int]) -> list[Result]:
    return [each for each in await results(urls, planted, seeds) if each.violations]


def covering(played: Iterable[Result]) -> list[int]:
    """Few seeds that reach, in little time, every fault, point and end that all of these reach."""
    reached = {
        each.seed: {(kind, name) for kind in ("faults", "crashes", "endings") for name in each.coverage[kind]}
        for each in played
    }
    seconds = {each.seed: each.seconds for each in played}
    missing, chosen = set[tuple[str, str]]().union(*reached.values()), list[int]()
    while missing:
        chosen.append(max(reached, key=lambda seed: len(reached[seed] & missing) / seconds[seed]))
        missing -= reached[chosen[-1]]
    for seed in sorted(chosen, key=lambda each: -seconds[each]):
        others = set[tuple[str, str]]().union(*(reached[each] for each in chosen if each != seed))
        if reached[seed] <= others:
            chosen.remove(seed)
    return sorted(chosen)


def text(cover: list[int], shown_by: Mapping[str, int]) -> str:
    mistakes = "\n".join(f'    "{mistake}": {seed},' for mistake, seed in shown_by.items())
    return f'''"""The seeds that the tests play, as `python -m tests.simulation.choose` has found them."""

# Together they reach every fault, point and end.
COVERING = {cover}
# By planted mistake the seed that shows it soonest. When schedules have changed since, another may show it instead.
SHOWN_BY = {{
{mistakes}
}}
'''


async def soonest(urls: list[tuple[str, str]], mistake: str, seeds: int) -> Result:
    """Of the first `seeds` seeds, or as many more as it takes, the one that shows the mistake soonest."""
    first = 1
    while not (failed := await failures(urls, mistake, range(first, first + seeds))):
        first += seeds
    return min(failed, key=lambda each: each.seconds)


async def choose(seeds: int, workers: int, *, anew: bool) -> None:
    console = Console(highlight=False)
    async with embedded_postgres() as server:
        urls = await make_databases(server, workers)
        cover = covering(await results(urls, "", range(1, seeds + 1)))
        console.print(f"every fault, point and end: {cover}")
        shown_by = {}
        for mistake in [each for each in PLANTED if each not in RARE]:
            before = [] if anew else [seed for seed in (SHOWN_BY.get(mistake),) if seed is not None]
            shown = await failures(urls, mistake, before) or [await soonest(urls, mistake, seeds)]
            shown_by[mistake] = shown[0].seed
            console.print(f"{mistake}: {shown[0].seed}, after {shown[0].seconds:.1f} s")
    SEEDS_FILE.write_text(text(cover, shown_by))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.choose", description=__doc__)
    parser.add_argument("--seeds", type=int, default=60, help="how many are tried for each (60)")
    parser.add_argument("--workers", type=int, default=min(os.cpu_count() or 1, 8))
    parser.add_argument("--anew", action="store_true", help="choose also where the seed of before is still good")
    options = parser.parse_args()
    with without_fsync():
        asyncio.run(choose(options.seeds, options.workers, anew=options.anew))


if __name__ == "__main__":
    main()
