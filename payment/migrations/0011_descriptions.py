# ruff: noqa: RUF012
"""What Stripe is asked for an intent with, so that it is asked the same each time. Customers' email addresses are
kept no longer than that, also by processes of the release before, which do not know of them."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops

RECEIPT_ENDS = """
CREATE FUNCTION payments_receipt_ends() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.receipt_email := NULL;
    RETURN NEW;
END $$
"""
RECEIPT_TRIGGER = """
CREATE TRIGGER payments_receipt_ends BEFORE INSERT OR UPDATE ON payments FOR EACH ROW
    WHEN (NEW.receipt_email IS NOT NULL AND NEW.status <> 'creating') EXECUTE FUNCTION payments_receipt_ends()
"""


class Migration(migrations.Migration):
    dependencies = [("payment", "0010_refund_requesters")]

    initial = False

    operations = [
        ops.AddField(
            model_name="Payment",
            name="description",
            field=fields.CharField(null=True, max_length=250),
        ),
        ops.AddField(
            model_name="Payment",
            name="receipt_email",
            field=fields.CharField(null=True, max_length=254),
        ),
        ops.RunSQL(
            sql=[RECEIPT_ENDS, RECEIPT_TRIGGER],
            reverse_sql=[
                "DROP TRIGGER payments_receipt_ends ON payments",
                "DROP FUNCTION payments_receipt_ends()",
            ],
        ),
    ]
