# ruff: noqa: RUF012
from uuid import uuid4

from tortoise import fields, migrations
from tortoise.fields.db_defaults import SqlDefault
from tortoise.indexes import Index
from tortoise.migrations import operations as ops
from tortoise.migrations.constraints import CheckConstraint


class Migration(migrations.Migration):
    dependencies = [("booking", "0016_recovery_codes")]

    initial = False

    operations = [
        ops.CreateModel(
            name="Revocation",
            fields=[
                (
                    "id",
                    fields.UUIDField(
                        primary_key=True,
                        default=uuid4,
                        unique=True,
                        db_index=True,
                        db_default=SqlDefault("gen_random_uuid()"),
                    ),
                ),
                ("claim", fields.CharField(max_length=3)),
                ("value", fields.CharField(max_length=255)),
                ("revoked_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("expires_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("by", fields.CharField(null=True, max_length=255)),
            ],
            options={
                "table": "revoked_tokens",
                "app": "booking",
                "unique_together": (("claim", "value"),),
                "constraints": [CheckConstraint(check="claim IN ('jti', 'sub')", name="revoked_tokens_claim")],
                "indexes": [
                    Index(fields=["revoked_at", "id"], name="revoked_tokens_by_time"),
                    Index(fields=["expires_at"], name="revoked_tokens_by_end"),
                ],
                "pk_attr": "id",
                "table_description": "Tokens that are refused: one by its id, or those that a subject had when "
                "they were revoked.",
            },
            bases=["Model"],
        ),
    ]
