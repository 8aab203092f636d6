"""Structured logs: console on a terminal, one JSON object a line otherwise."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any

import orjson
import structlog

_level = logging.NOTSET


def logs(level: int) -> bool:
    """Whether lines of this level are logged. If not, what each request logs need not be put together."""
    return _level <= level


def _json(_: Any, __: str, event: structlog.typing.EventDict) -> bytes:
    return orjson.dumps(event, default=str)


def configure(level: str, format: str, process: str, instance: str) -> None:
    """Set up logging for the process; `format` is auto, console or json."""
    global _level
    console = format == "console" or (format == "auto" and sys.stderr.isatty())
    number = _level = getattr(logging, level.upper())
    rendered: list[structlog.typing.Processor] = [structlog.processors.format_exc_info, _json]
    logger: Callable[..., structlog.typing.WrappedLogger] = structlog.BytesLoggerFactory(sys.stderr.buffer)
    if console:
        # The default formatter prints the local variables of every frame, and secrets with them.
        rendered = [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        logger = structlog.PrintLoggerFactory(sys.stderr)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *rendered,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=logger,
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process, instance=instance)
    # Warnings and errors of libraries are logged in the same form; their lower levels are not logged.
    logging.basicConfig(handlers=[_ToStructlog()], level=max(number, logging.WARNING), force=True)
    # It warns of subprotocols that the server does not know, and some clients send tokens in them.
    logging.getLogger("aiohttp.websocket").setLevel(logging.ERROR)


class _ToStructlog(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        # structlog has the five common levels and no others.
        level = min(record.levelno // 10 * 10, logging.CRITICAL)
        structlog.get_logger().log(level, record.getMessage(), logger=record.name, exc_info=record.exc_info or None)
