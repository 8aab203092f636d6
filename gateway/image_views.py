"""The image of an event: GET it, and what operators do to it."""

from __future__ import annotations

import asyncio
import base64
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from common.contracts.errors import UnsupportedMediaType
from common.contracts.messages import GetEventImage, SetEventImage
from common.runtime.web import TRACEPARENT, read_body
from gateway.event_contents import CONTENTS
from gateway.images import KEPT_AS, MEDIA_TYPES, SENT_BYTES_MAX, EncodedImage, encoded
from gateway.limits import RequestSlots
from gateway.requests import if_match, path_id, query
from gateway.settings import SETTINGS
from gateway.views import changed_event, operator_request
from gateway.waiters import call

# One image at a time is decoded and encoded: it takes up to a hundred megabytes and a second of one core.
IMAGE_SLOTS = web.AppKey("image_slots", RequestSlots)


class ImageQuery(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    v: str | None = Field(
        default=None,
        max_length=64,
        description="The image's hash, as in its `url`: the answer may then be cached for ever. Left out, or of "
        "another image: for a short time",
    )


async def get_event_image(request: web.Request) -> web.StreamResponse:
    event_id, wanted = path_id(request), query(request, ImageQuery)
    image = await request.app[CONTENTS].image(event_id, request[TRACEPARENT])
    max_age_s = None if wanted.v == image.hash else request.app[SETTINGS].events_max_age_seconds
    return await image.answer(max_age_s).to(request)


async def admin_get_event_image(request: web.Request) -> web.Response:
    """The image of a draft, too, which nobody else may see: no cache keeps it."""
    event_id = path_id(request)
    found = await call(request, GetEventImage(event_id=event_id, operator=True), event_id)
    return web.Response(body=base64.b64decode(found["data"]), content_type=KEPT_AS)


async def put_event_image(request: web.Request) -> web.Response:
    event_id = path_id(request)
    if request.content_type not in MEDIA_TYPES:
        raise UnsupportedMediaType(f"The body must be one of {', '.join(MEDIA_TYPES)}")
    sent = await read_body(request.clone(client_max_size=SENT_BYTES_MAX))
    async with request.app[IMAGE_SLOTS]:
        image = await asyncio.to_thread(encoded, sent, request.content_type)
    return await _set(request, event_id, image, sent)


async def delete_event_image(request: web.Request) -> web.Response:
    return await _set(request, path_id(request), None, b"")


async def _set(request: web.Request, event_id: UUID, image: EncodedImage | None, sent: bytes) -> web.Response:
    values = {} if image is None else {"width": image.width, "height": image.height}
    data = None if image is None else base64.b64encode(image.data).decode()
    by = operator_request(request, event_id, sent)
    message = SetEventImage(event_id=event_id, data=data, request=by, if_match=if_match(request), **values)
    return changed_event(request, await call(request, message, event_id))
