"""Stripe's SDK formats a log line only where somebody reads it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import stripe
import stripe._util

from tests.payment.stage import Stage


@pytest.fixture
def formatted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The lines that the SDK formats."""
    lines: list[str] = []
    logfmt: Any = stripe._util.logfmt

    def note(props: dict[str, object]) -> str:
        line: str = logfmt(props)
        lines.append(line)
        return line

    monkeypatch.setattr(stripe._util, "logfmt", note)
    logger = logging.getLogger("stripe")
    level = logger.level
    logger.setLevel(logging.WARNING)
    yield lines
    logger.setLevel(level)


async def call(stage: Stage) -> None:
    await stage.stripe.list_page("/v1/events", None, deadline=float("inf"), limit=1)


async def test_a_line_that_nobody_reads_is_not_formatted(stage: Stage, formatted: list[str]) -> None:
    await call(stage)
    assert formatted == []


@pytest.mark.parametrize(("level", "body"), [(logging.INFO, False), (logging.DEBUG, True)])
async def test_who_sets_the_level_reads_the_lines(
    stage: Stage, formatted: list[str], caplog: pytest.LogCaptureFixture, level: int, body: bool
) -> None:
    with caplog.at_level(level, "stripe"):
        await call(stage)
    assert any("Request to Stripe api" in line for line in formatted)
    assert any("API response body" in line for line in formatted) is body
    assert len([record for record in caplog.records if record.name == "stripe"]) == len(formatted)


async def test_the_console_still_has_them(
    stage: Stage, formatted: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stripe, "log", "info")
    await call(stage)
    assert "Request to Stripe api" in capsys.readouterr().err
