"""`holdfast repair`: audit, print what would be done, ask, do it, audit again."""

from __future__ import annotations

import os
import pwd
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from rich.console import Console

from ops.audit.command import quiet
from ops.audit.databases import PAGE, Databases, open_databases
from ops.audit.ledger import Ledger, open_ledger
from ops.audit.records import Case, Finding
from ops.audit.runner import Audit, AuditResult
from ops.audit.sources import Sources, find_sources
from ops.errors import StartError
from ops.repair.execution import count_anew, send_commands
from ops.repair.plan import COUNTED, Action, Kind, bookings_of, of_findings

CLEAN, NOT_CLEAN, INCOMPLETE = 0, 1, 2
# One round may find what only the next one repairs, such as an adopted payment without a booking.
ROUNDS_MAX = 5
SHOWN_MAX = 20
# What the first check finds may be work under way: this is how long it has to end.
FIRST_WAIT_S = 4.0


async def run(
    data_dir: Path,
    environment: Mapping[str, str],
    since: datetime | None,
    wait_seconds: float,
    *,
    yes: bool,
    ask: Callable[[str], bool],
    by: str | None = None,
) -> int:
    """Returns the exit code: 0 only when an audit at the end is clean. `by`: who decides what is done; None: the
    account that runs this. Raises StartError when a server does not answer."""
    quiet()
    sources = find_sources(data_dir, environment)
    console = Console(highlight=False, soft_wrap=True)
    with console.status("Reading both databases and Stripe's lists …"):
        result, actions = await audit_and_plan(sources, since, FIRST_WAIT_S)
    for number in range(1, ROUNDS_MAX + 1):
        if result.clean:
            console.print("clean: nothing to repair" if number == 1 else "clean", style="green")
            return CLEAN
        _print_plan(console, result, actions)
        if not yes and not ask("Do this?"):
            console.print("nothing was done")
            return NOT_CLEAN
        yes = True  # the answer also holds for what the next rounds find
        await execute(console, sources, actions, by or account_name())
        with console.status("Waiting for what follows, and checking again …"):
            result, actions = await audit_and_plan(sources, since, wait_seconds)
    _print_plan(console, result, actions)
    console.print("not clean: see holdfast audit", style="red")
    return CLEAN if result.clean else NOT_CLEAN


def account_name() -> str:
    """The name of the account that runs this process, or its number where it has none, as in some containers."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"uid {os.geteuid()}"


async def audit_and_plan(
    sources: Sources, since: datetime | None, wait_seconds: float
) -> tuple[AuditResult, list[Action]]:
    """What does not match, and what to do about it."""
    async with (
        open_databases(sources.booking_url, sources.payment_url) as databases,
        open_ledger(sources.stripe_key, sources.stripe_base) as ledger,
    ):
        clock = await databases.clock()
        result = await Audit(databases, ledger, since=since, wait_seconds=wait_seconds, clock=clock).run()
        return result, await plan(databases, ledger, result)


async def plan(databases: Databases, ledger: Ledger, result: AuditResult) -> list[Action]:
    """What to do about the findings of an audit. Orphans that still wait for their bookings are added to its
    mismatches: their money would go back later by itself, unless there are too many; here it is decided now."""
    waiting = [Finding("orphan", id, "waits for its booking to come back") for id in await databases.orphans()]
    result.mismatches += waiting
    return of_findings(result.mismatches, await _cases(databases, ledger, result))


async def _cases(databases: Databases, ledger: Ledger, result: AuditResult) -> list[Case]:
    ids = bookings_of(result.mismatches)
    found: list[Case] = []
    for start in range(0, len(ids), PAGE):
        found += await ledger.again(await databases.cases(ids[start : start + PAGE]))
    return found


async def execute(console: Console, sources: Sources, actions: list[Action], by: str) -> None:
    """Do all `actions`, and print the progress."""
    async with open_databases(sources.booking_url, sources.payment_url) as databases:
        for refused in await count_anew(databases.booking, actions):
            console.print(refused, style="red")
    to_send = [each for each in actions if each.kind not in COUNTED.values()]
    if not to_send:
        return
    if sources.redis_url is None:
        raise StartError("set REDIS_URL: the payment actor gets its commands over it")
    count = 0

    def done(number: int) -> None:
        nonlocal count
        count += number
        console.print(f"sent payment commands for {count} of {len(to_send)}")

    await send_commands(sources.redis_url, to_send, by, done)


def _print_plan(console: Console, result: AuditResult, actions: list[Action]) -> None:
    rules = Counter(finding.rule for finding in result.mismatches)
    console.print(f"{len(result.mismatches)} do not match: {_counted(rules)}")
    if result.not_checked_again:
        console.print(f"{result.not_checked_again} more bookings do not match: they are repaired in a next run")
    for kind in Kind:
        of_kind = [each for each in actions if each.kind is kind]
        for each in of_kind[:SHOWN_MAX]:
            console.print(f"{kind.value}: {each.id}{f' {each.intent_id}' if each.intent_id else ''}", markup=False)
        if len(of_kind) > SHOWN_MAX:
            console.print(f"{kind.value}: {len(of_kind) - SHOWN_MAX} more")


def _counted(numbers: Counter[str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in numbers.most_common())
