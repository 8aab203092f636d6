# ruff: noqa: E501, RUF012
from tortoise import migrations
from tortoise.migrations import operations as ops
from tortoise.migrations.constraints import CheckConstraint


class Migration(migrations.Migration):
    dependencies = [("payment", "0001_initial")]

    initial = False

    operations = [
        ops.AddConstraint(
            model_name="Payment",
            constraint=CheckConstraint(
                check="status IN ('creating', 'requires_payment_method', 'requires_confirmation', 'requires_action', 'processing', 'requires_capture', 'succeeded', 'canceled', 'rejected')",
                name="payments_status",
            ),
        ),
        ops.AddConstraint(
            model_name="Payment",
            constraint=CheckConstraint(
                check="last_change IN ('intent', 'refund', 'dispute')", name="payments_change"
            ),
        ),
        ops.AddConstraint(
            model_name="Payment",
            constraint=CheckConstraint(
                check="amount >= 0 AND amount_refunded >= 0 AND amount_refunded <= amount_captured",
                name="payments_amounts",
            ),
        ),
        ops.AddConstraint(
            model_name="Payment",
            constraint=CheckConstraint(
                check="intent_id IS NOT NULL OR status IN ('creating', 'canceled', 'rejected')",
                name="payments_intent_known",
            ),
        ),
        ops.AddConstraint(
            model_name="Payment",
            constraint=CheckConstraint(
                check="reported_version >= 0 AND reported_version <= version", name="payments_versions"
            ),
        ),
        ops.AddConstraint(
            model_name="Refund",
            constraint=CheckConstraint(
                check="status IN ('requested', 'pending', 'succeeded', 'failed')", name="refunds_status"
            ),
        ),
        ops.AddConstraint(
            model_name="Refund",
            constraint=CheckConstraint(check="amount > 0", name="refunds_amount"),
        ),
    ]
