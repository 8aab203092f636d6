"""The report for people: what was sent, how it was answered, what was wrong, and how to repeat it."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.table import Table

from tests.fuzz.run import Result

WIDTH = 116
HOW_MAX = 4000


def show(result: Result, console: Console) -> None:
    if not console.is_terminal:
        console.width = WIDTH
    tally = result.tally
    table = Table("part", "requests", "searched", "answers", title="What was sent", title_justify="left")
    for part, results in tally.results.items():
        table.add_row(part, f"{results.total():,}", f"{tally.searched[part]:,}", _shown(results))
    table.add_row("all", f"{tally.count():,}", f"{tally.searched.total():,}", "", style="bold")
    console.print(table)
    statuses = Counter({name: count for name, count in tally.statuses().items() if name.isdecimal()})
    server = sum(count for name, count in statuses.items() if name.startswith("5") and name != "503")
    busy = statuses["503"]
    lines = (
        f"by status: {_shown(statuses)}",
        f"5xx: {server}; 503 with Retry-After: {busy}",
        *(
            f"memory of {name}: {before:.0f} MiB before, {result.after[name]:.0f} MiB after"
            for name, before in result.before.items()
        ),
        f"searched for what is another's: {tally.searched.total():,} answers",
        "holdfast audit:",
        *(f"  {line}" for line in result.audit.splitlines()),
    )
    for line in lines:
        console.print(line, markup=False, highlight=False)
    for finding in tally.findings:
        times = f"({finding.times} times)" if finding.times > 1 else ""
        console.print(f"\n{finding.part}: {finding.what} {times}", style="bold red", markup=False)
        console.print(finding.how[:HOW_MAX], markup=False, highlight=False)
    if tally.findings:
        again = f"HOLDFAST_SEED={result.seed} make fuzz REQUESTS={result.requests}"
        console.print(f"\n{len(tally.findings)} findings; again with: {again}", style="bold red", markup=False)
        console.print("""One part alone with ARGS="--only 'rest: user'".""", markup=False, highlight=False)
    else:
        console.print(f"Nothing found. HOLDFAST_SEED={result.seed}", style="bold green", markup=False)


def _shown(counts: Counter[str]) -> str:
    return ", ".join(f"{name}: {count:,}" for name, count in counts.most_common())
