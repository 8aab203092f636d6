"""One message of each type, with a value in every field."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from common.contracts import messages as m
from common.contracts.resources import (
    Booking,
    Event,
    Item,
    OperatorsEvent,
    OperatorsTicketType,
    PaymentSummary,
    Progress,
    Refunds,
    Revocation,
    TicketType,
)
from common.contracts.statuses import (
    BookingStatus,
    BoxOfficeMethod,
    CancelReason,
    EventStatus,
    IntentStatus,
    MailKind,
    PaymentMethods,
    PaymentStatus,
)
from common.contracts.values import (
    BoxOfficeSale,
    Customer,
    Dispute,
    EventImage,
    PaymentError,
    PaymentState,
    Refund,
    Rejection,
    Venue,
)
from common.contracts.webhooks import DeliveryStatus

ID = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
OTHER = UUID("01890a5d-ac96-774b-bcce-b302099a8058")
AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
ERROR = PaymentError(code="card_declined", decline_code="insufficient_funds", message="Çok az 💸")
REFUND = Refund(
    id=OTHER,
    amount=500,
    status="failed",
    reason="expired_or_canceled_card",
    pending_reason="processing",
    by="root",
    by_hand=True,
    stripe_refund_id="re_1",
    created_at=AT,
    updated_at=AT,
)
REJECTION = Rejection("amount_too_small", "Amount must be at least $0.50 usd", "amount", "req_1")
CUSTOMER = Customer(name="Zoë Çelik", email="zoe@example.com", locale="tr-TR", phone="+902121234567")
BOOKING = Booking(
    id=ID,
    owner="guest:1",
    event_id=OTHER,
    items=(Item(ticket_type_id=OTHER, quantity=2, unit_amount=1000),),
    amount=2000,
    currency="eur",
    status=BookingStatus.PENDING,
    reason="by_customer",
    payment=PaymentSummary(
        status=PaymentStatus.AWAITING,
        intent_id="pi_1",
        client_secret="pi_1_secret_2",
        last_error=ERROR,
        queue_position=3,
        refund_waiting="insufficient_funds",
        refund_error="charge_disputed",
        attempts=2,
        amount_captured=2000,
        amount_refunded=500,
        refunds=(REFUND,),
        rejection=REJECTION,
    ),
    version=4,
    expires_at=AT,
    hold_until=AT,
    closing="by_customer",
    created_at=AT,
    updated_at=AT,
    customer=CUSTOMER,
)
VENUE = Venue(name="Stadttheater", address="Am Markt 1", postal_code="99423", city="Weimar", country="DE")
CONTENT: dict[str, Any] = {"description": "Ein *Stück*", "category": "Theater", "venue": VENUE}
EVENT = Event(
    id=OTHER,
    name="Ein Fest",
    starts_at=AT,
    currency="eur",
    on_sale=True,
    ticket_types=(TicketType(id=OTHER, name="Stehplatz", unit_amount=1000, capacity=10, available=7),),
    max_per_booking=8,
    cancel_until=AT,
    payment_methods=PaymentMethods.ALL,
    slow_payments_until=AT,
    called_off_at=AT,
    time_zone="Europe/Berlin",
    currency_exponent=2,
    sales_start=AT,
    sales_end=AT,
    sell_after_start=True,
    cancel_after_start=True,
    status=EventStatus.ARCHIVED,
    category="Theater",
    venue=VENUE,
    image=EventImage(url=f"/events/{OTHER}/image?v=00", hash="00", width=4, height=3),
    content_version=2,
    version=2,
)
SEATS = {"id": OTHER, "name": "Stehplatz", "unit_amount": 1000, "capacity": 10, "available": 7}
OPERATORS_EVENT = OperatorsEvent(
    **EVENT.model_dump(exclude={"ticket_types"}),
    ticket_types=(OperatorsTicketType(**SEATS, held=1, sold=2),),
    progress=Progress(
        bookings=9,
        cancelled=8,
        refunds=Refunds(owed=1, under_way=2, succeeded=3, failed=1, disputed=1),
        finished=False,
    ),
)
REPORT: dict[str, Any] = {
    "version": 3,
    "status": IntentStatus.SUCCEEDED,
    "intent_id": "pi_1",
    "client_secret": "pi_1_secret_2",
    "amount": 2000,
    "currency": "eur",
    "amount_captured": 2000,
    "amount_refunded": 500,
    "refund_ids": (OTHER,),
    "refund_pending": True,
    "refund_failed": True,
    "refund_waiting": "insufficient_funds",
    "refund_error": "charge_disputed",
    "refund_failed_amount": 500,
    "refund_failed_whole": True,
    "disputed": True,
    "disputes": (Dispute(id="du_1", status="won"),),
    "attempts": 2,
    "last_attempt_at": AT,
    "last_error": ERROR,
    "refunds": (REFUND,),
    "rejection": REJECTION,
}
COMMAND: dict[str, Any] = {
    "booking_id": ID,
    "intent_id": "pi_1",
    "booking_amount": 2000,
    "booking_currency": "eur",
}
TICKET_TYPE = m.NewTicketType(id=OTHER, name="Stehplatz", unit_amount=1000, capacity=10)
ENDPOINT = m.WebhookEndpointFields(
    url="https://example.com/hooks", description="Buchhaltung", types=("booking.confirmed",), enabled=False
)
CHANGE = m.TicketTypeChange(id=OTHER, name="Sitzplatz", unit_amount=2000, capacity=20)

REQUEST: dict[str, Any] = {
    "request": m.OperatorRequest(subject="root", operation="PATCH /admin/events", key="k", content_hash="0" * 64),
    "if_match": (3,),
}

_ALL: list[m.Message] = [
    m.Reply(result={"a": [1, None]}, error="conflict", detail="no", extra={"since": "today"}),
    m.CreateBooking(
        booking_id=ID,
        owner="guest:1",
        event_id=OTHER,
        items=(m.ItemRequest(ticket_type_id=OTHER, quantity=2),),
        expected_amount=2000,
        address="0123456789abcdef0123456789abcdef",
        customer=CUSTOMER,
    ),
    m.SetCustomer(booking_id=ID, owner="guest:1", customer=CUSTOMER, **REQUEST),
    m.ResendMail(booking_id=ID, mail_id=OTHER, kind=MailKind.REFUND, **REQUEST),
    m.SellSeats(
        booking_id=ID,
        owner="box-office:1",
        event_id=OTHER,
        items=(m.ItemRequest(ticket_type_id=ID, quantity=2),),
        sale=BoxOfficeSale(BoxOfficeMethod.CASH, "Receipt 4711"),
        expected_amount=5000,
        customer=CUSTOMER,
        **REQUEST,
    ),
    m.EraseCustomers(erasure_id=ID, email="zoe@example.com", subject="guest:1", **REQUEST),
    m.CancelBooking(booking_id=ID, owner="guest:1", reason=CancelReason.BY_CUSTOMER, **REQUEST),
    m.RequestPayment(booking_id=ID, owner="guest:1", amount=2000, currency="eur"),
    m.CreateEvent(
        event_id=OTHER,
        name="Ein Fest",
        starts_at=AT,
        currency="eur",
        on_sale=True,
        max_per_booking=8,
        max_per_owner=16,
        cancel_until=AT,
        payment_methods=PaymentMethods.ALL,
        slow_payments_until=AT,
        time_zone="Europe/Berlin",
        sales_start=AT,
        sales_end=AT,
        sell_after_start=True,
        cancel_after_start=True,
        status=EventStatus.DRAFT,
        ticket_types=(TICKET_TYPE,),
        **CONTENT,
        **REQUEST,
    ),
    m.UpdateEvent(
        event_id=OTHER,
        changes=m.EventChanges(
            name="Ein anderes",
            starts_at=AT,
            on_sale=False,
            max_per_booking=4,
            max_per_owner=8,
            cancel_until=AT,
            payment_methods=PaymentMethods.ALL,
            slow_payments_until=AT,
            time_zone="Europe/Berlin",
            sales_start=AT,
            sales_end=AT,
            sell_after_start=True,
            cancel_after_start=True,
            status=EventStatus.ARCHIVED,
            **CONTENT,
        ),
        ticket_types=(CHANGE,),
        **REQUEST,
    ),
    m.SetEventImage(event_id=OTHER, data="UklGRg==", width=4, height=3, **REQUEST),
    m.CancelEvent(event_id=OTHER, **REQUEST),
    m.RetryRefunds(event_id=OTHER, retry_id=ID, **REQUEST),
    m.RefundBooking(booking_id=ID, refund_id=OTHER, amount=500, **REQUEST),
    m.RevokeTokens(claim="jti", value="0190-7", expires_at=AT, **REQUEST),
    m.ListRevocations(before=(AT, ID), limit=20),
    m.TokensRevoked(revocation=Revocation(jti="0190-7", subject="guest:1", revoked_at=AT, expires_at=AT, by="ann")),
    m.KeepRecoveryCode(owner="guest:1", code_hash="0" * 64, made_at=AT),
    m.UseRecoveryCode(code_hash="0" * 64, request_hash="1" * 64),
    m.GetBooking(booking_id=ID, owner="guest:1"),
    m.ListBookings(
        operator=True,
        owner="guest:1",
        status=BookingStatus.PENDING,
        event_id=OTHER,
        before=(AT, ID),
        limit=20,
        payment=PaymentStatus.CREATING,
        created_from=AT,
        created_before=AT,
        reference="HF-7K3M-9Q2T",
        name="zoë",
        email="zoe@example.com",
        intent_id="pi_1",
    ),
    m.ListMails(booking_id=ID, owner="guest:1"),
    m.GetHistory(booking_id=ID, owner="guest:1"),
    m.ListEvents(
        after=(AT, OTHER), limit=20, operator=True, starts_from=AT, versions_only=True, status=EventStatus.DRAFT
    ),
    m.GetEvent(event_id=OTHER, operator=True, details=True),
    m.GetEventImage(event_id=OTHER, known="00"),
    m.GetEventHistory(event_id=OTHER, after=3, limit=20),
    m.CreateWebhookEndpoint(endpoint_id=ID, endpoint=ENDPOINT, **REQUEST),
    m.UpdateWebhookEndpoint(endpoint_id=ID, changes=ENDPOINT, **REQUEST),
    m.DeleteWebhookEndpoint(endpoint_id=ID, **REQUEST),
    m.RotateWebhookSecret(endpoint_id=ID, overlap_seconds=60, **REQUEST),
    m.RepeatWebhookDeliveries(endpoint_id=ID, since=AT, **REQUEST),
    m.RepeatWebhookDelivery(delivery_id=ID, **REQUEST),
    m.ListWebhookEndpoints(),
    m.GetWebhookEndpoint(endpoint_id=ID),
    m.ListWebhookDeliveries(endpoint_id=ID, status=DeliveryStatus.FAILED, before=(AT, OTHER), limit=20),
    m.GetWebhookDelivery(delivery_id=ID),
    m.PaymentReport(booking_id=ID, payment=PaymentState(**REPORT)),
    m.CreatePaymentIntent(
        booking_id=ID,
        event_id=OTHER,
        amount=2000,
        currency="eur",
        payment_methods=PaymentMethods.INSTANT,
        description="HF-7K3M-9Q2T: Ein Fest, 2 × Stehplatz",
        receipt_email="zoe@example.com",
    ),
    m.CancelPaymentIntent(**COMMAND),
    m.SyncPayment(**COMMAND, decided=True, by="root"),
    m.RefundPayment(**COMMAND, refund_id=OTHER, amount=500, whole=True, by="root"),
    m.PaymentReportApplied(booking_id=ID, version=3, conflict=True),
    m.PaymentReportsApplied(reports=(m.PaymentReportApplied(booking_id=ID, version=3),)),
    m.BookingUnknown(booking_id=ID, version=3, intent_id="pi_1", amount=2000, currency="eur", amount_captured=2000),
    m.CloseStrayIntent(booking_id=ID, intent_id="pi_1"),
    m.StripeEventReceived(payload='{"id": "evt_1", "object": "event"}'),
    m.BookingChanged(owner="guest:1", booking=BOOKING),
    m.EventChanged(event=EVENT, operators=OPERATORS_EVENT),
    m.EventWithdrawn(event_id=OTHER, version=3),
    m.QueueMoved(places=((0, AT, ID), (40, AT, OTHER)), deferred=((41, AT, ID),), total=42, interval_ms=1000),
]
EXAMPLES: dict[type[m.Message], m.Message] = {type(each): each for each in _ALL}
