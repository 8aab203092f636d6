# ruff: noqa: RUF012
"""What models cannot say: indexes of the few rows whose money waits for a person, the oldest first."""

from tortoise import migrations
from tortoise.migrations import operations as ops

INDEXES = {
    "bookings_refunds_by_hand": (
        "bookings (updated_at, id) WHERE payment = 'refund_pending' AND box_office IS NOT NULL"
    ),
    "bookings_balance_too_low": (
        "bookings (updated_at, id) WHERE payment = 'refund_pending' AND refund_waiting IN"
        " ('insufficient_funds', 'insufficient_balance_for_refund', 'balance_insufficient')"
    ),
}


class Migration(migrations.Migration):
    dependencies = [("booking", "0029_attention")]

    initial = False

    operations = [
        ops.RunSQL(
            sql=[f"CREATE INDEX {name} ON {of}" for name, of in INDEXES.items()],
            reverse_sql=[f"DROP INDEX {name}" for name in INDEXES],
        ),
    ]
