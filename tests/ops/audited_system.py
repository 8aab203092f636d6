"""Bookings in both databases and at Stripe that are right until a test changes them: what the audit compares."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from aiohttp import ClientSession

from ops.audit.databases import open_databases
from ops.audit.ledger import open_ledger
from ops.audit.runner import Audit, AuditResult
from ops.audit.sources import Sources

KEY = "sk_test_audited"
AMOUNT = 500


@dataclass
class AuditedSystem:
    """Both databases and the sandbox; one event with one ticket type."""

    booking: asyncpg.Connection
    payment: asyncpg.Connection
    session: ClientSession
    sources: Sources
    event_id: UUID = field(default_factory=uuid4)
    type_id: UUID = field(default_factory=uuid4)

    async def add_event(self, capacity: int = 100) -> None:
        await self.booking.execute(
            "INSERT INTO events (id, name, starts_at, currency, on_sale, max_per_booking, content_hash, created_at)"
            " VALUES ($1, 'evening', now(), 'eur', true, 8, '', now())",
            self.event_id,
        )
        await self.booking.execute(
            "INSERT INTO ticket_types (id, event_id, position, name, unit_amount, capacity)"
            " VALUES ($1, $2, 0, 'row', $3, $4)",
            *(self.type_id, self.event_id, AMOUNT, capacity),
        )

    async def add_paid_booking(self, *, age: timedelta = timedelta()) -> UUID:
        """Make a confirmed booking of one seat, paid at Stripe; returns its id."""
        id = uuid4()
        intent = await self.add_intent(id)
        await self.call("POST", f"/v1/payment_intents/{intent['id']}/confirm", payment_method="pm_card_visa")
        created_at = datetime.now(UTC) - age
        items = [{"ticket_type_id": str(self.type_id), "quantity": 1, "unit_amount": AMOUNT}]
        await self.booking.execute(
            "INSERT INTO bookings (id, owner, event_id, items, amount, currency, status, payment, intent_id,"
            " payment_version, amount_captured, version, created_at, updated_at)"
            " VALUES ($1, 'somebody', $2, $3, $4, 'eur', 'confirmed', 'paid', $5, 2, $4, 2, $6, $6)",
            *(id, self.event_id, json.dumps(items), AMOUNT, intent["id"], created_at),
        )
        await self.booking.executemany(
            "INSERT INTO booking_transitions (booking_id, version, from_status, to_status, payment_status,"
            " cause_type, cause_id, at) VALUES ($1, $2, $3, $4, '', '', '', now())",
            [(id, 1, None, "pending"), (id, 2, "pending", "confirmed")],
        )
        await self.booking.execute("UPDATE ticket_types SET sold = sold + 1 WHERE id = $1", self.type_id)
        await self.payment.execute(
            "INSERT INTO payments (booking_id, event_id, amount, currency, status, intent_id, amount_captured,"
            " asked_at, version, reported_version, created_at, updated_at)"
            " VALUES ($1, $2, $3, 'eur', 'succeeded', $4, $3, $5, 2, 2, $5, $5)",
            *(id, self.event_id, AMOUNT, intent["id"], created_at),
        )
        return id

    async def add_check_in(self, booking_id: UUID, *, number: int = 1, booking_version: int = 2) -> None:
        """Somebody was let in by a ticket of the booking, as it was with this version."""
        await self.booking.execute(
            "INSERT INTO check_ins (id, ticket_id, booking_id, event_id, ticket_type_id, number, booking_version,"
            " at, recorded_at, by) VALUES ($1, $2, $3, $4, $5, $6, $7, now(), now(), 'box-office')",
            *(uuid4(), uuid4(), booking_id, self.event_id, self.type_id, number, booking_version),
        )

    async def add_intent(self, booking_id: UUID | None, amount: int = AMOUNT) -> dict[str, Any]:
        """Make an intent at Stripe; without a booking it is another system's."""
        named = {} if booking_id is None else {"metadata[booking_id]": str(booking_id)}
        more = {"currency": "eur", "allowed_payment_method_types[]": "card"}
        return await self.call("POST", "/v1/payment_intents", amount=str(amount), **more, **named)

    async def intent_of(self, booking_id: UUID) -> str:
        id: str = await self.payment.fetchval("SELECT intent_id FROM payments WHERE booking_id = $1", booking_id)
        return id

    async def add_refund(
        self, booking_id: UUID, amount: int = AMOUNT, refund_id: UUID | None = None
    ) -> dict[str, Any]:
        """Make a refund at Stripe of which payment gets no report."""
        named = {} if refund_id is None else {"metadata[refund_id]": str(refund_id)}
        intent_id = await self.intent_of(booking_id)
        return await self.call("POST", "/v1/refunds", payment_intent=intent_id, amount=str(amount), **named)

    async def call(self, method: str, path: str, **form: str) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {KEY}"}
        async with self.session.request(
            method, f"{self.sources.stripe_base}{path}", data=form, headers=headers
        ) as answer:
            body: dict[str, Any] = await answer.json()
            assert answer.status == 200, body
            return body

    async def change(self, table: str, booking_id: UUID, assignment: str) -> None:
        """Change a row of `bookings` or `payments`."""
        connection, key = (self.booking, "id") if table == "bookings" else (self.payment, "booking_id")
        await connection.execute(f"UPDATE {table} SET {assignment} WHERE {key} = $1", booking_id)

    async def audit(
        self,
        *,
        since: datetime | None = None,
        wait_seconds: float = 0,
        wait: Callable[[float], Awaitable[None]] | None = None,
    ) -> AuditResult:
        async def no_wait(_: float) -> None:
            return None

        async with (
            open_databases(self.sources.booking_url, self.sources.payment_url) as databases,
            open_ledger(self.sources.stripe_key, self.sources.stripe_base) as ledger,
        ):
            return await Audit(
                databases, ledger, since=since, wait_seconds=wait_seconds, wait=wait or no_wait
            ).run()


def mismatched(result: AuditResult) -> list[tuple[str, str]]:
    """(rule, booking or ticket type) of each mismatch."""
    return [(finding.rule, finding.id) for finding in result.mismatches]
