# ruff: noqa: RUF012
"""Tickets are used at the door, and scanners hear of what changes there.

A ticket is used once: an index says so. Triggers write what scanners must hear of, so that a cancellation by a
process of the release before counts, too. The new tables are empty, and the trigger on bookings locks them for no
longer than its making takes.
"""

from tortoise import fields, migrations
from tortoise.fields import SqlDefault
from tortoise.indexes import Index
from tortoise.migrations import operations as ops
from tortoise.migrations.constraints import CheckConstraint

ONCE = "CREATE UNIQUE INDEX check_ins_once ON check_ins (ticket_id) WHERE undone_at IS NULL"
# How many tickets of each type were used is counted by it.
COUNTED = "CREATE INDEX check_ins_counted ON check_ins (event_id, ticket_type_id) WHERE undone_at IS NULL"
CHECKED_IN = """
CREATE FUNCTION record_check_in() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO door_changes (event_id, booking_id, ticket_id) VALUES (NEW.event_id, NEW.booking_id, NEW.ticket_id);
    RETURN NULL;
END $$
"""
CHECKED_IN_TRIGGER = """
CREATE TRIGGER record_check_in AFTER INSERT ON check_ins FOR EACH ROW EXECUTE FUNCTION record_check_in()
"""
UNDONE_TRIGGER = """
CREATE TRIGGER record_undone_check_in AFTER UPDATE OF undone_at ON check_ins FOR EACH ROW
    WHEN (OLD.undone_at IS NULL AND NEW.undone_at IS NOT NULL) EXECUTE FUNCTION record_check_in()
"""
CANCELLED = """
CREATE FUNCTION record_cancelled_tickets() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO door_changes (event_id, booking_id) VALUES (NEW.event_id, NEW.id);
    RETURN NULL;
END $$
"""
CANCELLED_TRIGGER = """
CREATE TRIGGER record_cancelled_tickets AFTER UPDATE OF status ON bookings FOR EACH ROW
    WHEN (OLD.status = 'confirmed' AND NEW.status <> 'confirmed') EXECUTE FUNCTION record_cancelled_tickets()
"""


class Migration(migrations.Migration):
    dependencies = [("booking", "0018_accountability")]

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
                "indexes": [Index(fields=["booking_id"], name="check_ins_by_booking")],
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
                "table_description": "What scanners must hear of: a ticket was used or is valid again, or its "
                "booking has ended. Triggers write it, whatever process makes the change.",
            },
            bases=["Model"],
        ),
        ops.RunSQL(
            sql=[ONCE, COUNTED, CHECKED_IN, CHECKED_IN_TRIGGER, UNDONE_TRIGGER, CANCELLED, CANCELLED_TRIGGER],
            reverse_sql=[
                "DROP TRIGGER record_cancelled_tickets ON bookings",
                "DROP FUNCTION record_cancelled_tickets()",
                "DROP TRIGGER record_undone_check_in ON check_ins",
                "DROP TRIGGER record_check_in ON check_ins",
                "DROP FUNCTION record_check_in()",
                "DROP INDEX check_ins_counted",
                "DROP INDEX check_ins_once",
            ],
        ),
    ]
