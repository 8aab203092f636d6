"""What a loop has to say about its messages: one log line for each, and metrics."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

import structlog

from common.messaging.envelope import NAME_SHOWN_MAX, Delivery, Undecodable
from common.messaging.streams import Entry
from common.runtime.telemetry import Metrics

log = structlog.get_logger()


class Reporter:
    """Reports on the messages of one mailbox. What is the same for a whole batch is worked out once."""

    def __init__(self, mailbox: str, metrics: Metrics) -> None:
        self._mailbox = mailbox
        self._metrics = metrics

    def done(self, deliveries: Sequence[Delivery], seconds: float) -> None:
        self._metrics.batch_size.labels(self._mailbox).observe(len(deliveries))
        for kind, number in Counter(delivery.envelope.message.type for delivery in deliveries).items():
            self._count(kind, "done", number)
        line = log.bind(mailbox=self._mailbox, batch=len(deliveries), outcome="done", ms=round(seconds * 1000, 2))
        if not line.is_enabled_for(logging.INFO):
            return
        for delivery in deliveries:
            envelope = delivery.envelope
            line.info(
                "message",
                type=envelope.message.type,
                subject=envelope.subject,
                id=envelope.id,
                trace=envelope.traceparent[3:35],
                reclaimed=delivery.entry.reclaimed,
            )

    def failed(self, delivery: Delivery, error: Exception, attempts: int, *, dead: bool) -> None:
        envelope = delivery.envelope
        outcome = "dead" if dead else "failed"
        self._count(envelope.message.type, outcome)
        log.error(
            "message",
            mailbox=self._mailbox,
            type=envelope.message.type,
            subject=envelope.subject,
            id=envelope.id,
            trace=envelope.traceparent[3:35],
            attempt=attempts,
            outcome=outcome,
            exc_info=error,
        )

    def unknown(self, entry: Entry) -> None:
        """Set aside for a process that knows its type."""
        self._count("unknown", "unknown")
        kind = entry.fields[b"type"][:NAME_SHOWN_MAX].decode(errors="replace")
        log.warning("message", mailbox=self._mailbox, entry=entry.id.decode(), type=kind, outcome="unknown")

    def undecodable(self, entry: Entry, error: Undecodable) -> None:
        # Its type is anybody's invention: no label.
        self._count("unknown", "undecodable")
        log.error(
            "message", mailbox=self._mailbox, entry=entry.id.decode(), outcome="undecodable", error=str(error)
        )

    def _count(self, kind: str, outcome: str, number: int = 1) -> None:
        self._metrics.messages.labels(self._mailbox, kind, outcome).inc(number)
