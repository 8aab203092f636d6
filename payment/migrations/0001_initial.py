# ruff: noqa: E501, RUF012
from uuid import uuid4

from orjson import loads
from tortoise import fields, migrations
from tortoise.fields.base import OnDelete
from tortoise.fields.data import JSON_DUMPS
from tortoise.indexes import Index
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    initial = True

    operations = [
        ops.CreateModel(
            name="EventCursor",
            fields=[
                ("name", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=32)),
                ("looked_until", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("next_look_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "event_cursor",
                "app": "payment",
                "pk_attr": "name",
                "table_description": "Up to when Stripe's event list has been compared with `stripe_events`, and when it is looked at next.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="Payment",
            fields=[
                ("booking_id", fields.UUIDField(primary_key=True, default=uuid4, unique=True, db_index=True)),
                ("event_id", fields.UUIDField(null=True)),
                ("amount", fields.BigIntField()),
                ("currency", fields.CharField(max_length=3)),
                ("status", fields.CharField(max_length=32)),
                ("intent_id", fields.CharField(null=True, unique=True, max_length=255)),
                ("client_secret", fields.CharField(null=True, max_length=255)),
                ("charge_id", fields.CharField(null=True, max_length=255)),
                ("amount_captured", fields.BigIntField(db_default=0)),
                ("amount_refunded", fields.BigIntField(db_default=0)),
                ("last_error", fields.JSONField(null=True, encoder=JSON_DUMPS, decoder=loads)),
                ("dispute_status", fields.CharField(null=True, max_length=64)),
                ("dispute_seen_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("cancel_requested", fields.BooleanField(db_default=False)),
                ("last_change", fields.CharField(db_default="intent", max_length=16)),
                ("seen_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("asked_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("key_number", fields.IntField(db_default=1)),
                ("drive_after", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("drive_attempts", fields.IntField(db_default=0)),
                ("version", fields.IntField(db_default=0)),
                ("reported_version", fields.IntField(db_default=0)),
                ("report_after", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("report_attempts", fields.IntField(db_default=0)),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("updated_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "payments",
                "app": "payment",
                "pk_attr": "booking_id",
                "table_description": "One payment for each booking: what is known of Stripe's PaymentIntent, and what the booking knows.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="PaymentAttempt",
            fields=[
                ("id", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=255)),
                (
                    "booking",
                    fields.ForeignKeyField(
                        "payment.Payment",
                        source_field="booking_id",
                        db_constraint=True,
                        to_field="booking_id",
                        related_name="attempts",
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("code", fields.CharField(max_length=255)),
                ("decline_code", fields.CharField(null=True, max_length=255)),
                ("message", fields.TextField(null=True, unique=False)),
                ("at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "payment_attempts",
                "app": "payment",
                "indexes": [Index(fields=["booking_id"], name="payment_attempts_booking")],
                "pk_attr": "id",
                "table_description": "An attempt to pay that Stripe reported as failed. Its id is its charge's, else its event's.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="Refund",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=uuid4, unique=True, db_index=True)),
                (
                    "booking",
                    fields.ForeignKeyField(
                        "payment.Payment",
                        source_field="booking_id",
                        db_constraint=True,
                        to_field="booking_id",
                        related_name="refunds",
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("amount", fields.BigIntField()),
                ("status", fields.CharField(max_length=16)),
                ("stripe_refund_id", fields.CharField(null=True, unique=True, max_length=255)),
                ("reason", fields.CharField(null=True, max_length=255)),
                ("by_hand", fields.BooleanField(db_default=False)),
                ("asked_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("key_number", fields.IntField(db_default=1)),
                ("drive_after", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("drive_attempts", fields.IntField(db_default=0)),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("updated_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "refunds",
                "app": "payment",
                "indexes": [Index(fields=["booking_id"], name="refunds_booking")],
                "pk_attr": "id",
                "table_description": "Money given back. The row and its id are there before Stripe is asked.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="StripeEvent",
            fields=[
                ("id", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=255)),
                ("type", fields.CharField(max_length=255)),
                ("created", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("received_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("object_id", fields.CharField(null=True, max_length=255)),
                ("booking_id", fields.UUIDField(null=True)),
            ],
            options={
                "table": "stripe_events",
                "app": "payment",
                "indexes": [Index(fields=["created"], name="stripe_events_created")],
                "pk_attr": "id",
                "table_description": "A webhook event that was taken in. Its id makes it count once.",
            },
            bases=["Model"],
        ),
    ]
