# ruff: noqa: RUF012
from tortoise import fields, migrations
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("booking", "0011_installation")]

    initial = False

    operations = [
        ops.AddField(
            model_name="Booking",
            name="intent_to_cancel",
            field=fields.BooleanField(db_default=False),
        ),
    ]
