"""The tables of the database `payment`. What the columns mean is in `state.py`, `refunds.py` and `disputes.py`; the
SQL is in `payment_rows.py` and `stray_rows.py`."""

from __future__ import annotations

from tortoise import fields
from tortoise.indexes import Index
from tortoise.migrations.constraints import CheckConstraint
from tortoise.models import Model

from common.contracts.statuses import IntentStatus, PaymentMethods
from common.contracts.values import EMAIL_MAX, INTENT_DESCRIPTION_MAX
from common.postgres.sql import one_of


class Installation(Model):
    """Which Holdfast this is, and with which account at Stripe: one row, written by `holdfast migrate`."""

    name = fields.CharField(max_length=16, primary_key=True)
    id = fields.UUIDField()
    # The account to which the secret key belonged at the first call.
    stripe_account = fields.CharField(max_length=255, null=True)

    class Meta:
        table = "installation"
        constraints = (CheckConstraint(name="installation_one", check="name = 'holdfast'"),)


class Payment(Model):
    """One payment for each booking: what is known of Stripe's PaymentIntent, and what the booking knows."""

    booking_id = fields.UUIDField(primary_key=True)
    # Null if the booking was cancelled before its intent was asked for.
    event_id = fields.UUIDField(null=True)
    amount = fields.BigIntField()
    currency = fields.CharField(max_length=3)
    # Part of the request for the intent: a retry must send the same. Rows from before this column: all.
    payment_methods = fields.CharField(max_length=16, db_default=PaymentMethods.ALL.value)
    description = fields.CharField(max_length=INTENT_DESCRIPTION_MAX, null=True)
    receipt_email = fields.CharField(max_length=EMAIL_MAX, null=True)
    status = fields.CharField(max_length=32)
    intent_id = fields.CharField(max_length=255, null=True, unique=True)
    client_secret = fields.CharField(max_length=255, null=True)
    charge_id = fields.CharField(max_length=255, null=True)
    amount_captured = fields.BigIntField(db_default=0)
    amount_refunded = fields.BigIntField(db_default=0)
    last_error: fields.JSONField[object] = fields.JSONField(null=True)
    # Why Stripe refused to make the intent: more than `last_error` says, which customers see.
    rejection: fields.JSONField[object] = fields.JSONField(null=True)
    failed_attempts = fields.IntField(db_default=0)
    last_attempt_at = fields.DatetimeField(null=True)
    dispute_status = fields.CharField(max_length=64, null=True)
    # Only processes of the release before this one write it; the next release drops it.
    dispute_seen_at = fields.DatetimeField(null=True)
    cancel_requested = fields.BooleanField(db_default=False)
    # Not read any more; the default is for processes of the release before. The next release drops it.
    last_change = fields.CharField(max_length=16, db_default="intent")
    seen_at = fields.DatetimeField(null=True)
    asked_at = fields.DatetimeField()
    key_number = fields.IntField(db_default=1)
    # Not null while a request to Stripe has no result yet.
    drive_after = fields.DatetimeField(null=True)
    drive_attempts = fields.IntField(db_default=0)
    # What Stripe is asked for it waits behind others' calls, and is asked again so.
    deferred = fields.BooleanField(db_default=False)
    # Conflicts so far: reasons to fetch Stripe's own object; `look_after` is set until that is done.
    doubts = fields.IntField(db_default=0)
    look_after = fields.DatetimeField(null=True)
    look_attempts = fields.IntField(db_default=0)
    version = fields.IntField(db_default=0)
    reported_version = fields.IntField(db_default=0)
    # Not null while booking has not acknowledged the newest version.
    report_after = fields.DatetimeField(null=True)
    report_attempts = fields.IntField(db_default=0)
    # When booking first answered that it has no such booking; null once it has it again.
    orphaned_at = fields.DatetimeField(null=True)
    # When the money of an orphan is refunded, unless its booking is back by then. Null otherwise.
    return_after = fields.DatetimeField(null=True)
    # An operator has decided: the money is refunded at once, however many orphans there are.
    return_decided = fields.BooleanField(db_default=False)
    # Who has decided that.
    return_decided_by = fields.CharField(max_length=255, null=True)
    created_at = fields.DatetimeField()
    updated_at = fields.DatetimeField()

    class Meta:
        table = "payments"
        constraints = (
            CheckConstraint(name="payments_status", check=one_of("status", IntentStatus)),
            CheckConstraint(name="payments_methods", check=one_of("payment_methods", PaymentMethods)),
            CheckConstraint(name="payments_change", check=one_of("last_change", ("intent", "refund", "dispute"))),
            CheckConstraint(
                name="payments_amounts",
                check="amount >= 0 AND amount_refunded >= 0 AND amount_refunded <= amount_captured",
            ),
            CheckConstraint(
                name="payments_intent_known",
                check=f"intent_id IS NOT NULL OR {one_of('status', ('creating', 'canceled', 'rejected'))}",
            ),
            CheckConstraint(
                name="payments_versions", check="reported_version >= 0 AND reported_version <= version"
            ),
        )


class PaymentAttempt(Model):
    """An attempt to pay that Stripe reported as failed. Its id is its charge's, else its event's.

    Their payment counts them."""

    id = fields.CharField(max_length=255, primary_key=True)
    booking: fields.ForeignKeyRelation[Payment] = fields.ForeignKeyField(
        "payment.Payment", related_name="attempts", on_delete=fields.RESTRICT
    )
    code = fields.CharField(max_length=255)
    decline_code = fields.CharField(max_length=255, null=True)
    message = fields.TextField(null=True)
    at = fields.DatetimeField(null=True)

    class Meta:
        table = "payment_attempts"
        indexes = (Index(fields=["booking_id"], name="payment_attempts_booking"),)


class Refund(Model):
    """Money given back. The row and its id are there before Stripe is asked."""

    id = fields.UUIDField(primary_key=True)
    booking: fields.ForeignKeyRelation[Payment] = fields.ForeignKeyField(
        "payment.Payment", related_name="refunds", on_delete=fields.RESTRICT
    )
    amount = fields.BigIntField()
    status = fields.CharField(max_length=16)
    stripe_refund_id = fields.CharField(max_length=255, null=True, unique=True)
    reason = fields.CharField(max_length=255, null=True)
    by = fields.CharField(max_length=255, null=True)
    by_hand = fields.BooleanField(db_default=False)
    asked_at = fields.DatetimeField()
    key_number = fields.IntField(db_default=1)
    # Not null while Stripe has not made the refund.
    drive_after = fields.DatetimeField(null=True)
    drive_attempts = fields.IntField(db_default=0)
    created_at = fields.DatetimeField()
    updated_at = fields.DatetimeField()
    # A refund of all that is left: its amount follows what is left until Stripe has made it. A part's does not.
    whole = fields.BooleanField(db_default=False)
    pending_reason = fields.CharField(max_length=255, null=True)
    refusals = fields.IntField(db_default=0)
    refused_since = fields.DatetimeField(null=True)

    class Meta:
        table = "refunds"
        indexes = (Index(fields=["booking_id"], name="refunds_booking"),)
        constraints = (
            CheckConstraint(
                name="refunds_status", check=one_of("status", ("requested", "pending", "succeeded", "failed"))
            ),
            CheckConstraint(name="refunds_amount", check="amount > 0"),
        )


class Dispute(Model):
    """A dispute of the payment's charge, as Stripe has it; its id is Stripe's. Times are Stripe's."""

    id = fields.CharField(max_length=255, primary_key=True)
    booking: fields.ForeignKeyRelation[Payment] = fields.ForeignKeyField(
        "payment.Payment", related_name="disputes", on_delete=fields.RESTRICT
    )
    status = fields.CharField(max_length=64)
    charge_id = fields.CharField(max_length=255, null=True)
    amount = fields.BigIntField(null=True)
    currency = fields.CharField(max_length=3, null=True)
    reason = fields.CharField(max_length=64, null=True)
    opened_at = fields.DatetimeField(null=True)
    respond_by = fields.DatetimeField(null=True)
    seen_at = fields.DatetimeField()

    class Meta:
        table = "disputes"
        indexes = (Index(fields=["booking_id"], name="disputes_booking"),)


class StrayIntent(Model):
    """An intent of ours beside the one that its booking is paid by: it is canceled, or its money goes back."""

    intent_id = fields.CharField(max_length=255, primary_key=True)
    booking_id = fields.UUIDField()
    found_at = fields.DatetimeField()
    # When its money is refunded; at once if an operator has decided so.
    return_after = fields.DatetimeField()
    return_decided = fields.BooleanField(db_default=False)
    return_decided_by = fields.CharField(max_length=255, null=True)
    # From the last snapshot.
    status = fields.CharField(max_length=32)
    amount_received = fields.BigIntField(db_default=0)
    # Our refund of that amount: its id is saved before Stripe is asked.
    refund_id = fields.UUIDField(null=True)
    refund_amount = fields.BigIntField(null=True)
    refund_status = fields.CharField(max_length=16, null=True)
    key_number = fields.IntField(db_default=1)
    # Not null while the stray is not closed.
    drive_after = fields.DatetimeField(null=True)
    drive_attempts = fields.IntField(db_default=0)

    class Meta:
        table = "stray_intents"
        indexes = (Index(fields=["booking_id"], name="stray_intents_booking"),)
        constraints = (
            CheckConstraint(
                name="stray_intents_refund", check="refund_amount > 0 AND refund_amount <= amount_received"
            ),
            CheckConstraint(
                name="stray_intents_never_stuck",
                check=f"drive_after IS NOT NULL OR {one_of('status', ('succeeded', 'canceled'))}",
            ),
        )


class StripeEvent(Model):
    """A webhook event that was taken in. Its id makes it count once."""

    id = fields.CharField(max_length=255, primary_key=True)
    type = fields.CharField(max_length=255)
    created = fields.DatetimeField()
    received_at = fields.DatetimeField()
    object_id = fields.CharField(max_length=255, null=True)
    booking_id = fields.UUIDField(null=True)

    class Meta:
        table = "stripe_events"
        indexes = (Index(fields=["created"], name="stripe_events_created"),)


class EventCursor(Model):
    """Up to when Stripe's event list has been compared with `stripe_events`, and when it is looked at next."""

    name = fields.CharField(max_length=32, primary_key=True)
    # `looked_until` is Stripe's time, `next_look_at` is ours.
    looked_until = fields.DatetimeField()
    next_look_at = fields.DatetimeField()
    # A walk through the list that is not complete: the last event read, and the time up to which it reads.
    walked_to = fields.CharField(max_length=255, null=True)
    walk_until = fields.DatetimeField(null=True)

    class Meta:
        table = "event_cursor"
