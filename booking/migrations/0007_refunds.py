# ruff: noqa: E501, RUF012
"""Refunds: for all that is left or a part, what they wait for, and failed ones of an event tried again at once."""

from uuid import uuid4

from tortoise import fields, migrations
from tortoise.indexes import Index
from tortoise.migrations import operations as ops

# Of refunds that are owed at the upgrade: those are for all that is left whose amount it is.
ALL_THAT_IS_LEFT = """
UPDATE bookings SET refund_whole = (refund_amount = amount_captured - amount_refunded)
WHERE refund_amount IS NOT NULL
"""
# Failed refunds of an event, found part by part; empty but for trouble.
FAILED = "CREATE INDEX bookings_refund_failed ON bookings (event_id, id) WHERE payment = 'refund_failed'"
DUE = "CREATE INDEX refund_retries_due ON refund_retries (settle_after) WHERE settle_after IS NOT NULL"
# One at a time for each event.
ONE = "CREATE UNIQUE INDEX refund_retries_open ON refund_retries (event_id) WHERE settle_after IS NOT NULL"


class Migration(migrations.Migration):
    dependencies = [("booking", "0006_operator_requests")]

    initial = False

    operations = [
        ops.CreateModel(
            name="RefundRetry",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=uuid4, unique=True, db_index=True)),
                ("event_id", fields.UUIDField()),
                ("asked_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("settle_after", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "refund_retries",
                "app": "booking",
                "indexes": [Index(fields=["event_id", "asked_at"], name="refund_retries_by_event")],
                "pk_attr": "id",
                "table_description": "An operator wants all failed refunds of an event tried again. Bookings that were tried again by it have its",
            },
            bases=["Model"],
        ),
        ops.AddField(
            model_name="Booking",
            name="refund_error",
            field=fields.CharField(null=True, max_length=255),
        ),
        ops.AddField(
            model_name="Booking",
            name="refund_failed_amount",
            field=fields.BigIntField(null=True),
        ),
        ops.AddField(
            model_name="Booking",
            name="refund_failed_whole",
            field=fields.BooleanField(db_default=False),
        ),
        ops.AddField(
            model_name="Booking",
            name="refund_retry_id",
            field=fields.UUIDField(null=True),
        ),
        ops.AddField(
            model_name="Booking",
            name="refund_waiting",
            field=fields.CharField(null=True, max_length=255),
        ),
        ops.AddField(
            model_name="Booking",
            name="refund_whole",
            field=fields.BooleanField(null=True),
        ),
        ops.RunSQL(
            sql=[ALL_THAT_IS_LEFT, FAILED, DUE, ONE],
            reverse_sql=[
                "DROP INDEX refund_retries_open",
                "DROP INDEX refund_retries_due",
                "DROP INDEX bookings_refund_failed",
            ],
        ),
    ]
