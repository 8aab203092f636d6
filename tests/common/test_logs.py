"""Logs are for people on a terminal and for programs otherwise, and contain no secrets."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

ROOT = Path(__file__).parent.parent.parent

SCRIPT = """
import logging, sys
from uuid import uuid4
import structlog
from common.runtime import logs

logs.configure(sys.argv[1], sys.argv[2], "gateway", "one")
log = structlog.get_logger()

def pay(client_secret):
    raise ValueError("no")

log.debug("hidden")
log.info("published", id=uuid4(), note="a — b")
try:
    pay("pi_1_secret_2")
except ValueError:
    log.exception("failed")
logging.getLogger("aiohttp").info("chatter")
logging.getLogger("aiohttp").warning("a %s", "warning")
logging.getLogger("odd").log(35, "between the levels")
try:
    pay("pi_1_secret_2")
except ValueError:
    logging.getLogger("library").exception("went wrong")
"""


def run(level: str = "info", format: str = "auto", stderr: int = subprocess.PIPE) -> bytes:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, level, format],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "TERM": "dumb"},
        stderr=stderr,
        check=True,
    )
    return done.stderr or b""


def on_a_terminal(format: str) -> str:
    ours, theirs = pty.openpty()
    try:
        run(format=format, stderr=theirs)
        return os.read(ours, 65536).decode()
    finally:
        os.close(ours)
        os.close(theirs)


def parse(output: bytes) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in output.splitlines()]


def test_programs_get_one_json_object_a_line() -> None:
    lines = parse(run())
    assert [(line["level"], line["event"]) for line in lines] == [
        ("info", "published"),
        ("error", "failed"),
        ("warning", "a warning"),
        ("warning", "between the levels"),
        ("error", "went wrong"),
    ]
    assert {(line["process"], line["instance"]) for line in lines} == {("gateway", "one")}
    assert lines[0]["note"] == "a — b"
    assert lines[2]["logger"] == "aiohttp"
    assert all(line["timestamp"].endswith("Z") for line in lines)


def test_an_exception_comes_with_its_traceback_and_without_values() -> None:
    for line in (parse(run())[1], parse(run())[4]):
        assert "ValueError: no" in line["exception"]
        assert "in pay" in line["exception"]
        assert "secret_2" not in line["exception"]


@pytest.mark.parametrize(("level", "number"), [("debug", 6), ("info", 5), ("warning", 4), ("error", 2)])
def test_nothing_below_the_level_is_logged(level: str, number: int) -> None:
    assert len(parse(run(level))) == number


def test_people_get_lines_to_read() -> None:
    for output in (on_a_terminal("auto"), run(format="console").decode()):
        assert "published" in output
        assert not output.startswith("{")
        assert "ValueError: no" in output
        # Tracebacks with the values of local variables are practical, but show secrets.
        assert "secret_2" not in output


def test_a_terminal_can_have_json() -> None:
    assert len(parse(on_a_terminal("json").encode())) == 5
