# ruff: noqa: RUF012
"""Checks that a column has one of some values, as Postgres reads them fastest (see `one_of`). They say the same."""

from tortoise import migrations
from tortoise.migrations import operations as ops
from tortoise.migrations.constraints import CheckConstraint

PAYMENT = (
    "none,creating,awaiting,action_required,processing,paid,refund_pending,partially_refunded,refunded,refund_failed"
    ",disputed"
)
# By model, its checks by name.
CHECKS = {
    "Booking": {
        "bookings_status": "status = ANY ('{pending,confirmed,cancelled,failed}'::text[])",
        "bookings_payment": f"payment = ANY ('{{{PAYMENT}}}'::text[])",
        "bookings_payment_methods": "payment_methods = ANY ('{instant,all}'::text[])",
        "bookings_box_office": "box_office IS NULL OR (intent_id IS NULL AND refund_amount IS NULL AND"
        " status = ANY ('{confirmed,cancelled}'::text[]))",
    },
    "Event": {
        "events_payment_methods": "payment_methods = ANY ('{instant,all}'::text[])",
        "events_status": "status = ANY ('{draft,published,archived}'::text[])",
    },
    "EventChange": {"event_changes_what": "what = ANY ('{created,changed,cancelled}'::text[])"},
    "Mail": {
        "mails_kind": "kind = ANY ('{confirmation,cancellation,refund,offer,attention}'::text[])",
        "mails_status": "status = ANY ('{owed,sent,refused,given_up,dropped}'::text[])",
    },
    "Revocation": {"revoked_tokens_claim": "claim = ANY ('{jti,sub}'::text[])"},
    "WaitingEntry": {"waiting_entries_status": "status = ANY ('{waiting,offered,left,closed}'::text[])"},
    "WebhookDelivery": {"webhook_deliveries_status": "status = ANY ('{pending,delivered,failed}'::text[])"},
}


class Migration(migrations.Migration):
    dependencies = [("booking", "0030_money_that_waits")]

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
