"""The words that the glossary retires, and where one of them may stay."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Where(Enum):
    """Where a word is retired; the value is what the glossary says."""

    EVERYWHERE = "everywhere"
    # Names of variables, functions, classes, files, settings and metrics, and what stands in backticks.
    NAMES = "names"
    FILES = "names of files"


class Retired(NamedTuple):
    """Words that are not used any more. `forms`: all of them, separated by commas; `say`: what is used instead."""

    forms: str
    say: str
    where: Where = Where.NAMES


class Kept(NamedTuple):
    """A place where retired words may stay. `path` and `words` (separated by commas) may have wildcards."""

    path: str
    words: str
    reason: str


class Skipped(NamedTuple):
    """Files that are not read at all. `path` may have wildcards."""

    path: str
    reason: str


RETIRED = (
    Retired("turn, turns", "lease, token, slot, deadline or due time, whichever it is"),
    Retired("pacer, pacers, pacing", "rate limiter"),
    Retired("lane, lanes", "priority"),
    Retired("settle, settles, settled, settling", "retry, reconcile or finish; Stripe alone settles"),
    Retired("settler, settlers", "reconciler", Where.EVERYWHERE),
    Retired("drive, drives, driven, driving", "retry"),
    Retired("picture, pictures", "snapshot"),
    Retired("doubt, doubts, doubted", "conflict"),
    Retired("asking", "calls", Where.FILES),
    Retired("call off, calls off, called off, calling off", "cancel", Where.EVERYWHERE),
    Retired("programme, programmes", "the events; event handlers", Where.EVERYWHERE),
    Retired("away", "outage, unavailable"),
    Retired("is away, are away, was away, were away", "is unavailable", Where.EVERYWHERE),
    Retired("bury, buries, buried, burying", "dead-letter", Where.EVERYWHERE),
    Retired("heed, heeds, heeded, heeding", "raise if cancelled, apply", Where.EVERYWHERE),
    Retired("careful, carefully", "locked, under lock"),
    Retired("patient, patiently, patience", "deferrable, max wait"),
    Retired("told", "published, reported, notified, logged or answered"),
    Retired("news", "notification, report"),
    Retired("heard", "received"),
    Retired("placed, placing", "queue position; created"),
    Retired("deed, deeds", "fault, action"),
    Retired("whoever", "the client, the operator, the consumer: who it is", Where.EVERYWHERE),
    Retired("oftener", "more often", Where.EVERYWHERE),
)

SKIPPED = (
    Skipped("CHANGELOG.md", "says what was called how when it changed"),
    Skipped("*/migrations/*", "history, which is never edited"),
    Skipped("*.lock", "made by uv"),
    Skipped("gateway/assets/swagger-ui*", "by others"),
    Skipped("gateway/pages/qr/*", "by others"),
    Skipped("website/static/mermaid/*", "by others"),
    Skipped("*LICENSE", "by others"),
    Skipped("documents/of_words.py", "the retired words themselves"),
    Skipped("docs/glossary.md", "the retired words themselves"),
    Skipped("tests/documents/test_words.py", "the retired words themselves"),
)

KEPT = (
    Kept("compose.yaml", "PLACING_MAX, PLACING_PATIENCE_SECONDS", "former settings, read for one release"),
    Kept(
        "common/runtime/telemetry.py",
        "holdfast_waiting_turns, holdfast_stripe_turn_seconds",
        "former metrics, exposed for one release",
    ),
    Kept(
        "docs/operations.md",
        "PLACING_*, holdfast_waiting_turns, holdfast_stripe_turn_seconds, lane",
        "former settings and metrics",
    ),
    Kept("tests/common/test_telemetry.py", "holdfast_stripe_turn_seconds*", "a former metric, under test"),
    Kept("*", "SANDBOX_SETTLE_SECONDS, sandbox_settle_seconds", "Stripe settles payments, and so the sandbox does"),
    Kept("ops/cli.py", "settle", "the former name of an option, accepted with a warning"),
    Kept("bench/reference/orders.py", "settle_after", "a column"),
    Kept("tests/simulation/*", "settle, settle_seconds", "Stripe settles payments, and so the sandbox does"),
    Kept("bench/results/*", "settled, turned_away", "figures that were measured under these names"),
    Kept("tests/README.md", "pictures", "the README's picture"),
    Kept("sandbox/*", "*settle*", "Stripe settles payments, and so the sandbox does"),
    Kept("tests/sandbox/*", "*settle*", "Stripe settles payments, and so the sandbox does"),
    Kept("*", "called_off_at", "a field of the API and a column"),
    Kept("booking/models.py", "settle_after, settle_attempts", "columns"),
    Kept("payment/models.py", "drive_after, drive_attempts, doubts", "columns"),
    Kept("documents/schema.py", "settle_after, drive_after", "columns"),
    Kept("docs/*", "settle_after, settle_attempts, drive_after, drive_attempts, doubts", "columns"),
    Kept("docs/schema.md", "*_drive_due, events_called_off", "indexes"),
    Kept("docs/architecture.md", "turn, turns", "keys in Redis"),
    Kept("docs/operations.md", "turn, turns", "keys in Redis"),
    Kept("*", "GOING_AWAY", "what aiohttp calls a WebSocket's close code"),
    Kept("Makefile", "picture, pictures", "the README's pictures"),
    Kept("CONTRIBUTING.md", "picture, pictures", "the README's pictures"),
    Kept("README.md", "pictures", "the README's picture"),
    Kept("docs/pictures/*", "picture, pictures", "the README's picture"),
    Kept("pictures/*", "picture, pictures, PICTURE", "the README's picture"),
    Kept("tests/pictures/*", "*picture*, PICTURE", "the README's picture"),
    Kept("tests/pages/*", "*picture*, *PICTURES*", "pictures of pages"),
    Kept("tests/website/*", "*pictures*", "pictures of pages"),
)
