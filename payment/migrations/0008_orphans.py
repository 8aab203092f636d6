# ruff: noqa: E501, RUF012
from tortoise import fields, migrations
from tortoise.indexes import Index
from tortoise.migrations import operations as ops
from tortoise.migrations.constraints import CheckConstraint

# The settler looks at the first alone; the second is of those that are counted, and empty when all is well.
PARTIAL = [
    "CREATE INDEX stray_intents_due ON stray_intents (drive_after) WHERE drive_after IS NOT NULL",
    "CREATE INDEX payments_orphaned ON payments (orphaned_at) WHERE orphaned_at IS NOT NULL",
]


class Migration(migrations.Migration):
    dependencies = [("payment", "0007_attempts")]

    initial = False

    operations = [
        ops.CreateModel(
            name="Installation",
            fields=[
                ("name", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=16)),
                ("id", fields.UUIDField()),
                ("stripe_account", fields.CharField(null=True, max_length=255)),
            ],
            options={
                "table": "installation",
                "app": "payment",
                "pk_attr": "name",
                "table_description": "Which Holdfast this is, and with which account at Stripe: one row, written by `holdfast migrate`.",
            },
            bases=["Model"],
        ),
        ops.AddConstraint(
            model_name="Installation",
            constraint=CheckConstraint(check="name = 'holdfast'", name="installation_one"),
        ),
        ops.CreateModel(
            name="StrayIntent",
            fields=[
                ("intent_id", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=255)),
                ("booking_id", fields.UUIDField()),
                ("found_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("return_after", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("return_decided", fields.BooleanField(db_default=False)),
                ("status", fields.CharField(max_length=32)),
                ("amount_received", fields.BigIntField(db_default=0)),
                ("refund_id", fields.UUIDField(null=True)),
                ("refund_amount", fields.BigIntField(null=True)),
                ("refund_status", fields.CharField(null=True, max_length=16)),
                ("key_number", fields.IntField(db_default=1)),
                ("drive_after", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("drive_attempts", fields.IntField(db_default=0)),
            ],
            options={
                "table": "stray_intents",
                "app": "payment",
                "indexes": [Index(fields=["booking_id"], name="stray_intents_booking")],
                "pk_attr": "intent_id",
                "table_description": "An intent of ours beside the one that its booking is paid by: it is canceled, or its money goes back.",
            },
            bases=["Model"],
        ),
        ops.AddConstraint(
            model_name="StrayIntent",
            constraint=CheckConstraint(
                check="refund_amount > 0 AND refund_amount <= amount_received", name="stray_intents_refund"
            ),
        ),
        ops.AddConstraint(
            model_name="StrayIntent",
            constraint=CheckConstraint(
                check="drive_after IS NOT NULL OR status IN ('succeeded', 'canceled')",
                name="stray_intents_never_stuck",
            ),
        ),
        ops.AddField(
            model_name="Payment",
            name="orphaned_at",
            field=fields.DatetimeField(null=True, auto_now=False, auto_now_add=False),
        ),
        ops.AddField(
            model_name="Payment",
            name="return_after",
            field=fields.DatetimeField(null=True, auto_now=False, auto_now_add=False),
        ),
        ops.AddField(
            model_name="Payment",
            name="return_decided",
            field=fields.BooleanField(db_default=False),
        ),
        ops.RunSQL(sql=PARTIAL, reverse_sql=["DROP INDEX payments_orphaned", "DROP INDEX stray_intents_due"]),
    ]
