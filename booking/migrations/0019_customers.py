# ruff: noqa: E501, RUF012
"""Whom bookings are for, how operators find them, and who has asked to be forgotten."""

from uuid import uuid4

from orjson import loads
from tortoise import fields, migrations
from tortoise.fields.data import JSON_DUMPS
from tortoise.migrations import operations as ops
from tortoise.migrations.constraints import CheckConstraint

# Of bookings without a customer these have no entries.
SEARCHED = [
    "CREATE INDEX bookings_by_email ON bookings (lower(customer ->> 'email')) WHERE customer IS NOT NULL",
    "CREATE INDEX bookings_by_name ON bookings USING gin (to_tsvector('simple', customer ->> 'name'))"
    " WITH (fastupdate = off) WHERE customer IS NOT NULL",
    "CREATE INDEX bookings_by_intent ON bookings (intent_id) WHERE intent_id IS NOT NULL",
]
DUE = "CREATE INDEX erasures_due ON erasures (settle_after) WHERE settle_after IS NOT NULL"


class Migration(migrations.Migration):
    dependencies = [("booking", "0018_accountability")]

    initial = False

    operations = [
        ops.CreateModel(
            name="Erasure",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=uuid4, unique=True, db_index=True)),
                ("email", fields.CharField(null=True, max_length=254)),
                ("subject", fields.CharField(null=True, max_length=255)),
                ("asked_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("by", fields.CharField(null=True, max_length=255)),
                ("settle_after", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "erasures",
                "app": "booking",
                "pk_attr": "id",
                "table_description": "Somebody has asked to be forgotten, by email or subject. The row is deleted when nothing is left of them.",
            },
            bases=["Model"],
        ),
        ops.AddConstraint(
            model_name="Erasure",
            constraint=CheckConstraint(check="(email IS NULL) <> (subject IS NULL)", name="erasures_one"),
        ),
        ops.AddField(
            model_name="Booking",
            name="customer",
            field=fields.JSONField(null=True, encoder=JSON_DUMPS, decoder=loads),
        ),
        ops.AddField(
            model_name="Booking",
            name="customer_digest",
            field=fields.CharField(null=True, max_length=16),
        ),
        ops.AddField(
            model_name="Booking",
            name="description",
            field=fields.CharField(null=True, max_length=250),
        ),
        ops.RunSQL(
            sql=[*SEARCHED, DUE],
            reverse_sql=[
                "DROP INDEX erasures_due",
                "DROP INDEX bookings_by_intent",
                "DROP INDEX bookings_by_name",
                "DROP INDEX bookings_by_email",
            ],
        ),
    ]
