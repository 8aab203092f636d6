# ruff: noqa: RUF012
"""What models cannot say: indexes of due rows alone, and room on a page for the next version of a row."""

from tortoise import migrations
from tortoise.migrations import operations as ops

# The settler looks at these alone: they are empty when nothing is due.
DUE = [
    "CREATE INDEX bookings_due ON bookings (settle_after) WHERE settle_after IS NOT NULL",
    "CREATE INDEX events_due ON events (settle_after) WHERE settle_after IS NOT NULL",
]
# A hot ticket type's row changes with every batch: with room on its page no index has to follow.
ROOM = [
    "ALTER TABLE ticket_types SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01)",
    "ALTER TABLE events SET (fillfactor = 80)",
]


class Migration(migrations.Migration):
    dependencies = [("booking", "0002_constraints")]

    initial = False

    operations = [
        ops.RunSQL(
            sql=[*DUE, *ROOM],
            reverse_sql=[
                "ALTER TABLE events RESET (fillfactor)",
                "ALTER TABLE ticket_types RESET (fillfactor, autovacuum_vacuum_scale_factor)",
                "DROP INDEX events_due",
                "DROP INDEX bookings_due",
            ],
        ),
    ]
