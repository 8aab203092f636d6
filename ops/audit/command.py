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
from ops.audit.mailboxes import read_mailboxes
from ops.audit.runner import Audit, AuditResult
from ops.audit.sources import Sources, find_sources


async def run(
    data_dir: Path, environment: Mapping[str, str], since: datetime | None, wait_seconds: float, *, as_json: bool
) -> int:
    """Print what an audit finds; returns the exit code. Raises SourceUnavailable."""
    quiet()
    sources = find_sources(data_dir, environment)
    result = await examine(sources, since, wait_seconds)
    mailboxes = await read_mailboxes(sources.redis_url) if sources.redis_url else None
    console = Console()
    if as_json:
        print(report.as_json(result, mailboxes))
    elif console.is_terminal:
        report.show(console, result, mailboxes)
    else:
        for line in report.lines(result, mailboxes):
            print(line)
    return report.exit_code(result)


def quiet() -> None:
    """Log nothing: lines on calls to Stripe are for payment's log, and a failure is printed once, as the error."""
    structlog.configure(processors=[_drop], wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def _drop(*_: object) -> NoReturn:
    raise structlog.DropEvent


async def examine(sources: Sources, since: datetime | None = None, wait_seconds: float = 30.0) -> AuditResult:
    """One audit. Raises SourceUnavailable when a database or Stripe does not answer."""
    async with (
        open_databases(sources.booking_url, sources.payment_url) as databases,
        open_ledger(sources.stripe_key, sources.stripe_base) as ledger,
    ):
        clock = await databases.clock()
        return await Audit(databases, ledger, since=since, wait_seconds=wait_seconds, clock=clock).run()
