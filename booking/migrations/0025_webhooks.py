# ruff: noqa: E501, RUF012
"""Outgoing webhooks: endpoints, what each is to receive, and which changes of events are still to be announced."""

from uuid import uuid4

from orjson import loads
from tortoise import fields, migrations
from tortoise.fields.data import JSON_DUMPS
from tortoise.fields.db_defaults import SqlDefault
from tortoise.indexes import Index
from tortoise.migrations import operations as ops
from tortoise.migrations.constraints import CheckConstraint

# What the history has from before is not announced; each new row is, also one by a process of the release before.
BEFORE = "UPDATE event_changes SET to_announce = NULL"
DUE = [
    "CREATE INDEX event_changes_to_announce ON event_changes (id) WHERE to_announce",
    "CREATE INDEX webhook_deliveries_due ON webhook_deliveries (endpoint_id, due_at) WHERE due_at IS NOT NULL",
    "CREATE INDEX webhook_deliveries_finished ON webhook_deliveries (finished_at) WHERE finished_at IS NOT NULL",
    "CREATE INDEX webhook_deliveries_failed ON webhook_deliveries (endpoint_id, made_at) WHERE status = 'failed'",
]


class Migration(migrations.Migration):
    dependencies = [("booking", "0024_mails")]

    initial = False

    operations = [
        ops.CreateModel(
            name="WebhookDelivery",
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
                ("endpoint_id", fields.UUIDField()),
                ("message_id", fields.UUIDField()),
                ("type", fields.CharField(max_length=64)),
                ("resource_id", fields.UUIDField()),
                ("version", fields.IntField()),
                ("happened_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("made_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("status", fields.CharField(db_default="pending", max_length=16)),
                ("due_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("give_up_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("finished_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("attempts", fields.IntField(db_default=0)),
                ("last_attempt_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("response_status", fields.IntField(null=True)),
                ("response", fields.TextField(null=True, unique=False)),
                ("error", fields.TextField(null=True, unique=False)),
            ],
            options={
                "table": "webhook_deliveries",
                "app": "booking",
                "unique_together": (("endpoint_id", "message_id"),),
                "constraints": [
                    CheckConstraint(
                        check="status IN ('pending', 'delivered', 'failed')", name="webhook_deliveries_status"
                    ),
                    CheckConstraint(
                        check="(status = 'pending') = (due_at IS NOT NULL) AND num_nonnulls(due_at, finished_at) = 1",
                        name="webhook_deliveries_pending",
                    ),
                ],
                "indexes": [Index(fields=["endpoint_id", "made_at", "id"], name="webhook_deliveries_by_time")],
                "pk_attr": "id",
                "table_description": "One change that one endpoint is to receive: what is sent is made from the booking or event as it is then.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="WebhookEndpoint",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=uuid4, unique=True, db_index=True)),
                ("url", fields.CharField(max_length=2000)),
                ("description", fields.CharField(null=True, max_length=200)),
                ("types", fields.JSONField(null=True, encoder=JSON_DUMPS, decoder=loads)),
                ("secrets", fields.JSONField(encoder=JSON_DUMPS, decoder=loads)),
                ("disabled_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("disabled_reason", fields.CharField(null=True, max_length=16)),
                ("failing_since", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("version", fields.IntField(db_default=1)),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("updated_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("deleted_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "webhook_endpoints",
                "app": "booking",
                "constraints": [
                    CheckConstraint(
                        check="(disabled_at IS NULL) = (disabled_reason IS NULL)", name="webhook_endpoints_disabled"
                    )
                ],
                "pk_attr": "id",
                "table_description": "A URL to which webhooks are sent.",
            },
            bases=["Model"],
        ),
        ops.AddField(
            model_name="EventChange",
            name="to_announce",
            field=fields.BooleanField(null=True, db_default=True),
        ),
        ops.RunSQL(
            sql=[BEFORE, *DUE],
            reverse_sql=[
                "DROP INDEX event_changes_to_announce",
                "DROP INDEX webhook_deliveries_due",
                "DROP INDEX webhook_deliveries_finished",
                "DROP INDEX webhook_deliveries_failed",
            ],
        ),
    ]
