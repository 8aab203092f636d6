"""The SQL of what events show: their contents and images, which no decision reads."""

# Statements are put together from names of ours and never from data.

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import orjson

from booking.contents import image
from booking.state import Content, Event
from common.contracts.values import EventImage, Venue
from common.postgres.sql import as_json

# The description is long: it is read only where it is wanted ($2).
FIND = """
SELECT wanted.id, CASE WHEN $2 THEN c.description END AS description, c.category, c.venue, i.hash, i.width, i.height
FROM unnest($1::uuid[]) AS wanted (id)
LEFT JOIN event_contents c ON c.event_id = wanted.id LEFT JOIN event_images i ON i.event_id = wanted.id
"""
SAVE = """
INSERT INTO event_contents (event_id, description, category, venue) VALUES ($1, $2, $3, $4::jsonb)
ON CONFLICT (event_id) DO UPDATE
SET description = excluded.description, category = excluded.category, venue = excluded.venue
"""
SAVE_IMAGE = """
INSERT INTO event_images (event_id, hash, width, height, data) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (event_id) DO UPDATE
SET hash = excluded.hash, width = excluded.width, height = excluded.height, data = excluded.data
"""
DELETE_IMAGE = "DELETE FROM event_images WHERE event_id = $1"
# The bytes only of another image than the one that is known ($2).
IMAGE = """
SELECT hash, CASE WHEN hash IS DISTINCT FROM $2 THEN data END AS data FROM event_images WHERE event_id = $1
"""

NOTHING = Content()


class ImageBytes(NamedTuple):
    """`data`: None if the image is the one that is known."""

    hash: str
    data: bytes | None


class ContentRows:
    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def find(self, events: Iterable[Event], *, descriptions: bool = False) -> dict[UUID, Content]:
        """What each of these events shows; its description only with `descriptions`."""
        found = {event.id: NOTHING for event in events}
        if wanted := [event.id for event in events if event.content_version]:
            rows = await self._connection.fetch(FIND, wanted, descriptions)
            found |= {row["id"]: _content(row) for row in rows}
        return found

    async def of(self, event: Event) -> Content:
        """All that this event shows."""
        return (await self.find([event], descriptions=True))[event.id]

    async def save(self, event_id: UUID, content: Content) -> None:
        """Write what the event shows, without its image. The event must be locked."""
        venue = None if content.venue is None else as_json(asdict(content.venue))
        await self._connection.execute(SAVE, event_id, content.description, content.category, venue)

    async def save_image(self, event_id: UUID, new: EventImage | None, data: bytes) -> None:
        """Write the event's image, or delete it. The event must be locked."""
        if new is None:
            await self._connection.execute(DELETE_IMAGE, event_id)
        else:
            await self._connection.execute(SAVE_IMAGE, event_id, new.hash, new.width, new.height, data)

    async def image(self, event_id: UUID, known: str | None) -> ImageBytes | None:
        """The event's image; `known`: the hash of the one whose bytes are not needed."""
        row = await self._connection.fetchrow(IMAGE, event_id, known)
        return None if row is None else ImageBytes(*row)


def _content(row: Any) -> Content:
    venue = None if row["venue"] is None else Venue(**orjson.loads(row["venue"]))
    shown = None if row["hash"] is None else image(row["id"], row["hash"], row["width"], row["height"])
    return Content(row["description"], row["category"], venue, shown)
