from uuid import uuid4

from tortoise import fields, migrations
from tortoise.indexes import Index
from tortoise.migrations import operations as ops
from tortoise.migrations.constraints import CheckConstraint


class Migration(migrations.Migration):
    dependencies = [("booking", "0020_announcements")]

    initial = False

    operations = [
        ops.CreateModel(
            name="Mail",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=uuid4, unique=True, db_index=True)),
                ("booking_id", fields.UUIDField()),
                ("kind", fields.CharField(max_length=16)),
                ("status", fields.CharField(max_length=16)),
                ("version", fields.IntField()),
                ("amount", fields.BigIntField(null=True)),
                ("recipient", fields.CharField(null=True, max_length=254)),
                ("attempts", fields.IntField(db_default=0)),
                ("send_after", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("error", fields.CharField(null=True, max_length=255)),
                ("by", fields.CharField(null=True, max_length=255)),
                ("made_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("tried_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("ended_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "mails",
                "app": "booking",
                "constraints": [
                    CheckConstraint(
                        check="kind IN ('confirmation', 'cancellation', 'refund', 'attention')", name="mails_kind"
                    ),
                    CheckConstraint(
                        check="status IN ('owed', 'sent', 'refused', 'given_up', 'dropped')", name="mails_status"
                    ),
                    CheckConstraint(
                        check="(status = 'owed') = (send_after IS NOT NULL) AND (status = 'owed') = (ended_at IS NULL)",
                        name="mails_never_stuck",
                    ),
                ],
                "indexes": [
                    Index(fields=["booking_id", "made_at"], name="mails_by_booking"),
                    Index(fields=["made_at"], name="mails_by_age"),
                ],
                "pk_attr": "id",
                "table_description": "One mail about a booking: owed, made with what is owed for a change of the booking or because an operator wants",
            },
            bases=["Model"],
        ),
    ]
