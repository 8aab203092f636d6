# ruff: noqa: RUF012
from tortoise import fields, migrations
from tortoise.indexes import Index
from tortoise.migrations import operations as ops
from tortoise.migrations.constraints import CheckConstraint


class Migration(migrations.Migration):
    dependencies = [("booking", "0015_deferred")]

    initial = False

    operations = [
        ops.CreateModel(
            name="RecoveryCode",
            fields=[
                ("owner", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=255)),
                ("code_hash", fields.CharField(unique=True, max_length=64)),
                ("made_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("expires_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("used_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("used_by", fields.CharField(null=True, max_length=64)),
            ],
            options={
                "table": "recovery_codes",
                "app": "booking",
                "constraints": [
                    CheckConstraint(check="(used_at IS NULL) = (used_by IS NULL)", name="recovery_codes_used")
                ],
                "indexes": [Index(fields=["expires_at"], name="recovery_codes_by_end")],
                "pk_attr": "owner",
                "table_description": "By what a guest comes back, once: the newest code's hash, until it expires.",
            },
            bases=["Model"],
        ),
    ]
