# ruff: noqa: RUF012
"""Mails that are owed, and what became of them."""

from uuid import uuid4

from tortoise import fields, migrations
from tortoise.indexes import Index
from tortoise.migrations import operations as ops
from tortoise.migrations.constraints import CheckConstraint

INDEXES = [
    "CREATE INDEX mails_due ON mails (send_after) WHERE send_after IS NOT NULL",
    # By whom a recipient's mails are counted, and found when they ask to be forgotten.
    "CREATE INDEX mails_by_recipient ON mails (lower(recipient), tried_at) WHERE recipient IS NOT NULL",
]
CONSTRAINTS = {
    "mails_kind": "kind IN ('confirmation', 'cancellation', 'refund', 'attention')",
    "mails_status": "status IN ('owed', 'sent', 'refused', 'given_up', 'dropped')",
    "mails_about": "(booking_id IS NULL) <> (endpoint_id IS NULL)",
    "mails_never_stuck": "(status = 'owed') = (send_after IS NOT NULL) AND (status = 'owed') = (ended_at IS NULL)",
}


class Migration(migrations.Migration):
    dependencies = [("booking", "0023_announcements")]

    initial = False

    operations = [
        ops.CreateModel(
            name="Mail",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=uuid4, unique=True, db_index=True)),
                ("booking_id", fields.UUIDField(null=True)),
                ("endpoint_id", fields.UUIDField(null=True)),
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
                "constraints": [CheckConstraint(check=check, name=name) for name, check in CONSTRAINTS.items()],
                "indexes": [
                    Index(fields=["booking_id", "made_at"], name="mails_by_booking"),
                    Index(fields=["made_at"], name="mails_by_age"),
                ],
                "pk_attr": "id",
                "table_description": "One mail that is owed, and what became of it. "
                "Rows are deleted after `MAIL_KEPT_DAYS`.",
            },
            bases=["Model"],
        ),
        ops.RunSQL(sql=INDEXES, reverse_sql=["DROP INDEX mails_by_recipient", "DROP INDEX mails_due"]),
    ]
