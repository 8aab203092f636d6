# ruff: noqa: RUF012
"""Who asked for each refund, who decided about money of no booking, and why Stripe refused to make an intent."""

from orjson import loads
from tortoise import fields, migrations
from tortoise.fields.data import JSON_DUMPS
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("payment", "0009_deferred")]

    initial = False

    operations = [
        ops.AddField(
            model_name="Payment",
            name="rejection",
            field=fields.JSONField(null=True, encoder=JSON_DUMPS, decoder=loads),
        ),
        ops.AddField(
            model_name="Payment",
            name="return_decided_by",
            field=fields.CharField(null=True, max_length=255),
        ),
        ops.AddField(
            model_name="Refund",
            name="by",
            field=fields.CharField(null=True, max_length=255),
        ),
        ops.AddField(
            model_name="StrayIntent",
            name="return_decided_by",
            field=fields.CharField(null=True, max_length=255),
        ),
    ]
