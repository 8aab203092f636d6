"""`holdfast repair`: audit, print what would be done, ask, do it, audit again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from rich.console import Console

from ops.audit.command import quiet
from ops.audit.databases import PAGE, Databases, open_databases
from ops.audit.facts import Case, Finding
from ops.audit.ledger import Ledger, open_ledger
from ops.audit.look import Audit, Outcome
from ops.audit.places import Places, find_places
from ops.errors import StartError
from ops.repair.acting import ask_payment, count_seats
from ops.repair.plan import Act, Kind, of_findings

CLEAN, NOT_CLEAN, CANNOT_LOOK = 0, 1, 2
# One round may find what only the next one repairs, such as an adopted payment without a booking.
ROUNDS_MAX = 5
SHOWN_MAX = 20
# What the first look finds may be work under way: this is how long it has to end.
FIRST_LOOK_S = 4.0


async def run(
    data_dir: Path,
    environment: Mapping[str, str],
    since: datetime | None,
    settle_s: float,
    *,
    yes: bool,
    ask: Callable[[str], bool],
) -> int:
    """Returns the exit code: 0 only when an audit at the end is clean. Raises StartError when a server is away."""
    quiet()
    places = find_places(data_dir, environment)
    console = Console(highlight=False, soft_wrap=True)
    with console.status("Looking through both databases and Stripe's lists …"):
        outcome, acts = await look(places, since, FIRST_LOOK_S)
    for number in range(1, ROUNDS_MAX + 1):
        if outcome.clean:
            console.print("clean: nothing to repair" if number == 1 else "clean", style="green")
            return CLEAN
        _tell(console, outcome, acts)
        if not yes and not ask("Do this?"):
            console.print("nothing was done")
            return NOT_CLEAN
        yes = True  # the answer also holds for what the next rounds find
        await act(console, places, acts)
        with console.status("Waiting for what follows, and looking again …"):
            outcome, acts = await look(places, since, settle_s)
    _tell(console, outcome, acts)
    console.print("not clean: see holdfast audit", style="red")
    return CLEAN if outcome.clean else NOT_CLEAN


async def look(places: Places, since: datetime | None, settle_s: float) -> tuple[Outcome, list[Act]]:
    """What does not match, and what to do about it."""
    async with (
        open_databases(places.booking_url, places.payment_url) as databases,
        open_ledger(places.stripe_key, places.stripe_base) as ledger,
    ):
        clock = await databases.clock()
        outcome = await Audit(databases, ledger, since=since, settle_s=settle_s, clock=clock).run()
        return outcome, await plan(databases, ledger, outcome)


async def plan(databases: Databases, ledger: Ledger, outcome: Outcome) -> list[Act]:
    """What to do about the findings of an audit. Orphans that still wait for their bookings are added to its
    mismatches: their money would go back later by itself, unless there are too many; here it is decided now."""
    waiting = [Finding("orphan", id, "waits for its booking to come back") for id in await databases.orphans()]
    outcome.mismatches += waiting
    return of_findings(outcome.mismatches, await _cases(databases, ledger, outcome))


async def _cases(databases: Databases, ledger: Ledger, outcome: Outcome) -> list[Case]:
    ids = list(dict.fromkeys(each.id for each in outcome.mismatches if each.rule != "seats"))
    found: list[Case] = []
    for start in range(0, len(ids), PAGE):
        found += await ledger.again(await databases.cases(ids[start : start + PAGE]))
    return found


async def act(console: Console, places: Places, acts: list[Act]) -> None:
    """Do all `acts`, and print the progress."""
    async with open_databases(places.booking_url, places.payment_url) as databases:
        for refused in await count_seats(databases.booking, acts):
            console.print(refused, style="red")
    asked = [each for each in acts if each.kind is not Kind.SEATS]
    if not asked:
        return
    if places.redis_url is None:
        raise StartError("set REDIS_URL: the payment actor is asked over it")
    count = 0

    def done(number: int) -> None:
        nonlocal count
        count += number
        console.print(f"asked payment about {count} of {len(asked)}")

    await ask_payment(places.redis_url, asked, done)


def _tell(console: Console, outcome: Outcome, acts: list[Act]) -> None:
    rules = Counter(finding.rule for finding in outcome.mismatches)
    console.print(f"{len(outcome.mismatches)} do not match: {_counted(rules)}")
    if outcome.unseen:
        console.print(f"{outcome.unseen} more bookings look wrong: they are repaired in a next run")
    for kind in Kind:
        of_kind = [each for each in acts if each.kind is kind]
        for each in of_kind[:SHOWN_MAX]:
            console.print(f"{kind.value}: {each.id}{f' {each.intent_id}' if each.intent_id else ''}", markup=False)
        if len(of_kind) > SHOWN_MAX:
            console.print(f"{kind.value}: {len(of_kind) - SHOWN_MAX} more")


def _counted(numbers: Counter[str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in numbers.most_common())
