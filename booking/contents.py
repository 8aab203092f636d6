"""What an event shows beside its terms: description, category, venue, image. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from typing import Any
from uuid import UUID

from booking.faults import Fault, refuse, text_faults
from booking.state import Content
from common.contracts import errors
from common.contracts.history import FieldChange, FieldValue
from common.contracts.messages import SetEventImage
from common.contracts.resources import NAME_MAX
from common.contracts.values import CATEGORY_MAX, DESCRIPTION_MAX, IMAGE_BYTES_MAX, EventImage, Venue

# The fields of CreateEvent and EventChanges that are content; an image comes by itself.
FIELDS = ("description", "category", "venue")
# How many characters of a description its history has: two whole ones in each of a page of changes were too much.
BRIEF = 200


def check(values: Mapping[str, Any]) -> None:
    """Raises InvalidRequest for values of FIELDS that the database would refuse, also when a gateway has let them
    pass."""
    found: list[Fault] = []
    for name, most in (("description", DESCRIPTION_MAX), ("category", CATEGORY_MAX)):
        if (text := values.get(name)) is not None:
            found += text_faults((name,), text, most)
    venue: Venue | None = values.get("venue")
    for name, text in ({} if venue is None else asdict(venue)).items():
        if text is not None:
            found += text_faults(("venue", name), text, NAME_MAX)
    refuse(found)


def image_of(message: SetEventImage) -> tuple[EventImage | None, bytes]:
    """The image that the event is to have, and its bytes. Raises ImageInvalid where the gateway has made a mistake:
    the database would refuse them, too."""
    if message.data is None:
        return None, b""
    try:
        data = base64.b64decode(message.data, validate=True)
    except binascii.Error:
        data = b""
    if not (data[8:12] == b"WEBP" and len(data) <= IMAGE_BYTES_MAX and message.width and message.height):
        raise errors.ImageInvalid(f"It must be a WebP of at most {IMAGE_BYTES_MAX} bytes")
    hash = hashlib.sha256(data).hexdigest()[:32]
    return image(message.event_id, hash, message.width, message.height), data


def image(event_id: UUID, hash: str, width: int, height: int) -> EventImage:
    return EventImage(f"/events/{event_id}/image?v={hash}", hash, width, height)


# --- its history ----------------------------------------------------------------------------------------------


def differences(old: Content, new: Content) -> Iterator[FieldChange]:
    """What has another value in `new`: of a description the beginnings, of an image the hashes."""
    before, after = _values(old), _values(new)
    for name in before:
        if before[name] != after[name]:
            yield FieldChange(field=name, old=_brief(before[name]), new=_brief(after[name]))


def _values(content: Content) -> dict[str, FieldValue]:
    venue = {f"venue.{each.name}": getattr(content.venue, each.name, None) for each in fields(Venue)}
    image_hash = None if content.image is None else content.image.hash
    return {"description": content.description, "category": content.category, **venue, "image": image_hash}


def _brief(value: FieldValue) -> FieldValue:
    return f"{value[:BRIEF]}…" if isinstance(value, str) and len(value) > BRIEF else value
