"""What operators do: the token needs the scope that the OpenAPI document names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast_client.rest import Listing, Request
from holdfast_client.types import (
    AdminListBookingsQuery,
    AdminListEventsQuery,
    Booking,
    Event,
    EventChange,
    EventPatch,
    NewEvent,
    NewRefund,
    NewRevocation,
    OperatorsEvent,
    PageQuery,
    RefundRetry,
    Revocation,
)

if TYPE_CHECKING:
    from holdfast_client.client import Holdfast


class Admin:
    def __init__(self, holdfast: Holdfast) -> None:
        self._holdfast = holdfast

    def events(self, query: AdminListEventsQuery | None = None) -> Listing[OperatorsEvent]:
        return self._holdfast.list(Request("GET /admin/events", query=query))

    async def event(self, id: str) -> OperatorsEvent:
        event: OperatorsEvent = await self._holdfast.request(Request("GET /admin/events/{id}", {"id": id}))
        return event

    def event_history(self, id: str, query: PageQuery | None = None) -> Listing[EventChange]:
        return self._holdfast.list(Request("GET /admin/events/{id}/history", {"id": id}, query))

    async def create_event(self, event: NewEvent, *, key: str | None = None) -> Event:
        made: Event = await self._holdfast.keyed(Request("POST /admin/events", body=event, key=key))
        return made

    async def update_event(
        self, id: str, changes: EventPatch, *, key: str | None = None, if_match: int | str | None = None
    ) -> Event:
        event: Event = await self._holdfast.keyed(
            Request("PATCH /admin/events/{id}", {"id": id}, body=changes, key=key, if_match=if_match)
        )
        return event

    async def cancel_event(self, id: str, *, key: str | None = None, if_match: int | str | None = None) -> Event:
        event: Event = await self._holdfast.keyed(
            Request("POST /admin/events/{id}/cancel", {"id": id}, key=key, if_match=if_match)
        )
        return event

    async def retry_refunds(
        self, id: str, *, key: str | None = None, if_match: int | str | None = None
    ) -> RefundRetry:
        """Tries all failed refunds of an event again."""
        retry: RefundRetry = await self._holdfast.keyed(
            Request("POST /admin/events/{id}/refunds/retry", {"id": id}, key=key, if_match=if_match)
        )
        return retry

    def bookings(self, query: AdminListBookingsQuery | None = None) -> Listing[Booking]:
        """The bookings of all owners."""
        return self._holdfast.list(Request("GET /admin/bookings", query=query))

    async def refund(
        self,
        id: str,
        refund: NewRefund | None = None,
        *,
        key: str | None = None,
        if_match: int | str | None = None,
    ) -> Booking:
        """Gives back an amount, or all that is left."""
        booking: Booking = await self._holdfast.keyed(
            Request("POST /admin/bookings/{id}/refund", {"id": id}, body=refund or {}, key=key, if_match=if_match)
        )
        return booking

    async def revoke_tokens(self, tokens: NewRevocation, *, key: str | None = None) -> Revocation:
        revocation: Revocation = await self._holdfast.keyed(
            Request("POST /admin/tokens/revoke", body=tokens, key=key)
        )
        return revocation

    def revoked_tokens(self, query: PageQuery | None = None) -> Listing[Revocation]:
        return self._holdfast.list(Request("GET /admin/tokens/revoked", query=query))
