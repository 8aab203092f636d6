# ruff: noqa: RUF012
"""What models cannot say: indexes of due rows alone, and that refunds never exceed what was captured."""

from tortoise import migrations
from tortoise.migrations import operations as ops

# The settler looks at these alone: they are empty when nothing is due.
DUE = [
    "CREATE INDEX payments_report_due ON payments (report_after) WHERE report_after IS NOT NULL",
    "CREATE INDEX payments_drive_due ON payments (drive_after) WHERE drive_after IS NOT NULL",
    "CREATE INDEX refunds_drive_due ON refunds (drive_after) WHERE drive_after IS NOT NULL",
]

# Checked at commit, so that a transaction may let one refund fail and make another. The payment's row is
# locked first: of two transactions at once, the second sums up what the first has committed. The lock is one
# that goes with the foreign key's, so that the two don't wait for each other.
REFUND_LIMIT = """
CREATE FUNCTION refunds_within_captured() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    captured bigint;
    given_back bigint;
BEGIN
    SELECT amount_captured INTO captured FROM payments WHERE booking_id = NEW.booking_id FOR NO KEY UPDATE;
    SELECT coalesce(sum(amount), 0) INTO given_back FROM refunds
        WHERE booking_id = NEW.booking_id AND status <> 'failed';
    IF given_back > captured THEN
        RAISE EXCEPTION 'refunds of % would be % of % captured', NEW.booking_id, given_back, captured
            USING ERRCODE = 'check_violation', CONSTRAINT = 'refunds_within_captured', TABLE = 'refunds';
    END IF;
    RETURN NULL;
END $$
"""

REFUND_TRIGGER = """
CREATE CONSTRAINT TRIGGER refunds_within_captured AFTER INSERT OR UPDATE OF amount, status, booking_id ON refunds
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.status <> 'failed')
    EXECUTE FUNCTION refunds_within_captured()
"""


class Migration(migrations.Migration):
    dependencies = [("payment", "0002_constraints")]

    initial = False

    operations = [
        ops.RunSQL(
            sql=[*DUE, REFUND_LIMIT, REFUND_TRIGGER],
            reverse_sql=[
                "DROP TRIGGER refunds_within_captured ON refunds",
                "DROP FUNCTION refunds_within_captured()",
                "DROP INDEX refunds_drive_due",
                "DROP INDEX payments_drive_due",
                "DROP INDEX payments_report_due",
            ],
        ),
    ]
