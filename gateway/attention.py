"""What needs a person now: each actor is asked for the part that it knows."""

from __future__ import annotations

import asyncio

from aiohttp import web

from common.contracts.attention import Attention, AttentionPart, KnownAttention, in_order
from common.contracts.errors import HoldfastError
from common.contracts.messages import GetAttention, GetPaymentAttention, Message
from common.runtime.web import json_response
from common.wiring import CLOCK
from gateway.limits import LOAD_SHEDDER
from gateway.waiters import call

QUESTIONS: dict[AttentionPart, Message] = {
    AttentionPart.BOOKING: GetAttention(),
    AttentionPart.PAYMENT: GetPaymentAttention(),
}


async def get_attention(request: web.Request) -> web.Response:
    """What one actor knows is shown also while the other one does not answer. Raises why, where none does."""
    known = await asyncio.gather(*(_known(request, question) for question in QUESTIONS.values()))
    failures = [each for each in known if isinstance(each, HoldfastError)]
    if len(failures) == len(known):
        raise failures[0]
    answered = [each for each in known if isinstance(each, KnownAttention)]
    attention = Attention(
        at=request.app[CLOCK](),
        items=in_order(item for each in answered for item in each.items),
        missing=tuple(part for part, each in zip(QUESTIONS, known, strict=True) if isinstance(each, HoldfastError)),
    )
    return json_response(attention.model_dump(mode="json"))


async def _known(request: web.Request, question: Message) -> KnownAttention | HoldfastError:
    try:
        request.app[LOAD_SHEDDER].check(question.streams)
        return KnownAttention.model_validate(await call(request, question, "attention"))
    except HoldfastError as unanswered:
        return unanswered
