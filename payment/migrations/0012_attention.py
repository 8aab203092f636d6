# ruff: noqa: RUF012
"""What models cannot say: indexes of the few rows that need a person, those first that are there longest."""

from tortoise import migrations
from tortoise.migrations import operations as ops

INDEXES = {
    "disputes_to_answer": "disputes ((coalesce(opened_at, seen_at)), id) "
    "WHERE status IN ('needs_response', 'warning_needs_response')",
    "payments_without_booking": "payments (orphaned_at) "
    "WHERE orphaned_at IS NOT NULL AND (return_after IS NOT NULL OR amount_captured > amount_refunded)",
    # In a form in which Postgres does not see that it has all that are due: those are read by their retry time.
    "stray_intents_open": "stray_intents (found_at) "
    "WHERE CASE WHEN drive_after IS NULL THEN refund_status = 'failed' ELSE true END",
}


class Migration(migrations.Migration):
    dependencies = [("payment", "0011_descriptions")]

    initial = False

    operations = [
        ops.RunSQL(
            sql=[f"CREATE INDEX {name} ON {of}" for name, of in INDEXES.items()],
            reverse_sql=[f"DROP INDEX {name}" for name in INDEXES],
        ),
    ]
