# ruff: noqa: RUF012
"""Promo codes, how often each is used, and ticket types that are hidden from those who have none.

Processes of the release before know of neither: use them when all processes are of this one (docs/operations.md).
"""

from orjson import loads
from tortoise import fields, migrations
from tortoise.fields.data import JSON_DUMPS
from tortoise.migrations import operations as ops
from tortoise.migrations.constraints import CheckConstraint

# Bookings that a process of the release before has changed without counting them: empty otherwise.
MISCOUNTED = """
CREATE INDEX bookings_code_miscounted ON bookings (id) WHERE code_counted <>
    CASE WHEN code_id IS NULL THEN NULL WHEN status = 'pending' THEN 1 WHEN status = 'confirmed' THEN 2 ELSE 0 END
"""
# The rows change with each booking that is made with a code: with room on their pages no index has to follow.
ROOM = [f"ALTER TABLE {table} SET (fillfactor = 70)" for table in ("promo_codes", "promo_code_owners")]
# The trigger of 0013, also for what is hidden.
TERMS = "event_id, position, name, unit_amount, capacity"
RENEW = """
CREATE TRIGGER renew_terms_token BEFORE UPDATE OF {columns} ON ticket_types
    FOR EACH ROW EXECUTE FUNCTION renew_terms_token()
"""
DROP_RENEW = "DROP TRIGGER renew_terms_token ON ticket_types"


class Migration(migrations.Migration):
    dependencies = [("booking", "0025_webhooks")]

    initial = False

    operations = [
        ops.CreateModel(
            name="PromoCode",
            fields=[
                ("id", fields.UUIDField(primary_key=True, unique=True, db_index=True)),
                ("event_id", fields.UUIDField()),
                ("code", fields.CharField(max_length=64)),
                ("code_key", fields.CharField(max_length=64)),
                ("percent_off", fields.IntField(null=True)),
                ("amount_off", fields.BigIntField(null=True)),
                ("ticket_types", fields.JSONField(encoder=JSON_DUMPS, decoder=loads)),
                ("unlocks", fields.JSONField(encoder=JSON_DUMPS, decoder=loads)),
                ("uses_max", fields.IntField(null=True)),
                ("uses_per_owner", fields.IntField(null=True)),
                ("valid_from", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("valid_until", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("active", fields.BooleanField(db_default=True)),
                ("held", fields.IntField(db_default=0)),
                ("used", fields.IntField(db_default=0)),
                ("version", fields.IntField(db_default=1)),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "promo_codes",
                "app": "booking",
                "unique_together": (("event_id", "code_key"),),
                "constraints": [
                    CheckConstraint(check="percent_off BETWEEN 1 AND 100", name="promo_codes_percent"),
                    CheckConstraint(check="amount_off > 0", name="promo_codes_amount"),
                    CheckConstraint(
                        check="num_nonnulls(percent_off, amount_off) <= 1", name="promo_codes_discount"
                    ),
                    CheckConstraint(
                        check="held >= 0 AND used >= 0 AND held + used <= uses_max", name="promo_codes_uses"
                    ),
                    CheckConstraint(check="uses_per_owner > 0", name="promo_codes_uses_per_owner"),
                    CheckConstraint(check="valid_from < valid_until", name="promo_codes_valid"),
                ],
                "pk_attr": "id",
                "table_description": "What customers enter to pay less, or to see hidden ticket types.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="PromoCodeOwner",
            fields=[
                ("key", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=300)),
                ("code_id", fields.UUIDField()),
                ("uses", fields.IntField()),
                ("uses_max", fields.IntField()),
            ],
            options={
                "table": "promo_code_owners",
                "app": "booking",
                "constraints": [
                    CheckConstraint(check="uses >= 0 AND uses <= uses_max", name="promo_code_owners_uses")
                ],
                "pk_attr": "key",
                "table_description": "How many uses of a promo code one owner has, held and used ones.",
            },
            bases=["Model"],
        ),
        ops.AddField(
            model_name="Booking",
            name="code",
            field=fields.CharField(null=True, max_length=64),
        ),
        ops.AddField(
            model_name="Booking",
            name="code_counted",
            field=fields.SmallIntField(null=True),
        ),
        ops.AddField(
            model_name="Booking",
            name="code_id",
            field=fields.UUIDField(null=True),
        ),
        ops.AddField(
            model_name="TicketType",
            name="hidden",
            field=fields.BooleanField(db_default=False),
        ),
        ops.AddField(
            model_name="TicketType",
            name="version_when_hidden",
            field=fields.IntField(db_default=0),
        ),
        ops.RunSQL(
            sql=[MISCOUNTED, *ROOM, DROP_RENEW, RENEW.format(columns=f"{TERMS}, hidden")],
            reverse_sql=[DROP_RENEW, RENEW.format(columns=TERMS), "DROP INDEX bookings_code_miscounted"],
        ),
    ]
