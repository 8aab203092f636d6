"""The REST interface: requests made from the OpenAPI document, valid and invalid ones, alone and in chains.

Schemathesis makes them, sends them and compares the answers with the document; see
https://schemathesis.readthedocs.io. Ours are the callers, the search for leaks, and which refusals are right.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import Failure
from schemathesis.core.transport import Response
from schemathesis.engine import events, from_schema
from schemathesis.openapi.checks import RejectedPositiveData

from gateway.openapi import IF_MATCH
from tests.acceptance.client import Json
from tests.fuzz.answers import ONCE
from tests.fuzz.examples import Progress
from tests.fuzz.harness import Caller, leaked
from tests.fuzz.tally import Tally

# Longer than the longest `Prefer: wait=N`.
TIMEOUT_S = 40
# Examples of each operation, and chains of requests, in one round. Small runs have fewer, so that each of about
# OPERATIONS operations gets some.
EXAMPLES_MAX = 50
OPERATIONS = 40
# About this many requests try each bound of each value once; smaller runs leave these out.
COVERAGE = 1000
# The probability that an id is one that exists.
LIKELY = 0.6
# The kind of id of each parameter and field.
IDS = {
    "path.id": "ids",
    "query.event_id": "events",
    "body.booking_id": "bookings",
    "body.event_id": "events",
    "body.items[*].ticket_type_id": "types",
    "path.ticket_id": "tickets",
    "body.ticket_id": "tickets",
    "path.code_id": "promo_codes",
    "query.code": "written",
    "body.ticket_types[*]": "types",
    "body.unlocks[*]": "types",
    "body.code": "codes",
    "body.items[*].code": "codes",
}


# Error types of rules that a JSON Schema cannot express.
IN_WORDS = frozenset(
    {
        "value_error",
        "not_one_line",
        "not_visible",
        "not_text",
        "not_printable",
        "email_form",
        "reference_form",
        "markdown_html",
        "markdown_image",
        "markdown_link",
        "time_zone_unknown",
        "date_in_past",
        "date_after_start",
        "date_after_end",
        "date_before_start",
        "one_discount",
        "no_discount",
        "does_nothing",
        "ticket_type_unknown",
        "amount_under_limit",
        "amount_over_limit",
        "amount_off_step",
    }
)


@dataclass(frozen=True)
class Target:
    """Where to send requests, ids that exist by their kind, and a function that is called with each new booking."""

    url: str
    ids: dict[str, list[str]]
    made: Callable[[Caller, Json], None]


def fuzz(
    target: Target, document: Json, caller: Caller, requests: int, seed: int, tally: Tally, progress: Progress
) -> None:
    """Send about `requests` requests as `caller`. Blocks; needs a thread of its own."""
    part = f"rest: {caller.name}"
    rounds = 0
    while (left := requests - tally.count(part)) > 0 and not tally.stop.is_set():
        examples = max(1, min(EXAMPLES_MAX, requests // OPERATIONS))
        coverage = rounds == 0 and requests >= COVERAGE
        config = _config(target, caller, seed + rounds, examples, coverage=coverage)
        schema = schemathesis.openapi.from_dict(document, config=config)
        _watch(schema, part, target, caller, tally)
        stream = from_schema(schema).execute()
        rounds += 1
        for event in stream:
            _note(event, part, tally)
            progress(min(requests, tally.count(part)))
            if tally.count(part) >= requests or tally.stop.is_set():
                stream.stop()
        if requests - tally.count(part) == left:
            tally.wrong(part, "nothing was sent", "the stack cannot be reached")
            return


def _config(target: Target, caller: Caller, seed: int, examples: int, *, coverage: bool) -> SchemathesisConfig:
    ids = {**target.ids, "ids": [*target.ids["bookings"], *target.ids["events"]]}
    return SchemathesisConfig.from_dict(
        {
            "base-url": target.url,
            "headers": {**caller.headers, **ONCE},
            "seed": seed,
            "continue-on-failure": True,
            "request-timeout": TIMEOUT_S,
            "dictionaries": {name: {"values": values} for name, values in ids.items()},
            "parameters": {name: {"dictionary": kind, "probability": LIKELY} for name, kind in IDS.items()},
            "generation": {"max-examples": examples, "no-shrink": True, "database": "none"},
            # A chain ends at its first refusal: wrong requests are for the other phases.
            "phases": {"coverage": {"enabled": coverage}, "stateful": {"generation": {"mode": "positive"}}},
            "checks": {
                # With 503 and Retry-After the gateway answers that it is busy.
                "not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx", "503"]},
                # 412: an If-Match of the right form, with another version.
                "positive_data_acceptance": {
                    "expected-statuses": ["2xx", "3xx", "401", "403", "404", "409", "412", "429", "5xx"]
                },
            },
            "output": {"sanitization": {"enabled": False}},
        }
    )


def _watch(schema: Any, part: str, target: Target, caller: Caller, tally: Tally) -> None:
    """Count every answer, and search it for leaks."""

    def after_call(context: Any, case: Any, response: Response) -> None:
        tally.sent(part, response.status_code)
        tally.count_searched(part)
        request = response.request
        sent = (request.url or "", str(request.headers), _text(request.body))
        answer = f"{response.headers}\n{_text(response.content)}"
        if leaked(caller.hidden, answer, *sent):
            tally.wrong(part, f"{case.operation.label} shows what is another's", case.as_curl_command())
        if response.status_code == 503 and "retry-after" not in response.headers:
            tally.wrong(part, f"{case.operation.label}: 503 without Retry-After", case.as_curl_command())
        if case.operation.label == "POST /bookings" and response.status_code == 201:
            target.made(caller, json.loads(response.content))

    def after_network_error(context: Any, case: Any, request: Any) -> None:
        tally.sent(part, "no answer")
        tally.wrong(part, f"{case.operation.label} was not answered", case.as_curl_command())

    def filter_failure(context: Any, failure: Failure, case: Any, response: Response) -> bool:
        return not (isinstance(failure, RejectedPositiveData) and _rightly(case, response))

    for hook in (after_call, after_network_error, filter_failure):
        schema.hook(hook)


def _rightly(case: Any, response: Response) -> bool:
    """Whether a request that fits the schemas was refused by a rule that they cannot express."""
    if case.operation.label == "GET /ws":
        return response.status_code == 400  # not a request for a WebSocket
    condition = response.request.headers.get("If-Match")
    if response.status_code == 400 and condition is not None and not re.search(IF_MATCH, str(condition)):
        return True  # a number instead of a string: Schemathesis says that the header's text "0" is valid
    try:
        problem = json.loads(response.content)
    except ValueError:
        return False
    if response.status_code != 422 or problem["code"] != "invalid_request":
        return response.status_code == 422  # such as amount_over_left: a rule about existing rows
    errors = problem.get("errors", ())
    return bool(errors) and all(_beyond_schema(error, case.body) for error in errors)


def _beyond_schema(error: Json, body: Any) -> bool:
    """Whether no JSON Schema can express this error: a rule of IN_WORDS; a name of spaces only; 1.0 instead of 1,
    which JSON Schema does not distinguish."""
    where, *way = error["loc"]
    if error["type"] in IN_WORDS or where != "body":
        return error["type"] in IN_WORDS
    for step in way:
        body = body[step]
    if error["type"] == "string_too_short":
        return isinstance(body, str) and not body.strip()
    return error["type"] == "int_type" and isinstance(body, float) and body.is_integer()


def _note(event: Any, part: str, tally: Tally) -> None:
    if isinstance(event, events.ScenarioFinished):
        for what, how in _failures(event.recorder):
            tally.wrong(part, what, how)
    elif isinstance(event, events.FatalError):
        tally.wrong(part, "Schemathesis itself failed", str(event.exception))
    elif isinstance(event, events.NonFatalError):
        tally.wrong(part, f"{event.label}: {event.info.title}", str(event.value))


def _failures(recorder: Any) -> Iterator[tuple[str, str]]:
    for checks in recorder.checks.values():
        for check in checks:
            if check.failure_info is not None:
                failure = check.failure_info.failure
                what = f"{failure.operation}: {failure.title} ({check.name})"
                yield what, f"{failure.message}\n{check.failure_info.code_sample}"


def _text(content: Any) -> str:
    if isinstance(content, bytes):
        return content.decode(errors="replace")
    return str(content or "")
