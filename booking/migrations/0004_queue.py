# ruff: noqa: RUF012
"""What models cannot say: indexes of the few bookings that somebody looks for among all."""

from tortoise import migrations
from tortoise.migrations import operations as ops

# The queue in front of Stripe, in its order: empty but for a rush, and read by itself alone.
QUEUED = (
    "CREATE INDEX bookings_queued ON bookings (created_at, id) "
    "WHERE payment = 'creating' AND status = 'pending' AND closing IS NULL"
)
# Those that want an operator, newest first as they are listed.
TROUBLED = (
    "CREATE INDEX bookings_troubled ON bookings (payment, created_at, id) "
    "WHERE payment IN ('refund_failed', 'disputed')"
)


class Migration(migrations.Migration):
    dependencies = [("booking", "0003_due")]

    initial = False

    operations = [
        ops.RunSQL(
            sql=[QUEUED, TROUBLED],
            reverse_sql=["DROP INDEX bookings_troubled", "DROP INDEX bookings_queued"],
        ),
    ]
