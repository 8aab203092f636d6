# ruff: noqa: RUF012
"""Which payment methods an intent was asked for with."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops
from tortoise.migrations.constraints import CheckConstraint


class Migration(migrations.Migration):
    dependencies = [("payment", "0005_disputes_and_looks")]

    initial = False

    operations = [
        ops.AddField(
            model_name="Payment",
            name="payment_methods",
            field=fields.CharField(db_default="all", max_length=16),
        ),
        ops.AddConstraint(
            model_name="Payment",
            constraint=CheckConstraint(check="payment_methods IN ('instant', 'all')", name="payments_methods"),
        ),
    ]
