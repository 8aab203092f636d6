# ruff: noqa: E501, RUF012, S105 - what is about secrets is none
from tortoise import fields, migrations
from tortoise.fields.base import OnDelete
from tortoise.indexes import Index
from tortoise.migrations import operations as ops

# The settler looks at this alone: it is empty when nothing is due.
DUE = "CREATE INDEX payments_look_due ON payments (look_after) WHERE look_after IS NOT NULL"

# With what has ended nothing can be paid: also where a process of the release before writes it.
SECRET_ENDS = """
CREATE FUNCTION payments_secret_ends() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.client_secret := NULL;
    RETURN NEW;
END $$
"""
SECRET_TRIGGER = """
CREATE TRIGGER payments_secret_ends BEFORE INSERT OR UPDATE ON payments FOR EACH ROW
    WHEN (NEW.client_secret IS NOT NULL AND NEW.status IN ('succeeded', 'canceled', 'rejected'))
    EXECUTE FUNCTION payments_secret_ends()
"""
NO_OLD_SECRETS = """
UPDATE payments SET client_secret = NULL
WHERE client_secret IS NOT NULL AND status IN ('succeeded', 'canceled', 'rejected')
"""

# A process of the release before knows of one dispute alone. What it writes, Stripe's own list of them puts right.
OLD_DISPUTE = """
CREATE FUNCTION payments_dispute_by_old_release() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.doubts := NEW.doubts + 1;
    NEW.look_after := now();
    RETURN NEW;
END $$
"""
OLD_DISPUTE_TRIGGER = """
CREATE TRIGGER payments_dispute_by_old_release BEFORE UPDATE ON payments FOR EACH ROW
    WHEN (NEW.dispute_seen_at IS DISTINCT FROM OLD.dispute_seen_at)
    EXECUTE FUNCTION payments_dispute_by_old_release()
"""
# Stripe has all disputes of those that are known to have one: they are looked at once.
LOOK_AT_DISPUTED = "UPDATE payments SET doubts = doubts + 1, look_after = now() WHERE dispute_status IS NOT NULL"

# Until now the cursor was in our own time, which may have been ahead of Stripe's.
IN_STRIPES_TIME = "UPDATE event_cursor SET looked_until = looked_until - interval '10 minutes'"


class Migration(migrations.Migration):
    dependencies = [("payment", "0004_refund_whole")]

    initial = False

    operations = [
        ops.CreateModel(
            name="Dispute",
            fields=[
                ("id", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=255)),
                (
                    "booking",
                    fields.ForeignKeyField(
                        "payment.Payment",
                        source_field="booking_id",
                        db_constraint=True,
                        to_field="booking_id",
                        related_name="disputes",
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("status", fields.CharField(max_length=64)),
                ("charge_id", fields.CharField(null=True, max_length=255)),
                ("amount", fields.BigIntField(null=True)),
                ("currency", fields.CharField(null=True, max_length=3)),
                ("reason", fields.CharField(null=True, max_length=64)),
                ("opened_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("respond_by", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("seen_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "disputes",
                "app": "payment",
                "indexes": [Index(fields=["booking_id"], name="disputes_booking")],
                "pk_attr": "id",
                "table_description": "A dispute of the payment's charge, as Stripe has it; its id is Stripe's. Times are Stripe's.",
            },
            bases=["Model"],
        ),
        ops.AddField(model_name="Payment", name="doubts", field=fields.IntField(db_default=0)),
        ops.AddField(
            model_name="Payment",
            name="look_after",
            field=fields.DatetimeField(null=True, auto_now=False, auto_now_add=False),
        ),
        ops.AddField(model_name="Payment", name="look_attempts", field=fields.IntField(db_default=0)),
        ops.AddField(model_name="EventCursor", name="walked_to", field=fields.CharField(null=True, max_length=255)),
        ops.AddField(
            model_name="EventCursor",
            name="walk_until",
            field=fields.DatetimeField(null=True, auto_now=False, auto_now_add=False),
        ),
        ops.RunSQL(
            sql=[
                DUE,
                SECRET_ENDS,
                SECRET_TRIGGER,
                NO_OLD_SECRETS,
                OLD_DISPUTE,
                OLD_DISPUTE_TRIGGER,
                LOOK_AT_DISPUTED,
                IN_STRIPES_TIME,
            ],
            reverse_sql=[
                "DROP TRIGGER payments_dispute_by_old_release ON payments",
                "DROP FUNCTION payments_dispute_by_old_release()",
                "DROP TRIGGER payments_secret_ends ON payments",
                "DROP FUNCTION payments_secret_ends()",
                "DROP INDEX payments_look_due",
            ],
        ),
    ]
