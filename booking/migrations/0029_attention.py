# ruff: noqa: RUF012
"""What models cannot say: indexes of the few rows that need a person, those first that are there longest."""

from tortoise import migrations
from tortoise.migrations import operations as ops

INDEXES = {
    "bookings_not_refunded": "bookings (updated_at, id) WHERE payment = 'refund_failed'",
    "bookings_mismatched": "bookings (updated_at, id) WHERE reason = 'payment_mismatch'",
    "mails_not_sent": "mails (ended_at, id) WHERE status IN ('refused', 'given_up')",
}


class Migration(migrations.Migration):
    dependencies = [("booking", "0028_checks")]

    initial = False

    operations = [
        ops.RunSQL(
            sql=[f"CREATE INDEX {name} ON {of}" for name, of in INDEXES.items()],
            reverse_sql=[f"DROP INDEX {name}" for name in INDEXES],
        ),
    ]
