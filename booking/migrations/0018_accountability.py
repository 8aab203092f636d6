# ruff: noqa: RUF012
"""Who asked for each change: of bookings, refunds and events, which have a history, too.

A trigger records the changes of events that nobody has recorded: those by processes of the release before, and by
hand. It fires at the commit, so that a statement that records its change itself comes first.
"""

from orjson import loads
from tortoise import fields, migrations
from tortoise.fields.data import JSON_DUMPS
from tortoise.migrations import operations as ops
from tortoise.migrations.constraints import CheckConstraint

RECORD = """
CREATE FUNCTION record_event_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO event_changes (event_id, version, at, what) VALUES (NEW.id, NEW.version, now(), CASE
        WHEN TG_OP = 'INSERT' THEN 'created'
        WHEN OLD.called_off_at IS NULL AND NEW.called_off_at IS NOT NULL THEN 'cancelled'
        ELSE 'changed'
    END) ON CONFLICT (event_id, version) DO NOTHING;
    RETURN NULL;
END $$
"""
RECORD_TRIGGER = """
CREATE CONSTRAINT TRIGGER record_event_change AFTER INSERT OR UPDATE OF version ON events
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION record_event_change()
"""


class Migration(migrations.Migration):
    dependencies = [("booking", "0017_revoked_tokens")]

    initial = False

    operations = [
        ops.CreateModel(
            name="EventChange",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("event_id", fields.UUIDField()),
                ("version", fields.IntField()),
                ("what", fields.CharField(max_length=16)),
                ("changes", fields.JSONField(null=True, encoder=JSON_DUMPS, decoder=loads)),
                ("by", fields.CharField(null=True, max_length=255)),
                ("at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "event_changes",
                "app": "booking",
                "unique_together": (("event_id", "version"),),
                "pk_attr": "id",
                "table_description": "One change of an event and its ticket types, with who made it. "
                "It is written with the change.",
            },
            bases=["Model"],
        ),
        ops.AddConstraint(
            model_name="EventChange",
            constraint=CheckConstraint(
                check="what IN ('created', 'changed', 'cancelled')", name="event_changes_what"
            ),
        ),
        ops.AddField(
            model_name="Booking",
            name="refund_by",
            field=fields.CharField(null=True, max_length=255),
        ),
        ops.AddField(
            model_name="Booking",
            name="refunds",
            field=fields.JSONField(null=True, encoder=JSON_DUMPS, decoder=loads),
        ),
        ops.AddField(
            model_name="Booking",
            name="rejection",
            field=fields.JSONField(null=True, encoder=JSON_DUMPS, decoder=loads),
        ),
        ops.AddField(
            model_name="BookingTransition",
            name="by",
            field=fields.CharField(null=True, max_length=255),
        ),
        ops.AddField(
            model_name="RefundRetry",
            name="by",
            field=fields.CharField(null=True, max_length=255),
        ),
        ops.RunSQL(
            sql=[RECORD, RECORD_TRIGGER],
            reverse_sql=["DROP TRIGGER record_event_change ON events", "DROP FUNCTION record_event_change()"],
        ),
    ]
