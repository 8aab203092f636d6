# ruff: noqa: RUF012
"""Changes of bookings that are announced by mail or webhook: a mark in the booking, and in the transition what had
been refunded. The index is empty while nothing is to be announced; `created_at`, by which it is ordered, never
changes, so that no write of a booking pays for it."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops

TO_ANNOUNCE = "CREATE INDEX bookings_to_announce ON bookings (created_at) WHERE announce_from IS NOT NULL"


class Migration(migrations.Migration):
    dependencies = [("booking", "0022_check_ins")]

    initial = False

    operations = [
        ops.AddField(
            model_name="Booking",
            name="announce_from",
            field=fields.IntField(null=True),
        ),
        ops.AddField(
            model_name="BookingTransition",
            name="amount_refunded",
            field=fields.BigIntField(null=True),
        ),
        ops.RunSQL(sql=[TO_ANNOUNCE], reverse_sql=["DROP INDEX bookings_to_announce"]),
    ]
