"""The tables of the database `booking`. `state.py` says what columns mean, `repository.py` where the SQL is.

The checks are the promises that the database itself keeps: seats are never oversold, no booking waits without a
retry time, and none is confirmed for another amount than its own.
"""

from __future__ import annotations

from tortoise import fields
from tortoise.fields import SqlDefault
from tortoise.indexes import Index
from tortoise.migrations.constraints import CheckConstraint
from tortoise.models import Model

from booking.buyers import UNLIMITED
from common.contracts.statuses import (
    BookingStatus,
    ChangeKind,
    EventStatus,
    MailKind,
    MailStatus,
    PaymentMethods,
    PaymentStatus,
)
from common.contracts.values import (
    CATEGORY_MAX,
    DESCRIPTION_MAX,
    EMAIL_MAX,
    IMAGE_BYTES_MAX,
    INTENT_DESCRIPTION_MAX,
    PROMO_CODE_MAX,
)
from common.contracts.webhooks import URL_MAX, DeliveryStatus
from common.postgres.sql import one_of


class Installation(Model):
    """Which Holdfast this is: one row, the same id in both databases, written by `holdfast migrate`."""

    name = fields.CharField(max_length=16, primary_key=True)
    id = fields.UUIDField()

    class Meta:
        table = "installation"
        constraints = (CheckConstraint(name="installation_one", check="name = 'holdfast'"),)


class Event(Model):
    id = fields.UUIDField(primary_key=True)
    name = fields.CharField(max_length=200)
    starts_at = fields.DatetimeField()
    currency = fields.CharField(max_length=3)
    on_sale = fields.BooleanField()
    max_per_booking = fields.IntField()
    max_per_owner = fields.IntField(null=True)
    cancel_until = fields.DatetimeField(null=True)
    time_zone = fields.CharField(max_length=64, db_default="UTC")
    sales_start = fields.DatetimeField(null=True)
    sales_end = fields.DatetimeField(null=True)
    sell_after_start = fields.BooleanField(db_default=False)
    cancel_after_start = fields.BooleanField(db_default=False)
    payment_methods = fields.CharField(max_length=16, db_default=PaymentMethods.INSTANT.value)
    slow_payments_until = fields.DatetimeField(null=True)
    called_off_at = fields.DatetimeField(null=True)
    # The retry time of a cancelled event: not null while some of its bookings are still to be cancelled.
    settle_after = fields.DatetimeField(null=True)
    # A trigger keeps it from becoming a draft while there are bookings.
    status = fields.CharField(max_length=16, db_default=EventStatus.PUBLISHED.value)
    content_version = fields.IntField(db_default=0)
    version = fields.IntField(db_default=1)
    # Of the content that it was created with: the same Idempotency-Key with other content is refused.
    content_hash = fields.CharField(max_length=64)
    created_at = fields.DatetimeField()

    class Meta:
        table = "events"
        indexes = (Index(fields=["starts_at", "id"], name="events_by_start"),)
        constraints = (
            CheckConstraint(name="events_max_per_booking", check="max_per_booking > 0"),
            CheckConstraint(name="events_max_per_owner", check="max_per_owner > 0"),
            CheckConstraint(name="events_called_off", check="called_off_at IS NULL OR NOT on_sale"),
            CheckConstraint(name="events_sales_end", check="sell_after_start OR sales_end <= starts_at"),
            CheckConstraint(
                name="events_sales_start",
                check="sales_start < "
                "coalesce(sales_end, CASE WHEN sell_after_start THEN 'infinity' ELSE starts_at END)",
            ),
            CheckConstraint(name="events_cancel_until", check="cancel_after_start OR cancel_until <= starts_at"),
            CheckConstraint(name="events_payment_methods", check=one_of("payment_methods", PaymentMethods)),
            CheckConstraint(name="events_status", check=one_of("status", EventStatus)),
        )


class EventContent(Model):
    """What an event shows beside its terms and its image. No decision reads it, and it is read only to be shown."""

    event_id = fields.UUIDField(primary_key=True)
    # Markdown.
    description = fields.TextField(null=True)
    # The operator's own label.
    category = fields.CharField(max_length=CATEGORY_MAX, null=True)
    venue: fields.JSONField[object] = fields.JSONField(null=True)

    class Meta:
        table = "event_contents"
        constraints = (
            CheckConstraint(
                name="event_contents_description",
                check=f"char_length(description) BETWEEN 1 AND {DESCRIPTION_MAX}",
            ),
        )


class EventImage(Model):
    """The image of an event: a WebP, as a gateway has made it of what an operator sent."""

    event_id = fields.UUIDField(primary_key=True)
    # Of `data`.
    hash = fields.CharField(max_length=32)
    # In pixels.
    width = fields.IntField()
    # In pixels.
    height = fields.IntField()
    data = fields.BinaryField()

    class Meta:
        table = "event_images"
        constraints = (
            CheckConstraint(name="event_images_size", check=f"octet_length(data) <= {IMAGE_BYTES_MAX}"),
            CheckConstraint(name="event_images_webp", check="substring(data FROM 9 FOR 4) = 'WEBP'::bytea"),
            CheckConstraint(name="event_images_pixels", check="width > 0 AND height > 0"),
        )


class TicketType(Model):
    """`held` and `sold` count seats: of the pending, and of the confirmed bookings. `version` grows by one with
    each change, so that the sum over an event orders snapshots of its availability."""

    id = fields.UUIDField(primary_key=True)
    event: fields.ForeignKeyRelation[Event] = fields.ForeignKeyField(
        "booking.Event", related_name="ticket_types", on_delete=fields.RESTRICT
    )
    position = fields.IntField()
    name = fields.CharField(max_length=200)
    unit_amount = fields.BigIntField()
    capacity = fields.IntField()
    held = fields.IntField(db_default=0)
    sold = fields.IntField(db_default=0)
    version = fields.IntField(db_default=0)
    # Those alone see it, and can book it, who have a promo code that unlocks it.
    hidden = fields.BooleanField(db_default=False)
    # What it adds to the event's version meanwhile.
    version_when_hidden = fields.IntField(db_default=0)
    # Triggers renew it with each change of the event's terms, whatever process makes it: a process that sells from
    # memory compares it.
    terms_token = fields.UUIDField(db_default=SqlDefault("gen_random_uuid()"))
    # The seats that the entries of its waiting list want, and those of the held ones that are kept for them.
    waiting = fields.IntField(db_default=0)
    reserved = fields.IntField(db_default=0)

    class Meta:
        table = "ticket_types"
        indexes = (Index(fields=["event_id", "position"], name="ticket_types_by_event"),)
        constraints = (
            CheckConstraint(name="ticket_types_amount", check="unit_amount >= 0"),
            CheckConstraint(name="ticket_types_held", check="held >= 0"),
            CheckConstraint(name="ticket_types_sold", check="sold >= 0"),
            CheckConstraint(name="ticket_types_not_oversold", check="held + sold <= capacity"),
            CheckConstraint(
                name="ticket_types_reserved", check="reserved >= 0 AND reserved <= waiting AND reserved <= held"
            ),
        )


class Booking(Model):
    id = fields.UUIDField(primary_key=True)
    owner = fields.CharField(max_length=255)
    # No foreign key: it would lock the event's row for each booking, and events are never deleted.
    event_id = fields.UUIDField()
    items: fields.JSONField[object] = fields.JSONField()
    amount = fields.BigIntField()
    currency = fields.CharField(max_length=3)
    status = fields.CharField(max_length=16)
    reason = fields.CharField(max_length=32, null=True)
    payment = fields.CharField(max_length=32)
    intent_id = fields.CharField(max_length=255, null=True)
    client_secret = fields.CharField(max_length=255, null=True)
    last_error: fields.JSONField[object] = fields.JSONField(null=True)
    # Those of its charge, as payment reported them last; only operators see them.
    disputes: fields.JSONField[object] = fields.JSONField(null=True)
    attempts = fields.IntField(db_default=0)
    last_attempt_at = fields.DatetimeField(null=True)
    payment_version = fields.IntField(db_default=0)
    payment_digest = fields.CharField(max_length=16, null=True)
    amount_captured = fields.BigIntField(db_default=0)
    amount_refunded = fields.BigIntField(db_default=0)
    closing = fields.CharField(max_length=32, null=True)
    # No constraint ties it to the status yet: processes of the release before write rows without changing it.
    intent_to_cancel = fields.BooleanField(db_default=False)
    refund_id = fields.UUIDField(null=True)
    refund_amount = fields.BigIntField(null=True)
    refund_whole = fields.BooleanField(null=True)
    refund_waiting = fields.CharField(max_length=255, null=True)
    refund_error = fields.CharField(max_length=255, null=True)
    refund_failed_amount = fields.BigIntField(null=True)
    refund_failed_whole = fields.BooleanField(db_default=False)
    refund_retry_id = fields.UUIDField(null=True)
    refund_by = fields.CharField(max_length=255, null=True)
    # Only operators see these two.
    refunds: fields.JSONField[object] = fields.JSONField(null=True)
    rejection: fields.JSONField[object] = fields.JSONField(null=True)
    # Bookings from before there was a choice have `all`.
    payment_methods = fields.CharField(max_length=16, db_default=PaymentMethods.ALL.value)
    version = fields.IntField(db_default=1)
    expires_at = fields.DatetimeField(null=True)
    # Once it is set, the database refuses to change it.
    hold_until = fields.DatetimeField(null=True)
    settle_after = fields.DatetimeField(null=True)
    settle_attempts = fields.IntField(db_default=0)
    # A keyed hash of a guest's address, forgotten after days.
    address = fields.CharField(max_length=32, null=True)
    # As what the rows of its buyers count it; null: they do not.
    counted = fields.SmallIntField(null=True)
    # What it asks of Stripe waits behind what others ask: its owner has asked for more than its share.
    deferred = fields.BooleanField(db_default=False)
    # Those that a refund has cancelled: ticket type and number. Null: none.
    cancelled_seats: fields.JSONField[object] = fields.JSONField(null=True)
    # Whom it is for: name, email, locale and phone. Erased when they ask for it.
    customer: fields.JSONField[object] = fields.JSONField(null=True)
    customer_digest = fields.CharField(max_length=16, null=True)
    description = fields.CharField(max_length=INTENT_DESCRIPTION_MAX, null=True)
    # How an operator sold it, without Stripe: method and note.
    box_office: fields.JSONField[object] = fields.JSONField(null=True)
    # The promo code that it was made with, as its customer has written it; what that takes off is in `items`.
    code_id = fields.UUIDField(null=True)
    code = fields.CharField(max_length=PROMO_CODE_MAX, null=True)
    # As what the code's row counts it; null: it was made without one.
    code_counted = fields.SmallIntField(null=True)
    # The first version whose change is still to be announced.
    announce_from = fields.IntField(null=True)
    created_at = fields.DatetimeField()
    updated_at = fields.DatetimeField()

    class Meta:
        table = "bookings"
        indexes = (
            Index(fields=["owner", "created_at", "id"], name="bookings_by_owner"),
            Index(fields=["event_id", "created_at", "id"], name="bookings_by_event"),
            Index(fields=["created_at", "id"], name="bookings_by_time"),
        )
        constraints = (
            CheckConstraint(name="bookings_status", check=one_of("status", BookingStatus)),
            CheckConstraint(name="bookings_payment", check=one_of("payment", PaymentStatus)),
            CheckConstraint(name="bookings_secret", check="client_secret IS NULL OR status = 'pending'"),
            CheckConstraint(name="bookings_amount", check="amount >= 0"),
            CheckConstraint(name="bookings_payment_methods", check=one_of("payment_methods", PaymentMethods)),
            CheckConstraint(name="bookings_hold", check="(status = 'pending') = (expires_at IS NOT NULL)"),
            CheckConstraint(
                name="bookings_never_stuck",
                check="settle_after IS NOT NULL OR (status <> 'pending' AND refund_amount IS NULL)",
            ),
            CheckConstraint(name="bookings_paid", check="status <> 'confirmed' OR amount_captured = amount"),
            CheckConstraint(
                name="bookings_refunds",
                check="amount_refunded >= 0 AND amount_refunded <= amount_captured"
                " AND coalesce(refund_amount, 0) <= amount_captured - amount_refunded",
            ),
            # Its money never came by Stripe, and never goes back by it.
            CheckConstraint(
                name="bookings_box_office",
                check="box_office IS NULL OR (intent_id IS NULL AND refund_amount IS NULL AND"
                f" {one_of('status', ('confirmed', 'cancelled'))})",
            ),
        )


class Buyer(Model):
    """What one buyer has taken of an event: an owner, or all guests of an address."""

    # The event's id, `owner` or `address`, and the subject or the address' keyed hash.
    key = fields.CharField(max_length=300, primary_key=True)
    event_id = fields.UUIDField()
    # Of pending and confirmed bookings; of an address none are counted.
    seats = fields.IntField()
    # Pending bookings, and confirmed ones without a price.
    holds = fields.IntField()
    # The limits by which the last booking was made.
    seats_max = fields.IntField(db_default=UNLIMITED)
    holds_max = fields.IntField(db_default=UNLIMITED)
    # Holds that were left to expire since the last one that was paid, and until when their owner may not book.
    lapsed = fields.IntField(db_default=0)
    paused_until = fields.DatetimeField(null=True)
    updated_at = fields.DatetimeField()

    class Meta:
        table = "buyers"
        constraints = (
            CheckConstraint(name="buyers_seats", check="seats >= 0 AND seats <= seats_max"),
            CheckConstraint(name="buyers_holds", check="holds >= 0 AND holds <= holds_max"),
        )


class PromoCode(Model):
    """What customers enter to pay less, or to see hidden ticket types.

    A use is a booking: `held` are those of pending bookings, and `used` of confirmed ones."""

    id = fields.UUIDField(primary_key=True)
    event_id = fields.UUIDField()
    code = fields.CharField(max_length=PROMO_CODE_MAX)
    # `code` without case, spaces and hyphens.
    code_key = fields.CharField(max_length=PROMO_CODE_MAX)
    percent_off = fields.IntField(null=True)
    # Off each ticket, in the minor unit of the event's currency.
    amount_off = fields.BigIntField(null=True)
    # The ids of those whose tickets cost less; empty: all.
    ticket_types: fields.JSONField[object] = fields.JSONField()
    # The ids of the hidden ones that are there for those who have the code.
    unlocks: fields.JSONField[object] = fields.JSONField()
    uses_max = fields.IntField(null=True)
    uses_per_owner = fields.IntField(null=True)
    valid_from = fields.DatetimeField(null=True)
    valid_until = fields.DatetimeField(null=True)
    active = fields.BooleanField(db_default=True)
    held = fields.IntField(db_default=0)
    used = fields.IntField(db_default=0)
    # Grows with each change of its terms.
    version = fields.IntField(db_default=1)
    created_at = fields.DatetimeField()

    class Meta:
        table = "promo_codes"
        unique_together = (("event_id", "code_key"),)
        constraints = (
            CheckConstraint(name="promo_codes_percent", check="percent_off BETWEEN 1 AND 100"),
            CheckConstraint(name="promo_codes_amount", check="amount_off > 0"),
            CheckConstraint(name="promo_codes_discount", check="num_nonnulls(percent_off, amount_off) <= 1"),
            CheckConstraint(name="promo_codes_uses", check="held >= 0 AND used >= 0 AND held + used <= uses_max"),
            CheckConstraint(name="promo_codes_uses_per_owner", check="uses_per_owner > 0"),
            CheckConstraint(name="promo_codes_valid", check="valid_from < valid_until"),
        )


class PromoCodeOwner(Model):
    """How many uses of a promo code one owner has, held and used ones."""

    # The code's id and the subject.
    key = fields.CharField(max_length=300, primary_key=True)
    code_id = fields.UUIDField()
    uses = fields.IntField()
    # The limit by which the last booking was made.
    uses_max = fields.IntField()

    class Meta:
        table = "promo_code_owners"
        constraints = (CheckConstraint(name="promo_code_owners_uses", check="uses >= 0 AND uses <= uses_max"),)


class WaitingEntry(Model):
    """Somebody waits for seats of a sold-out ticket type."""

    # The place in the line.
    number = fields.BigIntField(primary_key=True, generated=True)
    # Made from the owner's Idempotency-Key: a repeated request makes no second entry.
    id = fields.UUIDField(unique=True)
    event_id = fields.UUIDField()
    ticket_type_id = fields.UUIDField()
    owner = fields.CharField(max_length=255)
    quantity = fields.IntField()
    # What became of an offer is read from its booking.
    status = fields.CharField(max_length=16)
    # Why it was closed without an offer.
    reason = fields.CharField(max_length=32, null=True)
    version = fields.IntField(db_default=1)
    # Whom the offered booking is for. Erased when they ask for it.
    customer: fields.JSONField[object] = fields.JSONField(null=True)
    # A keyed hash of a guest's address, forgotten after days.
    address = fields.CharField(max_length=32, null=True)
    # The booking that was offered.
    booking_id = fields.UUIDField(null=True)
    # When its owner is notified once more of what became of it.
    notify_after = fields.DatetimeField(null=True)
    joined_at = fields.DatetimeField()
    updated_at = fields.DatetimeField()

    class Meta:
        table = "waiting_entries"
        indexes = (
            Index(fields=["owner", "number"], name="waiting_entries_by_owner"),
            Index(fields=["event_id", "number"], name="waiting_entries_by_event"),
        )
        constraints = (
            CheckConstraint(
                name="waiting_entries_status", check=one_of("status", ("waiting", "offered", "left", "closed"))
            ),
            CheckConstraint(name="waiting_entries_quantity", check="quantity > 0"),
            CheckConstraint(
                name="waiting_entries_offered", check="(status = 'offered') = (booking_id IS NOT NULL)"
            ),
            CheckConstraint(name="waiting_entries_closed", check="(status = 'closed') = (reason IS NOT NULL)"),
        )


class RefundRetry(Model):
    """An operator wants all failed refunds of an event tried again. Bookings that were tried again by it have its
    id."""

    id = fields.UUIDField(primary_key=True)
    event_id = fields.UUIDField()
    asked_at = fields.DatetimeField()
    by = fields.CharField(max_length=255, null=True)
    # Its retry time: not null while some bookings may still be retried by it.
    settle_after = fields.DatetimeField(null=True)

    class Meta:
        table = "refund_retries"
        indexes = (Index(fields=["event_id", "asked_at"], name="refund_retries_by_event"),)


class BookingTransition(Model):
    """One change of a booking, and the message that caused it; written with the change."""

    id = fields.BigIntField(primary_key=True, generated=True)
    booking_id = fields.UUIDField()
    version = fields.IntField()
    from_status = fields.CharField(max_length=16, null=True)
    to_status = fields.CharField(max_length=16)
    reason = fields.CharField(max_length=32, null=True)
    payment_status = fields.CharField(max_length=32)
    cause_type = fields.CharField(max_length=64)
    cause_id = fields.CharField(max_length=255)
    by = fields.CharField(max_length=255, null=True)
    at = fields.DatetimeField()
    # What had gone back by then; null: nothing, or a process of the release before has written the row.
    amount_refunded = fields.BigIntField(null=True)

    class Meta:
        table = "booking_transitions"
        unique_together = (("booking_id", "version"),)


class Revocation(Model):
    """Tokens that are refused: one by its id, or those that a subject had when they were revoked."""

    id = fields.UUIDField(primary_key=True, db_default=SqlDefault("gen_random_uuid()"))
    # By which claim the tokens are known: `jti` or `sub`.
    claim = fields.CharField(max_length=3)
    value = fields.CharField(max_length=255)
    revoked_at = fields.DatetimeField()
    # When the tokens end by themselves; some time after that the row is deleted.
    expires_at = fields.DatetimeField()
    # The subject of the operator who asked for it last.
    by = fields.CharField(max_length=255, null=True)

    class Meta:
        table = "revoked_tokens"
        unique_together = (("claim", "value"),)
        indexes = (
            Index(fields=["revoked_at", "id"], name="revoked_tokens_by_time"),
            Index(fields=["expires_at"], name="revoked_tokens_by_end"),
        )
        constraints = (CheckConstraint(name="revoked_tokens_claim", check=one_of("claim", ("jti", "sub"))),)


class RecoveryCode(Model):
    """By what a guest comes back, once: the newest code's hash, until it expires."""

    owner = fields.CharField(max_length=255, primary_key=True)
    # SHA-256 of the code.
    code_hash = fields.CharField(max_length=64, unique=True)
    made_at = fields.DatetimeField()
    expires_at = fields.DatetimeField()
    used_at = fields.DatetimeField(null=True)
    used_by = fields.CharField(max_length=64, null=True)

    class Meta:
        table = "recovery_codes"
        indexes = (Index(fields=["expires_at"], name="recovery_codes_by_end"),)
        constraints = (CheckConstraint(name="recovery_codes_used", check="(used_at IS NULL) = (used_by IS NULL)"),)


class CheckIn(Model):
    """Somebody was let in by a ticket. Of the rows of a ticket one at most is not undone."""

    # Made from the scanner's id of it and the ticket: however often it comes, it is one row.
    id = fields.UUIDField(primary_key=True)
    ticket_id = fields.UUIDField()
    # No foreign key: bookings are never deleted, and each check-in locks its booking anyway.
    booking_id = fields.UUIDField()
    event_id = fields.UUIDField()
    ticket_type_id = fields.UUIDField()
    number = fields.IntField()
    # The booking's version then, by which it was confirmed.
    booking_version = fields.IntField()
    at = fields.DatetimeField()
    recorded_at = fields.DatetimeField()
    gate = fields.CharField(max_length=200, null=True)
    device = fields.CharField(max_length=200, null=True)
    by = fields.CharField(max_length=255)
    undone_at = fields.DatetimeField(null=True)
    undone_by = fields.CharField(max_length=255, null=True)

    class Meta:
        table = "check_ins"
        constraints = (
            CheckConstraint(name="check_ins_number", check="number > 0"),
            CheckConstraint(name="check_ins_undone", check="(undone_at IS NULL) = (undone_by IS NULL)"),
        )


class DoorChange(Model):
    """What scanners must hear of: a ticket was used or is valid again, or a booking's tickets were cancelled."""

    id = fields.BigIntField(primary_key=True, generated=True)
    event_id = fields.UUIDField()
    booking_id = fields.UUIDField()
    # Null: all tickets of the booking.
    ticket_id = fields.UUIDField(null=True)
    # The transaction that made the change. Those below the oldest that is under way are all there: by it scanners
    # read the changes in an order in which none can be missed.
    transaction = fields.BigIntField(db_default=SqlDefault("(pg_current_xact_id()::text::bigint)"))

    class Meta:
        table = "door_changes"
        indexes = (Index(fields=["event_id", "transaction", "id"], name="door_changes_by_event"),)


class EventChange(Model):
    """One change of an event and its ticket types, with who made it. It is written with the change."""

    id = fields.BigIntField(primary_key=True, generated=True)
    event_id = fields.UUIDField()
    version = fields.IntField()
    what = fields.CharField(max_length=16)
    # What has another value since, with both values of each. Null where a trigger has written the row, because a
    # process of the release before, or somebody by hand, has changed the event.
    changes: fields.JSONField[object] = fields.JSONField(null=True)
    by = fields.CharField(max_length=255, null=True)
    at = fields.DatetimeField()
    # Whether webhooks are still to be made of it: of each new row, also where an older process writes it.
    to_announce = fields.BooleanField(null=True, db_default=True)

    class Meta:
        table = "event_changes"
        unique_together = (("event_id", "version"),)
        constraints = (CheckConstraint(name="event_changes_what", check=one_of("what", ChangeKind)),)


class Erasure(Model):
    """Somebody has asked to be forgotten, by email or subject. The row is deleted when nothing is left of them."""

    id = fields.UUIDField(primary_key=True)
    email = fields.CharField(max_length=EMAIL_MAX, null=True)
    subject = fields.CharField(max_length=255, null=True)
    asked_at = fields.DatetimeField()
    by = fields.CharField(max_length=255, null=True)
    # Its retry time.
    settle_after = fields.DatetimeField(null=True)

    class Meta:
        table = "erasures"
        constraints = (CheckConstraint(name="erasures_one", check="(email IS NULL) <> (subject IS NULL)"),)


class Mail(Model):
    """One mail that is owed, and what became of it. Rows are deleted after `MAIL_KEPT_DAYS`."""

    # The announcement's; of a mail that is sent again, made from the operator's key. Its Message-ID has it.
    id = fields.UUIDField(primary_key=True)
    booking_id = fields.UUIDField(null=True)
    # Operators are told that it has failed for days.
    endpoint_id = fields.UUIDField(null=True)
    kind = fields.CharField(max_length=16)
    status = fields.CharField(max_length=16)
    version = fields.IntField()
    # What the change has refunded.
    amount = fields.BigIntField(null=True)
    # To whom it was tried to be sent last. Erased when they ask for it.
    recipient = fields.CharField(max_length=EMAIL_MAX, null=True)
    attempts = fields.IntField(db_default=0)
    # Its retry time.
    send_after = fields.DatetimeField(null=True)
    error = fields.CharField(max_length=255, null=True)
    by = fields.CharField(max_length=255, null=True)
    made_at = fields.DatetimeField()
    tried_at = fields.DatetimeField(null=True)
    ended_at = fields.DatetimeField(null=True)

    class Meta:
        table = "mails"
        indexes = (
            Index(fields=["booking_id", "made_at"], name="mails_by_booking"),
            Index(fields=["made_at"], name="mails_by_age"),
        )
        constraints = (
            CheckConstraint(name="mails_kind", check=one_of("kind", MailKind)),
            CheckConstraint(name="mails_status", check=one_of("status", MailStatus)),
            CheckConstraint(name="mails_about", check="(booking_id IS NULL) <> (endpoint_id IS NULL)"),
            CheckConstraint(
                name="mails_never_stuck",
                check="(status = 'owed') = (send_after IS NOT NULL) AND (status = 'owed') = (ended_at IS NULL)",
            ),
        )


class OperatorRequest(Model):
    """What an operator asked for and was answered, written with what was done.

    One row for each subject, operation and key: a repeated request is answered from it."""

    id = fields.BigIntField(primary_key=True, generated=True)
    subject = fields.CharField(max_length=255)
    # Method and path, with the id in it.
    operation = fields.CharField(max_length=255)
    # The Idempotency-Key or, of a request without one, its message's id, so that it is known when delivered again.
    key = fields.CharField(max_length=255)
    content_hash = fields.CharField(max_length=64)
    # The JSON of the answer, as text: a repeated request gets exactly this.
    answer = fields.TextField()
    answered_at = fields.DatetimeField()

    class Meta:
        table = "operator_requests"
        unique_together = (("subject", "operation", "key"),)
        indexes = (Index(fields=["answered_at"], name="operator_requests_by_age"),)


class WebhookEndpoint(Model):
    """A URL to which webhooks are sent."""

    id = fields.UUIDField(primary_key=True)
    url = fields.CharField(max_length=URL_MAX)
    description = fields.CharField(max_length=200, null=True)
    # What it gets; null: all.
    types: fields.JSONField[object] = fields.JSONField(null=True)
    # By which its requests are signed, oldest first.
    secrets: fields.JSONField[object] = fields.JSONField()
    disabled_at = fields.DatetimeField(null=True)
    disabled_reason = fields.CharField(max_length=16, null=True)
    # Since when every attempt has failed.
    failing_since = fields.DatetimeField(null=True)
    version = fields.IntField(db_default=1)
    created_at = fields.DatetimeField()
    updated_at = fields.DatetimeField()
    # It is deleted for operators: the row goes after its deliveries.
    deleted_at = fields.DatetimeField(null=True)

    class Meta:
        table = "webhook_endpoints"
        constraints = (
            CheckConstraint(
                name="webhook_endpoints_disabled", check="(disabled_at IS NULL) = (disabled_reason IS NULL)"
            ),
        )


class WebhookDelivery(Model):
    """One change that one endpoint is to receive: what is sent is made from the booking or event as it is then."""

    id = fields.UUIDField(primary_key=True, db_default=SqlDefault("gen_random_uuid()"))
    endpoint_id = fields.UUIDField()
    # The `webhook-id`: the same for each endpoint.
    message_id = fields.UUIDField()
    type = fields.CharField(max_length=64)
    # The booking or event, and its version since the change.
    resource_id = fields.UUIDField()
    version = fields.IntField()
    happened_at = fields.DatetimeField()
    made_at = fields.DatetimeField()
    status = fields.CharField(max_length=16, db_default=DeliveryStatus.PENDING.value)
    # Its retry time: not null while it is pending.
    due_at = fields.DatetimeField(null=True)
    # From then on an attempt that fails is the last one.
    give_up_at = fields.DatetimeField()
    finished_at = fields.DatetimeField(null=True)
    attempts = fields.IntField(db_default=0)
    last_attempt_at = fields.DatetimeField(null=True)
    response_status = fields.IntField(null=True)
    response = fields.TextField(null=True)
    error = fields.TextField(null=True)

    class Meta:
        table = "webhook_deliveries"
        unique_together = (("endpoint_id", "message_id"),)
        indexes = (Index(fields=["endpoint_id", "made_at", "id"], name="webhook_deliveries_by_time"),)
        constraints = (
            CheckConstraint(name="webhook_deliveries_status", check=one_of("status", DeliveryStatus)),
            CheckConstraint(
                name="webhook_deliveries_pending",
                check="(status = 'pending') = (due_at IS NOT NULL) AND num_nonnulls(due_at, finished_at) = 1",
            ),
        )
