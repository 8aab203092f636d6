# ruff: noqa: RUF012
"""The checks of tables that were made without those that they are declared with: `CreateModel` makes none."""

from tortoise import migrations
from tortoise.migrations import operations as ops

# By table, its checks by name.
CHECKS = {
    "recovery_codes": {"recovery_codes_used": "(used_at IS NULL) = (used_by IS NULL)"},
    "revoked_tokens": {"revoked_tokens_claim": "claim IN ('jti', 'sub')"},
    "check_ins": {
        "check_ins_number": "number > 0",
        "check_ins_undone": "(undone_at IS NULL) = (undone_by IS NULL)",
    },
    "mails": {
        "mails_kind": "kind IN ('confirmation', 'cancellation', 'refund', 'offer', 'attention')",
        "mails_status": "status IN ('owed', 'sent', 'refused', 'given_up', 'dropped')",
        "mails_about": "(booking_id IS NULL) <> (endpoint_id IS NULL)",
        "mails_never_stuck": "(status = 'owed') = (send_after IS NOT NULL) "
        "AND (status = 'owed') = (ended_at IS NULL)",
    },
    "webhook_deliveries": {
        "webhook_deliveries_status": "status IN ('pending', 'delivered', 'failed')",
        "webhook_deliveries_pending": "(status = 'pending') = (due_at IS NOT NULL) "
        "AND num_nonnulls(due_at, finished_at) = 1",
    },
    "webhook_endpoints": {"webhook_endpoints_disabled": "(disabled_at IS NULL) = (disabled_reason IS NULL)"},
    "promo_codes": {
        "promo_codes_percent": "percent_off BETWEEN 1 AND 100",
        "promo_codes_amount": "amount_off > 0",
        "promo_codes_discount": "num_nonnulls(percent_off, amount_off) <= 1",
        "promo_codes_uses": "held >= 0 AND used >= 0 AND held + used <= uses_max",
        "promo_codes_uses_per_owner": "uses_per_owner > 0",
        "promo_codes_valid": "valid_from < valid_until",
    },
    "promo_code_owners": {"promo_code_owners_uses": "uses >= 0 AND uses <= uses_max"},
}
NAMED = [(table, name, check) for table, checks in CHECKS.items() for name, check in checks.items()]


class Migration(migrations.Migration):
    dependencies = [("booking", "0027_waiting_list")]

    initial = False

    # Tables that were made by hand may have them.
    operations = [
        ops.RunSQL(
            sql=[
                statement
                for table, name, check in NAMED
                for statement in (
                    f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}",
                    f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({check})",
                )
            ],
            reverse_sql=[f"ALTER TABLE {table} DROP CONSTRAINT {name}" for table, name, _ in NAMED],
        )
    ]
