# ruff: noqa: RUF012
"""Refunds of all that is left, whose amount may follow what is left; and why a refund is not made yet."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops

# Of refunds that are being asked for at the upgrade: those are for all that is left whose amount it is.
ALL_THAT_IS_LEFT = """
UPDATE refunds r SET whole = true FROM payments p
WHERE r.status = 'requested' AND p.booking_id = r.booking_id AND r.amount = p.amount_captured - (
    SELECT coalesce(sum(o.amount), 0) FROM refunds o
    WHERE o.booking_id = r.booking_id AND o.id <> r.id AND o.status <> 'failed'
)
"""

# A part that an operator named is paid in this amount or not at all.
PART_STAYS = """
CREATE FUNCTION refunds_part_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'refund % is a part of %, not of %', OLD.id, OLD.amount, NEW.amount
        USING ERRCODE = 'check_violation', CONSTRAINT = 'refunds_part_stays', TABLE = 'refunds';
END $$
"""
PART_TRIGGER = """
CREATE TRIGGER refunds_part_stays BEFORE UPDATE OF amount ON refunds
    FOR EACH ROW WHEN (NOT OLD.whole AND NEW.amount <> OLD.amount) EXECUTE FUNCTION refunds_part_stays()
"""


class Migration(migrations.Migration):
    dependencies = [("payment", "0003_due_and_refund_limit")]

    initial = False

    operations = [
        ops.AddField(
            model_name="Refund",
            name="pending_reason",
            field=fields.CharField(null=True, max_length=255),
        ),
        ops.AddField(
            model_name="Refund",
            name="refusals",
            field=fields.IntField(db_default=0),
        ),
        ops.AddField(
            model_name="Refund",
            name="refused_since",
            field=fields.DatetimeField(null=True, auto_now=False, auto_now_add=False),
        ),
        ops.AddField(
            model_name="Refund",
            name="whole",
            field=fields.BooleanField(db_default=False),
        ),
        ops.RunSQL(
            sql=[ALL_THAT_IS_LEFT, PART_STAYS, PART_TRIGGER],
            reverse_sql=["DROP TRIGGER refunds_part_stays ON refunds", "DROP FUNCTION refunds_part_stays()"],
        ),
    ]
