"""The SQL of outgoing webhooks: endpoints, and the deliveries to them.

A statement that writes both locks deliveries first, and then endpoints in the order of their ids. What is claimed
is known by its number of attempts: an outcome counts for the attempt that it is of, and for no later one.
"""

# Statements are put together from the column names below and never from data.

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Self
from uuid import UUID

import asyncpg
import orjson
from pydantic import TypeAdapter

from booking.booking_rows import Position
from booking.revocation_rows import END
from booking.webhooks import ChangedEvent, Owed, Secret
from common.contracts import webhooks as shown
from common.contracts.messages import ListWebhookDeliveries
from common.postgres.sql import as_json, columns, count_of, old_deleted, recordset

SECRETS = TypeAdapter(tuple[Secret, ...])


class Endpoint(NamedTuple):
    """A row of `webhook_endpoints`."""

    id: UUID
    url: str
    description: str | None
    types: tuple[str, ...] | None
    secrets: tuple[Secret, ...]
    disabled_at: datetime | None
    disabled_reason: str | None
    failing_since: datetime | None
    version: int
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None = None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        values = dict(row)
        values["types"] = None if values["types"] is None else tuple(orjson.loads(values["types"]))
        values["secrets"] = SECRETS.validate_json(values["secrets"])
        return cls(**values)

    def shown(self) -> shown.WebhookEndpoint:
        """Without the secrets themselves."""
        values = {name: value for name, value in self._asdict().items() if name not in ("secrets", "deleted_at")}
        known = tuple(shown.WebhookSecret(made_at=each.made_at, ends_at=each.ends_at) for each in self.secrets)
        return shown.WebhookEndpoint(secrets=known, **values)


class Claimed(NamedTuple):
    """A delivery that this process sends now, with what is needed of its endpoint."""

    id: UUID
    endpoint_id: UUID
    message_id: UUID
    type: str
    resource_id: UUID
    version: int
    happened_at: datetime
    give_up_at: datetime
    attempts: int
    url: str
    secrets: tuple[Secret, ...]
    failing_since: datetime | None


class Finished(NamedTuple):
    """What became of an attempt: `due_at` is when the next one is, if there is one. `well`: whether its endpoint
    has answered well; None says nothing of the endpoint. `disabled`: why the endpoint is disabled from now on."""

    id: UUID
    attempts: int
    status: str
    due_at: datetime | None
    well: bool | None
    disabled: str | None
    response_status: int | None
    response: str | None
    error: str | None


class Load(NamedTuple):
    """How many endpoints are in each state, and since when the oldest delivery is due."""

    endpoints: Mapping[str, int]
    oldest_due: datetime | None


ENDPOINT_COLUMNS = columns(Endpoint)
ENDPOINT = ", ".join(ENDPOINT_COLUMNS)
CHANGED = tuple(name for name in ENDPOINT_COLUMNS if name not in ("id", "created_at"))
# One at a time, so that a request under the same key as another finds its answer. Readers do not wait.
LOCK = "LOCK TABLE webhook_endpoints IN SHARE ROW EXCLUSIVE MODE"
INSERT = f"""
INSERT INTO webhook_endpoints ({ENDPOINT}) SELECT {ENDPOINT} FROM {recordset("new", ENDPOINT_COLUMNS)}
ON CONFLICT (id) DO NOTHING
"""
SAVE = f"""
UPDATE webhook_endpoints e SET {", ".join(f"{name} = new.{name}" for name in CHANGED)}
FROM {recordset("new", ENDPOINT_COLUMNS, sought="id")} WHERE e.id = new.id
"""
FIND = f"SELECT {ENDPOINT} FROM webhook_endpoints WHERE id = $1 AND deleted_at IS NULL"
LIST = f"SELECT {ENDPOINT} FROM webhook_endpoints WHERE deleted_at IS NULL ORDER BY created_at, id"
ENABLED = "e.disabled_at IS NULL AND e.deleted_at IS NULL"
ANY_ENABLED = f"SELECT EXISTS (SELECT FROM webhook_endpoints e WHERE {ENABLED})"
# Once for each change and endpoint, however often it is made. An endpoint gets what happens from its making on.
ADD = f"""
INSERT INTO webhook_deliveries
    (endpoint_id, message_id, type, resource_id, version, happened_at, made_at, due_at, give_up_at)
SELECT e.id, new.message_id, new.type, new.resource_id, new.version, new.happened_at, $2, $2, $3
FROM {recordset("new", columns(Owed))} JOIN webhook_endpoints e ON {ENABLED} AND e.created_at <= new.happened_at
    AND (e.types IS NULL OR e.types ? new.type)
ON CONFLICT (endpoint_id, message_id) DO NOTHING
"""
BUSY = {"endpoint_id": "uuid", "sends": "int"}
# The enabled endpoints to which fewer than $2 requests are under way here.
FREE = f"""
FROM webhook_endpoints e LEFT JOIN {recordset("busy", BUSY)} ON busy.endpoint_id = e.id
CROSS JOIN LATERAL ({{}}) d WHERE {ENABLED} AND coalesce(busy.sends, 0) < $2
"""
DUE_OF_ONE = """
SELECT id, due_at FROM webhook_deliveries WHERE endpoint_id = e.id AND due_at {} ORDER BY due_at LIMIT {}
"""
NEXT_DUE = f"SELECT min(d.due_at) {FREE.format(DUE_OF_ONE.format('IS NOT NULL', 1))}"
DELIVERY_COLUMNS = ", ".join(f"d.{name}" for name in Claimed._fields[: Claimed._fields.index("url")])
CLAIMED_OF_ONE = f"""
{DUE_OF_ONE.format("<= $3", "$2 - coalesce(busy.sends, 0)")} FOR NO KEY UPDATE SKIP LOCKED
"""
# $3: now; $4: when others may claim them, if this process ends before it has saved what became of them.
CLAIM = f"""
WITH claimed AS MATERIALIZED (
    SELECT d.id, e.url, e.secrets, e.failing_since {FREE.format(CLAIMED_OF_ONE)}
)
UPDATE webhook_deliveries d SET due_at = $4, attempts = d.attempts + 1, last_attempt_at = $3
FROM claimed c WHERE d.id = c.id
RETURNING {DELIVERY_COLUMNS}, c.url, c.secrets, c.failing_since
"""
# $3: operators get a mail about an endpoint that is disabled because it has failed for days.
FINISH = f"""
WITH saved AS (
    UPDATE webhook_deliveries d SET status = new.status, due_at = new.due_at,
        finished_at = CASE WHEN new.due_at IS NULL THEN $2::timestamptz END,
        response_status = new.response_status, response = new.response, error = new.error
    FROM {recordset("new", columns(Finished), sought="id")}
    WHERE d.id = new.id AND d.attempts = new.attempts AND d.status = 'pending'
    RETURNING d.endpoint_id, new.well, new.disabled
), of_each AS (
    SELECT endpoint_id AS id, bool_or(well) AS well, max(disabled) AS disabled FROM saved GROUP BY endpoint_id
), locked AS (
    SELECT e.id, o.well, CASE WHEN e.disabled_at IS NULL THEN o.disabled END AS disabled
    FROM webhook_endpoints e JOIN of_each o ON o.id = e.id
    WHERE (e.failing_since IS NULL) <> o.well OR (o.disabled IS NOT NULL AND e.disabled_at IS NULL)
    ORDER BY e.id FOR NO KEY UPDATE OF e
), changed AS (
    UPDATE webhook_endpoints e SET
        failing_since = CASE WHEN NOT l.well THEN coalesce(e.failing_since, $2) END,
        disabled_at = CASE WHEN l.disabled IS NULL THEN e.disabled_at ELSE $2 END,
        disabled_reason = coalesce(l.disabled, e.disabled_reason),
        version = e.version + (l.disabled IS NOT NULL)::int,
        updated_at = CASE WHEN l.disabled IS NULL THEN e.updated_at ELSE $2 END
    FROM locked l WHERE e.id = l.id RETURNING e.id, e.version, l.disabled
), mailed AS (
    INSERT INTO mails (id, endpoint_id, kind, status, version, made_at, send_after)
    SELECT gen_random_uuid(), id, 'attention', 'owed', version, $2, $2 FROM changed
    WHERE disabled = 'failing' AND $3
)
SELECT id, disabled FROM changed
"""
SHOWN = ", ".join(
    "due_at AS next_attempt_at" if name == "next_attempt_at" else name
    for name in shown.WebhookDelivery.model_fields
)
FIND_DELIVERY = f"SELECT {SHOWN} FROM webhook_deliveries WHERE id = $1"
PAGE = f"""
SELECT {SHOWN} FROM webhook_deliveries
WHERE endpoint_id = $1 AND (made_at, id) < ($2, $3::uuid) AND ($4::varchar IS NULL OR status = $4)
ORDER BY made_at DESC, id DESC LIMIT $5
"""
AGAIN = """status = 'pending', due_at = $2, give_up_at = $3, finished_at = NULL, attempts = 0"""
REPEAT = f"UPDATE webhook_deliveries SET {AGAIN} WHERE id = $1"
REPEAT_FAILED = f"""
WITH again AS MATERIALIZED (
    SELECT id FROM webhook_deliveries WHERE endpoint_id = $1 AND status = 'failed' AND made_at >= $4
    ORDER BY made_at LIMIT $5 FOR NO KEY UPDATE
)
UPDATE webhook_deliveries d SET {AGAIN} FROM again WHERE d.id = again.id
"""
# What waited while its endpoint was disabled.
RESUME = f"UPDATE webhook_deliveries SET {AGAIN} WHERE endpoint_id = $1 AND due_at IS NOT NULL"
FORGET = old_deleted("webhook_deliveries", "id", "finished_at")
FORGET_DELIVERIES = """
WITH gone AS MATERIALIZED (
    SELECT d.id FROM webhook_endpoints e CROSS JOIN LATERAL (
        SELECT id FROM webhook_deliveries WHERE endpoint_id = e.id ORDER BY made_at LIMIT $1
    ) d WHERE e.deleted_at IS NOT NULL LIMIT $1
)
DELETE FROM webhook_deliveries d USING gone WHERE d.id = gone.id
"""
# No statement that was running when the endpoint was deleted is running any more.
FORGET_ENDPOINTS = """
DELETE FROM webhook_endpoints e WHERE deleted_at < $1
    AND NOT EXISTS (SELECT FROM webhook_deliveries d WHERE d.endpoint_id = e.id)
"""
COUNT = """
SELECT coalesce(disabled_reason, 'enabled') AS state, count(*) FROM webhook_endpoints WHERE deleted_at IS NULL
GROUP BY 1
"""
TO_ANNOUNCE = f"""
SELECT {", ".join(ChangedEvent._fields)} FROM event_changes WHERE to_announce
ORDER BY id LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED
"""
FIRST_TO_ANNOUNCE = "SELECT at FROM event_changes WHERE to_announce ORDER BY id LIMIT 1"
ANNOUNCED = "UPDATE event_changes SET to_announce = NULL WHERE id = ANY($1::bigint[])"


class WebhookRows:
    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    # --- endpoints

    async def lock(self) -> None:
        """Until the transaction ends no other one changes endpoints."""
        await self._connection.execute(LOCK)

    async def add(self, endpoint: Endpoint) -> bool:
        """Add `endpoint`; False if there is one with its id, also one that is deleted."""
        return count_of(await self._connection.execute(INSERT, as_json([endpoint]))) == 1

    async def save(self, endpoint: Endpoint) -> None:
        """Write all of it. The endpoints must be locked."""
        await self._connection.execute(SAVE, as_json([endpoint]))

    async def find(self, id: UUID) -> Endpoint | None:
        row = await self._connection.fetchrow(FIND, id)
        return None if row is None else Endpoint.of(row)

    async def endpoints(self) -> list[Endpoint]:
        """All of them, oldest first."""
        return [Endpoint.of(row) for row in await self._connection.fetch(LIST)]

    # --- deliveries, for operators

    async def delivery(self, id: UUID) -> shown.WebhookDelivery | None:
        row = await self._connection.fetchrow(FIND_DELIVERY, id)
        return None if row is None else shown.WebhookDelivery(**row)

    async def page(self, wanted: ListWebhookDeliveries) -> list[shown.WebhookDelivery]:
        """A page of an endpoint's deliveries, newest first, and one more if others follow."""
        before: Position = wanted.before or END
        rows = await self._connection.fetch(PAGE, wanted.endpoint_id, *before, wanted.status, wanted.limit + 1)
        return [shown.WebhookDelivery(**row) for row in rows]

    async def repeat(self, id: UUID, now: datetime, give_up_at: datetime) -> None:
        """Send it again: an attempt under way does not count any more."""
        await self._connection.execute(REPEAT, id, now, give_up_at)

    async def repeat_failed(
        self, endpoint_id: UUID, since: datetime, now: datetime, give_up_at: datetime, limit: int
    ) -> int:
        """Send again those that have failed and were made since then, oldest first; returns how many."""
        return count_of(await self._connection.execute(REPEAT_FAILED, endpoint_id, now, give_up_at, since, limit))

    async def resume(self, endpoint_id: UUID, now: datetime, give_up_at: datetime) -> None:
        """Send what has waited while the endpoint was disabled."""
        await self._connection.execute(RESUME, endpoint_id, now, give_up_at)

    # --- deliveries, made and sent

    async def any_enabled(self) -> bool:
        """Whether an endpoint may want a delivery."""
        found: bool = await self._connection.fetchval(ANY_ENABLED)
        return found

    async def owe(self, changes: Sequence[Owed], now: datetime, give_up_at: datetime) -> int:
        """Make a delivery for each of these and each endpoint that wants it, unless there is one; returns how many
        were made."""
        return count_of(await self._connection.execute(ADD, as_json(changes), now, give_up_at))

    async def next_due(self, busy: Mapping[UUID, int], concurrency: int) -> datetime | None:
        """When the next delivery is due to an endpoint to which fewer than `concurrency` requests are under way."""
        due: datetime | None = await self._connection.fetchval(NEXT_DUE, _busy(busy), concurrency)
        return due

    async def claim(
        self, busy: Mapping[UUID, int], concurrency: int, now: datetime, until: datetime
    ) -> list[Claimed]:
        """Those that are due, and that this process sends now, in the order in which they happened: at most
        `concurrency` to each endpoint, with those under way. Other processes may claim them after `until`."""
        rows = await self._connection.fetch(CLAIM, _busy(busy), concurrency, now, until)
        claimed = (Claimed(**dict(row) | {"secrets": SECRETS.validate_json(row["secrets"])}) for row in rows)
        return sorted(claimed, key=lambda each: (each.happened_at, each.message_id))

    async def finish(
        self, finished: Sequence[Finished], now: datetime, *, mail: bool = False
    ) -> list[tuple[UUID, str]]:
        """Write what became of these attempts; returns the endpoints that are disabled by it, with the reason.
        `mail`: operators get one about those that have failed for days."""
        rows = await self._connection.fetch(FINISH, as_json(finished), now, mail)
        return [(row["id"], row["disabled"]) for row in rows if row["disabled"]]

    async def forget(self, before: datetime, deleted_before: datetime, limit: int) -> int:
        """Delete deliveries that were finished before this or have a deleted endpoint, at most `limit` of each, and
        such endpoints without any. Returns how many rows of one kind were deleted at most."""
        finished = count_of(await self._connection.execute(FORGET, before, limit))
        gone = count_of(await self._connection.execute(FORGET_DELIVERIES, limit))
        await self._connection.execute(FORGET_ENDPOINTS, deleted_before)
        return max(finished, gone)

    async def load(self) -> Load:
        states = {row["state"]: row["count"] for row in await self._connection.fetch(COUNT)}
        return Load(states, await self.next_due({}, 1))

    # --- changes of events

    async def first_event_change(self) -> datetime | None:
        """When the first change of an event happened that is still to be announced."""
        at: datetime | None = await self._connection.fetchval(FIRST_TO_ANNOUNCE)
        return at

    async def event_changes(self, limit: int) -> list[ChangedEvent]:
        """Changes of events that are still to be announced, in order, locked, without those that others have."""
        return [ChangedEvent(*row) for row in await self._connection.fetch(TO_ANNOUNCE, limit)]

    async def announced(self, ids: Collection[int]) -> None:
        await self._connection.execute(ANNOUNCED, ids)


def _busy(busy: Mapping[UUID, int]) -> str:
    return as_json([{"endpoint_id": id, "sends": sends} for id, sends in busy.items()])
