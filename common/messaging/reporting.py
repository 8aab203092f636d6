"""What a loop has to say about its messages: one log line for each, and metrics."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import structlog

from common.messaging.envelope import NAME_SHOWN_MAX, Delivery, Envelope, Undecodable
from common.messaging.streams import Entry
from common.runtime.telemetry import Metrics

log = structlog.get_logger()


class Reporter:
    """Reports on the messages of one mailbox. What is the same for a whole batch is worked out once."""

    def __init__(self, mailbox: str, metrics: Metrics) -> None:
        self._mailbox = mailbox
        self._messages = metrics.messages
        self._sizes = metrics.batch_size.labels(mailbox)
        self._seconds = metrics.handler_seconds.labels(mailbox)

    def done(self, deliveries: Sequence[Delivery], seconds: float) -> None:
        self._sizes.observe(len(deliveries))
        self._seconds.observe(seconds)
        kinds = [delivery.envelope.message.type for delivery in deliveries]
        for kind in set(kinds):
            self._count(kind, "done", kinds.count(kind))
        if log.is_enabled_for(logging.INFO):
            ms = round(seconds * 1000, 2)
            line = log.bind(mailbox=self._mailbox, batch=len(deliveries), outcome="done", ms=ms)
            for delivery in deliveries:
                line.info("message", **_shown(delivery.envelope), reclaimed=delivery.entry.reclaimed)

    def failed(self, delivery: Delivery, error: Exception, attempts: int, *, dead: bool) -> None:
        outcome, shown = "dead" if dead else "failed", _shown(delivery.envelope)
        self._count(shown["type"], outcome)
        log.error("message", mailbox=self._mailbox, **shown, attempt=attempts, outcome=outcome, exc_info=error)

    def unknown(self, entry: Entry) -> None:
        """Set aside for a process that knows its type."""
        self._count("unknown", "unknown")
        kind = entry.fields[b"type"][:NAME_SHOWN_MAX].decode(errors="replace")
        log.warning("message", mailbox=self._mailbox, entry=entry.id.decode(), type=kind, outcome="unknown")

    def undecodable(self, entry: Entry, error: Undecodable) -> None:
        # Its type is anybody's invention: no label.
        self._count("unknown", "undecodable")
        shown = {"entry": entry.id.decode(), "error": str(error)}
        log.error("message", mailbox=self._mailbox, **shown, outcome="undecodable")

    def _count(self, kind: str, outcome: str, number: int = 1) -> None:
        self._messages.labels(self._mailbox, kind, outcome).inc(number)


def _shown(envelope: Envelope) -> dict[str, str]:
    """What a line says of a message."""
    return {
        "type": envelope.message.type,
        "subject": envelope.subject,
        "id": envelope.id,
        "trace": envelope.traceparent[3:35],
    }
