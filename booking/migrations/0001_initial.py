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
            name="Booking",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=uuid4, unique=True, db_index=True)),
                ("owner", fields.CharField(max_length=255)),
                ("event_id", fields.UUIDField()),
                ("items", fields.JSONField(encoder=JSON_DUMPS, decoder=loads)),
                ("amount", fields.BigIntField()),
                ("currency", fields.CharField(max_length=3)),
                ("status", fields.CharField(max_length=16)),
                ("reason", fields.CharField(null=True, max_length=32)),
                ("payment", fields.CharField(max_length=32)),
                ("intent_id", fields.CharField(null=True, max_length=255)),
                ("client_secret", fields.CharField(null=True, max_length=255)),
                ("last_error", fields.JSONField(null=True, encoder=JSON_DUMPS, decoder=loads)),
                ("payment_version", fields.IntField(db_default=0)),
                ("amount_captured", fields.BigIntField(db_default=0)),
                ("amount_refunded", fields.BigIntField(db_default=0)),
                ("closing", fields.CharField(null=True, max_length=32)),
                ("refund_id", fields.UUIDField(null=True)),
                ("refund_amount", fields.BigIntField(null=True)),
                ("version", fields.IntField(db_default=1)),
                ("expires_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("settle_after", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("settle_attempts", fields.IntField(db_default=0)),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("updated_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "bookings",
                "app": "booking",
                "indexes": [
                    Index(fields=["owner", "created_at", "id"], name="bookings_by_owner"),
                    Index(fields=["event_id", "created_at", "id"], name="bookings_by_event"),
                    Index(fields=["created_at", "id"], name="bookings_by_time"),
                ],
                "pk_attr": "id",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="BookingTransition",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("booking_id", fields.UUIDField()),
                ("version", fields.IntField()),
                ("from_status", fields.CharField(null=True, max_length=16)),
                ("to_status", fields.CharField(max_length=16)),
                ("reason", fields.CharField(null=True, max_length=32)),
                ("payment_status", fields.CharField(max_length=32)),
                ("cause_type", fields.CharField(max_length=64)),
                ("cause_id", fields.CharField(max_length=255)),
                ("at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "booking_transitions",
                "app": "booking",
                "unique_together": (("booking_id", "version"),),
                "pk_attr": "id",
                "table_description": "One change of a booking, and the message that caused it; written with the change.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="Event",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=uuid4, unique=True, db_index=True)),
                ("name", fields.CharField(max_length=200)),
                ("starts_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("currency", fields.CharField(max_length=3)),
                ("on_sale", fields.BooleanField()),
                ("max_per_booking", fields.IntField()),
                ("cancel_until", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("called_off_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("settle_after", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("version", fields.IntField(db_default=1)),
                ("content_hash", fields.CharField(max_length=64)),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "events",
                "app": "booking",
                "indexes": [Index(fields=["starts_at", "id"], name="events_by_start")],
                "pk_attr": "id",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="TicketType",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=uuid4, unique=True, db_index=True)),
                (
                    "event",
                    fields.ForeignKeyField(
                        "booking.Event",
                        source_field="event_id",
                        db_constraint=True,
                        to_field="id",
                        related_name="ticket_types",
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("position", fields.IntField()),
                ("name", fields.CharField(max_length=200)),
                ("unit_amount", fields.BigIntField()),
                ("capacity", fields.IntField()),
                ("held", fields.IntField(db_default=0)),
                ("sold", fields.IntField(db_default=0)),
                ("version", fields.IntField(db_default=0)),
            ],
            options={
                "table": "ticket_types",
                "app": "booking",
                "indexes": [Index(fields=["event_id", "position"], name="ticket_types_by_event")],
                "pk_attr": "id",
                "table_description": "`held` and `sold` count seats: of the pending, and of the confirmed bookings. `version` grows by one with",
            },
            bases=["Model"],
        ),
    ]
