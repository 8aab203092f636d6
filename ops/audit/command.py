"""`holdfast audit`: find the databases and Stripe, compare them, print the findings."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import NoReturn

import structlog
from rich.console import Console

from ops.audit import report
from ops.audit.databases import open_databases
from ops.audit.ledger import open_ledger
from ops.audit.look import Audit, Outcome
from ops.audit.mailboxes import read_mailboxes
from ops.audit.places import Places, find_places


async def run(
    data_dir: Path, environment: Mapping[str, str], since: datetime | None, settle_s: float, *, as_json: bool
) -> int:
    """Print what an audit finds; returns the exit code. Raises CannotLook when a database or Stripe is away."""
    quiet()
    places = find_places(data_dir, environment)
    outcome = await examine(places, since, settle_s)
    mailboxes = await read_mailboxes(places.redis_url) if places.redis_url else None
    console = Console()
    if as_json:
        print(report.as_json(outcome, mailboxes))
    elif console.is_terminal:
        report.show(console, outcome, mailboxes)
    else:
        for line in report.lines(outcome, mailboxes):
            print(line)
    return report.exit_code(outcome)


def quiet() -> None:
    """Log nothing: lines on calls to Stripe are for payment's log, and a failure is printed once, as the error."""
    structlog.configure(processors=[_drop], wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def _drop(*_: object) -> NoReturn:
    raise structlog.DropEvent


async def examine(places: Places, since: datetime | None = None, settle_s: float = 30.0) -> Outcome:
    """One audit. Raises CannotLook when a database or Stripe is away."""
    async with (
        open_databases(places.booking_url, places.payment_url) as databases,
        open_ledger(places.stripe_key, places.stripe_base) as ledger,
    ):
        clock = await databases.clock()
        return await Audit(databases, ledger, since=since, settle_s=settle_s, clock=clock).run()
