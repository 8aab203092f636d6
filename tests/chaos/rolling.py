"""Gateways replace one another under the load of clients that retry nothing: each request gets an answer."""

from __future__ import annotations

import asyncio
from itertools import cycle

from tests.chaos.faults import replace
from tests.chaos.harness import Harness
from tests.common.clients import Clients

KEPT, NEW = 12, 4
# Seconds between two requests on a kept connection: from none to longer than a gateway drains (DRAIN_SECONDS).
PAUSES_S = (0.0, 0.5, 2.0, 10.0)


async def roll(harness: Harness, requests: int) -> int:
    """Replace gateways until `requests` are answered. Returns how many were answered."""
    # Directly, not over the wire, which may be cut.
    clients = Clients(harness.holdfast.stack.gateway_url, "/docs")
    names = cycle([name for name in harness.holdfast.stack.processes if name.startswith("gateway-")])
    async with asyncio.TaskGroup() as load:
        for number in range(KEPT):
            load.create_task(clients.kept(PAUSES_S[number % len(PAUSES_S)]))
        for _ in range(NEW):
            load.create_task(clients.new())
        while clients.answers.total() < requests:
            await replace(harness, next(names))
        clients.over.set()
    for reason in clients.unanswered:
        harness.judge.breaks("a rolling restart leaves no request without an answer", reason)
    for status in clients.answers.keys() - {200}:
        # A gateway that drains ends an idle connection with 408.
        if status != 408:
            harness.judge.breaks("a rolling restart fails no request", f"{clients.answers[status]} were {status}")
    return clients.answers.total()
