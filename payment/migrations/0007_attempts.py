# ruff: noqa: RUF012
"""Attempts to pay are counted in their payment."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops

COUNT = """
UPDATE payments p SET failed_attempts = told.attempts, last_attempt_at = told.last_at
FROM (SELECT booking_id, count(*) AS attempts, max(at) AS last_at FROM payment_attempts GROUP BY booking_id) AS told
WHERE told.booking_id = p.booking_id
"""


class Migration(migrations.Migration):
    dependencies = [("payment", "0006_payment_methods")]

    initial = False

    operations = [
        ops.AddField(
            model_name="Payment",
            name="failed_attempts",
            field=fields.IntField(db_default=0),
        ),
        ops.AddField(
            model_name="Payment",
            name="last_attempt_at",
            field=fields.DatetimeField(null=True, auto_now=False, auto_now_add=False),
        ),
        ops.AlterField(
            model_name="PaymentAttempt",
            name="at",
            field=fields.DatetimeField(null=True, auto_now=False, auto_now_add=False),
        ),
        ops.RunSQL(sql=[COUNT], reverse_sql=[]),
    ]
