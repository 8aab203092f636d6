# ruff: noqa: RUF012
"""Bookings that operators have sold, without Stripe."""

from orjson import loads
from tortoise import fields, migrations
from tortoise.fields.data import JSON_DUMPS
from tortoise.migrations import operations as ops
from tortoise.migrations.constraints import CheckConstraint

CHECK = (
    "box_office IS NULL OR (intent_id IS NULL AND refund_amount IS NULL AND status IN ('confirmed', 'cancelled'))"
)


class Migration(migrations.Migration):
    dependencies = [("booking", "0020_event_content")]

    initial = False

    operations = [
        ops.AddField(
            model_name="Booking",
            name="box_office",
            field=fields.JSONField(null=True, encoder=JSON_DUMPS, decoder=loads),
        ),
        ops.AddConstraint(
            model_name="Booking",
            constraint=CheckConstraint(check=CHECK, name="bookings_box_office"),
        ),
    ]
