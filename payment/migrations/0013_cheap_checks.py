# ruff: noqa: RUF012
"""Checks that a column has one of some values, as Postgres reads them fastest (see `one_of`). They say the same."""

from tortoise import migrations
from tortoise.migrations import operations as ops
from tortoise.migrations.constraints import CheckConstraint

STATUS = (
    "creating,requires_payment_method,requires_confirmation,requires_action,processing,requires_capture,succeeded"
    ",canceled,rejected"
)
# By model, its checks by name.
CHECKS = {
    "Payment": {
        "payments_status": f"status = ANY ('{{{STATUS}}}'::text[])",
        "payments_methods": "payment_methods = ANY ('{instant,all}'::text[])",
        "payments_change": "last_change = ANY ('{intent,refund,dispute}'::text[])",
        "payments_intent_known": "intent_id IS NOT NULL OR status = ANY ('{creating,canceled,rejected}'::text[])",
    },
    "Refund": {"refunds_status": "status = ANY ('{requested,pending,succeeded,failed}'::text[])"},
    "StrayIntent": {
        "stray_intents_never_stuck": "drive_after IS NOT NULL OR status = ANY ('{succeeded,canceled}'::text[])"
    },
}


class Migration(migrations.Migration):
    dependencies = [("payment", "0012_attention")]

    initial = False

    operations = [
        operation
        for model, checks in CHECKS.items()
        for name, check in checks.items()
        for operation in (
            ops.RemoveConstraint(model_name=model, name=name, fields=None),
            ops.AddConstraint(model_name=model, constraint=CheckConstraint(name=name, check=check)),
        )
    ]
