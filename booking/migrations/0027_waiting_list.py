# ruff: noqa: RUF012
"""Waiting lists: their entries, what each ticket type's entries want, and how many held seats are kept for them.

Processes of the release before count reserved seats as held, and sell none of them. What they free they do not
reserve: processes of this release do it within seconds.
"""

from orjson import loads
from tortoise import fields, migrations
from tortoise.fields.data import JSON_DUMPS
from tortoise.indexes import Index
from tortoise.migrations import operations as ops
from tortoise.migrations.constraints import CheckConstraint

# The line of each ticket type, in order.
LINE = "CREATE INDEX waiting_entries_line ON waiting_entries (ticket_type_id, number) WHERE status = 'waiting'"
ONCE = (
    "CREATE UNIQUE INDEX waiting_entries_once ON waiting_entries (owner, ticket_type_id) WHERE status = 'waiting'"
)
# How many guests of an address wait is counted by it, and addresses are forgotten by it.
BY_ADDRESS = """
CREATE INDEX waiting_entries_by_address ON waiting_entries (address, event_id) WHERE address IS NOT NULL
"""
# The ticket types that somebody waits for. It has no column that selling changes.
WAITED_FOR = "CREATE INDEX ticket_types_waiting ON ticket_types (event_id) WHERE waiting > 0"
UNNOTIFIED = (
    "CREATE INDEX waiting_entries_unnotified ON waiting_entries (notify_after) WHERE notify_after IS NOT NULL"
)

# Made one by one: a table is made without those that it is declared with.
CHECKS = {
    "waiting_entries_status": "status IN ('waiting', 'offered', 'left', 'closed')",
    "waiting_entries_quantity": "quantity > 0",
    "waiting_entries_offered": "(status = 'offered') = (booking_id IS NOT NULL)",
    "waiting_entries_closed": "(status = 'closed') = (reason IS NOT NULL)",
}


class Migration(migrations.Migration):
    dependencies = [("booking", "0026_codes")]

    initial = False

    operations = [
        ops.CreateModel(
            name="WaitingEntry",
            fields=[
                ("number", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("id", fields.UUIDField(unique=True)),
                ("event_id", fields.UUIDField()),
                ("ticket_type_id", fields.UUIDField()),
                ("owner", fields.CharField(max_length=255)),
                ("quantity", fields.IntField()),
                ("status", fields.CharField(max_length=16)),
                ("reason", fields.CharField(null=True, max_length=32)),
                ("version", fields.IntField(db_default=1)),
                ("customer", fields.JSONField(null=True, encoder=JSON_DUMPS, decoder=loads)),
                ("address", fields.CharField(null=True, max_length=32)),
                ("booking_id", fields.UUIDField(null=True)),
                ("notify_after", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("joined_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("updated_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "waiting_entries",
                "app": "booking",
                "indexes": [
                    Index(fields=["owner", "number"], name="waiting_entries_by_owner"),
                    Index(fields=["event_id", "number"], name="waiting_entries_by_event"),
                ],
                "pk_attr": "number",
                "table_description": "Somebody waits for seats of a sold-out ticket type.",
            },
            bases=["Model"],
        ),
        *(
            ops.AddConstraint(model_name="WaitingEntry", constraint=CheckConstraint(check=check, name=name))
            for name, check in CHECKS.items()
        ),
        ops.AddField(
            model_name="TicketType",
            name="reserved",
            field=fields.IntField(db_default=0),
        ),
        ops.AddField(
            model_name="TicketType",
            name="waiting",
            field=fields.IntField(db_default=0),
        ),
        ops.AddConstraint(
            model_name="TicketType",
            constraint=CheckConstraint(
                check="reserved >= 0 AND reserved <= waiting AND reserved <= held", name="ticket_types_reserved"
            ),
        ),
        ops.RunSQL(
            sql=[LINE, ONCE, BY_ADDRESS, UNNOTIFIED, WAITED_FOR],
            reverse_sql=[
                "DROP INDEX ticket_types_waiting",
                "DROP INDEX waiting_entries_unnotified",
                "DROP INDEX waiting_entries_by_address",
                "DROP INDEX waiting_entries_once",
                "DROP INDEX waiting_entries_line",
            ],
        ),
    ]
