# ruff: noqa: RUF012
"""What events show (description, category, venue, image), in tables that no decision reads; and drafts and archived
events.

A change of content is a change of the event with a version of its own, and none of its terms: it must not renew the
terms tokens. So `version` is no longer among the columns that do. Each process, also of the release before, names
all columns of the terms when it saves them or adds a ticket type.
"""

from orjson import loads
from tortoise import fields, migrations
from tortoise.fields.data import JSON_DUMPS
from tortoise.migrations import operations as ops
from tortoise.migrations.constraints import CheckConstraint

DROP_RENEW = "DROP TRIGGER renew_terms_tokens ON events"
RENEW = """
CREATE TRIGGER renew_terms_tokens AFTER UPDATE OF name, starts_at, currency, on_sale, max_per_booking, cancel_until,
    time_zone, sales_start, sales_end, sell_after_start, cancel_after_start, payment_methods, slow_payments_until,
    called_off_at, max_per_owner, {column} ON events
    FOR EACH ROW EXECUTE FUNCTION renew_terms_tokens()
"""
# New bookings wait for the locks of the ticket types: when they get them, the terms tokens are others.
KEEP_KNOWN = """
CREATE FUNCTION booked_events_stay_known() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM ticket_types WHERE event_id = NEW.id ORDER BY id FOR NO KEY UPDATE;
    IF EXISTS (SELECT FROM bookings WHERE event_id = NEW.id) THEN
        RAISE EXCEPTION 'event % has bookings: it cannot become a draft', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'events_draft';
    END IF;
    RETURN NEW;
END $$
"""
KEEP_KNOWN_TRIGGER = """
CREATE TRIGGER booked_events_stay_known BEFORE UPDATE OF status ON events
    FOR EACH ROW WHEN (NEW.status = 'draft' AND OLD.status <> 'draft') EXECUTE FUNCTION booked_events_stay_known()
"""
CHECKS = (
    (
        "EventContent",
        {"name": "event_contents_description", "check": "char_length(description) BETWEEN 1 AND 20000"},
    ),
    ("EventImage", {"name": "event_images_size", "check": "octet_length(data) <= 300000"}),
    ("EventImage", {"name": "event_images_webp", "check": "substring(data FROM 9 FOR 4) = 'WEBP'::bytea"}),
    ("EventImage", {"name": "event_images_pixels", "check": "width > 0 AND height > 0"}),
)
# A WebP does not become smaller when Postgres compresses it.
STORE_AS_IT_IS = "ALTER TABLE event_images ALTER COLUMN data SET STORAGE EXTERNAL"


class Migration(migrations.Migration):
    dependencies = [("booking", "0019_customers")]

    initial = False

    operations = [
        ops.CreateModel(
            name="EventContent",
            fields=[
                ("event_id", fields.UUIDField(primary_key=True, unique=True, db_index=True)),
                ("description", fields.TextField(null=True, unique=False)),
                ("category", fields.CharField(null=True, max_length=64)),
                ("venue", fields.JSONField(null=True, encoder=JSON_DUMPS, decoder=loads)),
            ],
            options={
                "table": "event_contents",
                "app": "booking",
                "pk_attr": "event_id",
                "table_description": "What an event shows beside its terms and its image. No decision reads it, "
                "and it is read only to be shown.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="EventImage",
            fields=[
                ("event_id", fields.UUIDField(primary_key=True, unique=True, db_index=True)),
                ("hash", fields.CharField(max_length=32)),
                ("width", fields.IntField()),
                ("height", fields.IntField()),
                ("data", fields.BinaryField()),
            ],
            options={
                "table": "event_images",
                "app": "booking",
                "pk_attr": "event_id",
                "table_description": "The image of an event: a WebP, as a gateway has made it of what an operator "
                "sent.",
            },
            bases=["Model"],
        ),
        *(ops.AddConstraint(model_name=model, constraint=CheckConstraint(**check)) for model, check in CHECKS),
        ops.AddField(model_name="Event", name="content_version", field=fields.IntField(db_default=0)),
        ops.AddField(
            model_name="Event", name="status", field=fields.CharField(db_default="published", max_length=16)
        ),
        ops.AddConstraint(
            model_name="Event",
            constraint=CheckConstraint(check="status IN ('draft', 'published', 'archived')", name="events_status"),
        ),
        ops.RunSQL(
            sql=[
                STORE_AS_IT_IS,
                DROP_RENEW,
                RENEW.format(column="status"),
                KEEP_KNOWN,
                KEEP_KNOWN_TRIGGER,
            ],
            reverse_sql=[
                "DROP TRIGGER booked_events_stay_known ON events",
                "DROP FUNCTION booked_events_stay_known()",
                DROP_RENEW,
                RENEW.format(column="version"),
            ],
        ),
    ]
