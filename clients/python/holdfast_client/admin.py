"""What operators do: the token needs the scope that the OpenAPI document names."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

from holdfast_client.rest import Listing, Request
from holdfast_client.types import (
    AdminListBookingsQuery,
    AdminListEventsQuery,
    Attention,
    Booking,
    CheckIn,
    CheckInResults,
    DescriptionPreview,
    Door,
    Erasure,
    Event,
    EventChange,
    EventPatch,
    ExportBookingsQuery,
    ExportMoneyQuery,
    ExportSeatsQuery,
    GetDoorQuery,
    ListPromoCodesQuery,
    ListWebhookDeliveriesQuery,
    Mail,
    NewCheckIn,
    NewCheckIns,
    NewErasure,
    NewEvent,
    NewMail,
    NewPromoCodes,
    NewRefund,
    NewRepetition,
    NewRevocation,
    NewSale,
    NewWebhookEndpoint,
    NewWebhookSecret,
    OperatorsEvent,
    OperatorsEventDetails,
    OperatorsWaitingEntry,
    PageQuery,
    PromoCode,
    PromoCodePatch,
    PromoCodes,
    RefundRetry,
    Repeated,
    Revocation,
    SecretWebhookEndpoint,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEndpointPatch,
)

if TYPE_CHECKING:
    from holdfast_client.client import Holdfast


class Admin:
    def __init__(self, holdfast: Holdfast) -> None:
        self._holdfast = holdfast

    async def attention(self) -> Attention:
        """What needs a person now, by its kind."""
        attention: Attention = await self._holdfast.request(Request("GET /admin/attention"))
        return attention

    def events(self, query: AdminListEventsQuery | None = None) -> Listing[OperatorsEvent]:
        return self._holdfast.list(Request("GET /admin/events", query=query))

    async def event(self, id: str) -> OperatorsEventDetails:
        event: OperatorsEventDetails = await self._holdfast.request(Request("GET /admin/events/{id}", {"id": id}))
        return event

    def event_history(self, id: str, query: PageQuery | None = None) -> Listing[EventChange]:
        return self._holdfast.list(Request("GET /admin/events/{id}/history", {"id": id}, query))

    def waiting_list(self, id: str, query: PageQuery | None = None) -> Listing[OperatorsWaitingEntry]:
        """Who waits, in the order of the line."""
        return self._holdfast.list(Request("GET /admin/events/{id}/waiting-list", {"id": id}, query))

    async def create_event(self, event: NewEvent, *, key: str | None = None) -> Event:
        made: Event = await self._holdfast.keyed(Request("POST /admin/events", body=event, key=key))
        return made

    async def preview_description(self, description: str) -> DescriptionPreview:
        """A description as customers will see it; nothing changes."""
        preview: DescriptionPreview = await self._holdfast.request(
            Request("POST /admin/events/preview-description", body={"description": description})
        )
        return preview

    async def update_event(
        self, id: str, changes: EventPatch, *, key: str | None = None, if_match: int | str | None = None
    ) -> Event:
        event: Event = await self._holdfast.keyed(
            Request("PATCH /admin/events/{id}", {"id": id}, body=changes, key=key, if_match=if_match)
        )
        return event

    async def event_image(self, id: str) -> bytes:
        """The image of an event, also of a draft, a WebP."""
        image: bytes = await self._holdfast.request(Request("GET /admin/events/{id}/image", {"id": id}, raw=True))
        return image

    async def set_event_image(
        self, id: str, image: bytes, *, key: str | None = None, if_match: int | str | None = None
    ) -> Event:
        """Gives an event an image, in place of the one that it has: a PNG, JPEG or WebP."""
        request = Request("PUT /admin/events/{id}/image", {"id": id}, body=image, key=key, if_match=if_match)
        event: Event = await self._holdfast.keyed(replace(request, content_type="application/octet-stream"))
        return event

    async def delete_event_image(
        self, id: str, *, key: str | None = None, if_match: int | str | None = None
    ) -> Event:
        event: Event = await self._holdfast.keyed(
            Request("DELETE /admin/events/{id}/image", {"id": id}, key=key, if_match=if_match)
        )
        return event

    def promo_codes(self, event_id: str, query: ListPromoCodesQuery | None = None) -> Listing[PromoCode]:
        return self._holdfast.list(Request("GET /admin/events/{id}/codes", {"id": event_id}, query))

    async def create_promo_codes(
        self, event_id: str, codes: NewPromoCodes, *, key: str | None = None
    ) -> PromoCodes:
        """Makes a promo code for an event, or many with the same terms."""
        made: PromoCodes = await self._holdfast.keyed(
            Request("POST /admin/events/{id}/codes", {"id": event_id}, body=codes, key=key)
        )
        return made

    async def update_promo_code(
        self, event_id: str, code_id: str, changes: PromoCodePatch, *, key: str | None = None
    ) -> PromoCode:
        path = {"id": event_id, "code_id": code_id}
        code: PromoCode = await self._holdfast.keyed(
            Request("PATCH /admin/events/{id}/codes/{code_id}", path, body=changes, key=key)
        )
        return code

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

    async def sell(self, sale: NewSale, *, key: str | None = None) -> Booking:
        """Sells seats at the box office, or gives them away."""
        booking: Booking = await self._holdfast.keyed(Request("POST /admin/bookings", body=sale, key=key))
        return booking

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

    async def check_in(self, shown: NewCheckIn) -> CheckIn:
        """Lets somebody in by a ticket; every error lets nobody in."""
        body = {**shown, "id": shown.get("id") or str(uuid4())}
        check_in: CheckIn = await self._holdfast.request(Request("POST /admin/tickets/check-in", body=body))
        return check_in

    async def check_ins(self, shown: NewCheckIns) -> CheckInResults:
        """Sends what was checked offline."""
        results: CheckInResults = await self._holdfast.request(Request("POST /admin/tickets/check-ins", body=shown))
        return results

    async def undo_check_in(self, check_in_id: str) -> CheckIn:
        """The ticket lets somebody in again."""
        body = {"check_in_id": check_in_id}
        check_in: CheckIn = await self._holdfast.request(Request("POST /admin/tickets/undo", body=body))
        return check_in

    async def door(self, event_id: str, query: GetDoorQuery | None = None) -> Door:
        """What a scanner needs without a network, and what has changed since its mark."""
        door: Door = await self._holdfast.request(Request("GET /admin/events/{id}/door", {"id": event_id}, query))
        return door

    def mails(self, id: str) -> Listing[Mail]:
        """The mails about a booking, oldest first."""
        return self._holdfast.list(Request("GET /admin/bookings/{id}/mails", {"id": id}))

    async def resend_mail(self, id: str, mail: NewMail, *, key: str | None = None) -> Mail:
        """Sends a mail about a booking again."""
        owed: Mail = await self._holdfast.keyed(
            Request("POST /admin/bookings/{id}/mails", {"id": id}, body=mail, key=key)
        )
        return owed

    async def export_bookings(self, query: ExportBookingsQuery | None = None) -> bytes:
        """Bookings as a CSV file; `decode("utf-8-sig")` makes a text of it."""
        return await self._table(Request("GET /admin/exports/bookings.csv", query=query, raw=True))

    async def export_seats(self, query: ExportSeatsQuery | None = None) -> bytes:
        """Seats as a CSV file."""
        return await self._table(Request("GET /admin/exports/seats.csv", query=query, raw=True))

    async def export_money(self, query: ExportMoneyQuery | None = None) -> bytes:
        """Money as a CSV file."""
        return await self._table(Request("GET /admin/exports/money.csv", query=query, raw=True))

    async def _table(self, request: Request) -> bytes:
        table: bytes = await self._holdfast.request(request)
        return table

    async def erase_customers(self, customers: NewErasure, *, key: str | None = None) -> Erasure:
        """Erases a customer's name, addresses and telephone number in all bookings."""
        erasure: Erasure = await self._holdfast.keyed(
            Request("POST /admin/customers/erase", body=customers, key=key)
        )
        return erasure

    async def revoke_tokens(self, tokens: NewRevocation, *, key: str | None = None) -> Revocation:
        revocation: Revocation = await self._holdfast.keyed(
            Request("POST /admin/tokens/revoke", body=tokens, key=key)
        )
        return revocation

    def revoked_tokens(self, query: PageQuery | None = None) -> Listing[Revocation]:
        return self._holdfast.list(Request("GET /admin/tokens/revoked", query=query))

    def webhook_endpoints(self) -> Listing[WebhookEndpoint]:
        return self._holdfast.list(Request("GET /admin/webhook-endpoints"))

    async def webhook_endpoint(self, id: str) -> WebhookEndpoint:
        endpoint: WebhookEndpoint = await self._holdfast.request(
            Request("GET /admin/webhook-endpoints/{id}", {"id": id})
        )
        return endpoint

    async def create_webhook_endpoint(
        self, endpoint: NewWebhookEndpoint, *, key: str | None = None
    ) -> SecretWebhookEndpoint:
        """The answer alone has its secret."""
        made: SecretWebhookEndpoint = await self._holdfast.keyed(
            Request("POST /admin/webhook-endpoints", body=endpoint, key=key)
        )
        return made

    async def update_webhook_endpoint(
        self, id: str, changes: WebhookEndpointPatch, *, key: str | None = None, if_match: int | str | None = None
    ) -> WebhookEndpoint:
        endpoint: WebhookEndpoint = await self._holdfast.keyed(
            Request("PATCH /admin/webhook-endpoints/{id}", {"id": id}, body=changes, key=key, if_match=if_match)
        )
        return endpoint

    async def delete_webhook_endpoint(
        self, id: str, *, key: str | None = None, if_match: int | str | None = None
    ) -> WebhookEndpoint:
        """Deletes an endpoint, and what it is still to be sent."""
        endpoint: WebhookEndpoint = await self._holdfast.keyed(
            Request("DELETE /admin/webhook-endpoints/{id}", {"id": id}, key=key, if_match=if_match)
        )
        return endpoint

    async def rotate_webhook_secret(
        self,
        id: str,
        secret: NewWebhookSecret | None = None,
        *,
        key: str | None = None,
        if_match: int | str | None = None,
    ) -> SecretWebhookEndpoint:
        """Gives an endpoint another secret, which the answer alone has. Those before end after an overlap."""
        body = secret or {}
        request = Request(
            "POST /admin/webhook-endpoints/{id}/secrets", {"id": id}, body=body, key=key, if_match=if_match
        )
        endpoint: SecretWebhookEndpoint = await self._holdfast.keyed(request)
        return endpoint

    def webhook_deliveries(
        self, id: str, query: ListWebhookDeliveriesQuery | None = None
    ) -> Listing[WebhookDelivery]:
        """Newest first."""
        return self._holdfast.list(Request("GET /admin/webhook-endpoints/{id}/deliveries", {"id": id}, query))

    async def repeat_webhook_deliveries(
        self, id: str, repetition: NewRepetition, *, key: str | None = None
    ) -> Repeated:
        """Sends an endpoint again what has failed since a time."""
        repeated: Repeated = await self._holdfast.keyed(
            Request("POST /admin/webhook-endpoints/{id}/repeat", {"id": id}, body=repetition, key=key)
        )
        return repeated

    async def webhook_delivery(self, id: str) -> WebhookDelivery:
        delivery: WebhookDelivery = await self._holdfast.request(
            Request("GET /admin/webhook-deliveries/{id}", {"id": id})
        )
        return delivery

    async def repeat_webhook_delivery(self, id: str, *, key: str | None = None) -> WebhookDelivery:
        """Sends a delivery again."""
        delivery: WebhookDelivery = await self._holdfast.keyed(
            Request("POST /admin/webhook-deliveries/{id}/repeat", {"id": id}, key=key)
        )
        return delivery
