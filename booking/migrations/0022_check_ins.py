# ruff: noqa: RUF012
"""Check-ins, each ticket's once; what scanners must hear of; and the seats of bookings that refunds have cancelled.

There is no table of tickets: they follow from the bookings. The statements that use a ticket or give its seat back
write what scanners must hear of: those of this release alone (docs/operations.md, At the door).
"""

from orjson import loads
from tortoise import fields, migrations
from tortoise.fields import SqlDefault
from tortoise.fields.data import JSON_DUMPS
from tortoise.indexes import Index
from tortoise.migrations import operations as ops
from tortoise.migrations.constraints import CheckConstraint

ONCE = "CREATE UNIQUE INDEX check_ins_once ON check_ins (ticket_id) WHERE undone_at IS NULL"
OF_BOOKING = "CREATE INDEX check_ins_of_booking ON check_ins (booking_id) WHERE undone_at IS NULL"
# How many tickets of each type were used is counted by it.
COUNTED = "CREATE INDEX check_ins_counted ON check_ins (event_id, ticket_type_id) WHERE undone_at IS NULL"


class Migration(migrations.Migration):
    dependencies = [("booking", "0021_box_office")]

    initial = False

    operations = [
        ops.CreateModel(
            name="CheckIn",
            fields=[
                ("id", fields.UUIDField(primary_key=True, unique=True, db_index=True)),
                ("ticket_id", fields.UUIDField()),
                ("booking_id", fields.UUIDField()),
                ("event_id", fields.UUIDField()),
                ("ticket_type_id", fields.UUIDField()),
                ("number", fields.IntField()),
                ("booking_version", fields.IntField()),
                ("at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("recorded_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("gate", fields.CharField(null=True, max_length=200)),
                ("device", fields.CharField(null=True, max_length=200)),
                ("by", fields.CharField(max_length=255)),
                ("undone_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("undone_by", fields.CharField(null=True, max_length=255)),
            ],
            options={
                "table": "check_ins",
                "app": "booking",
                "constraints": [
                    CheckConstraint(check="number > 0", name="check_ins_number"),
                    CheckConstraint(check="(undone_at IS NULL) = (undone_by IS NULL)", name="check_ins_undone"),
                ],
                "pk_attr": "id",
                "table_description": "Somebody was let in by a ticket. Of the rows of a ticket one at most is not "
                "undone.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="DoorChange",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("event_id", fields.UUIDField()),
                ("booking_id", fields.UUIDField()),
                ("ticket_id", fields.UUIDField(null=True)),
                ("transaction", fields.BigIntField(db_default=SqlDefault("(pg_current_xact_id()::text::bigint)"))),
            ],
            options={
                "table": "door_changes",
                "app": "booking",
                "indexes": [Index(fields=["event_id", "transaction", "id"], name="door_changes_by_event")],
                "pk_attr": "id",
                "table_description": "What scanners must hear of: a ticket was used or is valid again, or a "
                "booking's tickets were cancelled.",
            },
            bases=["Model"],
        ),
        ops.AddField(
            model_name="Booking",
            name="cancelled_seats",
            field=fields.JSONField(null=True, encoder=JSON_DUMPS, decoder=loads),
        ),
        ops.RunSQL(
            sql=[ONCE, OF_BOOKING, COUNTED],
            reverse_sql=[
                "DROP INDEX check_ins_counted",
                "DROP INDEX check_ins_of_booking",
                "DROP INDEX check_ins_once",
            ],
        ),
    ]
