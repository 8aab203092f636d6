# ruff: noqa: RUF012
"""A hold has a last moment, and attempts to pay are counted."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops

# Whoever would benefit from a later one asks for it in vain, whatever the code says.
FIXED = """
CREATE FUNCTION hold_until_is_fixed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the last moment of the hold of % is %, not %', OLD.id, OLD.hold_until, NEW.hold_until
        USING ERRCODE = 'check_violation', CONSTRAINT = 'hold_until_is_fixed', TABLE = 'bookings';
END $$
"""
FIXED_TRIGGER = """
CREATE TRIGGER hold_until_is_fixed BEFORE UPDATE OF hold_until ON bookings FOR EACH ROW
    WHEN (NEW.hold_until <> OLD.hold_until OR (NEW.hold_until IS NULL AND NEW.status = 'pending' AND
        OLD.hold_until IS NOT NULL))
    EXECUTE FUNCTION hold_until_is_fixed()
"""


class Migration(migrations.Migration):
    dependencies = [("booking", "0009_payment_methods")]

    initial = False

    operations = [
        ops.AddField(
            model_name="Booking",
            name="attempts",
            field=fields.IntField(db_default=0),
        ),
        ops.AddField(
            model_name="Booking",
            name="last_attempt_at",
            field=fields.DatetimeField(null=True, auto_now=False, auto_now_add=False),
        ),
        ops.AddField(
            model_name="Booking",
            name="hold_until",
            field=fields.DatetimeField(null=True, auto_now=False, auto_now_add=False),
        ),
        ops.RunSQL(
            sql=[FIXED, FIXED_TRIGGER],
            reverse_sql=[
                "DROP TRIGGER hold_until_is_fixed ON bookings",
                "DROP FUNCTION hold_until_is_fixed()",
            ],
        ),
    ]
