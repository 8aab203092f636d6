"""One example of each body and answer, for the OpenAPI document. A test compares them with their schemas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CUSTOMER = {"name": "Ada Lovelace", "email": "ada@example.com", "locale": "en-GB", "phone": "+442079460000"}
EVENT_ID = "018f2b6e-1f5a-7c3d-9e21-5b7c8d9e0f12"
STALLS_ID = "018f2b6e-1f5a-7c3d-9e21-5b7c8d9e0f13"
BOOKING_ID = "2f1c8f0e-6a57-5d2b-8f43-9a1b2c3d4e5f"
REFERENCE = "HF-5WE8-Y3KA"
JTI = "018f2b6e-3b00-7c3d-9e21-5b7c8d9e0f15"
SECRET = "pi_3OaBcD_secret_eFgH"  # noqa: S105  # made up
CODE = "4Q7T-9XKA-0M2C-VB8D-H3ZR-W5NE-J6FG"

IMAGE_HASH = "9f86d081884c7d659a2feaa0c55ad015"
VENUE = {
    "name": "Stadttheater",
    "address": "Am Markt 1",
    "postal_code": "99423",
    "city": "Weimar",
    "country": "DE",
}
TICKET_TYPE = {"id": STALLS_ID, "name": "Stalls", "unit_amount": 4500, "capacity": 500, "available": 312}
EVENT: dict[str, Any] = {
    "id": EVENT_ID,
    "name": "Opening night",
    "starts_at": "2030-05-01T19:30:00Z",
    "time_zone": "Europe/Berlin",
    "currency": "eur",
    "currency_exponent": 2,
    "on_sale": True,
    "sales_start": None,
    "sales_end": "2030-05-01T19:30:00Z",
    "sell_after_start": False,
    "cancel_after_start": False,
    "ticket_types": [TICKET_TYPE],
    "max_per_booking": 10,
    "cancel_until": "2030-04-30T19:30:00Z",
    "called_off_at": None,
    "payment_methods": "instant",
    "slow_payments_until": None,
    "status": "published",
    "category": "Theatre",
    "venue": VENUE,
    "image": {
        "url": f"/events/{EVENT_ID}/image?v={IMAGE_HASH}",
        "hash": IMAGE_HASH,
        "width": 1600,
        "height": 900,
    },
    "content_version": 2,
    "version": 190,
    "terms_version": 2,
}
DESCRIPTION = {
    "description": "A comedy in *three acts*, in German.",
    "description_html": "<p>A comedy in <em>three acts</em>, in German.</p>\n",
}
OPERATORS_EVENT: dict[str, Any] = {
    **EVENT,
    "ticket_types": [{**TICKET_TYPE, "held": 8, "sold": 180, "reserved": 0, "waiting": 0}],
    "progress": None,
    "refund_retry": None,
}
BOOKING: dict[str, Any] = {
    "kind": "booking",
    "id": BOOKING_ID,
    "reference": REFERENCE,
    "owner": "guest_018f2b6e1f5a7c3d9e215b7c8d9e0f14",
    "event_id": EVENT_ID,
    "items": [{"ticket_type_id": STALLS_ID, "quantity": 2, "unit_amount": 4500}],
    "amount": 9000,
    "currency": "eur",
    "currency_exponent": 2,
    "status": "pending",
    "reason": None,
    "payment": {"status": "awaiting", "intent_id": "pi_3OaBcD", "client_secret": SECRET, "attempts": 0},
    "version": 2,
    "expires_at": "2030-03-01T09:15:00Z",
    "hold_until": "2030-03-01T09:30:00Z",
    "closing": None,
    "created_at": "2030-03-01T09:00:00Z",
    "updated_at": "2030-03-01T09:00:01Z",
    "customer": CUSTOMER,
}
QUEUED: dict[str, Any] = {
    "kind": "queued",
    "id": BOOKING_ID,
    "reference": REFERENCE,
    "event_id": EVENT_ID,
    "items": [{"ticket_type_id": STALLS_ID, "quantity": 2}],
    "status": "pending",
    "payment": {"status": "creating"},
    "version": 0,
}
PROMO_CODE: dict[str, Any] = {
    "id": JTI,
    "event_id": EVENT_ID,
    "code": "SUMMER-20",
    "percent_off": 20,
    "amount_off": None,
    "ticket_types": [STALLS_ID],
    "unlocks": [],
    "uses_max": 100,
    "uses_per_owner": 1,
    "valid_from": None,
    "valid_until": "2030-04-01T00:00:00Z",
    "active": True,
    "held": 2,
    "used": 17,
}
WAITING_ENTRY: dict[str, Any] = {
    "id": "6c1c8f0e-6a57-5d2b-8f43-9a1b2c3d4e63",
    "event_id": EVENT_ID,
    "ticket_type_id": STALLS_ID,
    "quantity": 2,
    "status": "waiting",
    "reason": None,
    "position": 17,
    "booking_id": None,
    "offered_until": None,
    "joined_at": "2030-03-01T09:00:00Z",
    "updated_at": "2030-03-01T09:00:00Z",
    "version": 1,
}
OPERATORS_WAITING_ENTRY: dict[str, Any] = {
    **WAITING_ENTRY,
    "position": None,
    "owner": "guest_018f2b6e1f5a7c3d9e215b7c8d9e0f14",
    "customer": CUSTOMER,
}
TRANSITION = {
    "version": 3,
    "from_status": "pending",
    "to_status": "confirmed",
    "reason": None,
    "payment_status": "paid",
    "cause_type": "payment.succeeded",
    "cause_id": "018f2b6e-2a00-7c3d-9e21-5b7c8d9e0f12",
    "by": None,
    "at": "2030-03-01T09:02:10Z",
}
REVOCATION = {
    "jti": JTI,
    "subject": None,
    "revoked_at": "2030-03-01T10:00:00Z",
    "expires_at": "2030-03-02T09:00:00Z",
    "by": "ann@example.com",
}
MAIL: dict[str, Any] = {
    "id": "018f2b6e-4c00-5c3d-9e21-5b7c8d9e0f16",
    "kind": "confirmation",
    "status": "owed",
    "recipient": "ada@example.com",
    "attempts": 1,
    "error": "451 4.7.1 Greylisted, please try again later",
    "amount": None,
    "by": None,
    "made_at": "2030-03-01T10:05:02Z",
    "tried_at": "2030-03-01T10:05:03Z",
    "send_after": "2030-03-01T10:05:50Z",
    "ended_at": None,
}
ATTENTION: dict[str, Any] = {
    "at": "2030-03-01T10:06:00Z",
    "items": [
        {
            "kind": "refund_failed",
            "mailbox": None,
            "count": 1,
            "since": "2030-03-01T09:40:12Z",
            "to_do": "Correct the cause that `refund_error` names, then POST /admin/events/{id}/refunds/retry",
            "examples": [
                {
                    "id": BOOKING_ID,
                    "booking_id": BOOKING_ID,
                    "reference": REFERENCE,
                    "event_id": EVENT_ID,
                    "amount": 9000,
                    "currency": "eur",
                    "since": "2030-03-01T09:40:12Z",
                    "text": "expired_or_canceled_card",
                }
            ],
        },
        {
            "kind": "dead_letters",
            "mailbox": "booking.payments",
            "count": 1,
            "since": "2030-03-01T10:01:33Z",
            "to_do": "Read why they failed, correct the cause, and replay or delete them",
            "examples": [
                {
                    "id": "1898589693000-0",
                    "booking_id": BOOKING_ID,
                    "reference": REFERENCE,
                    "event_id": None,
                    "amount": None,
                    "currency": None,
                    "since": "2030-03-01T10:01:33Z",
                    "text": "payment.succeeded, which failed 5 times",
                }
            ],
        },
    ],
    "missing": ["payment"],
}
EVENT_CHANGE = {
    "version": 2,
    "what": "changed",
    "changes": [
        {"field": "on_sale", "ticket_type_id": None, "old": True, "new": False},
        {"field": "capacity", "ticket_type_id": STALLS_ID, "old": 500, "new": 520},
    ],
    "by": "box-office-7",
    "at": "2030-02-01T10:00:00Z",
}

TICKET_ID = "5f4c8f0e-6a57-5d2b-8f43-9a1b2c3d4e61"
TICKET_CODE = "AE4HK3QR"  # the real ones have 216 characters
CHECK_IN: dict[str, Any] = {
    "id": "7a1c8f0e-6a57-5d2b-8f43-9a1b2c3d4e62",
    "ticket_id": TICKET_ID,
    "booking_id": BOOKING_ID,
    "event_id": EVENT_ID,
    "ticket_type_id": STALLS_ID,
    "number": 1,
    "at": "2030-05-01T18:58:03Z",
    "gate": "North",
    "device": "scanner 4",
    "by": "box-office-7",
    "undone_at": None,
    "undone_by": None,
}
DOOR_EVENT = {
    "id": EVENT_ID,
    "name": "Opening night",
    "starts_at": "2030-05-01T19:30:00Z",
    "starts_at_local": "2030-05-01T21:30:00+02:00",
    "time_zone": "Europe/Berlin",
    "called_off_at": None,
    "version": 2,
}
TICKET_EVENT = {**DOOR_EVENT, "venue": VENUE}
SIGNING_KEY = {
    "kty": "OKP",
    "crv": "Ed25519",
    "use": "sig",
    "alg": "EdDSA",
    "kid": "d168c64c",
    "x": "qS7UYxS5xhvh23XK24NNbseMx5kSJla_f0G6jNJ7Ukw",
}

WEBHOOK_ENDPOINT = {
    "id": "018f2b6e-4c00-7c3d-9e21-5b7c8d9e0f16",
    "url": "https://example.com/hooks/holdfast",
    "description": "Accounting",
    "types": ["booking.confirmed", "booking.refunded"],
    "disabled_reason": None,
    "disabled_at": None,
    "failing_since": None,
    "secrets": [{"made_at": "2030-02-01T10:00:00Z", "ends_at": None}],
    "version": 1,
    "created_at": "2030-02-01T10:00:00Z",
    "updated_at": "2030-02-01T10:00:00Z",
}
WEBHOOK_DELIVERY = {
    "id": "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed",
    "endpoint_id": WEBHOOK_ENDPOINT["id"],
    "message_id": "7d444840-9dc0-5b14-8f43-2e1b9c3a4d5e",
    "type": "booking.confirmed",
    "resource_id": BOOKING_ID,
    "version": 3,
    "happened_at": "2030-03-01T09:02:10Z",
    "made_at": "2030-03-01T09:02:11Z",
    "status": "pending",
    "attempts": 1,
    "next_attempt_at": "2030-03-01T09:02:16Z",
    "last_attempt_at": "2030-03-01T09:02:11Z",
    "response_status": 503,
    "response": "maintenance",
    "error": "answered 503",
}
CONFIRMED: dict[str, Any] = BOOKING | {
    "status": "confirmed",
    "payment": {"status": "paid", "intent_id": "pi_3OaBcD", "attempts": 0, "amount_captured": 9000},
    "version": 3,
    "hold_until": None,
    "updated_at": "2030-03-01T09:02:10Z",
}

# By the name of the model.
EXAMPLES: Mapping[str, dict[str, Any]] = {
    "NewBooking": {
        "event_id": EVENT_ID,
        "items": [{"ticket_type_id": STALLS_ID, "quantity": 2}],
        "expected_amount": 9000,
        "customer": CUSTOMER,
    },
    "NewWaitingEntry": {
        "event_id": EVENT_ID,
        "ticket_type_id": STALLS_ID,
        "quantity": 2,
        "customer": CUSTOMER,
    },
    "WaitingEntry": WAITING_ENTRY,
    "WaitingEntryPage": {"items": [WAITING_ENTRY], "next_cursor": None},
    "OperatorsWaitingEntryPage": {"items": [OPERATORS_WAITING_ENTRY], "next_cursor": None},
    "NewSale": {
        "event_id": EVENT_ID,
        "items": [{"ticket_type_id": STALLS_ID, "quantity": 2}],
        "method": "cash",
        "note": "Receipt 4711",
        "customer": CUSTOMER,
    },
    "NewCustomer": CUSTOMER,
    "NewMail": {"kind": "confirmation"},
    "Attention": ATTENTION,
    "Mail": MAIL,
    "MailPage": {"items": [MAIL], "next_cursor": None},
    "NewErasure": {"email": "ada@example.com"},
    "Erasure": {"asked_at": "2030-06-01T10:00:00Z", "by": "ann@example.com", "bookings": 3},
    "NewGuest": {"proof": "03AFcWeA5dy7"},
    "RecoveredGuest": {"code": CODE},
    "NewPaymentIntent": {"booking_id": BOOKING_ID},
    "NewEvent": {
        "name": "Opening night",
        "starts_at": "2030-05-01T19:30:00Z",
        "currency": "eur",
        "description": DESCRIPTION["description"],
        "category": "Theatre",
        "venue": VENUE,
        "ticket_types": [{"name": "Stalls", "unit_amount": 4500, "capacity": 500}],
    },
    "PreviewedDescription": {"description": DESCRIPTION["description"]},
    "DescriptionPreview": {"description_html": DESCRIPTION["description_html"]},
    "EventPatch": {"on_sale": False, "ticket_types": [{"id": STALLS_ID, "capacity": 520}]},
    "BookingTickets": {
        "booking_id": BOOKING_ID,
        "reference": REFERENCE,
        "holder": CUSTOMER["name"],
        "status": "confirmed",
        "event": TICKET_EVENT,
        "seats": [{"ticket_type_id": STALLS_ID, "name": "Stalls", "quantity": 1}],
        "items": [
            {
                "id": TICKET_ID,
                "ticket_type_id": STALLS_ID,
                "ticket_type": "Stalls",
                "number": 1,
                "state": "valid",
                "code": TICKET_CODE,
                "used_at": None,
                "check_in": None,
                "svg": f"/bookings/{BOOKING_ID}/tickets/{TICKET_ID}.svg",
                "png": f"/bookings/{BOOKING_ID}/tickets/{TICKET_ID}.png",
            }
        ],
        "next_cursor": None,
    },
    "SigningKeys": {"keys": [SIGNING_KEY]},
    "NewCheckIn": {"code": TICKET_CODE, "event_id": EVENT_ID, "gate": "North", "device": "scanner 4"},
    "CheckIn": CHECK_IN,
    "NewCheckIns": {
        "event_id": EVENT_ID,
        "items": [{"id": JTI, "code": TICKET_CODE, "at": "2030-05-01T18:58:03Z", "gate": "North"}],
    },
    "CheckInResults": {
        "items": [{"id": JTI, "outcome": "used", "ticket_id": TICKET_ID, "check_in": CHECK_IN}],
    },
    "UndoneCheckIn": {"check_in_id": CHECK_IN["id"]},
    "Door": {
        "event": DOOR_EVENT,
        "keys": [SIGNING_KEY],
        "ticket_types": [{"id": STALLS_ID, "name": "Stalls", "sold": 180, "checked_in": 112}],
        "reset": False,
        "items": [{"ticket_id": TICKET_ID, "state": "used", "used_at": "2030-05-01T18:58:03Z", "gate": "North"}],
        "mark": "WyIxODk5NjI4NDgwLjEiLDg4MTIsOTA0XQ",
        "more": False,
    },
    "NewQuote": {
        "event_id": EVENT_ID,
        "items": [{"ticket_type_id": STALLS_ID, "quantity": 2}],
        "code": "summer 20",
    },
    "Quote": {
        "event_id": EVENT_ID,
        "items": [
            {
                "ticket_type_id": STALLS_ID,
                "quantity": 2,
                "unit_amount": 4500,
                "unit_discount": 900,
                "name": "Stalls",
            }
        ],
        "subtotal": 9000,
        "discount": 1800,
        "amount": 7200,
        "currency": "eur",
        "currency_exponent": 2,
        "code": "SUMMER-20",
    },
    "NewPromoCodes": {"code": "SUMMER-20", "percent_off": 20, "uses_max": 100, "uses_per_owner": 1},
    "PromoCodePatch": {"active": False},
    "PromoCodes": {"items": [PROMO_CODE]},
    "PromoCodePage": {"items": [PROMO_CODE], "next_cursor": None},
    "PromoCode": PROMO_CODE,
    "NewRefund": {"amount": 4500},
    "NewRevocation": {"jti": JTI, "expires_at": "2030-03-02T09:00:00Z"},
    "Revocation": REVOCATION,
    "RevocationPage": {"items": [REVOCATION], "next_cursor": None},
    "Event": EVENT,
    "EventDetails": {**EVENT, **DESCRIPTION},
    "OperatorsEventDetails": {**OPERATORS_EVENT, **DESCRIPTION},
    "EventPage": {"items": [EVENT], "next_cursor": None},
    "OperatorsEvent": OPERATORS_EVENT,
    "OperatorsEventPage": {"items": [OPERATORS_EVENT], "next_cursor": None},
    "Booking": BOOKING,
    "QueuedBooking": QUEUED,
    "BookingPage": {"items": [BOOKING], "next_cursor": None},
    "EventChangePage": {"items": [EVENT_CHANGE], "next_cursor": None},
    "TransitionPage": {"items": [TRANSITION], "next_cursor": None},
    "PaymentIntent": {
        "booking_id": BOOKING_ID,
        "payment_intent_id": "pi_3OaBcD",
        "client_secret": SECRET,
        "amount": 9000,
        "currency": "eur",
        "currency_exponent": 2,
        "publishable_key": "pk_test_51OaBcD",
    },
    "GuestToken": {
        "token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJndWVzdDoxIn0.c2lnbmF0dXJl",
        "subject": "guest_018f2b6e1f5a7c3d9e215b7c8d9e0f14",
        "expires_at": "2030-03-02T09:00:00Z",
    },
    "RecoveryCode": {"code": CODE, "expires_at": "2030-08-29T09:00:00Z"},
    "RefundRetry": {
        "id": "2f1c8f0e-6a57-5d2b-8f43-9a1b2c3d4e60",
        "event_id": EVENT_ID,
        "asked_at": "2030-05-02T08:00:00Z",
        "by": "box-office-7",
        "refunds": 312,
        "remaining": 300,
        "under_way": 10,
        "succeeded": 2,
        "failed": 0,
        "finished": False,
    },
    "NewWebhookEndpoint": {
        "url": "https://example.com/hooks/holdfast",
        "description": "Accounting",
        "types": ["booking.confirmed", "booking.refunded"],
    },
    "WebhookEndpointPatch": {"enabled": False},
    "NewWebhookSecret": {"overlap_seconds": 86_400},
    "NewRepetition": {"since": "2030-03-01T00:00:00Z"},
    "WebhookEndpoint": WEBHOOK_ENDPOINT,
    "SecretWebhookEndpoint": WEBHOOK_ENDPOINT | {"secret": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDazfgh2Uf0jE="},
    "WebhookEndpointPage": {"items": [WEBHOOK_ENDPOINT], "next_cursor": None},
    "WebhookDelivery": WEBHOOK_DELIVERY,
    "WebhookDeliveryPage": {"items": [WEBHOOK_DELIVERY], "next_cursor": None},
    "Repeated": {"deliveries": 12, "more": False},
    "BookingWebhook": {
        "type": "booking.confirmed",
        "timestamp": "2030-03-01T09:02:10Z",
        "version": 3,
        "data": CONFIRMED,
    },
    "EventWebhook": {
        "type": "event.changed",
        "timestamp": "2030-02-01T10:00:00Z",
        "version": 2,
        "data": OPERATORS_EVENT,
    },
    "HealthState": {"status": "ready"},
}
