# ruff: noqa: RUF012
from tortoise import fields, migrations
from tortoise.indexes import Index
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("booking", "0005_event_dates")]

    initial = False

    operations = [
        ops.CreateModel(
            name="OperatorRequest",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("subject", fields.CharField(max_length=255)),
                ("operation", fields.CharField(max_length=255)),
                ("key", fields.CharField(max_length=255)),
                ("content_hash", fields.CharField(max_length=64)),
                ("answer", fields.TextField(unique=False)),
                ("answered_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "operator_requests",
                "app": "booking",
                "unique_together": (("subject", "operation", "key"),),
                "indexes": [Index(fields=["answered_at"], name="operator_requests_by_age")],
                "pk_attr": "id",
                "table_description": "What an operator asked for and was answered, written with what was done.",
            },
            bases=["Model"],
        ),
    ]
