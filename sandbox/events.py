"""Events as the API lists them: https://docs.stripe.com/api/events."""

from typing import Any

import orjson

from sandbox.errors import ParameterError, missing_object
from sandbox.lists import PAGE_READERS, Query
from sandbox.objects import Object
from sandbox.schema import Schema, array, boolean, string
from sandbox.work import Work

TYPES_MAX = 20

LIST = Schema(
    {
        **PAGE_READERS,
        "delivery_success": boolean,
        "type": string(),
        "types": array(string(), longest=TYPES_MAX),
    }
)

UNDELIVERED = "SELECT event FROM deliveries WHERE status != 'delivered'"


def retrieve(work: Work, params: dict[str, Any], event: str) -> Object:
    """`GET /v1/events/{id}`."""
    row = work.ledger.read("SELECT body FROM events WHERE id = ?", (event,)).fetchone()
    if row is None:
        raise missing_object("event", event)
    found: Object = orjson.loads(row[0])
    _count_webhooks(work, [found])
    return found


def list_events(work: Work, params: dict[str, Any]) -> Object:
    """`GET /v1/events`. A type may end in `.*`, as in `charge.*`.

    Raises:
        ParameterError: both `type` and `types` were given.
    """
    if "type" in params and "types" in params:
        raise ParameterError("You may only specify one of these parameters: type, types.", "types")
    query = Query("events", "event", "/v1/events")
    types = params.get("types") or ([params["type"]] if "type" in params else [])
    if types:
        choices = " OR ".join("type GLOB ?" if kind.endswith("*") else "type = ?" for kind in types)
        query.where(f"({choices})", *types)
    if "delivery_success" in params:
        query.where(f"id {'NOT IN' if params['delivery_success'] else 'IN'} ({UNDELIVERED})")
    if work.event_lag_seconds:
        # The same events are late in every list.
        late = f"seq * 7919 % 1000 < {work.event_lag_share * 1000:.0f}"
        query.where(f"NOT ({late} AND created > ?)", work.time - work.event_lag_seconds)
    page = query.page(work, params)
    _count_webhooks(work, page["data"])
    return page


def _count_webhooks(work: Work, events: list[Object]) -> None:
    """Set `pending_webhooks`: the number of deliveries that no endpoint has accepted yet."""
    marks = ", ".join("?" * len(events))
    rows = work.ledger.read(
        f"SELECT event, count(*) FROM deliveries WHERE event IN ({marks}) AND status != 'delivered' GROUP BY event",  # noqa: S608 - marks only
        tuple(event["id"] for event in events),
    )
    undelivered = dict(rows.fetchall())
    for event in events:
        event["pending_webhooks"] = undelivered.get(event["id"], 0)
