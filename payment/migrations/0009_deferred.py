# ruff: noqa: RUF012
"""Payments whose owners have asked Stripe for more than their share."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("payment", "0008_orphans")]

    initial = False

    operations = [
        ops.AddField(
            model_name="Payment",
            name="deferred",
            field=fields.BooleanField(db_default=False),
        ),
    ]
