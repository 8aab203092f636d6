"""Who receives webhooks: refuses some, loses the answers to others, and must get each change once, by its id."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from booking.webhooks import Attempt, Outcome, Secret, new_secret, signed
from common.postgres.sql import as_json
from tests.simulation.clockwork import EPOCH
from tests.simulation.gates import Gates
from tests.simulation.story import Story

PROMISE = "6 webhooks are not lost"
SECRET: Secret = new_secret(bytes(32), EPOCH)
REFUSED, ANSWER_LOST = 0.15, 0.1
# Longer than any schedule: no delivery is given up, and no endpoint disabled.
RETRIED_FOR = timedelta(days=3650)
# Before the first schedule's first moment, and whatever Postgres' clock is off.
MADE_AT = EPOCH - timedelta(days=1)
ADD_ENDPOINT = """
INSERT INTO webhook_endpoints (id, url, secrets, created_at, updated_at) VALUES ($1, $2, $3, $4, $4)
"""
# What a receiver must learn: a booking that has begun or ended to be sold, money that went back, and each change of
# an event.
EXPECTED = """
SELECT 'booking.' || to_status, booking_id, version FROM booking_transitions
WHERE to_status <> 'pending' AND from_status IS DISTINCT FROM to_status
    AND NOT (from_status IS NULL AND to_status = 'failed')
UNION ALL SELECT 'booking.refunded', booking_id, version FROM (
    SELECT booking_id, version, to_status, coalesce(amount_refunded, 0) AS refunded,
        lag(coalesce(amount_refunded, 0), 1, 0) OVER (PARTITION BY booking_id ORDER BY version) AS before
    FROM booking_transitions
) t WHERE refunded > before AND to_status <> 'pending'
UNION ALL SELECT 'event.' || what, event_id, version FROM event_changes
"""


class Receivers:
    """One endpoint, which gets all."""

    def __init__(self, seed: int, gates: Gates, story: Story) -> None:
        self._chance = random.Random(f"receivers {seed}")
        self._gates = gates
        self._story = story
        # By type, booking or event, and version: under which ids it was received.
        self._received: dict[tuple[str, UUID, int], set[str]] = defaultdict(set)

    async def set_up(self, connection: asyncpg.Connection) -> None:
        id, url = UUID(int=1), "https://receiver.simulation/"
        await connection.execute(ADD_ENDPOINT, id, url, as_json([SECRET]), MADE_AT)

    async def post(self, _: str, body: bytes, headers: dict[str, str]) -> Attempt:
        drawn = 1.0 if self._gates.quiet else self._chance.random()
        if drawn < REFUSED:
            return Attempt(Outcome.REFUSED, 503, error="as it wants")
        self._receive(body, headers)
        if drawn < REFUSED + ANSWER_LOST:
            return Attempt(Outcome.TIMEOUT, error="the answer is lost")
        return Attempt(Outcome.DELIVERED, 204)

    def _receive(self, body: bytes, headers: dict[str, str]) -> None:
        message, id = orjson.loads(body), headers["webhook-id"]
        data: dict[str, Any] = message["data"]
        self._received[message["type"], UUID(data["id"]), message["version"]].add(id)
        self._story.note(f"{message['type']} of {data['id']} v{message['version']}", "receiver")
        if data.get("terms_version", data["version"]) < message["version"]:
            self._violate(f"{id} shows an older {data['id']}")
        if data.get("payment", {}).get("client_secret") is not None:
            self._violate(f"{id} has the client secret")
        at = EPOCH + timedelta(seconds=int(headers["webhook-timestamp"]) - int(EPOCH.timestamp()))
        if signed(UUID(id), body, [SECRET], at) != headers:
            self._violate(f"{id} is not signed")

    async def check(self, connection: asyncpg.Connection) -> None:
        """Each change was received, and under one id however often."""
        for type, id, version in await connection.fetch(EXPECTED):
            if (type, id, version) not in self._received:
                self._violate(f"{type} of {id} v{version} was not received")
        for (type, id, version), ids in self._received.items():
            if len(ids) > 1:
                self._violate(f"{type} of {id} v{version} was received under {len(ids)} ids")

    def _violate(self, text: str) -> None:
        self._story.violate(PROMISE, text)
