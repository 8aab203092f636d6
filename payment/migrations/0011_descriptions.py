# ruff: noqa: RUF012
"""What Stripe is asked for an intent with, so that it is asked the same each time."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("payment", "0010_refund_requesters")]

    initial = False

    operations = [
        ops.AddField(
            model_name="Payment",
            name="description",
            field=fields.CharField(null=True, max_length=250),
        ),
        ops.AddField(
            model_name="Payment",
            name="receipt_email",
            field=fields.CharField(null=True, max_length=254),
        ),
    ]
