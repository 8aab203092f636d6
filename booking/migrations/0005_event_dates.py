# ruff: noqa: E501, RUF012
"""The dates and flags of an event's sale, and the checks that no date comes after the start without its flag."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops
from tortoise.migrations.constraints import CheckConstraint

# Customers were promised that they may cancel until then: an event of an earlier release keeps its terms.
KEEP_PROMISES = "UPDATE events SET cancel_after_start = true WHERE cancel_until > starts_at"


class Migration(migrations.Migration):
    dependencies = [("booking", "0004_queue")]

    initial = False

    operations = [
        ops.AddField(
            model_name="Event",
            name="cancel_after_start",
            field=fields.BooleanField(db_default=False),
        ),
        ops.AddField(
            model_name="Event",
            name="sales_end",
            field=fields.DatetimeField(null=True, auto_now=False, auto_now_add=False),
        ),
        ops.AddField(
            model_name="Event",
            name="sales_start",
            field=fields.DatetimeField(null=True, auto_now=False, auto_now_add=False),
        ),
        ops.AddField(
            model_name="Event",
            name="sell_after_start",
            field=fields.BooleanField(db_default=False),
        ),
        ops.AddField(
            model_name="Event",
            name="time_zone",
            field=fields.CharField(db_default="UTC", max_length=64),
        ),
        ops.RunSQL(sql=KEEP_PROMISES, reverse_sql="SELECT 1"),
        ops.AddConstraint(
            model_name="Event",
            constraint=CheckConstraint(check="sell_after_start OR sales_end <= starts_at", name="events_sales_end"),
        ),
        ops.AddConstraint(
            model_name="Event",
            constraint=CheckConstraint(
                check="sales_start < coalesce(sales_end, CASE WHEN sell_after_start THEN 'infinity' ELSE starts_at END)",
                name="events_sales_start",
            ),
        ),
        ops.AddConstraint(
            model_name="Event",
            constraint=CheckConstraint(
                check="cancel_after_start OR cancel_until <= starts_at", name="events_cancel_until"
            ),
        ),
    ]
