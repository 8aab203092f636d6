# ruff: noqa: RUF012
from orjson import loads
from tortoise import fields, migrations
from tortoise.fields.data import JSON_DUMPS
from tortoise.migrations import operations as ops
from tortoise.migrations.constraints import CheckConstraint

# With what has ended nothing can be paid.
NO_OLD_SECRETS = "UPDATE bookings SET client_secret = NULL WHERE client_secret IS NOT NULL AND status <> 'pending'"


class Migration(migrations.Migration):
    dependencies = [("booking", "0007_refunds")]

    initial = False

    operations = [
        ops.AddField(
            model_name="Booking",
            name="disputes",
            field=fields.JSONField(null=True, encoder=JSON_DUMPS, decoder=loads),
        ),
        ops.RunSQL(sql=[NO_OLD_SECRETS], reverse_sql=[]),
        ops.AddConstraint(
            model_name="Booking",
            constraint=CheckConstraint(check="client_secret IS NULL OR status = 'pending'", name="bookings_secret"),
        ),
    ]
