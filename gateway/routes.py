"""Every route of the gateway in one table: its view, the clients that may use it, and how OpenAPI describes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from aiohttp import web
from pydantic import BaseModel

from common.contracts import errors
from common.contracts.attention import Attention
from common.contracts.errors import HoldfastError
from common.contracts.history import EventChange, Transition
from common.contracts.messages import BOOKING_COMMANDS, BOOKING_DOOR, BOOKING_QUERIES, PAYMENT_INTENTS
from common.contracts.resources import (
    Erasure,
    Event,
    EventDetails,
    Mail,
    OperatorsEvent,
    OperatorsEventDetails,
    OperatorsWaitingEntry,
    PromoCode,
    PromoCodes,
    Quote,
    RefundRetry,
    Revocation,
    WaitingEntry,
)
from common.contracts.scopes import Scope
from common.contracts.tickets import CheckIn, CheckInResults, Door, SigningKeys
from common.contracts.webhooks import Repeated, SecretWebhookEndpoint, WebhookDelivery, WebhookEndpoint
from common.runtime import health
from common.runtime.web import Handler
from gateway import (
    about,
    attention,
    docs,
    door,
    event_queries,
    event_views,
    exports,
    guests,
    image_views,
    promo_codes,
    requests,
    schemas,
    session,
    tickets,
    views,
    waiters,
    waiting_views,
    webhook_views,
)
from gateway.auth import AUTHENTICATOR, IDENTITY
from gateway.bookings import ERRORS_BY_REASON
from gateway.limiter import LIMITER
from gateway.limits import LOAD_SHEDDER
from gateway.schemas import Booking

READS = (BOOKING_QUERIES,)
WRITES = (BOOKING_COMMANDS,)
DOOR = (BOOKING_DOOR,)
# A new booking also joins the queue in front of Stripe.
SELLS = (BOOKING_COMMANDS, PAYMENT_INTENTS)


class Access(StrEnum):
    """What a request needs that needs no scope: nothing, or a token, by which its subject reaches its own."""

    ANYONE = "anyone"
    BEARER = "bearer"


@dataclass(frozen=True)
class Route:
    """One method of one path.

    `access`: what the request needs; a scope: a token that allows it. `file`: the body of the request is a file.
    `answers`: the body of each status that is no error: a model, one of several, media types, or nothing.
    `mailboxes`: those that a request adds to; when one is over its limit, the request is refused. `key_required`:
    it costs money or seats, or uses up a code, and is refused without an Idempotency-Key. `etag`: answers have an
    ETag. `about`: what OpenAPI says beside the summary. `errors`: those that do not follow from the other fields
    (see `_problems` of openapi.py).
    """

    method: str
    path: str
    view: Handler
    summary: str
    tag: str
    access: Access | Scope = Access.ANYONE
    about: str = ""
    mailboxes: tuple[str, ...] = ()
    body: type[BaseModel] | None = None
    body_required: bool = True
    file: bool = False
    query: type[BaseModel] | None = None
    headers: tuple[str, ...] = ()
    key_required: bool = False
    etag: bool = False
    answers: dict[int, Any] = field(default_factory=dict)
    errors: tuple[type[HoldfastError], ...] = ()


_EVENT = (errors.EventNotFound,)
# The errors for a promo code.
_CODE = (errors.CodeNotFound, errors.CodeNotValidYet, errors.CodeExpired, errors.CodeUsedUp)
# Why seats are not sold, or not so.
_NOT_SOLD = (
    *_EVENT, errors.TicketTypeNotFound, errors.TicketTypeRequired, errors.QuantityOverLimit,
    errors.AmountOverLimit, errors.AmountUnderLimit, errors.AmountOffStep, errors.NotOnSale,
    errors.SalesNotStarted, errors.SalesEnded, errors.PriceChanged, *_CODE, errors.CodeOwnerLimitReached,
    errors.CodeNotApplicable,
)  # fmt: skip
# The errors for a booking that has ended.
_ENDED = (*ERRORS_BY_REASON.values(), errors.BookingCancelled)

# Served where guests get tokens.
GUESTS = (
    Route(
        "POST", "/auth/guest", guests.create_guest, "Get a token as a new guest", "tokens",
        body=schemas.NewGuest, body_required=False, answers={201: schemas.GuestToken}, about=about.GUEST,
        errors=(errors.GuestProofRefused, errors.Unavailable),
    ),
    Route(
        "POST", "/auth/guest/renew", guests.renew_guest, "Get another token before a guest's token ends", "tokens",
        Access.BEARER, answers={201: schemas.GuestToken}, about=about.RENEW,
        errors=(errors.GuestTokenRequired, errors.Unavailable),
    ),
    Route(
        "POST", "/auth/guest/recovery-code", guests.create_recovery_code,
        "Get a code to come back by on another device", "tokens", Access.BEARER, mailboxes=WRITES,
        answers={201: schemas.RecoveryCode}, about=about.RECOVERY_CODE,
        errors=(errors.GuestTokenRequired, errors.NothingToRecover, errors.Conflict),
    ),
    Route(
        "POST", "/auth/guest/recover", guests.recover_guest, "Come back as a guest, by a recovery code", "tokens",
        mailboxes=WRITES, body=schemas.RecoveredGuest, headers=("Idempotency-Key",), key_required=True,
        answers={201: schemas.GuestToken}, about=about.RECOVER, errors=(errors.RecoveryCodeInvalid,),
    ),
    Route(
        "POST", "/auth/guest/link", guests.open_link, "Come back as a guest, by the link of a mail", "tokens",
        mailboxes=READS, body=schemas.LinkedGuest, answers={201: schemas.GuestToken}, about=about.LINK,
        errors=(errors.LinkInvalid,),
    ),
)  # fmt: skip

ROUTES = (
    Route(
        "GET", "/events", event_views.list_events, "List and search events", "events", etag=True,
        query=event_queries.EventsQuery, headers=("If-None-Match",),
        answers={200: schemas.page_of(Event), 304: None}, errors=(errors.Unavailable, errors.Timeout),
    ),
    Route(
        "GET", "/events/{id}", event_views.get_event, "Read an event and how many seats are left", "events",
        etag=True, query=requests.EventQuery, headers=("If-None-Match",), answers={200: EventDetails, 304: None},
        errors=(*_EVENT, *_CODE, errors.Unavailable, errors.Timeout), about=about.EVENT,
    ),
    Route(
        "GET", "/events/{id}/image", image_views.get_event_image, "Get the image of an event", "events",
        etag=True, query=image_views.ImageQuery, headers=("If-None-Match",),
        answers={200: "image/webp, application/octet-stream", 304: None},
        errors=(*_EVENT, errors.Unavailable, errors.Timeout), about=about.IMAGE,
    ),
    Route(
        "POST", "/bookings", waiters.create_booking, "Book seats", "bookings", Access.BEARER,
        mailboxes=SELLS, body=schemas.NewBooking, headers=("Idempotency-Key", "Prefer"), key_required=True,
        about=about.BOOK,
        answers={201: Booking, 200: Booking, 202: schemas.BookingOrQueued},
        errors=(
            *_NOT_SOLD, errors.OwnerLimitReached, errors.TooManyHolds, errors.BookingPaused, *_ENDED,
        ),
    ),
    Route(
        "POST", "/quotes", promo_codes.create_quote, "Ask what seats would cost", "bookings", Access.BEARER,
        mailboxes=READS, body=schemas.NewQuote, answers={200: Quote}, about=about.QUOTE,
        errors=(*_NOT_SOLD, errors.SoldOut),
    ),
    Route(
        "GET", "/bookings", views.list_bookings, "List the caller's own bookings, newest first", "bookings",
        Access.BEARER, mailboxes=READS, query=requests.BookingsQuery, answers={200: schemas.page_of(Booking)},
    ),
    Route(
        "GET", "/bookings/{id}", views.get_booking, "Read a booking", "bookings", Access.BEARER,
        mailboxes=READS, etag=True, answers={200: Booking},
    ),
    Route(
        "GET", "/bookings/{id}/history", views.get_history, "Read a booking's history", "bookings",
        Access.BEARER, mailboxes=READS, answers={200: schemas.page_of(Transition)},
    ),
    Route(
        "POST", "/bookings/{id}/cancel", views.cancel_booking, "Cancel a booking", "bookings", Access.BEARER,
        mailboxes=WRITES, headers=("Idempotency-Key", "If-Match"), etag=True,
        answers={200: Booking, 202: Booking}, about=about.CANCEL,
        errors=(errors.CancellationClosed, errors.Forbidden),
    ),
    Route(
        "PUT", "/bookings/{id}/customer", views.set_customer, "Set whom a booking is for", "bookings",
        Access.BEARER, mailboxes=WRITES, body=schemas.NewCustomer, headers=("Idempotency-Key", "If-Match"),
        etag=True, answers={200: Booking}, about=about.CUSTOMER, errors=(errors.Forbidden,),
    ),
    Route(
        "POST", "/waiting-list", waiting_views.join_waiting_list, "Wait for seats of a sold-out ticket type",
        "waiting list", Access.BEARER, mailboxes=WRITES, body=schemas.NewWaitingEntry,
        headers=("Idempotency-Key",), key_required=True, answers={201: WaitingEntry}, about=about.WAIT,
        errors=(
            *_EVENT, errors.TicketTypeNotFound, errors.TicketTypeRequired, errors.QuantityOverLimit,
            errors.AmountOverLimit, errors.AmountUnderLimit, errors.AmountOffStep, errors.NotOnSale,
            errors.SalesNotStarted, errors.SalesEnded, errors.OwnerLimitReached, errors.TooManyHolds,
            errors.BookingPaused, errors.NotSoldOut, errors.AlreadyWaiting, errors.TooManyWaiting,
        ),
    ),
    Route(
        "GET", "/waiting-list", waiting_views.list_waiting_entries,
        "List the caller's own entries in waiting lists, newest first", "waiting list", Access.BEARER,
        mailboxes=READS, query=requests.HistoryQuery, answers={200: schemas.page_of(WaitingEntry)},
    ),
    Route(
        "GET", "/waiting-list/{id}", waiting_views.get_waiting_entry, "Read an entry and its position",
        "waiting list", Access.BEARER, mailboxes=READS, answers={200: WaitingEntry},
    ),
    Route(
        "POST", "/waiting-list/{id}/leave", waiting_views.leave_waiting_list, "Wait no longer", "waiting list",
        Access.BEARER, mailboxes=WRITES, answers={200: WaitingEntry}, about=about.LEAVE,
        errors=(errors.OfferMade,),
    ),
    Route(
        "POST", "/payment/create-intent", waiters.create_payment_intent, "Get what Stripe.js needs to pay",
        "bookings", Access.BEARER, mailboxes=WRITES, body=schemas.NewPaymentIntent, headers=("Prefer",),
        answers={200: schemas.PaymentIntent}, about=about.PAY,
        errors=(errors.NotFound, errors.NothingToPay, errors.AmountMismatch, *_ENDED),
    ),
    Route(
        "GET", "/bookings/{id}/tickets", tickets.list_tickets, "List the tickets of a booking", "tickets",
        Access.BEARER, mailboxes=READS, query=requests.TicketsQuery, answers={200: schemas.BookingTickets},
        about=about.TICKETS,
    ),
    Route(
        "GET", "/bookings/{id}/tickets/{ticket_id}.svg", tickets.get_ticket_svg, "Get a ticket's QR code as SVG",
        "tickets", Access.BEARER, mailboxes=READS, answers={200: "image/svg+xml, application/octet-stream"},
        about=about.TICKET_IMAGE,
        errors=(errors.TicketCancelled,),
    ),
    Route(
        "GET", "/bookings/{id}/tickets/{ticket_id}.png", tickets.get_ticket_png, "Get a ticket's QR code as PNG",
        "tickets", Access.BEARER, mailboxes=READS, answers={200: "image/png, application/octet-stream"},
        about=about.TICKET_IMAGE,
        errors=(errors.TicketCancelled,),
    ),
    Route(
        "GET", "/bookings/{id}/calendar.ics", tickets.get_booking_calendar, "Get a booking's calendar entry",
        "tickets", Access.BEARER, mailboxes=READS, answers={200: "text/calendar"}, about=about.CALENDAR,
    ),
    Route(
        "GET", "/tickets/keys", tickets.list_signing_keys, "List the public keys that check tickets", "tickets",
        etag=True, headers=("If-None-Match",), answers={200: SigningKeys, 304: None}, about=about.SIGNING_KEYS,
        errors=(errors.Unavailable, errors.Timeout),
    ),
    Route(
        "POST", "/admin/tickets/check-in", door.check_in_ticket, "Check a ticket in", "door", Scope.DOOR,
        mailboxes=DOOR, body=schemas.NewCheckIn, answers={200: CheckIn}, about=about.CHECK_IN,
        errors=(
            errors.TicketUsed, errors.TicketCancelled, errors.TicketOfAnotherEvent, errors.TicketInvalid,
            errors.CheckInUndone,
        ),
    ),
    Route(
        "POST", "/admin/tickets/check-ins", door.check_in_tickets, "Check tickets in that were shown offline",
        "door", Scope.DOOR, mailboxes=DOOR, body=schemas.NewCheckIns, answers={200: CheckInResults},
        about=about.CHECK_INS,
    ),
    Route(
        "POST", "/admin/tickets/undo", door.undo_check_in, "Undo a check-in", "door", Scope.DOOR,
        mailboxes=DOOR, body=schemas.UndoneCheckIn, answers={200: CheckIn}, errors=(errors.NotFound,),
        about=about.UNDO_CHECK_IN,
    ),
    Route(
        "GET", "/admin/events/{id}/door", door.get_door, "Read what a scanner needs", "door", Scope.DOOR,
        mailboxes=DOOR, query=requests.DoorQuery, answers={200: Door}, errors=_EVENT, about=about.DOOR,
    ),
    Route(
        "GET", "/admin/attention", attention.get_attention, "List what needs a person now", "admin", Scope.READ,
        answers={200: Attention}, about=about.ATTENTION, errors=(errors.Unavailable, errors.Timeout),
    ),
    Route(
        "GET", "/admin/events", views.admin_list_events, "List events with their held and sold seats", "admin",
        Scope.READ, mailboxes=READS, query=requests.AdminEventsQuery,
        answers={200: schemas.page_of(OperatorsEvent)},
    ),
    Route(
        "GET", "/admin/events/{id}", views.admin_get_event,
        "Read an event with its held and sold seats, and the progress of its cancellation", "admin",
        Scope.READ, mailboxes=READS, etag=True, answers={200: OperatorsEventDetails}, errors=_EVENT,
    ),
    Route(
        "GET", "/admin/events/{id}/waiting-list", waiting_views.list_waiting_list,
        "List who waits for seats of an event, in the order of the line", "admin", Scope.READ, mailboxes=READS,
        query=requests.HistoryQuery, answers={200: schemas.page_of(OperatorsWaitingEntry)}, errors=_EVENT,
    ),
    Route(
        "GET", "/admin/events/{id}/history", views.get_event_history, "Read an event's history", "admin",
        Scope.READ, mailboxes=READS, query=requests.HistoryQuery,
        answers={200: schemas.page_of(EventChange)}, errors=_EVENT, about=about.EVENT_HISTORY,
    ),
    Route(
        "POST", "/admin/events", views.create_event, "Create an event", "admin", Scope.ADMIN,
        mailboxes=WRITES, body=schemas.NewEvent, headers=("Idempotency-Key",), etag=True, answers={201: Event},
        errors=(errors.Conflict,),
    ),
    Route(
        "POST", "/admin/events/preview-description", views.preview_description,
        "See a description as customers will", "admin", Scope.ADMIN, body=schemas.PreviewedDescription,
        answers={200: schemas.DescriptionPreview}, about=about.PREVIEW_DESCRIPTION,
    ),
    Route(
        "PATCH", "/admin/events/{id}", views.update_event, "Change an event", "admin", Scope.ADMIN,
        mailboxes=WRITES, body=schemas.EventPatch, headers=("Idempotency-Key", "If-Match"), etag=True,
        answers={200: Event}, about=about.CHANGE,
        errors=(
            *_EVENT, errors.TicketTypeNotFound, errors.TicketTypesOverLimit, errors.CapacityBelowSold,
            errors.Conflict,
        ),
    ),
    Route(
        "GET", "/admin/events/{id}/image", image_views.admin_get_event_image,
        "Get the image of an event, also of a draft", "admin", Scope.READ, mailboxes=READS,
        answers={200: "image/webp, application/octet-stream"}, errors=_EVENT,
    ),
    Route(
        "PUT", "/admin/events/{id}/image", image_views.put_event_image, "Give an event an image", "admin",
        Scope.ADMIN, mailboxes=WRITES, file=True, headers=("Idempotency-Key", "If-Match"), etag=True,
        answers={200: Event}, about=about.PUT_IMAGE, errors=(*_EVENT, errors.ImageInvalid),
    ),
    Route(
        "DELETE", "/admin/events/{id}/image", image_views.delete_event_image, "Delete the image of an event",
        "admin", Scope.ADMIN, mailboxes=WRITES, headers=("Idempotency-Key", "If-Match"), etag=True,
        answers={200: Event}, errors=_EVENT,
    ),
    Route(
        "GET", "/admin/events/{id}/codes", promo_codes.list_promo_codes, "List the promo codes of an event",
        "admin", Scope.READ, mailboxes=READS, query=requests.PromoCodesQuery,
        answers={200: schemas.page_of(PromoCode)}, errors=_EVENT,
    ),
    Route(
        "POST", "/admin/events/{id}/codes", promo_codes.create_promo_codes, "Make promo codes for an event",
        "admin", Scope.ADMIN, mailboxes=WRITES, body=schemas.NewPromoCodes, headers=("Idempotency-Key",),
        answers={201: PromoCodes}, about=about.NEW_CODES, errors=(*_EVENT, errors.CodeExists),
    ),
    Route(
        "PATCH", "/admin/events/{id}/codes/{code_id}", promo_codes.update_promo_code, "Change a promo code",
        "admin", Scope.ADMIN, mailboxes=WRITES, body=schemas.PromoCodePatch, headers=("Idempotency-Key",),
        answers={200: PromoCode}, about=about.CHANGE_CODE,
        errors=(*_EVENT, errors.CodeNotFound, errors.UsesBelowUsed),
    ),
    Route(
        "POST", "/admin/events/{id}/cancel", views.cancel_event, "Cancel an event", "admin", Scope.ADMIN,
        mailboxes=WRITES, headers=("Idempotency-Key", "If-Match"), etag=True, answers={202: Event}, errors=_EVENT,
        about=about.CANCEL_EVENT,
    ),
    Route(
        "POST", "/admin/events/{id}/refunds/retry", views.retry_refunds, "Retry all failed refunds of an event",
        "admin", Scope.FINANCE, mailboxes=WRITES, headers=("Idempotency-Key", "If-Match"),
        answers={202: RefundRetry}, errors=_EVENT,
    ),
    Route(
        "GET", "/admin/bookings", views.admin_list_bookings, "List the bookings of all owners", "admin",
        Scope.READ, mailboxes=READS, query=requests.AdminBookingsQuery,
        answers={200: schemas.page_of(Booking)},
    ),
    Route(
        "POST", "/admin/bookings", views.sell_seats, "Sell seats without Stripe, or give them away", "admin",
        Scope.BOX_OFFICE, mailboxes=WRITES, body=schemas.NewSale, headers=("Idempotency-Key",), key_required=True,
        etag=True, answers={201: Booking}, about=about.SELL,
        errors=(
            *_EVENT, errors.TicketTypeNotFound, errors.TicketTypeRequired, errors.AmountOverLimit, errors.NotOnSale,
            errors.SoldOut, errors.PriceChanged,
        ),
    ),
    Route(
        "POST", "/admin/bookings/{id}/refund", views.refund_booking, "Refund a booking", "admin", Scope.FINANCE,
        mailboxes=WRITES, body=schemas.NewRefund, body_required=False,
        headers=("Idempotency-Key", "If-Match"), key_required=True, etag=True,
        answers={200: Booking, 202: Booking}, about=about.REFUND,
        errors=(
            errors.Conflict, errors.AmountOverLeft, errors.AmountOffStep, errors.TicketInvalid,
            errors.TicketCancelled, errors.LastTickets,
        ),
    ),
    Route(
        "GET", "/admin/bookings/{id}/mails", views.list_mails, "List the mails about a booking, oldest first",
        "admin", Scope.READ, mailboxes=READS, answers={200: schemas.page_of(Mail)},
    ),
    Route(
        "POST", "/admin/bookings/{id}/mails", views.resend_mail, "Send a mail about a booking again", "admin",
        Scope.BOX_OFFICE, mailboxes=WRITES, body=schemas.NewMail, headers=("Idempotency-Key",),
        answers={202: Mail}, about=about.RESEND, errors=(errors.MailNotPossible,),
    ),
    Route(
        "GET", "/admin/exports/bookings.csv", exports.export_bookings, "Bookings as a table", "admin",
        Scope.READ, mailboxes=READS, query=requests.ExportQuery, answers={200: "text/csv"}, about=about.EXPORT,
        errors=(errors.Unavailable, errors.Timeout),
    ),
    Route(
        "GET", "/admin/exports/seats.csv", exports.export_seats, "Seats as a table", "admin",
        Scope.READ, mailboxes=READS, query=requests.ExportQuery, answers={200: "text/csv"}, about=about.EXPORT,
        errors=(errors.Unavailable, errors.Timeout),
    ),
    Route(
        "GET", "/admin/exports/money.csv", exports.export_money, "Money as a table", "admin",
        Scope.READ, mailboxes=READS, query=requests.ExportQuery, answers={200: "text/csv"}, about=about.EXPORT,
        errors=(errors.Unavailable, errors.Timeout),
    ),
    Route(
        "POST", "/admin/customers/erase", views.erase_customers, "Erase who has asked to be forgotten", "admin",
        Scope.ADMIN, mailboxes=WRITES, body=schemas.NewErasure, headers=("Idempotency-Key",),
        answers={202: Erasure}, about=about.ERASE,
    ),
    Route(
        "POST", "/admin/tokens/revoke", views.revoke_tokens, "Revoke tokens", "admin", Scope.ADMIN,
        mailboxes=WRITES, body=schemas.NewRevocation, headers=("Idempotency-Key",), answers={200: Revocation},
        about=about.REVOKE,
    ),
    Route(
        "GET", "/admin/tokens/revoked", views.list_revocations, "List revoked tokens, the last revoked first",
        "admin", Scope.READ, mailboxes=READS, query=requests.PageQuery, answers={200: schemas.page_of(Revocation)},
    ),
    Route(
        "GET", "/admin/webhook-endpoints", webhook_views.list_webhook_endpoints, "List the endpoints of webhooks",
        "webhooks", Scope.ADMIN, mailboxes=READS, answers={200: schemas.page_of(WebhookEndpoint)},
    ),
    Route(
        "POST", "/admin/webhook-endpoints", webhook_views.create_webhook_endpoint, "Create an endpoint of webhooks",
        "webhooks", Scope.ADMIN, mailboxes=WRITES, body=schemas.NewWebhookEndpoint, headers=("Idempotency-Key",),
        etag=True, answers={201: SecretWebhookEndpoint}, about=about.WEBHOOK_ENDPOINT, errors=(errors.Conflict,),
    ),
    Route(
        "GET", "/admin/webhook-endpoints/{id}", webhook_views.get_webhook_endpoint, "Read an endpoint of webhooks",
        "webhooks", Scope.ADMIN, mailboxes=READS, etag=True, answers={200: WebhookEndpoint},
    ),
    Route(
        "PATCH", "/admin/webhook-endpoints/{id}", webhook_views.update_webhook_endpoint,
        "Change an endpoint of webhooks", "webhooks", Scope.ADMIN, mailboxes=WRITES,
        body=schemas.WebhookEndpointPatch, headers=("Idempotency-Key", "If-Match"), etag=True,
        answers={200: WebhookEndpoint}, about=about.WEBHOOK_CHANGE,
    ),
    Route(
        "DELETE", "/admin/webhook-endpoints/{id}", webhook_views.delete_webhook_endpoint,
        "Delete an endpoint of webhooks, with its deliveries", "webhooks", Scope.ADMIN, mailboxes=WRITES,
        headers=("Idempotency-Key", "If-Match"), answers={200: WebhookEndpoint},
    ),
    Route(
        "POST", "/admin/webhook-endpoints/{id}/secrets", webhook_views.rotate_webhook_secret,
        "Rotate the secret of an endpoint of webhooks", "webhooks", Scope.ADMIN, mailboxes=WRITES,
        body=schemas.NewWebhookSecret, body_required=False, headers=("Idempotency-Key", "If-Match"), etag=True,
        answers={200: SecretWebhookEndpoint}, about=about.WEBHOOK_ROTATION, errors=(errors.Conflict,),
    ),
    Route(
        "GET", "/admin/webhook-endpoints/{id}/deliveries", webhook_views.list_webhook_deliveries,
        "List what an endpoint was or is to be sent, newest first", "webhooks", Scope.ADMIN, mailboxes=READS,
        query=requests.WebhookDeliveriesQuery, answers={200: schemas.page_of(WebhookDelivery)},
    ),
    Route(
        "POST", "/admin/webhook-endpoints/{id}/repeat", webhook_views.repeat_webhook_deliveries,
        "Send an endpoint again what has failed", "webhooks", Scope.ADMIN, mailboxes=WRITES,
        body=schemas.NewRepetition, headers=("Idempotency-Key",), answers={202: Repeated},
        about=about.WEBHOOK_REPETITION, errors=(errors.Conflict,),
    ),
    Route(
        "GET", "/admin/webhook-deliveries/{id}", webhook_views.get_webhook_delivery, "Read a delivery", "webhooks",
        Scope.ADMIN, mailboxes=READS, answers={200: WebhookDelivery},
    ),
    Route(
        "POST", "/admin/webhook-deliveries/{id}/repeat", webhook_views.repeat_webhook_delivery,
        "Send a delivery again", "webhooks", Scope.ADMIN, mailboxes=WRITES, headers=("Idempotency-Key",),
        answers={202: WebhookDelivery}, about=about.WEBHOOK_REPETITION, errors=(errors.Conflict,),
    ),
    # The view authenticates, as the token may also come in the first message.
    Route("GET", "/ws", session.websocket, "Live changes over a WebSocket", "live", answers={101: None}),
    Route(
        "GET", "/openapi.json", docs.openapi_json, "This document", "operations", answers={200: "application/json"}
    ),
    Route(
        "GET", "/asyncapi.json", docs.asyncapi_json, "The WebSocket's messages as AsyncAPI", "operations",
        answers={200: "application/json"},
    ),
    Route(
        "GET", "/docs", docs.docs_page, "This document as a page", "operations",
        answers={200: "text/html", 304: None},
    ),
    Route(
        "GET", "/assets/{name}", docs.asset, "A file that the page loads", "operations",
        answers={200: "text/html, text/css, text/javascript", 304: None},
    ),
    Route(
        "GET", "/holdfast.js", docs.client_module, "A client for pages, as an ES module", "operations",
        answers={200: "text/javascript", 304: None},
    ),
)  # fmt: skip

# Every process serves these (`common.runtime.web.new_app`): they are listed here for the OpenAPI document.
PROCESS = (
    Route(
        "GET", "/health/live", health.live, "Whether the process is alive", "operations",
        answers={200: schemas.HealthState},
    ),
    Route(
        "GET", "/health/ready", health.ready, "Whether the process is ready to serve", "operations",
        answers={200: schemas.HealthState, 503: schemas.HealthState},
    ),
)  # fmt: skip


def guarded(route: Route) -> Handler:
    """The route's view behind the check of the token and scope, the subject's rate limit, and load shedding."""

    async def handle(request: web.Request) -> web.StreamResponse:
        app = request.app
        if route.access is not Access.ANYONE:
            identity = request[IDENTITY] = await app[AUTHENTICATOR].authenticate(request)
            await app[LIMITER].subject(identity)
            if isinstance(route.access, Scope):
                identity.require(route.access)
        if route.mailboxes:
            app[LOAD_SHEDDER].check(route.mailboxes)
        return await route.view(request)

    return handle
