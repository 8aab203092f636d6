# ruff: noqa: E501, RUF012
from tortoise import fields, migrations
from tortoise.migrations import operations as ops
from tortoise.migrations.constraints import CheckConstraint


class Migration(migrations.Migration):
    dependencies = [("booking", "0010_last_moment")]

    initial = False

    operations = [
        ops.CreateModel(
            name="Installation",
            fields=[
                ("name", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=16)),
                ("id", fields.UUIDField()),
            ],
            options={
                "table": "installation",
                "app": "booking",
                "pk_attr": "name",
                "table_description": "Which Holdfast this is: one row, the same id in both databases, written by `holdfast migrate`.",
            },
            bases=["Model"],
        ),
        ops.AddConstraint(
            model_name="Installation",
            constraint=CheckConstraint(check="name = 'holdfast'", name="installation_one"),
        ),
        ops.AddField(
            model_name="Booking",
            name="payment_digest",
            field=fields.CharField(null=True, max_length=16),
        ),
    ]
