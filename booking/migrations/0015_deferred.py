# ruff: noqa: RUF012
"""Bookings whose owners have asked Stripe for more than their share; in the queue they are behind all others.

The index has the same rows as the one that it replaces: queries of the release before read it, too, and sort.
"""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops

WAITING = "WHERE payment = 'creating' AND status = 'pending' AND closing IS NULL"


class Migration(migrations.Migration):
    dependencies = [("booking", "0014_buyers")]

    initial = False

    operations = [
        ops.AddField(
            model_name="Booking",
            name="deferred",
            field=fields.BooleanField(db_default=False),
        ),
        ops.RunSQL(
            sql=[
                f"CREATE INDEX bookings_queue ON bookings (deferred, created_at, id) {WAITING}",
                "DROP INDEX bookings_queued",
            ],
            reverse_sql=[
                f"CREATE INDEX bookings_queued ON bookings (created_at, id) {WAITING}",
                "DROP INDEX bookings_queue",
            ],
        ),
    ]
