"""The HTTP of the API: keys, parameters, idempotency, faults, errors and headers, around every operation.

https://docs.stripe.com/api
"""

import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Any, NamedTuple

import orjson
import structlog
from aiohttp import web

from sandbox import expansion, idempotency
from sandbox.account import Account
from sandbox.errors import ApiError, ParameterError, RefusedError
from sandbox.faults import Fault, Faults
from sandbox.idempotency import Attempt, IdempotencyKeys, Kept
from sandbox.identifiers import new_id
from sandbox.keys import Keys, secret_needed
from sandbox.objects import API_VERSION, Object
from sandbox.operations import Operation
from sandbox.params import Raw, nested, pairs_of
from sandbox.rate_limit import RateLimit
from sandbox.work import Work

FORM = "application/x-www-form-urlencoded"

HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Request-Id, Retry-After, Stripe-Version",
    "Cache-Control": "no-cache, no-store",
    "Content-Type": "application/json",
    "Stripe-Version": API_VERSION,
}
PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, PUT, PATCH, POST, DELETE",
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Max-Age": "300",
}

UNEXPECTED = "Sorry! An unexpected error occurred in the sandbox itself."

log = structlog.get_logger()


class Reply(NamedTuple):
    """An answer before it is sent."""

    status: int
    body: bytes
    headers: dict[str, str] = {}  # noqa: RUF012 - never written to
    code: str | None = None
    """The error's code, for the log."""


class ClosedWithoutAnswer(Exception):
    """The connection must be closed without an answer."""


class Api:
    """Answers requests under `/v1`."""

    def __init__(self, account: Account, keys: Keys, limit: RateLimit, faults: Faults) -> None:
        self._account = account
        self._keys = keys
        self._limit = limit
        self._faults = faults
        self._idempotency = IdempotencyKeys(account.ledger)
        self._idempotency.forget(int(time.time()))

    async def answer(self, request: web.Request, operation: Operation | None) -> web.StreamResponse:
        """The answer to one request. If there is no operation for its path, it is a refusal."""
        started = time.perf_counter()
        request_id = new_id("req")
        try:
            reply = await self._reply(request, operation, request_id)
        except ApiError as error:
            reply = _refusal(error, request_id)
        except web.HTTPException as error:
            reply = _refusal(RefusedError(error.status, error.reason), request_id)
        except ClosedWithoutAnswer:
            reply = Reply(504, b"")
            if request.transport is not None:
                request.transport.abort()
        except Exception:
            log.exception("request failed", method=request.method, path=request.path, request=request_id)
            reply = _refusal(RefusedError(500, UNEXPECTED, type="api_error"), request_id)
        log.info(
            "request",
            method=request.method,
            path=request.path,
            status=reply.status,
            code=reply.code,
            request=request_id,
            ms=round((time.perf_counter() - started) * 1000, 2),
        )
        date = formatdate(self._account.time(), usegmt=True)
        headers = {**HEADERS, "Date": date, "Request-Id": request_id, **reply.headers}
        return web.Response(body=reply.body, status=reply.status, headers=headers)

    async def _reply(self, request: web.Request, operation: Operation | None, request_id: str) -> Reply:
        pairs = await _read(request)
        authorization = request.headers.get("Authorization")
        publishable = self._keys.is_publishable(authorization, dict(pairs) if authorization is None else {})
        if authorization is None:
            pairs = [(name, value) for name, value in pairs if name != "key"]
        self._limit.take()
        fault = self._faults.of_request(request.method, request.path)
        if fault.limited:
            raise self._faults.limited()
        if operation is None:
            raise _unrecognised(request)
        _check_headers(request)
        if publishable and operation.browser is None:
            raise secret_needed()
        raw = nested(pairs)
        made = _attempt(request, raw)
        with self._idempotency.under_way(made):
            await self._faults.delay(fault)
            work = self._account.work(
                origin=f"{request.scheme}://{request.host}",
                request_id=request_id,
                idempotency_key=None if made is None else made.key,
                publishable=publishable,
            )
            work.refund_refused, work.refund_pending = fault.refund_refused, fault.refund_pending
            call = _Call(operation, raw, dict(request.match_info))
            try:
                reply = self._once(work, call, made, fault, request_id)
            finally:
                await self._account.release(work)
        if fault.timeout_after:
            await self._faults.hang()
            raise ClosedWithoutAnswer
        return reply

    def _once(self, work: Work, call: "_Call", made: Attempt | None, fault: Fault, request_id: str) -> Reply:
        """Perform the operation, unless its idempotency key already has an answer."""
        if made is None:
            return self._perform(work, call, fault, request_id)
        kept = self._idempotency.find(made, work.now)
        headers = {"Idempotency-Key": made.key, "Original-Request": request_id}
        if kept is not None:
            headers |= {"Original-Request": kept.request_id, "Idempotent-Replayed": "true"}
            return Reply(kept.status, kept.body, headers)
        reply = self._perform(work, call, fault, request_id)
        self._idempotency.keep(made, Kept(request_id, reply.status, reply.body), work.now)
        return reply._replace(headers=reply.headers | headers)

    def _perform(self, work: Work, call: "_Call", fault: Fault, request_id: str) -> Reply:
        try:
            # A read needs no savepoint and no commit.
            body = call.run(work) if call.operation.method == "GET" else self._account.do(work, call.run)
        except RefusedError:
            raise
        except ApiError as error:
            reply = _refusal(error, request_id)
        else:
            reply = Reply(200, orjson.dumps(body))
        return _refusal(self._faults.broken_after(), request_id) if fault.error_after else reply


class _Call(NamedTuple):
    """An operation with its parameters, as they were sent, and with the ids in its path."""

    operation: Operation
    raw: dict[str, Raw]
    names: dict[str, str]

    def run(self, work: Work) -> Object:
        operation = self.operation
        schema = operation.browser if work.publishable and operation.browser is not None else operation.schema
        params = schema.read(self.raw)
        paths: list[str] = params.get("expand", [])
        if paths:
            expansion.check(paths, operation.kind, listed=operation.listed)
            if work.publishable and paths != ["payment_method"]:
                raise ParameterError("With a publishable key only payment_method can be expanded.", "expand")
        body = operation.run(work, params, **self.names)
        if paths:
            body = dict(body)
            expansion.expand(work, body, paths, listed=operation.listed)
        return body


async def _read(request: web.Request) -> list[tuple[str, str]]:
    """The parameters of the query and of the body.

    Raises:
        ParameterError: the body is not a form.
    """
    query = request.rel_url.raw_query_string
    pairs = pairs_of(query) if query else []
    if not request.can_read_body:
        return pairs
    body = await request.read()
    if body and request.content_type != FORM:
        raise ParameterError(
            f"Invalid request (check that your POST content type is {FORM}). If you have questions, we can help at "
            "https://support.stripe.com/."
        )
    try:
        return pairs + pairs_of(body.decode())
    except UnicodeDecodeError as error:
        raise ParameterError("Invalid request body: it is not UTF-8.") from error


def _check_headers(request: web.Request) -> None:
    version = request.headers.get("Stripe-Version")
    if version is not None and version != API_VERSION:
        raise ParameterError(f"Invalid Stripe API version: {version}. The sandbox models {API_VERSION} alone.")
    other = request.headers.get("Stripe-Account")
    if other is not None:
        message = f"The provided key does not have access to account '{other}' (or that account does not exist)."
        raise RefusedError(403, message, code="account_invalid")


def _attempt(request: web.Request, raw: dict[str, Raw]) -> Attempt | None:
    key = request.headers.get("Idempotency-Key")
    if key is None or request.method != "POST":
        return None
    return idempotency.attempt(key, request.path, raw)


def _refusal(error: ApiError, request_id: str) -> Reply:
    return Reply(error.status, orjson.dumps(error.body(request_id)), error.headers, error.code)


def _unrecognised(request: web.Request) -> RefusedError:
    return RefusedError(
        404,
        f"Unrecognized request URL ({request.method}: {request.path}). Either Stripe has no such call, or the "
        "sandbox does not model it.",
    )


def endpoint(operation: Operation | None, find: Callable[[web.Request], Api]) -> Callable[..., Awaitable[Any]]:
    """The handler of an operation."""

    async def handle(request: web.Request) -> web.StreamResponse:
        return await find(request).answer(request, operation)

    return handle


async def preflight(request: web.Request) -> web.StreamResponse:
    """The answer to a browser's preflight request: calls from every origin are allowed."""
    asked = request.headers.get("Access-Control-Request-Headers", "")
    return web.Response(status=204, headers=PREFLIGHT | ({"Access-Control-Allow-Headers": asked} if asked else {}))
