# ruff: noqa: RUF012
"""What each buyer has taken of an event is counted in a row of its own."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops
from tortoise.migrations.constraints import CheckConstraint

INDEXES = [
    # Those that a process of the release before has changed without counting them: empty otherwise.
    """
CREATE INDEX bookings_miscounted ON bookings (id) WHERE counted <>
    CASE WHEN status = 'pending' OR (status = 'confirmed' AND amount = 0) THEN 1
    WHEN status = 'confirmed' THEN 2 ELSE 0 END
""",
    "CREATE INDEX bookings_by_address ON bookings (created_at) WHERE address IS NOT NULL",
]
# The trigger of 0013, also for the limit of an owner.
TERMS = (
    "name, starts_at, currency, on_sale, max_per_booking, cancel_until, time_zone, sales_start, sales_end, "
    "sell_after_start, cancel_after_start, payment_methods, slow_payments_until, called_off_at, version"
)
RENEW = """
CREATE TRIGGER renew_terms_tokens AFTER UPDATE OF {columns} ON events
    FOR EACH ROW EXECUTE FUNCTION renew_terms_tokens()
"""
DROP_RENEW = "DROP TRIGGER renew_terms_tokens ON events"
# A buyer's row changes with each of its bookings: with room on its page no index has to follow.
ROOM = "ALTER TABLE buyers SET (fillfactor = 70)"
UNLIMITED = 2**31 - 1


class Migration(migrations.Migration):
    dependencies = [("booking", "0013_terms_token")]

    initial = False

    operations = [
        ops.CreateModel(
            name="Buyer",
            fields=[
                ("key", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=300)),
                ("event_id", fields.UUIDField()),
                ("seats", fields.IntField()),
                ("holds", fields.IntField()),
                ("seats_max", fields.IntField(db_default=UNLIMITED)),
                ("holds_max", fields.IntField(db_default=UNLIMITED)),
                ("lapsed", fields.IntField(db_default=0)),
                ("paused_until", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("updated_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "buyers",
                "app": "booking",
                "pk_attr": "key",
                "table_description": "What one buyer has taken of an event: an owner, or all guests of an address.",
            },
            bases=["Model"],
        ),
        ops.AddConstraint(
            model_name="Buyer",
            constraint=CheckConstraint(check="seats >= 0 AND seats <= seats_max", name="buyers_seats"),
        ),
        ops.AddConstraint(
            model_name="Buyer",
            constraint=CheckConstraint(check="holds >= 0 AND holds <= holds_max", name="buyers_holds"),
        ),
        ops.AddField(model_name="Event", name="max_per_owner", field=fields.IntField(null=True)),
        ops.AddConstraint(
            model_name="Event",
            constraint=CheckConstraint(check="max_per_owner > 0", name="events_max_per_owner"),
        ),
        ops.AddField(model_name="Booking", name="address", field=fields.CharField(null=True, max_length=32)),
        ops.AddField(model_name="Booking", name="counted", field=fields.SmallIntField(null=True)),
        ops.RunSQL(
            sql=[*INDEXES, ROOM, DROP_RENEW, RENEW.format(columns=f"{TERMS}, max_per_owner")],
            reverse_sql=[
                DROP_RENEW,
                RENEW.format(columns=TERMS),
                "DROP INDEX bookings_by_address",
                "DROP INDEX bookings_miscounted",
            ],
        ),
    ]
