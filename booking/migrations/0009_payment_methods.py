# ruff: noqa: RUF012
"""Which payment methods an event offers, and what a booking's customer is offered."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops
from tortoise.migrations.constraints import CheckConstraint

# What was offered to the customers of events that are there: they go on as they were until an operator decides.
AS_BEFORE = "UPDATE events SET payment_methods = 'all'"


class Migration(migrations.Migration):
    dependencies = [("booking", "0008_disputes")]

    initial = False

    operations = [
        ops.AddField(
            model_name="Booking",
            name="payment_methods",
            field=fields.CharField(db_default="all", max_length=16),
        ),
        ops.AddConstraint(
            model_name="Booking",
            constraint=CheckConstraint(
                check="payment_methods IN ('instant', 'all')", name="bookings_payment_methods"
            ),
        ),
        ops.AddField(
            model_name="Event",
            name="payment_methods",
            field=fields.CharField(db_default="instant", max_length=16),
        ),
        ops.AddField(
            model_name="Event",
            name="slow_payments_until",
            field=fields.DatetimeField(null=True, auto_now=False, auto_now_add=False),
        ),
        ops.AddConstraint(
            model_name="Event",
            constraint=CheckConstraint(
                check="payment_methods IN ('instant', 'all')", name="events_payment_methods"
            ),
        ),
        ops.RunSQL(sql=[AS_BEFORE], reverse_sql=[]),
    ]
