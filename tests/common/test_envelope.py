"""Every message is read as it was sent, and contracts can grow."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from common.contracts.errors import NotOnSale
from common.contracts.ids import new_traceparent
from common.contracts.messages import (
    MAILBOXES,
    TYPES,
    EventChanges,
    GetBooking,
    GetEvent,
    Message,
    PaymentReport,
    Reply,
    SyncPayment,
    UpdateEvent,
)
from common.messaging.envelope import Delivery, Envelope, Undecodable, answer, decode, envelope_for
from common.messaging.streams import Entry
from tests.common.examples import EXAMPLES
from tests.common.stage import fields_of

TRACEPARENT = re.compile("00-[0-9a-f]{32}-[0-9a-f]{16}-01")

# The design's table: stream, type, name.
TABLE = {
    "booking.commands": {
        "booking.create": "CreateBooking",
        "booking.create_with_code": "CreateBookingWithCode",
        "booking.cancel": "CancelBooking",
        "booking.request_payment": "RequestPayment",
        "event.create": "CreateEvent",
        "event.update": "UpdateEvent",
        "event.set_image": "SetEventImage",
        "event.create_promo_codes": "CreatePromoCodes",
        "event.update_promo_code": "UpdatePromoCode",
        "event.cancel": "CancelEvent",
        "event.retry_refunds": "RetryRefunds",
        "booking.refund": "RefundBooking",
        "booking.refund_tickets": "RefundTickets",
        "booking.sell": "SellSeats",
        "booking.set_customer": "SetCustomer",
        "booking.resend_mail": "ResendMail",
        "customer.erase": "EraseCustomers",
        "token.revoke": "RevokeTokens",
        "waiting_list.join": "JoinWaitingList",
        "waiting_list.leave": "LeaveWaitingList",
        "guest.keep_recovery_code": "KeepRecoveryCode",
        "guest.use_recovery_code": "UseRecoveryCode",
        "webhook_endpoint.create": "CreateWebhookEndpoint",
        "webhook_endpoint.update": "UpdateWebhookEndpoint",
        "webhook_endpoint.delete": "DeleteWebhookEndpoint",
        "webhook_endpoint.rotate_secret": "RotateWebhookSecret",
        "webhook_endpoint.repeat_deliveries": "RepeatWebhookDeliveries",
        "webhook_delivery.repeat": "RepeatWebhookDelivery",
    },
    "booking.queries": {
        "booking.get": "GetBooking",
        "booking.list": "ListBookings",
        "booking.history": "GetHistory",
        "booking.list_mails": "ListMails",
        "booking.get_attention": "GetAttention",
        "event.list": "ListEvents",
        "event.get": "GetEvent",
        "event.get_image": "GetEventImage",
        "event.quote": "GetQuote",
        "event.list_promo_codes": "ListPromoCodes",
        "token.list_revocations": "ListRevocations",
        "event.history": "GetEventHistory",
        "webhook_endpoint.list": "ListWebhookEndpoints",
        "webhook_endpoint.get": "GetWebhookEndpoint",
        "webhook_delivery.list": "ListWebhookDeliveries",
        "webhook_delivery.get": "GetWebhookDelivery",
        "waiting_list.get": "GetWaitingEntry",
        "waiting_list.list": "ListWaitingEntries",
        "booking.tickets": "GetTickets",
        "ticket.keys": "GetSigningKeys",
    },
    "booking.door": {
        "ticket.check_in": "CheckInTickets",
        "ticket.undo_check_in": "UndoCheckIn",
        "ticket.door": "GetDoor",
    },
    "booking.payments": {
        "payment.intent_created": "PaymentReport",
        "payment.intent_rejected": "PaymentReport",
        "payment.processing": "PaymentReport",
        "payment.action_required": "PaymentReport",
        "payment.declined": "PaymentReport",
        "payment.succeeded": "PaymentReport",
        "payment.canceled": "PaymentReport",
        "payment.refund_updated": "PaymentReport",
        "payment.dispute_updated": "PaymentReport",
    },
    "payment.intents": {"payment.create_intent": "CreatePaymentIntent"},
    "payment.commands": {
        "payment.cancel_intent": "CancelPaymentIntent",
        "payment.sync": "SyncPayment",
        "payment.refund": "RefundPayment",
        "payment.report_applied": "PaymentReportApplied",
        "payment.reports_applied": "PaymentReportsApplied",
        "booking.unknown": "BookingUnknown",
        "payment.close_stray_intent": "CloseStrayIntent",
    },
    "payment.deferred": {
        "payment.create_intent": "CreatePaymentIntent",
        "payment.cancel_intent": "CancelPaymentIntent",
    },
    "payment.queries": {"payment.get_attention": "GetPaymentAttention"},
    "payment.webhooks": {"stripe.event_received": "StripeEventReceived"},
    "notifications": {
        "booking.changed": "BookingChanged",
        "event.changed": "EventChanged",
        "event.withdrawn": "EventWithdrawn",
        "waiting_list.changed": "WaitingEntryChanged",
        "queue.moved": "QueueMoved",
        "token.revoked": "TokensRevoked",
    },
    "": {"reply": "Reply"},
}


def entry(envelope: Envelope, **changes: str | None) -> Entry:
    """An entry as Redis returns it, with `changes` to its fields (None: left out)."""
    fields = {**fields_of(envelope), **changes}
    return Entry(
        b"1-1",
        {
            key.encode(): value.encode() if isinstance(value, str) else value
            for key, value in fields.items()
            if value is not None
        },
    )


def test_the_messages_are_those_of_the_design() -> None:
    found: dict[str, dict[str, str]] = {}
    for name, kind in TYPES.items():
        for stream in kind.streams:
            found.setdefault(stream, {})[name] = kind.__name__
        assert name in kind.types
    assert found == TABLE
    assert set(MAILBOXES) == set(TABLE) - {"notifications", ""}


@pytest.mark.parametrize("kind", TYPES.values(), ids=TYPES.keys())
def test_a_message_comes_out_as_it_went_in(kind: type[Message]) -> None:
    sent = envelope_for(EXAMPLES[kind], uuid4())
    received = decode(sent.stream, entry(sent))
    assert received.envelope == sent
    assert type(received.message) is kind
    assert received.message.model_fields_set == EXAMPLES[kind].model_fields_set


@pytest.mark.parametrize("kind", TYPES.values(), ids=TYPES.keys())
def test_the_examples_leave_no_field_out(kind: type[Message]) -> None:
    assert EXAMPLES[kind].model_fields_set == set(kind.model_fields)


@pytest.mark.parametrize("kind", TYPES.values(), ids=TYPES.keys())
def test_a_field_that_a_newer_process_adds_is_ignored(kind: type[Message]) -> None:
    sent = envelope_for(EXAMPLES[kind], "x")
    data = json.dumps({**json.loads(fields_of(sent)["data"]), "added_later": {"a": 1}})
    assert decode(sent.stream, entry(sent, data=data, attributelater="1")).envelope == sent


@pytest.mark.parametrize("kind", TYPES.values(), ids=TYPES.keys())
def test_what_an_older_process_does_not_send_has_a_default(kind: type[Message]) -> None:
    required = {name for name, field in kind.model_fields.items() if field.is_required()}
    if kind is PaymentReport:
        required = {"booking_id", "version", "status", "amount", "currency"}
    data = {name: value for name, value in json.loads(EXAMPLES[kind].as_json()).items() if name in required}
    sent = envelope_for(EXAMPLES[kind], "x")
    received = decode(sent.stream, entry(sent, data=json.dumps(data))).message
    assert {name: value for name, value in json.loads(received.as_json()).items() if name in required} == data


def test_what_was_not_set_stays_unset() -> None:
    """In an event's changes a value that is None differs from one that was not sent."""
    sent = envelope_for(UpdateEvent(event_id=uuid4(), changes=EventChanges(cancel_until=None)), "x")
    assert decode("s", entry(sent)).message.changes.model_fields_set == {"cancel_until"}


def test_an_entry_has_the_attributes_of_cloudevents() -> None:
    sent = envelope_for(EXAMPLES[PaymentReport], subject := uuid4())
    fields = fields_of(sent)
    assert {name: fields[name] for name in ("specversion", "source", "type", "subject")} == {
        "specversion": "1.0",
        "source": "/test/one",
        "type": "payment.dispute_updated",
        "subject": str(subject),
    }
    assert UUID(str(fields["id"])).version == 7
    assert abs(datetime.fromisoformat(str(fields["time"])) - datetime.now(UTC)) < timedelta(seconds=10)
    assert TRACEPARENT.fullmatch(str(fields["traceparent"]))
    assert set(fields) == {"specversion", "source", "type", "subject", "id", "time", "traceparent", "data"}


def test_a_call_names_the_stream_of_its_reply() -> None:
    call = Envelope(GetEvent(event_id=uuid4()), "booking.queries", "x", "1", "t", "now", "replies:one", "c1")
    (reply,) = answer(decode("booking.queries", entry(call)), {"seats": 7})
    assert (reply.stream, reply.correlationid, reply.traceparent) == ("replies:one", "c1", "t")
    assert decode(reply.stream, entry(reply)).message == Reply(result={"seats": 7})


def test_a_refusal_is_a_reply() -> None:
    call = Envelope(GetEvent(event_id=uuid4()), "booking.queries", "x", "1", "t", "now", "replies:one", "c1")
    (reply,) = answer(decode("booking.queries", entry(call)), NotOnSale("not yet", opens="tomorrow"))
    assert reply.message == Reply(error="not_on_sale", detail="not yet", extra={"opens": "tomorrow"})


def test_what_follows_belongs_to_the_trace_of_its_cause() -> None:
    cause = Delivery(Entry(b"1-1", {}), envelope_for(SyncPayment(booking_id=uuid4()), "x"))
    assert envelope_for(SyncPayment(booking_id=uuid4()), "x", cause=cause).traceparent == cause.envelope.traceparent
    assert envelope_for(SyncPayment(booking_id=uuid4()), "x", traceparent="given").traceparent == "given"


def test_traces_differ() -> None:
    assert new_traceparent() != new_traceparent()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"type": None}, "missing: b'type'"),
        ({"type": "no.such"}, "unknown: no.such"),
        ({"data": None}, "missing: b'data'"),
        ({"subject": None}, "missing: b'subject'"),
        ({"id": None}, "missing: b'id'"),
        ({"data": "{"}, "data: Invalid JSON: EOF while parsing an object at line 1 column 1"),
        ({"data": "[]"}, "data: Input should be an object"),
        ({"data": '{"booking_id": "x", "owner": null}'}, "data.booking_id: Input should be a valid UUID"),
        ({"data": "{}"}, "data.booking_id: Field required; data.owner: Field required"),
    ],
)
def test_the_error_of_an_undecodable_entry_says_what_is_wrong(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(Undecodable) as raised:
        decode("booking.queries", entry(envelope_for(GetBooking(booking_id=uuid4(), owner=None), "x"), **changes))
    assert str(raised.value).startswith(reason)


@pytest.mark.parametrize("data", ['{"client_secret": "pi_1_secret_2"', '{"client_secret": ["pi_1_secret_2"]}'])
def test_the_error_of_wrong_data_does_not_quote_the_values(data: str) -> None:
    with pytest.raises(Undecodable) as raised:
        decode("booking.payments", entry(envelope_for(EXAMPLES[PaymentReport], "x"), data=data))
    assert "secret_2" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_attributes_that_are_no_text_are_refused() -> None:
    good = entry(envelope_for(SyncPayment(booking_id=uuid4()), "x"))
    with pytest.raises(Undecodable, match="not UTF-8"):
        decode("s", Entry(good.id, {**good.fields, b"subject": b"\xff"}))
