"""Quotes, and the promo codes that operators make."""

from __future__ import annotations

import secrets

from aiohttp import web

from common.contracts.codes import ALPHABET
from common.contracts.ids import uuid7
from common.contracts.messages import (
    CodeTerms,
    CreatePromoCodes,
    GetQuote,
    ListPromoCodes,
    NewPromoCode,
    UpdatePromoCode,
)
from common.runtime.web import json_response, read_body
from gateway.addresses import NETWORK
from gateway.auth import IDENTITY
from gateway.limiter import LIMITER
from gateway.requests import PromoCodesQuery, path_id, query, read
from gateway.schemas import NewPromoCodes, NewQuote, PromoCodePatch
from gateway.views import operator_request, page
from gateway.waiters import call

# Random characters behind a prefix: 50 bits.
RANDOM_CHARACTERS = 10
NO_STORE = {"Cache-Control": "no-store"}


async def create_quote(request: web.Request) -> web.Response:
    body, identity = await read(request, NewQuote), request[IDENTITY]
    message = GetQuote(
        owner=identity.subject,
        event_id=body.event_id,
        items=body.wanted,
        code=body.code,
        expected_amount=body.expected_amount,
    )
    async with request.app[LIMITER].promo_code(identity, request[NETWORK], body.code):
        answer = await call(request, message, body.event_id)
    return json_response(answer, headers=NO_STORE)


async def list_promo_codes(request: web.Request) -> web.Response:
    event_id, wanted = path_id(request), query(request, PromoCodesQuery)
    after = None if wanted.cursor is None else wanted.cursor[0]
    message = ListPromoCodes(event_id=event_id, after=after, code=wanted.code, limit=wanted.limit)
    return page(await call(request, message, event_id))


async def create_promo_codes(request: web.Request) -> web.Response:
    event_id, body = path_id(request), await read(request, NewPromoCodes)
    written = (body.code,) if body.code is not None else [_random(body.prefix) for _ in range(body.count or 0)]
    message = CreatePromoCodes(
        event_id=event_id,
        # A repeated request is answered with the codes of the first one.
        codes=tuple(NewPromoCode(id=uuid7(), code=each) for each in written),
        terms=CodeTerms(**body.model_dump(exclude={"code", "prefix", "count"})),
        request=operator_request(request, event_id, await read_body(request)),
    )
    return json_response(await call(request, message, event_id), status=201)


def _random(prefix: str | None) -> str:
    return f"{prefix}-{''.join(secrets.choice(ALPHABET) for _ in range(RANDOM_CHARACTERS))}"


async def update_promo_code(request: web.Request) -> web.Response:
    event_id, code_id = path_id(request), path_id(request, "code_id")
    body = await read(request, PromoCodePatch)
    message = UpdatePromoCode(
        event_id=event_id,
        code_id=code_id,
        changes=CodeTerms(**body.model_dump(exclude_unset=True)),
        request=operator_request(request, event_id, await read_body(request), code_id=code_id),
    )
    return json_response(await call(request, message, event_id))
